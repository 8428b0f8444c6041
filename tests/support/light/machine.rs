//! The machines that an account has, as whoever stands for them has to know them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::Deserialize;

/// Where machines come from: the stand-in for AWS, or a list that a measurement makes up.
pub(crate) trait Account: Send + Sync {
    /// All instances, in whatever state; an error when it cannot be asked.
    fn machines(&self) -> Result<Vec<Machine>, String>;
}

/// An instance, as `GET /_sandbox/instances` of the stand-in shows it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(crate) struct Machine {
    pub(crate) id: String,
    pub(crate) state: String,
    pub(crate) private_address: Option<Ipv4Addr>,
    pub(crate) public_address: Option<Ipv4Addr>,
    pub(crate) vpc: Option<String>,
    pub(crate) user_data: String,
    pub(crate) tags: BTreeMap<String, String>,
    /// Unix time of its last start or reboot.
    pub(crate) booted_at: Option<f64>,
}

impl Machine {
    fn tag(&self, key: &str) -> &str {
        self.tags.get(key).map(String::as_str).unwrap_or_default()
    }

    /// Uid of its cluster.
    pub(crate) fn cluster(&self) -> &str {
        self.tag("rayward.dev/cluster-uid")
    }

    /// Whether it is a head.
    pub(crate) fn is_head(&self) -> bool {
        self.tag("rayward.dev/role") == "head"
    }

    /// Its worker group; of the head, `head`.
    pub(crate) fn group(&self) -> &str {
        if self.is_head() {
            "head"
        } else {
            self.tag("rayward.dev/group")
        }
    }

    /// Whether it runs.
    pub(crate) fn runs(&self) -> bool {
        self.state == "running"
    }

    /// What its user data sets a shell variable of the bootstrap to, such as `head`, the address of a worker's head.
    pub(crate) fn said(&self, variable: &str) -> Option<&str> {
        let begin = format!("{variable}='");
        let mut lines = self.user_data.lines();
        let value = lines.find_map(|line| line.trim_start().strip_prefix(&begin)?.strip_suffix('\''));
        value.filter(|value| !value.is_empty())
    }

    /// Whether its user data lets in whoever has this public key, in OpenSSH's form.
    pub(crate) fn lets_in(&self, key: &str) -> bool {
        // Type and key alone: the comment is anybody's.
        let words: Vec<&str> = key.split_whitespace().take(2).collect();
        words.len() == 2 && self.user_data.contains(&words.join(" "))
    }
}
