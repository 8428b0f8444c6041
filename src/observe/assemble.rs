//! From what the sweeps found to what one cluster has: what is ours, what only lies beside it, and how complete it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::Instant;

use super::{KeySecret, Ledger, Observed, Shortage, Source, Wishes};
use crate::{
    api::RayClusterStatus,
    aws::Image,
    memory::Memory,
    ray::facts::RayFacts,
    resources::{Inventory, Kind, address::Address, bucket, instance::token_prefix, unique_name},
    sweep::{KindSweep, Snapshot, Stored, owner},
    tags,
    validate::{Network, ValidCluster},
};

/// What Kubernetes tells of one cluster.
#[derive(Clone, Debug)]
pub struct KubeFacts {
    /// Its last status.
    pub status: RayClusterStatus,
    /// The Secret with the controller's own key.
    pub key: Source<KeySecret>,
    /// Value of the annotation `rayward.dev/stopped`.
    pub stopped: Option<String>,
    /// Whether the object carries our finalizer.
    pub has_finalizer: bool,
    /// What people say in annotations.
    pub wishes: Wishes,
}

/// All from which one cluster is observed.
#[derive(Debug)]
pub struct Facts<'a> {
    /// What is asked for.
    pub cluster: &'a ValidCluster,
    /// What the sweeps found.
    pub snapshot: &'a Snapshot,
    /// What was just done, and refused.
    pub memory: &'a Memory,
    /// What Kubernetes tells.
    pub kube: KubeFacts,
    /// Id of the AWS account.
    pub account: Source<String>,
    /// The image that the spec names.
    pub image: Source<Image>,
    /// What is known of its Ray.
    pub ray: RayFacts,
    /// Pools without capacity, of the region.
    pub exhausted: BTreeMap<Shortage, Timestamp>,
    /// How long AWS may still show what was before a change.
    pub consistency_window: Duration,
    /// The time, monotonic.
    pub now: Instant,
}

/// Puts together what is known of one cluster. Pure.
#[must_use]
pub fn observe(facts: Facts<'_>) -> Observed {
    let id = &facts.cluster.id;
    let status = own_status(&id.uid, facts.kube.status);
    let mut inventory = inventory(facts.cluster, &status, facts.snapshot, facts.memory, facts.now);
    facts
        .memory
        .replay(&mut inventory, facts.snapshot, facts.consistency_window);
    let age = |began: Instant| facts.now.saturating_duration_since(began);
    let ages = facts.snapshot.sweeps().map(|(_, sweep)| age(sweep.began));
    Observed {
        account: facts.account,
        inventory,
        image: facts.image,
        key: facts.kube.key,
        ledger: Ledger {
            launches: status.launches.clone(),
            last: status.last_launch,
            held_until: status.launches_held_until,
        },
        is_own_mark: facts.kube.stopped.is_some() && facts.kube.stopped.as_deref() == facts.memory.mark(),
        stopped: facts.kube.stopped,
        has_finalizer: facts.kube.has_finalizer,
        predecessors: facts.snapshot.predecessors(id),
        exhausted: facts.exhausted,
        refusals: facts.memory.refusals().clone(),
        clean_sweeps: facts
            .snapshot
            .clean_sweeps(&id.uid, facts.memory.shown_from(facts.consistency_window)),
        sweep_age: ages.max().unwrap_or(Duration::MAX),
        machine_sweep_age: facts
            .snapshot
            .sweep(Kind::Instance)
            .map_or(Duration::MAX, |sweep| age(sweep.began)),
        seen_after_launches: facts
            .snapshot
            .sweep(Kind::Instance)
            .and_then(|sweep| sweep.began.checked_duration_since(facts.memory.last_launch())),
        ray: facts.ray,
        ray_age: Duration::ZERO,
        steps: status.steps(),
        wishes: facts.kube.wishes,
        recorded: status,
    }
}

/// Lets `memory` forget what every look at AWS shows by now; before [`observe`], once a pass.
pub fn settle(
    cluster: &ValidCluster,
    status: &RayClusterStatus,
    snapshot: &Snapshot,
    memory: &mut Memory,
    consistency_window: Duration,
    now: Instant,
) {
    memory.looked(snapshot);
    if memory.expects() {
        let status = own_status(&cluster.id.uid, status.clone());
        let shown = inventory(cluster, &status, snapshot, memory, now);
        memory.settle(&shown, snapshot, consistency_window);
    }
}

