//! What Ray itself says of a cluster: its dashboard, asked on the head or through a tunnel.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::stand_in::StandIn;

/// The live nodes as Ray's own list has them.
const NODES: &str = "api/v0/nodes?detail=true&limit=1000&filter_keys=state&filter_predicates=%3D&filter_values=ALIVE";

/// A node that Ray lists as alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// Ray's id of it: another one after each restart of its Ray.
    pub(crate) id: String,
    pub(crate) is_head: bool,
    /// When it came, in milliseconds since 1970.
    pub(crate) started_ms: u64,
}

/// Ray's dashboard behind an address.
pub(crate) struct Dashboard {
    url: String,
    token: String,
}

impl Dashboard {
    /// At an address such as `http://127.0.0.1:8265`.
    pub(crate) fn at(url: &str, token: &str) -> Self {
        Self {
            url: url.to_owned(),
            token: token.to_owned(),
        }
    }

    /// What it answers to a path.
    pub(crate) fn get(&self, path: &str) -> Result<Value, String> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(std::time::Duration::from_secs(5)))
            .build()
            .into();
        let request = agent
            .get(format!("{}/{path}", self.url))
            .header("Authorization", &format!("Bearer {}", self.token));
        let mut answer = request.call().map_err(|error| error.to_string())?;
        let text = answer.body_mut().read_to_string().map_err(|error| error.to_string())?;
        serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))
    }
}

/// The live nodes by instance id, as the dashboard on a head tells them to a program there.
pub(crate) fn nodes(aws: &StandIn, head: &str, token: &str) -> Result<BTreeMap<String, Node>, String> {
    let script = format!("curl -sS --max-time 5 -H 'Authorization: Bearer {token}' 'http://127.0.0.1:8265/{NODES}'");
    let done = aws.run_in(head, &script)?;
    if done.code != 0 {
        return Err(done.stderr);
    }
    let answer: Value = serde_json::from_str(&done.stdout).map_err(|error| format!("{error}: {}", done.stdout))?;
    let listed = answer["data"]["result"]["result"].as_array();
    let listed = listed.ok_or_else(|| format!("no list: {answer}"))?;
    let node = |each: &Value| -> Option<(String, Node)> {
        let instance = each["labels"]["rayward.dev/instance-id"].as_str()?;
        let node = Node {
            id: each["node_id"].as_str()?.to_owned(),
            is_head: each["is_head_node"].as_bool()?,
            started_ms: each["start_time_ms"].as_u64()?,
        };
        Some((instance.to_owned(), node))
    };
    let mut nodes = BTreeMap::new();
    for each in listed {
        let (instance, node) = node(each).ok_or_else(|| format!("a node without what it should have: {each}"))?;
        // A raylet that was killed stays listed for a while beside the one that followed it.
        match nodes.get(&instance) {
            Some(Node { started_ms, .. }) if *started_ms > node.started_ms => {}
            _ => drop(nodes.insert(instance, node)),
        }
    }
    Ok(nodes)
}
