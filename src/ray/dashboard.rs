//! The head's dashboard, through SSH: one connection that is kept, and one sequence of at most seven requests a look.
//!
//! When Ray's GCS is dead the dashboard still answers some paths and hangs at others: its health is asked first, and
//! nothing is asked without a time-out. `/nodes?view=summary` may answer from a cache that is minutes old, and is not
//! asked at all.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::{
    Request, StatusCode,
    body::Bytes,
    client::conn::http1::{self, SendRequest},
    header::{AUTHORIZATION, DATE, HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use jiff::{Timestamp, fmt::rfc2822};
use tokio::time::timeout;

use super::{
    activity::Answers,
    answers::{self, ActorRow, JobRow, NodeRow, Page, Serve, Version},
    facts::{Activity, Blindness, Node, NodeState, View},
    failure::{Failure, excerpt},
    ssh::{Connection, Trouble},
};

/// Where it listens on the head.
const HOST_NAME: &str = "127.0.0.1";
const PORT: u16 = 8265;
/// The largest answer that is read: 10,000 nodes are 5 MB.
const MOST_BODY: usize = 8 * 1024 * 1024;

const HEALTH: &str = "/api/gcs_healthz";
const VERSION: &str = "/api/version";
const NODES: &str = "/api/v0/nodes?detail=true&limit=10000";
const JOBS: &str = "/api/jobs/";
/// All that are not dead. Ray looks at 10,000 actors and then leaves out the dead ones, of which it remembers 100,000.
const ACTORS: &str = "/api/v0/actors?limit=10000&filter_keys=state&filter_predicates=%21%3D&filter_values=DEAD";
/// Those that live: this filter Ray applies before it counts to 10,000. Others show by their job or as demand.
const LIVING: &str = "/api/v0/actors?limit=10000&filter_keys=state&filter_predicates=%3D&filter_values=ALIVE";
const SERVE: &str = "/api/serve/applications/";
const STATUS: &str = "/api/cluster_status";

/// Labels that every node of ours is started with.
const INSTANCE_ID: &str = "rayward.dev/instance-id";
const CLUSTER_UID: &str = "rayward.dev/cluster-uid";

/// How long an answer may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// To the question whether Ray's GCS lives.
    pub health: Duration,
    /// To any other.
    pub request: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            health: Duration::from_secs(2),
            request: Duration::from_secs(3),
        }
    }
}

/// Whose head it must be.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Uid of the cluster.
    pub cluster_uid: &'a str,
    /// Id of the head's instance.
    pub instance_id: &'a str,
}

/// Ray and its nodes, and whether it is used.
pub type Told = (View, Result<Activity, Failure>);

struct Answer {
    status: StatusCode,
    /// The head's own time of day.
    at: Option<Timestamp>,
    body: Bytes,
}

/// See the module. Drops its connection after anything that leaves it in the middle of an answer.
pub struct Dashboard {
    sender: Option<SendRequest<Empty<Bytes>>>,
    /// What the connection goes through.
    ssh: Weak<Connection>,
    actors: &'static str,
    patience: Patience,
}

impl Dashboard {
    /// Not connected yet.
    #[must_use]
    pub fn new(patience: Patience) -> Self {
        Self {
            sender: None,
            ssh: Weak::new(),
            actors: ACTORS,
            patience,
        }
    }

    /// Forgets the connection: what it went through is gone.
    pub fn hang_up(&mut self) {
        self.sender = None;
    }

    /// One look: complete, fresh, and of the expected head. Who uses it is a question of its own: Serve may be broken,
    /// or the list of jobs too long, on a Ray whose nodes are well. `first` is told the nodes as soon as they are
    /// known, before anybody knows whether they are in use: a Ray that has just started takes its time with the rest.
    ///
    /// # Errors
    /// Why nothing is known.
    pub async fn look(
        &mut self,
        ssh: &Arc<Connection>,
        token: &str,
        expected: Expected<'_>,
        first: impl FnOnce(View),
    ) -> Result<Told, Failure> {
        if !self.ssh.ptr_eq(&Arc::downgrade(ssh)) {
            self.hang_up();
            self.ssh = Arc::downgrade(ssh);
        }
        self.healthy(ssh).await?;
        let bearer = bearer(token)?;
        let version: Version = answers::read(VERSION, &self.get(ssh, VERSION, &bearer).await?.body)?;
        let rows: Vec<NodeRow> = answers::list(NODES, &self.get(ssh, NODES, &bearer).await?.body)?;
        is_ours(&rows, expected)?;
        let nodes: Result<_, Failure> = rows.iter().map(|row| node(row, None, expected)).collect();
        let mut view = View {
            session: version.session_name,
            version: version.ray_version,
            nodes: nodes?,
        };
        first(view.clone());
        let answers = self.answers(ssh, &bearer).await;
        let told = answers.as_ref().ok();
        let with_actors = told.map(Answers::nodes_with_actors).unwrap_or_default();
        for (node, row) in view.nodes.iter_mut().zip(&rows) {
            node.in_use = told.and_then(|answers| answers.in_use(row, &with_actors));
        }
        Ok((view, answers.map(|answers| answers.activity())))
    }

