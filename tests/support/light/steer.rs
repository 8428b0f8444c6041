//! What a test does to machines, and what it asks of them.

use std::time::Instant;

use super::Light;
use super::load::Load;
use super::manner::{Manner, Manners};
use super::node::Node;
use super::ssh::fingerprint;
use super::state::{Call, Counts};
use super::timing::Timing;
use super::trouble::{Lasting, Trouble, Until};

impl Light {
    /// What runs on every cluster of the account from now on; `Load::default()`: nothing.
    pub(crate) fn set_load(&self, load: Load) {
        self.with(|state| state.load = load);
    }

    /// What runs on the cluster with this uid.
    pub(crate) fn set_load_of(&self, cluster: &str, load: Load) {
        self.with(|state| state.loads.insert(cluster.to_owned(), load));
    }

    /// Changes how long things take.
    pub(crate) fn set_timing(&self, change: impl FnOnce(&mut Timing)) {
        self.with(|state| change(&mut state.timing));
    }

    /// The version that Ray tells.
    pub(crate) fn set_version(&self, version: &str) {
        self.with(|state| state.version = Some(version.to_owned()));
    }

    /// People on a machine.
    pub(crate) fn set_people(&self, instance: &str, ssh_sessions: u32, jupyter_kernels: u32) {
        self.edit(instance, |node| {
            (node.ssh_sessions, node.jupyter_kernels) = (ssh_sessions, jupyter_kernels);
        });
    }

    /// Something goes wrong on a machine.
    pub(crate) fn trouble(&self, instance: &str, trouble: Trouble, until: Until) {
        let ends_connections = trouble == Trouble::SshClosed;
        self.edit(instance, |node| {
            node.troubles.push(Lasting {
                trouble,
                until,
                since: Instant::now(),
                life: node.life,
            });
            if ends_connections {
                node.end_connections();
            }
        });
    }

    /// Nothing is wrong with a machine any more.
    pub(crate) fn mend(&self, instance: &str) {
        self.edit(instance, |node| node.troubles.clear());
    }

    /// The same is wrong with each machine that is launched from now on.
    pub(crate) fn trouble_of_new(&self, troubles: Vec<(Trouble, Until)>) {
        self.with(|state| state.troubles_of_new = troubles);
    }

    /// The machine has another SSH host key, and its connections end.
    pub(crate) fn change_host_key(&self, instance: &str) {
        self.edit(instance, |node| {
            node.host_keys += 1;
            node.end_connections();
        });
    }

    /// The fingerprint of a machine's SSH host key, `SHA256:...`.
    pub(crate) fn host_key(&self, instance: &str) -> String {
        let number = self.with(|state| state.nodes.get(instance).map_or(0, |node| node.host_keys));
        fingerprint(instance, number)
    }

    /// The machine's Ray says that it is of another cluster; `None`: of its own again.
    pub(crate) fn pose(&self, instance: &str, cluster: Option<&str>) {
        self.edit(instance, |node| node.poses_as = cluster.map(str::to_owned));
    }

    /// The machine has a token that nobody gave it over SSH in this test.
    pub(crate) fn put_token(&self, instance: &str, token: &str) {
        self.edit(instance, |node| node.take_token(token));
    }

    /// Every connection to a machine ends.
    pub(crate) fn end_connections(&self, instance: &str) {
        self.edit(instance, Node::end_connections);
    }

    /// Every head answers requests whose path begins with `path` in a manner of its own, until [`Self::answer_well`].
    pub(crate) fn answer(&self, path: &str, manner: Manner) {
        self.answer_of("", path, manner);
    }

    /// One head does.
    pub(crate) fn answer_of(&self, instance: &str, path: &str, manner: Manner) {
        let manners = Manners {
            instance: instance.to_owned(),
            path: path.to_owned(),
            manner,
        };
        self.with(|state| state.manners.push(manners));
    }

    /// All heads answer properly again.
    pub(crate) fn answer_well(&self) {
        self.with(|state| state.manners.clear());
    }

    /// What was asked so far.
    pub(crate) fn counts(&self) -> Counts {
        self.with(|state| state.counts.clone())
    }

    /// The calls of `rayward-node` so far but `report`, of one machine.
    pub(crate) fn calls(&self, instance: &str) -> Vec<Vec<String>> {
        let mut calls = self.counts().calls;
        calls.retain(|call| call.instance == instance);
        calls.into_iter().map(|Call { words, .. }| words).collect()
    }

    /// How often a machine was asked for a report.
    pub(crate) fn reports(&self, instance: &str) -> u64 {
        self.with(|state| state.nodes.get(instance).map_or(0, |node| node.reports))
    }

    /// The instances that are alive in the Ray of a head, itself among them; empty: it has none.
    pub(crate) fn joined(&self, head: &str) -> Vec<String> {
        self.look_now();
        self.with(|state| {
            let rows = state.rays.get(head).map(|ray| ray.rows.as_slice()).unwrap_or_default();
            rows.iter()
                .filter(|row| row.ended.is_none())
                .map(|row| row.instance.clone())
                .collect()
        })
    }

    /// The name of the session of a head's Ray.
    pub(crate) fn session(&self, head: &str) -> Option<String> {
        self.with(|state| state.rays.get(head).map(|ray| ray.session.clone()))
    }

    /// Changes a machine, which the account has.
    fn edit(&self, instance: &str, change: impl FnOnce(&mut Node)) {
        self.look_now();
        self.with(|state| {
            let node = state.nodes.get_mut(instance);
            change(node.unwrap_or_else(|| panic!("there is no machine {instance}")));
            state.advance();
        });
    }
}
