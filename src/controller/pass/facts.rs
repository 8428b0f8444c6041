//! What a pass goes by: the cluster's region and what its sweeps saw, what is remembered, and what is looked up.

use std::{collections::BTreeSet, sync::Arc};

use futures::future::{BoxFuture, FutureExt};
use tokio::time::Instant;

use super::{Passes, SystemClock, has_finalizer, remembered::Remembered};
use crate::{
    api::{ACCEPT_HOST_KEY, KEEP_ALIVE_UNTIL, RayCluster, RayClusterStatus, STOPPED, WAKE, WAKE_HANDLED},
    controller::{cache::ObjectName, kubernetes::ClusterObject, regions::Region},
    execute::{Clock, Fact},
    observe::{Facts, KubeFacts, Observed, Source, Wishes, observe, settle},
    resources::{bucket, key_pair},
    sweep::Interest,
    validate::{Network, ValidCluster},
};

impl Passes {
    /// The region of a cluster, which is looked at for this cluster too, and was looked at before.
    pub(super) async fn region_of(&self, cluster: &ValidCluster, previous: &RayClusterStatus) -> Arc<Region> {
        let region = match self.regions.get(&cluster.region) {
            Some(region) => region,
            None => self.regions.connect(&cluster.region).await,
        };
        let (account, _) = region.account();
        let sweeps = &region.sweeps;
        sweeps.track(&cluster.id.uid, interest(cluster, previous, &account));
        if !sweeps.has_looked() {
            // What nearly every cluster needs is looked up meanwhile: the answers stay with the region.
            let looks = futures::future::join3(
                sweeps.first_look(),
                region.look_up_account(),
                region.look_up_image(&cluster.head.image),
            );
            // A region that does not answer at all is told in the status, after this while.
            let _ = tokio::time::timeout(self.settings.bounds.call_timeout, looks).await;
        }
        region
    }

    /// What is known of a cluster now, and what has to be looked up before the rest is.
    pub(super) fn observe<'a>(
        &'a self,
        object: &RayCluster,
        cluster: &'a ValidCluster,
        previous: &RayClusterStatus,
        region: &'a Arc<Region>,
        kubernetes: &'a ClusterObject,
        remembered: &mut Remembered,
    ) -> (Observed, Vec<BoxFuture<'a, Fact>>) {
        let now = Instant::now();
        let window = self.settings.limits.consistency_window;
        let mut lookups: Vec<BoxFuture<'a, Fact>> = Vec::new();
        let (account, is_good) = region.account();
        if !is_good {
            lookups.push(region.look_up_account().map(Fact::Account).boxed());
        }
        let (image, is_good) = region.image(&cluster.head.image);
        if !is_good && !cluster.deleting {
            lookups.push(region.look_up_image(&cluster.head.image).map(Fact::Image).boxed());
        }
        let version = self.secrets.version(&ObjectName::of(&object.metadata));
        let key = remembered.known_key(version.as_deref());
        let snapshot = region.sweeps.snapshot();
        remembered.memory.begin_pass(cluster.generation);
        settle(cluster, previous, &snapshot, &mut remembered.memory, window, now);
        let observed = observe(Facts {
            cluster,
            snapshot: &snapshot,
            memory: &remembered.memory,
            kube: KubeFacts {
                status: previous.clone(),
                key,
                stopped: annotation(object, STOPPED),
                has_finalizer: has_finalizer(object),
                wishes: Wishes {
                    keep_alive_until: annotation(object, KEEP_ALIVE_UNTIL),
                    wake: annotation(object, WAKE),
                    wake_handled: annotation(object, WAKE_HANDLED),
                    accept_host_key: annotation(object, ACCEPT_HOST_KEY),
                },
            },
            ray: self.watchers.facts(&cluster.id.uid),
            account,
            image,
            exhausted: region.exhausted.at(SystemClock.now()),
            consistency_window: window,
            now,
        });
        if matches!(observed.key, Source::Unknown(_)) && needs_key(cluster, &observed) {
            lookups.push(look_up_key(kubernetes).boxed());
        }
        (observed, lookups)
    }
}

/// Value of an annotation.
fn annotation(object: &RayCluster, name: &str) -> Option<String> {
    object.metadata.annotations.as_ref()?.get(name).cloned()
}

/// Whether a plan depends on the Secret with the key; that of a deletion only where a key pair has to be told for ours.
pub(super) fn needs_key(cluster: &ValidCluster, observed: &Observed) -> bool {
    !cluster.deleting || key_pair::untagged(cluster, &observed.inventory).next().is_some()
}

async fn look_up_key(kubernetes: &ClusterObject) -> Fact {
    Fact::Key(match kubernetes.key().await {
        Ok(secret) => Source::Known(secret),
        Err(error) => Source::Unknown(error.to_string().into()),
    })
}

/// What the sweeps have to look at for a cluster.
fn interest(cluster: &ValidCluster, status: &RayClusterStatus, account: &Source<String>) -> Interest {
    let brought = match &cluster.network {
        Network::Existing { vpc_id, .. } => Some(vpc_id.clone()),
        Network::Own { .. } => None,
    };
    let made = status.network.as_ref().and_then(|network| network.vpc_id.clone());
    let mut bucket_names: BTreeSet<String> = status.buckets.iter().map(|bucket| bucket.name.clone()).collect();
    if let Source::Known(account) = account {
        bucket_names.extend(bucket::names(cluster, account).map(|(name, _)| name));
    }
    Interest {
        path: cluster.id.path(),
        vpc_ids: brought.into_iter().chain(made).collect(),
        bucket_names,
        key_pair: cluster.key_pair.clone(),
    }
}