    /// Of who uses it.
    async fn answers(&mut self, ssh: &Connection, bearer: &HeaderValue) -> Result<Answers, Failure> {
        let jobs: Vec<JobRow> = answers::read(JOBS, &self.get(ssh, JOBS, bearer).await?.body)?;
        let actors = self.actors(ssh, bearer).await?;
        let serve = self.serve(ssh, bearer).await?;
        let status = self.get(ssh, STATUS, bearer).await?;
        let load = answers::load(STATUS, &status.body, status.at.unwrap_or_else(Timestamp::now))?;
        Ok(Answers {
            jobs,
            actors,
            serve,
            load,
        })
    }

    async fn healthy(&mut self, ssh: &Connection) -> Result<(), Failure> {
        // What was kept may have been closed since the last look; the question was not heard then.
        let was_kept = self.sender.as_ref().is_some_and(|sender| !sender.is_closed());
        let mut answer = self.send(ssh, HEALTH, None, self.patience.health).await;
        if was_kept
            && answer
                .as_ref()
                .is_err_and(|failure| failure.why == Blindness::DashboardDown)
        {
            answer = self.send(ssh, HEALTH, None, self.patience.health).await;
        }
        let answer = answer?;
        if answer.status == StatusCode::OK {
            return Ok(());
        }
        let message = format!(
            "the dashboard answers {} to {HEALTH}: Ray's control store (GCS) does not work",
            answer.status.as_u16()
        );
        Err(Failure::new(Blindness::GcsDown, message))
    }

    async fn actors(&mut self, ssh: &Connection, bearer: &HeaderValue) -> Result<Vec<ActorRow>, Failure> {
        let path = self.actors;
        let page: Page<ActorRow> = Page::read(path, &self.get(ssh, path, bearer).await?.body)?;
        if page.missing > 0 {
            self.actors = LIVING;
        }
        page.whole(path)
    }

    /// A Ray without Serve answers 501.
    async fn serve(&mut self, ssh: &Connection, bearer: &HeaderValue) -> Result<Serve, Failure> {
        let answer = self.send(ssh, SERVE, Some(bearer), self.patience.request).await?;
        if answer.status == StatusCode::NOT_IMPLEMENTED {
            return Ok(Serve::default());
        }
        let answer = accepted(SERVE, answer)?;
        answers::read(SERVE, &answer.body)
    }

    async fn get(&mut self, ssh: &Connection, path: &str, bearer: &HeaderValue) -> Result<Answer, Failure> {
        let answer = self.send(ssh, path, Some(bearer), self.patience.request).await?;
        accepted(path, answer)
    }

    async fn send(
        &mut self,
        ssh: &Connection,
        path: &str,
        bearer: Option<&HeaderValue>,
        limit: Duration,
    ) -> Result<Answer, Failure> {
        // Put back only when the answer was read to its end.
        let kept = self.sender.take().filter(|sender| !sender.is_closed());
        let asking = async {
            let mut sender = match kept {
                Some(sender) => sender,
                None => connect(ssh, limit).await?,
            };
            let mut request = Request::get(path).header(HOST, "127.0.0.1:8265");
            if let Some(bearer) = bearer {
                request = request.header(AUTHORIZATION, bearer);
            }
            let request = request
                .body(Empty::new())
                .map_err(|error| down(&format!("could not ask: {error}")))?;
            let lost = |_| {
                down(&format!(
                    "the dashboard closed the connection instead of answering {path}"
                ))
            };
            sender.ready().await.map_err(lost)?;
            let response = sender.send_request(request).await.map_err(|error| {
                if error.is_parse() {
                    garbled(path, "is not HTTP")
                } else {
                    lost(error)
                }
            })?;
            let (status, at) = (response.status(), date(response.headers().get(DATE)));
            let body = Limited::new(response.into_body(), MOST_BODY);
            let body = body.collect().await.map_err(|error| {
                if error.is::<LengthLimitError>() {
                    garbled(path, "is larger than 8 MiB")
                } else {
                    let message = format!("the dashboard's answer to {path} breaks off");
                    Failure::new(Blindness::Incomplete, message)
                }
            })?;
            let body = body.to_bytes();
            Ok((sender, Answer { status, at, body }))
        };
        let Ok(answered) = timeout(limit, asking).await else {
            let message = format!("the dashboard did not answer {path} within {limit:?}");
            return Err(Failure::new(Blindness::Slow, message));
        };
        let (sender, answer) = answered?;
        self.sender = Some(sender);
        Ok(answer)
    }
}

