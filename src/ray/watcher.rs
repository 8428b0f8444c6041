//! The watcher of one cluster's head: looks at it again and again.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{Stream, StreamExt, stream};
use jiff::Timestamp;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    dashboard::{Dashboard, Expected},
    facts::{Blindness, Interest, Peer, Report, Stage, View},
    failure::Failure,
    keys::ClusterRef,
    knowledge::{Knowledge, Seen},
    line::Line,
    report,
    ssh::{Connection, Output, Target, Trouble},
    watchers::Shared,
};

/// How many workers are asked at the same time.
const ABREAST: usize = 8;
/// How long one worker, and all of them together, may keep a look waiting: those that were not asked to the end come
/// first in the next one.
const WORKER: Duration = Duration::from_secs(3);
const WORKERS: Duration = Duration::from_secs(4);
/// How long the head may take to tell its own state.
const REPORT: Duration = Duration::from_secs(5);
/// How long a connection on which something was too slow may take to show that it lives.
const PING: Duration = Duration::from_secs(2);
/// While something is on its way into Ray, looks are so many times closer together...
const CLOSER: u32 = 3;
/// ...for so long after watching began.
const ARRIVING: Duration = Duration::from_mins(20);
/// At first, while it may be a matter of seconds, they are no further apart than this...
const EAGER: Duration = Duration::from_secs(1);
/// ...for so long after the machines that arrive were named.
const BOOTING: Duration = Duration::from_mins(2);

/// Whether there is nothing that a machine could be brought, and it only has to start its Ray: that it has shows at the
/// head, and each question costs it a handshake and a session while it has much to do.
fn has_all(report: &Report) -> bool {
    report.has_token && matches!(report.stage, Stage::WaitingForHead | Stage::Starting | Stage::Running)
}

/// A worker's id, its host key's fingerprint and its report.
type Told = (String, Result<(String, Result<Report, Failure>), Failure>);

/// See the module. It is of one head at one address; another one has another watcher.
pub(super) struct Watcher {
    pub(super) cluster: ClusterRef,
    pub(super) line: Line,
    pub(super) stop: CancellationToken,
    shared: Arc<Shared>,
    interest: Mutex<Arc<Interest>>,
    knowledge: Mutex<Knowledge>,
    began: Instant,
    /// When machines that are on their way were named last.
    named: Mutex<Instant>,
    waker: Notify,
    asked: AtomicBool,
    owes: AtomicBool,
    /// What was told last; `None`: nothing yet.
    told: Mutex<Option<u64>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watcher {
    pub(super) fn new(
        cluster: ClusterRef,
        interest: Interest,
        mut knowledge: Knowledge,
        shared: Arc<Shared>,
        stop: CancellationToken,
    ) -> Self {
        let line = Line::new(cluster.clone(), Arc::clone(&shared.keys), Arc::clone(&shared.dialler));
        let began = Instant::now();
        knowledge.follow(&interest, began);
        Self {
            cluster,
            line,
            stop,
            shared,
            interest: Mutex::new(Arc::new(interest)),
            knowledge: Mutex::new(knowledge),
            began,
            named: Mutex::new(began),
            waker: Notify::new(),
            asked: AtomicBool::new(false),
            owes: AtomicBool::new(false),
            told: Mutex::new(None),
        }
    }

    pub(super) fn interest(&self) -> Arc<Interest> {
        Arc::clone(&lock(&self.interest))
    }

    pub(super) fn knowledge(&self) -> MutexGuard<'_, Knowledge> {
        lock(&self.knowledge)
    }

    /// From now on this is looked at. A worker that must be looked at closely from now on is not waited with.
    pub(super) fn follow(&self, interest: Interest) {
        let mut current = lock(&self.interest);
        if **current == interest {
            return;
        }
        let is_news = interest.accepted_host_key != current.accepted_host_key
            || interest.closely.iter().any(|peer| !current.closely.contains(peer));
        self.knowledge().follow(&interest, Instant::now());
        *current = Arc::new(interest);
        drop(current);
        if is_news {
            *lock(&self.named) = Instant::now();
            self.wake();
        }
    }

    /// Looks soon.
    pub(super) fn wake(&self) {
        self.waker.notify_one();
    }

    /// Looks at once, at all machines, and tells when it is done.
    pub(super) fn ask(&self) {
        self.asked.store(true, Ordering::Release);
        self.wake();
    }

    /// Tells when the next look is done, even if it shows the same as the one before.
    pub(super) fn owe(&self) {
        self.owes.store(true, Ordering::Release);
    }

