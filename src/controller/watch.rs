//! Watches of Kubernetes: they fill the caches and say which cluster is to be looked at.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{
        WatchStreamExt,
        utils::Backoff,
        watcher::{self, DefaultBackoff, Event, watcher},
    },
};

use super::{
    Controller,
    cache::{Cached, ObjectName},
    key,
    kubernetes::in_one_line,
};
use crate::api::RayCluster;

/// Objects a page of a list: a page is in memory as text and as objects at the same time.
const PAGE: u32 = 100;

/// The longest pause before a watch begins anew: after an API server was away, clusters are not left alone for long.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// kube's pauses, cut to [`LONGEST_PAUSE`].
#[derive(Default)]
struct Pauses(DefaultBackoff);

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next().map(|pause| pause.min(LONGEST_PAUSE))
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.0.reset();
    }
}

impl Controller {
    /// One object that is not what its schema says cannot break the watch: it is a [`Cached::Invalid`].
    pub(super) async fn watch_clusters(self: Arc<Self>) {
        let config = watcher::Config::default().page_size(PAGE);
        let api: Api<DeserializeGuard<RayCluster>> = self.api();
        self.follow(
            "RayClusters",
            watcher(api, config).backoff(Pauses::default()),
            |event| match event {
                Event::Init => self.passes.cache.list_begins(),
                Event::InitApply(object) | Event::Apply(object) => self.enter(Cached::new(object)),
                Event::InitDone => {
                    for gone in self.passes.cache.list_ends() {
                        self.leave(&gone);
                    }
                    self.readiness.clusters.store(true, Ordering::Release);
                    tracing::info!(clusters = self.passes.cache.names().len(), "the RayClusters are read");
                }
                Event::Delete(object) => {
                    let object = Cached::new(object);
                    if let Some(gone) = self.passes.cache.remove(&object) {
                        self.leave(&gone);
                    }
                }
            },
        )
        .await;
    }

    pub(super) async fn watch_secrets(self: Arc<Self>) {
        let config = watcher::Config::default().labels(key::LABEL).page_size(PAGE);
        let api: Api<PartialObjectMeta<Secret>> = self.api();
        let events = watcher(api, config).backoff(Pauses::default());
        let look = |cluster: Option<ObjectName>| {
            if let Some(cluster) = cluster {
                self.queue.add(&cluster, Duration::ZERO);
            }
        };
        let secrets = &self.passes.secrets;
        self.follow(
            "Secrets",
            events,
            |event: Event<PartialObjectMeta<Secret>>| match event {
                Event::Init => secrets.list_begins(),
                Event::InitApply(secret) | Event::Apply(secret) => look(secrets.put(&secret.metadata)),
                Event::InitDone => {
                    secrets.list_ends().into_iter().for_each(|cluster| look(Some(cluster)));
                    self.readiness.secrets.store(true, Ordering::Release);
                }
                Event::Delete(secret) => look(secrets.remove(&secret.metadata)),
            },
        )
        .await;
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        let client = self.passes.client.clone();
        match &self.watch_namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        }
    }

    async fn follow<T>(
        &self,
        what: &str,
        events: impl Stream<Item = watcher::Result<Event<T>>>,
        mut enter: impl FnMut(Event<T>),
    ) {
        let mut events = std::pin::pin!(events);
        loop {
            let event = tokio::select! {
                () = self.tasks.stop().cancelled() => return,
                event = events.next() => event,
            };
            match event {
                Some(Ok(event)) => enter(event),
                Some(Err(error)) => {
                    let error = in_one_line(&error);
                    tracing::warn!(error, "the watch of {what} is interrupted and begins anew");
                }
                None => return,
            }
        }
    }

    fn enter(&self, object: Cached) {
        let name = ObjectName::of(object.metadata());
        let known = self.passes.cache.get(&name);
        let version = |object: &Cached| object.metadata().resource_version.clone();
        // The echo of our own write is nothing new.
        let is_new = known.is_none_or(|known| version(&known) != version(&object));
        if let Some(replaced) = self.passes.cache.put(object) {
            self.leave(&replaced);
        }
        if is_new {
            self.queue.add(&name, Duration::ZERO);
        }
    }

    fn leave(&self, object: &Cached) {
        let name = ObjectName::of(object.metadata());
        self.queue.remove(&name);
        self.passes
            .forget(&name, object.metadata().uid.as_deref().unwrap_or_default());
    }
}