async fn connect(ssh: &Connection, limit: Duration) -> Result<SendRequest<Empty<Bytes>>, Failure> {
    let stream = ssh.stream(HOST_NAME, PORT, limit).await.map_err(|trouble| {
        let why = match trouble {
            Trouble::Refused(_) => Blindness::DashboardDown,
            Trouble::Prohibited(_) => Blindness::ForwardingDenied,
            Trouble::Silent(_) => Blindness::Slow,
            Trouble::Broken(_) => Blindness::Unreachable,
        };
        Failure::new(
            why,
            format!("no connection to the dashboard at {HOST_NAME}:{PORT}: {trouble}"),
        )
    })?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| down(&format!("no connection to the dashboard: {error}")))?;
    // Ends with the sender, or with the stream.
    tokio::spawn(connection);
    Ok(sender)
}

fn down(message: &str) -> Failure {
    Failure::new(Blindness::DashboardDown, message)
}

fn garbled(path: &str, what: &str) -> Failure {
    Failure::new(Blindness::Garbled, format!("the dashboard's answer to {path} {what}"))
}

fn bearer(token: &str) -> Result<HeaderValue, Failure> {
    let value = HeaderValue::try_from(format!("Bearer {token}"));
    let mut value = value.map_err(|_| {
        let message = "the token in the Secret has letters that no token has";
        Failure::new(Blindness::KeyMissing, message)
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn date(header: Option<&HeaderValue>) -> Option<Timestamp> {
    let text = header?.to_str().ok()?;
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

fn accepted(path: &str, answer: Answer) -> Result<Answer, Failure> {
    let code = answer.status.as_u16();
    match code {
        200 => Ok(answer),
        401 | 403 => Err(Failure::new(
            Blindness::TokenRefused,
            format!("the dashboard answers {code} to {path}: it does not accept the cluster's token"),
        )),
        500..=599 => {
            let message = format!("the dashboard answers {code} to {path}");
            Err(Failure::new(Blindness::Incomplete, message))
        }
        _ => Err(garbled(path, &format!("has the status {code}"))),
    }
}

/// Private addresses repeat from network to network, and instances take over each other's: only the labels tell whose
/// head it is.
fn is_ours(rows: &[NodeRow], expected: Expected<'_>) -> Result<(), Failure> {
    let heads = rows.iter().filter(|row| row.is_head_node && row.state == "ALIVE");
    let Some(head) = heads.max_by_key(|row| row.start_time_ms) else {
        let message = format!("the dashboard's answer to {NODES} has no living head yet");
        return Err(Failure::new(Blindness::Incomplete, message));
    };
    let label = |name| {
        head.labels
            .as_ref()
            .and_then(|labels| labels.get(name))
            .map(String::as_str)
    };
    let (uid, instance) = (label(CLUSTER_UID), label(INSTANCE_ID));
    if uid == Some(expected.cluster_uid) && instance == Some(expected.instance_id) {
        return Ok(());
    }
    let shown = |label: Option<&str>| label.map_or("none".into(), |label| excerpt(label, 64));
    let message = format!(
        "the Ray that answers is another one: its head's labels name the instance {} and the cluster {}, expected were \
         {} and {}",
        shown(instance),
        shown(uid),
        expected.instance_id,
        expected.cluster_uid
    );
    Err(Failure::new(Blindness::WrongPeer, message))
}

fn node(row: &NodeRow, in_use: Option<bool>, expected: Expected<'_>) -> Result<Node, Failure> {
    let time = |milliseconds| Timestamp::from_millisecond(milliseconds).ok();
    let Some(started_at) = time(row.start_time_ms) else {
        return Err(garbled(NODES, "has a time that is none"));
    };
    let label = |name| row.labels.as_ref().and_then(|labels| labels.get(name));
    let is_ours = label(CLUSTER_UID).is_some_and(|uid| uid == expected.cluster_uid);
    let state = match row.state.as_str() {
        "ALIVE" => NodeState::Alive,
        "DEAD" => {
            let message = excerpt(row.state_message.as_deref().unwrap_or_default(), 200);
            let ended = row.end_time_ms.filter(|end| *end > 0);
            NodeState::Dead {
                ended_at: ended.and_then(time),
                drained: ["Terminated due to idle", "Terminated due to preemption"]
                    .iter()
                    .any(|drained| message.contains(drained)),
                message,
            }
        }
        other => return Err(garbled(NODES, &format!("has the unknown state {}", excerpt(other, 40)))),
    };
    let is_alive = state == NodeState::Alive;
    Ok(Node {
        node_id: row.node_id.clone(),
        instance_id: label(INSTANCE_ID).filter(|_| is_ours).cloned(),
        is_head: row.is_head_node,
        in_use: in_use.filter(|_| is_alive),
        state,
        started_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heads_time_of_day_is_read_from_its_answers() {
        let header = HeaderValue::from_static("Mon, 23 Nov 2026 22:33:14 GMT");
        let expected: Timestamp = "2026-11-23T22:33:14Z".parse().unwrap();
        assert_eq!(date(Some(&header)), Some(expected));
        assert_eq!(date(Some(&HeaderValue::from_static("yesterday"))), None);
    }

    fn head(start_time_ms: i64, labels: &[(&str, &str)]) -> NodeRow {
        let labels = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        NodeRow {
            is_head_node: true,
            state: "ALIVE".into(),
            labels: Some(labels.collect()),
            start_time_ms,
            ..NodeRow::default()
        }
    }

    #[test]
    fn only_the_head_with_our_labels_is_ours() {
        let expected = Expected {
            cluster_uid: "uid",
            instance_id: "i-1",
        };
        let why = |rows: &[NodeRow]| is_ours(rows, expected).err().map(|failure| failure.why);
        let ours = || head(5, &[(CLUSTER_UID, "uid"), (INSTANCE_ID, "i-1")]);
        assert_eq!(why(&[ours()]), None);
        for labels in [
            &[(CLUSTER_UID, "uid"), (INSTANCE_ID, "i-2")][..],
            &[(CLUSTER_UID, "other"), (INSTANCE_ID, "i-1")],
            &[(INSTANCE_ID, "i-1")],
            &[(CLUSTER_UID, "uid")],
            &[],
        ] {
            assert_eq!(why(&[head(5, labels)]), Some(Blindness::WrongPeer), "{labels:?}");
            assert_eq!(
                why(&[ours(), head(6, labels)]),
                Some(Blindness::WrongPeer),
                "{labels:?}"
            );
        }
        let unlabelled = NodeRow { labels: None, ..ours() };
        assert_eq!(why(&[unlabelled]), Some(Blindness::WrongPeer));
        let dead = NodeRow {
            state: "DEAD".into(),
            ..ours()
        };
        assert_eq!(why(&[dead]), Some(Blindness::Incomplete));
        let worker = NodeRow {
            is_head_node: false,
            ..ours()
        };
        assert_eq!(why(&[worker]), Some(Blindness::Incomplete));
    }

    #[test]
    fn a_node_is_told_with_its_end_and_only_with_a_label_of_this_cluster() {
        let expected = Expected {
            cluster_uid: "uid",
            instance_id: "i-1",
        };
        let dead = |message: &str| NodeRow {
            state: "DEAD".into(),
            state_message: Some(message.into()),
            end_time_ms: Some(7_000),
            ..head(5_000, &[(CLUSTER_UID, "uid"), (INSTANCE_ID, "i-2")])
        };
        for (message, is_drained) in [
            ("Terminated due to idle (no Ray activity)", true),
            ("Terminated due to preemption", true),
            ("Unexpected termination: health check failed", false),
        ] {
            let node = node(&dead(message), Some(true), expected).unwrap();
            assert_eq!(node.in_use, None, "what is dead is not in use");
            assert_eq!(node.instance_id.as_deref(), Some("i-2"));
            let NodeState::Dead { ended_at, drained, .. } = node.state else {
                panic!("it is dead")
            };
            assert_eq!(
                (ended_at, drained),
                (Timestamp::from_second(7).ok(), is_drained),
                "{message}"
            );
        }
        let other = head(5_000, &[(CLUSTER_UID, "other"), (INSTANCE_ID, "i-2")]);
        assert_eq!(node(&other, None, expected).unwrap().instance_id, None);
        let odd = NodeRow {
            state: "ASLEEP".into(),
            ..head(5_000, &[])
        };
        assert_eq!(node(&odd, None, expected).unwrap_err().why, Blindness::Garbled);
    }

    #[test]
    fn statuses_tell_what_they_mean() {
        for (status, why) in [
            (200, None),
            (401, Some(Blindness::TokenRefused)),
            (403, Some(Blindness::TokenRefused)),
            (500, Some(Blindness::Incomplete)),
            (503, Some(Blindness::Incomplete)),
            (404, Some(Blindness::Garbled)),
            (302, Some(Blindness::Garbled)),
        ] {
            let answer = Answer {
                status: StatusCode::from_u16(status).unwrap(),
                at: None,
                body: Bytes::new(),
            };
            assert_eq!(
                accepted(NODES, answer).err().map(|failure| failure.why),
                why,
                "{status}"
            );
        }
    }
}