/// The status, unless it is another object's, as after a restored backup: then it counts as lost.
fn own_status(uid: &str, status: RayClusterStatus) -> RayClusterStatus {
    if status.cluster_uid.as_deref() == Some(uid) {
        status
    } else {
        RayClusterStatus::default()
    }
}

/// What the sweeps alone show of a cluster.
fn inventory(
    cluster: &ValidCluster,
    status: &RayClusterStatus,
    snapshot: &Snapshot,
    memory: &Memory,
    now: Instant,
) -> Inventory {
    let view = View::new(cluster, status, snapshot);
    let mut inventory = Inventory::default();
    // In a VPC that this process made, a sweep that did not know of it yet has missed nothing.
    let vpcs = || {
        let used = view.own_vpcs.iter().chain(&view.brought_vpc).map(String::as_str);
        used.filter(|vpc| !memory.made_vpc(vpc))
    };
    for kind in Kind::ALL {
        let wanted = cluster.buckets.iter().filter_map(|bucket| bucket.name.as_deref());
        let names = wanted.chain(status.buckets.iter().map(|bucket| bucket.name.as_str()));
        let swept = match snapshot.shortcoming(*kind, vpcs(), names, now) {
            None => Source::Known(()),
            Some(why) => Source::Unknown(why),
        };
        inventory.set_swept(*kind, swept);
    }
    for (kind, sweep) in snapshot.sweeps() {
        for thing in sweep.of_cluster(view.uid) {
            thing.put(&mut inventory, !view.brought.contains(thing.id()));
        }
        for vpc in view.own_vpcs.iter().chain(&view.brought_vpc) {
            for thing in sweep.in_vpc(vpc).filter(|thing| view.owner(*thing) != Some(view.uid)) {
                thing.put(&mut inventory, view.is_proven(kind, thing));
            }
        }
    }
    if let Some(sweep) = snapshot.sweep(Kind::KeyPair) {
        // The user's, and one with the name of ours, which may have lost its tags.
        let own = unique_name(&cluster.id);
        let wanted = [Some(own.as_str()), cluster.key_pair.as_deref()];
        let named = wanted.into_iter().flatten().flat_map(|name| sweep.named(name));
        for thing in named.filter(|thing| view.owner(*thing) != Some(view.uid)) {
            thing.put(&mut inventory, false);
        }
    }
    if let Some(sweep) = snapshot.sweep(Kind::Address) {
        shelve_recorded_address(status, sweep, &mut inventory);
    }
    if let Some(sweep) = snapshot.sweep(Kind::Bucket) {
        shelve_buckets(cluster, status, sweep, memory, &mut inventory);
    }
    inventory
}

/// Shelves the Elastic address that the last status names and that lost its tags: ours, unless something else than a
/// machine of ours uses it by now.
fn shelve_recorded_address(status: &RayClusterStatus, sweep: &KindSweep, inventory: &mut Inventory) {
    let recorded = status.head.as_ref().and_then(|head| head.allocation_id.as_deref());
    let found = recorded.and_then(|id| sweep.get(id));
    let Some(thing) = found.filter(|thing| thing.tag(tags::CLUSTER_UID).is_none()) else {
        return;
    };
    thing.put(inventory, false);
    let (machines, shelf) = (&inventory.instance.ours, &mut inventory.address);
    let is_ours = |address: &Address| match &address.instance_id {
        Some(machine) => machines.contains_key(machine),
        None => address.association_id.is_none(),
    };
    if let Some(address) = shelf.others.remove(thing.id()) {
        let side = if is_ours(&address) {
            &mut shelf.ours
        } else {
            &mut shelf.others
        };
        side.insert(address.id.clone(), address);
    }
}

/// Puts the buckets that concern the cluster on their shelf: those that it asks for, those that its status names, and
/// those whose names begin as Rayward makes them for this cluster.
fn shelve_buckets(
    cluster: &ValidCluster,
    status: &RayClusterStatus,
    sweep: &KindSweep,
    memory: &Memory,
    inventory: &mut Inventory,
) {
    let prefix = bucket::name_prefix(&cluster.id);
    let wanted = cluster.buckets.iter().filter_map(|bucket| bucket.name.as_deref());
    let recorded = status.buckets.iter().map(|bucket| bucket.name.as_str());
    let named = wanted.chain(recorded).filter_map(|name| sweep.get(name));
    let mut listed = Inventory::default();
    for thing in named.chain(sweep.beginning_with(&prefix)) {
        thing.put(&mut listed, false);
    }
    let shelf = &mut inventory.bucket;
    (shelf.ours, shelf.others) = bucket::shelve(cluster, listed.bucket.others, memory.looked_at());
}

