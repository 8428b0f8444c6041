//! What all clusters of one region share: the clients, the sweeps, what is short, and what was looked up.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{sync::broadcast, time::Instant};

use super::tasks::Tasks;
use crate::{
    aws::{Aws, AwsError, Clients, Fence, Gate, Image, Observer, brake::Braked},
    memory::Shortages,
    observe::{Source, Unseen},
    sweep::{Changed, SweepIntervals, Sweeps},
    validate::ImageRef,
};

/// Gives access to regions: AWS itself, or a double in tests and measurements.
#[async_trait]
pub trait Cloud: Send + Sync {
    /// The account in one region.
    async fn connect(&self, region: &str) -> Arc<dyn Aws>;
}

/// AWS itself, with the credentials of the SDK's default chain.
pub struct AwsCloud {
    /// Asked before every change.
    pub fence: Arc<dyn Fence>,
    /// Told of every call.
    pub observer: Arc<dyn Observer>,
    /// How long a single call may take.
    pub call_timeout: Duration,
}

#[async_trait]
impl Cloud for AwsCloud {
    async fn connect(&self, region: &str) -> Arc<dyn Aws> {
        let gate = Gate::new(Arc::clone(&self.fence), Arc::clone(&self.observer), self.call_timeout);
        Arc::new(Clients::connect(region, gate, self.call_timeout).await)
    }
}

/// How long what was looked up is used: images behind a parameter change rarely, those behind an id never.
const KNOWN_FOR: Duration = Duration::from_hours(1);
/// How long a look-up that failed is not made again.
const UNKNOWN_FOR: Duration = Duration::from_secs(15);

/// Something that is looked up once for all clusters and kept for a while.
#[derive(Debug)]
pub struct Lookup<T> {
    found: Mutex<Option<(Source<T>, Instant)>>,
    turn: tokio::sync::Mutex<()>,
}

impl<T> Default for Lookup<T> {
    fn default() -> Self {
        Self {
            found: Mutex::new(None),
            turn: tokio::sync::Mutex::new(()),
        }
    }
}

impl<T: Clone> Lookup<T> {
    fn found(&self) -> MutexGuard<'_, Option<(Source<T>, Instant)>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was found last, and whether it is still good. What is old is better than nothing.
    #[must_use]
    pub fn last(&self) -> (Source<T>, bool) {
        match &*self.found() {
            Some((source, until)) => (source.clone(), *until > Instant::now()),
            None => (Source::Unknown("not looked up yet".into()), false),
        }
    }

    /// What is known, looked up by `call` where it is not good any more; those who ask meanwhile share the answer.
    pub async fn get(&self, call: impl Future<Output = Result<T, AwsError>>) -> Source<T> {
        let _turn = self.turn.lock().await;
        if let (source, true) = self.last() {
            return source;
        }
        let (source, good_for) = match call.await {
            Ok(value) => (Source::Known(value), KNOWN_FOR),
            Err(error) => {
                tracing::warn!(%error, "could not look up");
                match self.last().0 {
                    Source::Known(value) => (Source::Known(value), UNKNOWN_FOR),
                    Source::Unknown(_) => (Source::Unknown(Unseen::by(&error)), UNKNOWN_FOR),
                }
            }
        };
        *self.found() = Some((source.clone(), Instant::now() + good_for));
        source
    }
}

/// One account and region.
pub struct Region {
    /// Its name.
    pub name: String,
    /// Its calls.
    pub aws: Arc<dyn Aws>,
    /// Its sweeps.
    pub sweeps: Arc<Sweeps>,
    /// What it has too little of.
    pub exhausted: Shortages,
    account: Lookup<String>,
    images: Mutex<BTreeMap<ImageRef, Arc<Lookup<Image>>>>,
}

impl std::fmt::Debug for Region {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Region")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Region {
    /// The account as it is known, and whether that is still good. An account never changes.
    #[must_use]
    pub fn account(&self) -> (Source<String>, bool) {
        let (source, is_good) = self.account.last();
        let is_known = source.known().is_some();
        (source, is_good || is_known)
    }

    /// Looks up the account.
    pub async fn look_up_account(&self) -> Source<String> {
        self.account.get(self.aws.account()).await
    }

    fn image_lookup(&self, image: &ImageRef) -> Arc<Lookup<Image>> {
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(images.entry(image.clone()).or_default())
    }