    /// Looks until it is stopped.
    pub(super) async fn run(self: Arc<Self>) {
        let mut dashboard = Dashboard::new(self.shared.settings.patience);
        // Clusters that are all found at the start are spread over the interval from the second look on.
        let mut spread = rand::random_range(0.5..1.0);
        loop {
            let asked = self.asked.swap(false, Ordering::AcqRel);
            let began = Instant::now();
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = self.look(&mut dashboard, asked) => {}
            }
            self.tell(self.owes.swap(false, Ordering::AcqRel) || asked);
            let pause = self.pause().mul_f64(spread);
            spread = 1.0;
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = self.waker.notified() => {}
                () = sleep_until(began + pause) => {}
            }
        }
        self.line.hang_up().await;
    }

    /// Tells that there is something new, if there is, or if it is owed.
    fn tell(&self, owed: bool) {
        let news = self.knowledge().news(Instant::now());
        let before = lock(&self.told).replace(news);
        if owed || before != Some(news) {
            (self.shared.on_change)(&self.cluster.uid);
        }
    }

    /// Takes in what is known before the look is over, which may wait for another machine for seconds.
    fn hear(&self, hear: impl FnOnce(&mut Knowledge)) {
        hear(&mut self.knowledge());
        self.tell(false);
    }

    /// Whether something is on its way into Ray.
    fn arrives(&self, interest: &Interest) -> bool {
        let is_young = self.began.elapsed() < ARRIVING;
        !interest.closely.is_empty() || (is_young && self.knowledge().is_new())
    }

    /// The pause between two looks: a short one while something arrives.
    fn pause(&self) -> Duration {
        let interval = self.shared.settings.look_interval;
        let closer = interval / CLOSER;
        if !self.arrives(&self.interest()) {
            interval
        } else if lock(&self.named).elapsed() < BOOTING {
            closer.min(EAGER)
        } else {
            closer
        }
    }

    fn target(&self, peer: &Peer, interest: &Interest) -> Target {
        Target {
            name: peer.instance_id.clone(),
            address: peer.address,
            pin: self.knowledge().pin(peer, interest.accepted_host_key.as_ref()),
        }
    }

    /// The connection to the head.
    pub(super) async fn head(&self, interest: &Interest) -> Result<Arc<Connection>, Failure> {
        let Some(head) = &interest.head else {
            return Err(Failure::new(Blindness::NotLooked, "there is no head"));
        };
        self.line.head(&self.target(head, interest)).await
    }

    /// A connection to a worker.
    pub(super) async fn worker(
        &self,
        head: &Connection,
        worker: &Peer,
        interest: &Interest,
    ) -> Result<Connection, Failure> {
        self.line.worker(head, &self.target(worker, interest)).await
    }

    /// One look. With `all`, no machine is left out.
    async fn look(&self, dashboard: &mut Dashboard, all: bool) {
        let (began, day) = (Instant::now(), Timestamp::now());
        let interest = self.interest();
        let Some(head) = &interest.head else { return };
        let seen = match self.head(&interest).await {
            Ok(connection) => {
                self.shared.answered(&self.cluster.uid);
                self.ask_all(dashboard, &connection, &interest, all, (began, day)).await
            }
            Err(failure) => {
                dashboard.hang_up();
                // An SSH server that refuses is one that can be reached.
                if matches!(failure.why, Blindness::HostKeyChanged { .. } | Blindness::AccessDenied) {
                    self.shared.answered(&self.cluster.uid);
                }
                // Workers are reached through the head alone.
                let message = format!("not reached through the head: {failure}");
                let unseen = Failure::new(failure.why.clone(), message);
                let closely = interest.closely.iter();
                let mut reports: Vec<_> = closely
                    .map(|peer| (peer.instance_id.clone(), Err(unseen.clone())))
                    .collect();
                reports.push((head.instance_id.clone(), Err(failure.clone())));
                Seen {
                    began,
                    day,
                    view: Err(failure),
                    reports,
                    host_keys: Vec::new(),
                }
            }
        };
        if matches!(&seen.view, Err(failure) if failure.why == Blindness::TokenRefused) {
            self.line.read_again().await;
        }
        let mut knowledge = self.knowledge();
        let before = knowledge.blindness().map(|failure| failure.why.clone());
        knowledge.take(seen, &interest.people, Instant::now());
        match knowledge.blindness() {
            Some(failure) if Some(&failure.why) != before.as_ref() => tracing::info!(
                cluster = format!("{}/{}", self.cluster.namespace, self.cluster.name),
                reason = failure.why.name(),
                "Ray cannot be seen: {failure}"
            ),
            None if before.is_some() => tracing::info!(
                cluster = format!("{}/{}", self.cluster.namespace, self.cluster.name),
                "Ray is seen again"
            ),
            _ => {}
        }
    }

    /// Asks the dashboard, the head and workers side by side.
    async fn ask_all(
        &self,
        dashboard: &mut Dashboard,
        connection: &Arc<Connection>,
        interest: &Interest,
        all: bool,
        (began, day): (Instant, Timestamp),
    ) -> Seen {
        let head = interest
            .head
            .as_ref()
            .map(|head| head.instance_id.clone())
            .unwrap_or_default();
        let expected = Expected {
            cluster_uid: &self.cluster.uid,
            instance_id: &head,
        };
        let is_awaited = self.arrives(interest);
        let hear_view = |view: View| {
            if is_awaited {
                self.hear(|knowledge| knowledge.hear_view(view, began));
            }
        };
        let hear_report = |id: &str, report: &Result<Report, Failure>| {
            if let (true, Ok(report)) = (is_awaited, report) {
                self.hear(|knowledge| knowledge.hear_report(id, report.clone(), began));
            }
        };
        let view = async {
            let opened = self.line.opened().await?;
            dashboard.look(connection, &opened.token, expected, hear_view).await
        };
        let report = async {
            let report = connection.run(report::COMMAND, None, REPORT).await;
            let report = self.read(&head, report).await;
            hear_report(&head, &report);
            report
        };
        let hear_worker = |(id, told): &Told| {
            if let Ok((_, report)) = told {
                hear_report(id, report);
            }
        };
        let workers = self.ask_workers(connection, interest, all, began).inspect(hear_worker);
        let workers = workers.take_until(sleep(WORKERS)).collect::<Vec<_>>();
        let (mut view, mut report, workers) = tokio::join!(view, report, workers);
        let is_slow = |why: &Blindness| matches!(why, Blindness::Slow | Blindness::Unreachable);
        let is_view_slow = match &view {
            Ok((_, activity)) => activity.as_ref().is_err_and(|failure| is_slow(&failure.why)),
            Err(failure) => is_slow(&failure.why),
        };
        let is_doubtful = is_view_slow || report.as_ref().is_err_and(|failure| is_slow(&failure.why));
        if is_doubtful && !connection.answers(PING).await {
            self.line.hang_up().await;
            dashboard.hang_up();
            let lost = |failure: Failure| {
                let message = format!("the SSH connection to {head} does not answer any more: {failure}");
                Failure::new(Blindness::Unreachable, message)
            };
            view = view
                .and_then(|(view, activity)| Ok((view, Ok(activity?))))
                .map_err(lost);
            report = report.map_err(lost);
        }
        let mut reports = vec![(head.clone(), report)];
        let mut host_keys = vec![(head.clone(), connection.fingerprint.clone())];
        for (id, told) in workers {
            let (fingerprint, told) = match told {
                Ok((fingerprint, told)) => (Some(fingerprint), told),
                Err(failure) => (None, Err(failure)),
            };
            host_keys.extend(fingerprint.map(|fingerprint| (id.clone(), fingerprint)));
            reports.push((id, told));
        }
        Seen {
            began,
            day,
            view,
            reports,
            host_keys,
        }
    }

    /// What a machine told, judged by the cluster's token.
    async fn read(&self, who: &str, output: Result<Output, Trouble>) -> Result<Report, Failure> {
        let opened = self.line.opened().await.ok();
        report::read(who, output, opened.as_ref().map(|opened| opened.token.as_str()))
    }

    /// Asks the workers whose turn it is, and says what they tell as it comes.
    fn ask_workers<'a>(
        &'a self,
        head: &'a Connection,
        interest: &'a Interest,
        all: bool,
        now: Instant,
    ) -> impl Stream<Item = Told> + 'a {
        let mut due: Vec<(Option<Instant>, Peer)> = {
            let knowledge = self.knowledge();
            let settings = &self.shared.settings;
            let is_due = |peer: &Peer, interval: Duration| {
                let asked = knowledge.asked_at(&peer.instance_id);
                all || asked.is_none_or(|asked| now.duration_since(asked) >= interval)
            };
            let is_expected = |peer: &&Peer| {
                let report = knowledge.report(&peer.instance_id);
                !report.is_some_and(has_all) || is_due(peer, settings.look_interval / CLOSER)
            };
            let closely = interest.closely.iter().filter(is_expected);
            let widely = interest.widely.iter();
            closely
                .chain(widely.filter(|peer| is_due(peer, settings.people_interval)))
                .map(|peer| (knowledge.tried_at(&peer.instance_id), peer.clone()))
                .collect()
        };
        due.sort_by_key(|(tried, _)| *tried);
        stream::iter(due)
            .map(move |(_, peer)| self.ask_worker(head, peer, interest))
            .buffer_unordered(ABREAST)
    }

    async fn ask_worker(&self, head: &Connection, peer: Peer, interest: &Interest) -> Told {
        let asking = async {
            let connection = self.worker(head, &peer, interest).await?;
            let output = connection.run(report::COMMAND, None, WORKER).await;
            let report = self.read(&peer.instance_id, output).await;
            Ok((connection.fingerprint.clone(), report))
        };
        let told = timeout(WORKER, asking).await.unwrap_or_else(|_| {
            let message = format!("{} did not answer over SSH within {WORKER:?}", peer.instance_id);
            Err(Failure::new(Blindness::Unreachable, message))
        });
        (peer.instance_id, told)
    }
}