/// What decides whether something is one cluster's.
struct View<'a> {
    uid: &'a str,
    token_prefix: String,
    /// VPCs of ours.
    own_vpcs: BTreeSet<String>,
    /// The user's VPC.
    brought_vpc: Option<String>,
    /// Ids of the user's network: never ours, whatever their tags say.
    brought: BTreeSet<&'a str>,
    /// Ids that the last status names.
    recorded: BTreeSet<&'a str>,
}

impl<'a> View<'a> {
    fn new(cluster: &'a ValidCluster, status: &'a RayClusterStatus, snapshot: &Snapshot) -> Self {
        let mut view = View {
            uid: &cluster.id.uid,
            token_prefix: token_prefix(&cluster.id.installation),
            own_vpcs: BTreeSet::new(),
            brought_vpc: None,
            brought: BTreeSet::new(),
            recorded: recorded_ids(status),
        };
        match &cluster.network {
            Network::Own { .. } => {
                let recorded = status.network.as_ref().and_then(|network| network.vpc_id.as_deref());
                view.own_vpcs = view.own_vpcs(snapshot, recorded);
            }
            Network::Existing {
                vpc_id,
                subnet_ids,
                security_group_ids,
            } => {
                view.brought_vpc = Some(vpc_id.clone());
                view.brought = std::iter::once(vpc_id)
                    .chain(subnet_ids)
                    .chain(security_group_ids)
                    .map(String::as_str)
                    .collect();
            }
        }
        view
    }

    fn owner<'t>(&self, thing: &'t dyn Stored) -> Option<&'t str> {
        owner(thing, &self.token_prefix)
    }

    /// The VPCs that are ours by tag; those that lost it are known by our record, or because they hold what only we
    /// put into a VPC of ours. A tagged machine alone proves nothing: "launch more like this" copies tags.
    fn own_vpcs(&self, snapshot: &Snapshot, recorded: Option<&str>) -> BTreeSet<String> {
        let Some(vpcs) = snapshot.sweep(Kind::Vpc) else {
            return recorded.map(ToOwned::to_owned).into_iter().collect();
        };
        let tagged = vpcs.of_cluster(self.uid).map(Stored::id);
        let is_proof = |kind: Kind, thing: &dyn Stored| {
            is_structure(kind)
                || thing
                    .client_token()
                    .is_some_and(|token| token.starts_with(&self.token_prefix))
        };
        let holding = snapshot.sweeps().flat_map(|(kind, sweep)| {
            sweep
                .of_cluster(self.uid)
                .filter(move |thing| is_proof(kind, *thing))
                .filter_map(Stored::vpc_id)
        });
        let untagged = recorded
            .into_iter()
            .chain(holding)
            .filter(|id| vpcs.get(id).is_some_and(|vpc| self.owner(vpc).is_none()));
        tagged.chain(untagged).map(ToOwned::to_owned).collect()
    }

    /// Whether something without our uid is ours all the same: a VPC of ours that lost its tags, or what our status
    /// names and lies where it must. In the user's VPC that can be a security group alone.
    fn is_proven(&self, kind: Kind, thing: &dyn Stored) -> bool {
        let Some(vpc) = thing.vpc_id().filter(|_| thing.tag(tags::CLUSTER_UID).is_none()) else {
            return false;
        };
        let is_recorded = self.recorded.contains(thing.id());
        if self.own_vpcs.contains(vpc) {
            is_recorded || self.own_vpcs.contains(thing.id())
        } else {
            is_recorded && kind == Kind::SecurityGroup && !self.brought.contains(thing.id())
        }
    }
}

/// Kinds of which only we put any into a VPC of ours.
fn is_structure(kind: Kind) -> bool {
    matches!(kind, Kind::Subnet | Kind::InternetGateway)
}

/// Every id of EC2 that a status names.
fn recorded_ids(status: &RayClusterStatus) -> BTreeSet<&str> {
    let network = status.network.iter();
    let network = network.flat_map(|network| {
        let single = [&network.vpc_id, &network.internet_gateway_id, &network.route_table_id];
        let subnets = network.subnets.iter().map(|subnet| &subnet.id);
        single
            .into_iter()
            .flatten()
            .chain(&network.security_group_ids)
            .chain(subnets)
    });
    let head = status.head.iter().filter_map(|head| head.instance_id.as_ref());
    let machines = status.worker_groups.iter().flat_map(|group| &group.machines);
    let workers = machines.map(|machine| &machine.instance_id);
    network.chain(head).chain(workers).map(String::as_str).collect()
}

#[cfg(test)]
mod tests;