    /// An image as it is known, and whether that is still good.
    #[must_use]
    pub fn image(&self, image: &ImageRef) -> (Source<Image>, bool) {
        let (source, is_good) = self.image_lookup(image).last();
        let is_fixed = matches!(image, ImageRef::Id(_)) && source.known().is_some();
        (source, is_good || is_fixed)
    }

    /// Looks up an image.
    pub async fn look_up_image(&self, image: &ImageRef) -> Source<Image> {
        self.image_lookup(image).get(self.aws.image(image)).await
    }
}

/// All regions in which there are clusters.
pub struct Regions {
    cloud: Arc<dyn Cloud>,
    installation: String,
    intervals: SweepIntervals,
    /// Regions are connected one at a time, so that none has two sets of sweeps.
    turn: tokio::sync::Mutex<()>,
    known: Mutex<BTreeMap<String, Arc<Region>>>,
    changed: Box<dyn Fn(&Changed) + Send + Sync>,
    tasks: Tasks,
}

impl std::fmt::Debug for Regions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Regions")
            .field("known", &self.known)
            .finish_non_exhaustive()
    }
}

impl Regions {
    /// No region yet. `changed` is told which clusters the sweeps saw change. What runs for the regions is kept by
    /// `tasks`.
    pub fn new(
        cloud: Arc<dyn Cloud>,
        installation: &str,
        intervals: SweepIntervals,
        changed: impl Fn(&Changed) + Send + Sync + 'static,
        tasks: Tasks,
    ) -> Self {
        Self {
            cloud,
            installation: installation.to_owned(),
            intervals,
            turn: tokio::sync::Mutex::default(),
            known: Mutex::default(),
            changed: Box::new(changed),
            tasks,
        }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Region>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A region that has been connected.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Region>> {
        self.known().get(name).cloned()
    }

    /// Every region that has been connected.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Region>> {
        self.known().values().cloned().collect()
    }

    /// A region; its sweeps begin with the first cluster that asks for it.
    pub async fn connect(self: &Arc<Self>, name: &str) -> Arc<Region> {
        let _turn = self.turn.lock().await;
        if let Some(region) = self.get(name) {
            return region;
        }
        let aws: Arc<dyn Aws> = Arc::new(Braked::new(self.cloud.connect(name).await));
        let region = Arc::new(Region {
            name: name.to_owned(),
            sweeps: Sweeps::new(Arc::clone(&aws), &self.installation, self.intervals.clone()),
            aws,
            exhausted: Shortages::default(),
            account: Lookup::default(),
            images: Mutex::default(),
        });
        let changes = region.sweeps.changes();
        let sweeps = Arc::clone(&region.sweeps).run(self.tasks.stop().clone());
        self.tasks.keep(&format!("the looks at AWS in {name}"), sweeps);
        let told = Arc::clone(self).tell(changes);
        self.tasks.keep(&format!("the news from AWS in {name}"), told);
        self.known().insert(name.to_owned(), Arc::clone(&region));
        region
    }

    async fn tell(self: Arc<Self>, mut changes: broadcast::Receiver<Changed>) {
        loop {
            let change = tokio::select! {
                () = self.tasks.stop().cancelled() => return,
                change = changes.recv() => change,
            };
            match change {
                Ok(change) => (self.changed)(&change),
                Err(broadcast::error::RecvError::Lagged(_)) => (self.changed)(&Changed::All),
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::{AwsCall, ErrorClass};

    fn refused() -> AwsError {
        AwsError {
            call: AwsCall::GetParameter,
            subject: "/an/image".into(),
            class: ErrorClass::Terminal,
            code: "AccessDenied".into(),
            message: "no".into(),
        }
    }

    #[tokio::test]
    async fn what_was_looked_up_is_not_looked_up_again() {
        let lookup = Lookup::default();
        assert!(!lookup.last().1);
        assert_eq!(lookup.get(async { Ok("a") }).await, Source::Known("a"));
        assert_eq!(lookup.get(async { Ok("b") }).await, Source::Known("a"));
        assert!(lookup.last().1);
    }

    #[tokio::test]
    async fn a_failed_look_up_tells_its_code_and_is_not_repeated_at_once() {
        let lookup = Lookup::<&str>::default();
        let Source::Unknown(why) = lookup.get(async { Err(refused()) }).await else {
            panic!("nothing was found");
        };
        assert!(why.message.contains("AccessDenied"));
        assert_eq!(why.refused.as_deref(), Some("AccessDenied"));
        assert!(matches!(lookup.get(async { Ok("a") }).await, Source::Unknown(_)));
    }
}
