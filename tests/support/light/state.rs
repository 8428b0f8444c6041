//! All machines of one account, and the Rays on them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Instant;

use super::load::Load;
use super::machine::Machine;
use super::manner::{Manner, Manners};
use super::node::Node;
use super::ray::Ray;
use super::timing::Timing;
use super::trouble::{Lasting, Trouble, Until};

/// See the module. It moves on when it is looked at.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// By instance id.
    pub(crate) nodes: BTreeMap<String, Node>,
    /// By the instance id of the head.
    pub(crate) rays: BTreeMap<String, Ray>,
    pub(crate) timing: Timing,
    /// What runs on every cluster that has no load of its own.
    pub(crate) load: Load,
    /// By the cluster's uid.
    pub(crate) loads: BTreeMap<String, Load>,
    pub(crate) manners: Vec<Manners>,
    /// What is wrong with each machine that is launched from now on; empty: nothing.
    pub(crate) troubles_of_new: Vec<(Trouble, Until)>,
    /// What `/api/version` says, if not what the head's user data does.
    pub(crate) version: Option<String>,
    pub(crate) counts: Counts,
}

/// What was asked of the machines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// SSH connections to public or private addresses that were taken.
    pub(crate) connections: u64,
    /// SSH sessions within those, to workers.
    pub(crate) inner_connections: u64,
    /// Sign-ins that were refused.
    pub(crate) refused: u64,
    /// Requests to dashboards, by path.
    pub(crate) requests: BTreeMap<String, u64>,
    /// The calls of `rayward-node` but `report`.
    pub(crate) calls: Vec<Call>,
}

/// A call of `rayward-node`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) instance: String,
    /// Name and arguments, without the token.
    pub(crate) words: Vec<String>,
}

impl State {
    /// Takes what the account says now.
    pub(crate) fn learn(&mut self, machines: Vec<Machine>) {
        let listed: Vec<String> = machines.iter().map(|machine| machine.id.clone()).collect();
        for machine in machines {
            let is_new = !self.nodes.contains_key(&machine.id);
            let node = self.nodes.entry(machine.id.clone()).or_default();
            node.learn(machine);
            if is_new {
                let (since, life) = (Instant::now(), node.life);
                let lasting = self.troubles_of_new.iter().cloned();
                node.troubles.extend(lasting.map(|(trouble, until)| Lasting {
                    trouble,
                    until,
                    since,
                    life,
                }));
            }
        }
        for (id, node) in &mut self.nodes {
            if !listed.contains(id) {
                node.learn(Machine {
                    state: "terminated".to_owned(),
                    ..Machine::default()
                });
            }
        }
    }

    /// Lets happen what is due.
    pub(crate) fn advance(&mut self) {
        let Self {
            nodes, rays, timing, ..
        } = self;
        for (id, head) in nodes.iter().filter(|(_, node)| node.machine.is_head()) {
            let token = head.token.as_deref().filter(|_| head.can_run_ray(timing.boot));
            let runs = |ray: &Ray| token == Some(&ray.token) && ray.life == head.life;
            if !rays.get(id).is_some_and(runs) {
                rays.remove(id);
                if let Some(token) = token {
                    rays.insert(id.clone(), Ray::begin(head, token));
                }
            }
        }
        let heads: Vec<String> = rays.keys().cloned().collect();
        for id in heads {
            let workers: Vec<String> = self.workers_of(&id);
            for worker in workers {
                let is_mine = self.head_of(&worker).as_ref() == Some(&id);
                let works = self.cpus_used(&worker) > 0.0;
                if let (Some(ray), Some(node)) = (self.rays.get_mut(&id), self.nodes.get_mut(&worker)) {
                    ray.follow(node, is_mine, works, &self.timing);
                }
            }
        }
    }

    /// The workers of a head's cluster.
    fn workers_of(&self, head: &str) -> Vec<String> {
        let cluster = self.nodes.get(head).map(|node| node.machine.cluster());
        let workers = self.nodes.iter().filter(|(_, node)| {
            !node.machine.is_head() && !node.machine.cluster().is_empty() && Some(node.machine.cluster()) == cluster
        });
        workers.map(|(id, _)| id.clone()).collect()
    }

    /// The head whose Ray answers where a worker looks for it; it may not know where.
    pub(crate) fn head_of(&self, worker: &str) -> Option<String> {
        let worker = self.nodes.get(worker)?;
        let is_it = |id: &&String| {
            self.nodes.get(*id).is_some_and(|head| {
                head.machine.cluster() == worker.machine.cluster()
                    && worker
                        .head_address()
                        .is_none_or(|address| Some(address) == head.machine.private_address)
            })
        };
        self.rays.keys().find(is_it).cloned()
    }

    /// What runs on the cluster of a machine.
    pub(crate) fn load_of(&self, instance: &str) -> &Load {
        let cluster = self.nodes.get(instance).map(|node| node.machine.cluster());
        cluster
            .and_then(|cluster| self.loads.get(cluster))
            .unwrap_or(&self.load)
    }

    /// How many CPUs of a machine are in use.
    pub(crate) fn cpus_used(&self, instance: &str) -> f64 {
        self.load_of(instance).cpus.get(instance).copied().unwrap_or_default()
    }

    /// The machine that has a public address now.
    pub(crate) fn at_public(&self, address: Ipv4Addr) -> Option<String> {
        let has = |node: &Node| node.machine.public_address == Some(address);
        self.up().find(|(_, node)| has(node)).map(|(id, _)| id.clone())
    }

    /// The machines that have a private address now, in one VPC or in all.
    pub(crate) fn at_private(&self, address: Ipv4Addr, vpc: Option<&str>) -> Vec<String> {
        let has = |node: &Node| {
            node.machine.private_address == Some(address) && (vpc.is_none() || node.machine.vpc.as_deref() == vpc)
        };
        self.up()
            .filter(|(_, node)| has(node))
            .map(|(id, _)| id.clone())
            .collect()
    }

    fn up(&self) -> impl Iterator<Item = (&String, &Node)> {
        self.nodes.iter().filter(|(_, node)| node.is_up(self.timing.boot))
    }

    /// In which manner a head answers a request, when not properly.
    pub(crate) fn manner(&self, head: &str, path: &str) -> Option<Manner> {
        let mut manners = self.manners.iter().rev().filter(|each| each.mean(head, path));
        manners.next().map(|each| each.manner)
    }
}
