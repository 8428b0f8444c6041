//! What one watcher knows of its cluster, and since when. Pure: the clocks are given.

use std::{
    collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    dashboard::Told,
    facts::{Activity, Blindness, Interest, Look, NodeState, Others, Peer, RayFacts, Report, Signal, View},
    failure::Failure,
    idle_clock::IdleClock,
    ssh::Pin,
    step::MachineStep,
    streak::{Fault, Streak},
};

/// One thing that is looked at again and again.
struct Track<T> {
    /// What was seen last, and when the look began.
    seen: Option<(Arc<T>, Instant)>,
    /// Why the last look failed, and since when it is not known.
    missed: Option<(Failure, Instant)>,
    /// When the last look began, whatever came of it.
    tried: Option<Instant>,
    /// When somebody wanted to know first.
    wanted: Instant,
    /// Older facts count as unknown.
    stale_after: Duration,
    /// How many looks in a row found Ray down.
    downs: u32,
}

/// After so many looks in a row Ray is down.
const DOWN: u32 = 2;

impl<T> Track<T> {
    fn new(wanted: Instant, stale_after: Duration) -> Self {
        Self {
            seen: None,
            missed: None,
            tried: None,
            wanted,
            stale_after,
            downs: 0,
        }
    }

    fn see(&mut self, fact: T, began: Instant) {
        self.seen = Some((Arc::new(fact), began));
        self.missed = None;
        self.downs = 0;
    }

    fn miss(&mut self, failure: Failure, now: Instant) {
        let since = match (&self.missed, &self.seen) {
            (Some((_, since)), _) => *since,
            (None, Some((_, began))) => now.min(*began + self.stale_after),
            (None, None) => self.wanted,
        };
        let is_down = matches!(failure.why, Blindness::DashboardDown | Blindness::GcsDown);
        self.downs = if is_down { self.downs.saturating_add(1) } else { 0 };
        self.missed = Some((failure, since));
    }

    fn unknown(&self, why: Blindness, message: String, since: Duration) -> Look<T> {
        Look::Unknown {
            why,
            message,
            since,
            last: self.seen.as_ref().map(|(fact, _)| Arc::clone(fact)),
        }
    }

    fn look(&self, now: Instant) -> Look<T> {
        if let Some((failure, since)) = &self.missed {
            let since = now.duration_since(*since);
            return self.unknown(failure.why.clone(), failure.message.clone(), since);
        }
        let Some((fact, began)) = &self.seen else {
            let since = now.duration_since(self.wanted);
            return self.unknown(Blindness::NotLooked, "not looked at yet".into(), since);
        };
        let age = now.duration_since(*began);
        if age < self.stale_after {
            let fact = Arc::clone(fact);
            return Look::Known { fact, age };
        }
        let message = format!("the last look is {} s old", age.as_secs());
        self.unknown(Blindness::Stale, message, age.saturating_sub(self.stale_after))
    }

    /// As [`Self::look`], but a look that failed takes nothing from what is still fresh, unless it tells that this is
    /// not so any more: another machine answers, or Ray is down and not just about to be.
    fn bridged(&self, now: Instant) -> Look<T> {
        let Some((failure, _)) = &self.missed else {
            return self.look(now);
        };
        let is_other = matches!(failure.why, Blindness::WrongPeer | Blindness::HostKeyChanged { .. });
        match &self.seen {
            Some((fact, began)) if !is_other && self.downs < DOWN && now.duration_since(*began) < self.stale_after => {
                Look::Known {
                    fact: Arc::clone(fact),
                    age: now.duration_since(*began),
                }
            }
            _ => self.look(now),
        }
    }

    /// The fact, unless the last look failed.
    fn fact(&self) -> Option<&T> {
        let (fact, _) = self.seen.as_ref().filter(|_| self.missed.is_none())?;
        Some(fact)
    }
}

/// What came of one look.
pub(super) struct Seen {
    /// When it began.
    pub(super) began: Instant,
    /// The same by the clock of the operating system.
    pub(super) day: Timestamp,
    /// What the dashboard told.
    pub(super) view: Result<Told, Failure>,
    /// What machines told that were asked, by instance id; the head is always among them.
    pub(super) reports: Vec<(String, Result<Report, Failure>)>,
    /// Fingerprints of the machines that let the controller in, by instance id.
    pub(super) host_keys: Vec<(String, String)>,
}

/// How long something is believed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Freshness {
    /// What every look tells.
    pub(super) often: Duration,
    /// What workers tell that are asked rarely.
    pub(super) rarely: Duration,
}

/// See the module.
pub(super) struct Knowledge {
    head: String,
    freshness: Freshness,
    view: Track<View>,
    activity: Track<Activity>,
    /// How long the last look took that told of it.
    took: Duration,
    reports: BTreeMap<String, Track<Report>>,
    /// Since when machines that report have not told who is on them.
    untold: BTreeMap<String, Instant>,
    streak: Streak,
    /// When the first and the last look without a gap began.
    looked: Option<(Instant, Instant)>,
    clock: IdleClock,
    host_keys: BTreeMap<String, String>,
    /// What machines were given, and when: a look that began before does not show it.
    given: BTreeMap<String, Vec<(MachineStep, Instant)>>,
}

impl Knowledge {
    /// Nothing is known yet of the cluster whose head is the instance `head`, but what host keys machines showed to
    /// this process before.
    pub(super) fn new(
        head: &str,
        freshness: Freshness,
        host_keys: BTreeMap<String, String>,
        now: Instant,
        day: Timestamp,
    ) -> Self {
        Self {
            head: head.to_owned(),
            freshness,
            view: Track::new(now, freshness.often),
            activity: Track::new(now, freshness.often),
            took: Duration::ZERO,
            reports: BTreeMap::new(),
            untold: BTreeMap::new(),
            streak: Streak::default(),
            looked: None,
            clock: IdleClock::new(freshness.often, now, day),
            host_keys,
            given: BTreeMap::new(),
        }
    }

    /// Machines that nobody is interested in any more are forgotten; of new ones nothing is known.
    pub(super) fn follow(&mut self, interest: &Interest, now: Instant) {
        let Freshness { often, rarely } = self.freshness;
        let head = interest.head.iter().chain(&interest.closely).map(|peer| (peer, often));
        let wanted: BTreeMap<&str, Duration> = head
            .chain(interest.widely.iter().map(|peer| (peer, rarely)))
            .map(|(peer, fresh)| (peer.instance_id.as_str(), fresh))
            .collect();
        self.reports.retain(|id, _| wanted.contains_key(id.as_str()));
        self.untold.retain(|id, _| wanted.contains_key(id.as_str()));
        self.host_keys.retain(|id, _| wanted.contains_key(id.as_str()));
        self.given.retain(|id, _| wanted.contains_key(id.as_str()));
        for (id, stale_after) in wanted {
            if let Some(track) = self.reports.get_mut(id) {
                track.stale_after = stale_after;
            } else {
                self.reports.insert(id.to_owned(), Track::new(now, stale_after));
            }
        }
    }

    /// A step was done on a machine. What it gave the machine is known from now on, and not only once a look shows it:
    /// else it would be given again and again meanwhile.
    pub(super) fn note(&mut self, step: &MachineStep, now: Instant) {
        let is_gift = matches!(step, MachineStep::GiveToken { .. } | MachineStep::SetHead { .. });
        let Some(track) = self.reports.get_mut(step.instance_id()).filter(|_| is_gift) else {
            return;
        };
        if let Some((report, _)) = &mut track.seen {
            Arc::make_mut(report).fold(step);
        }
        let given = self.given.entry(step.instance_id().to_owned()).or_default();
        given.retain(|(earlier, _)| earlier.name() != step.name());
        given.push((step.clone(), now));
    }

    /// Which host key is right for a machine.
    pub(super) fn pin(&self, peer: &Peer, accepted: Option<&String>) -> Pin {
        let seen = self.host_keys.get(&peer.instance_id);
        Pin {
            known: seen.or(peer.host_key.as_ref()).cloned(),
            accepted: accepted.cloned(),
        }
    }

    /// When the look began in which a machine answered last.
    pub(super) fn asked_at(&self, instance_id: &str) -> Option<Instant> {
        let track = self.reports.get(instance_id)?;
        track.seen.as_ref().map(|(_, began)| *began)
    }

    /// When the look began in which a machine was asked last, whether it answered or not.
    pub(super) fn tried_at(&self, instance_id: &str) -> Option<Instant> {
        self.reports.get(instance_id)?.tried
    }

    /// What a machine told when it answered last.
    pub(super) fn report(&self, instance_id: &str) -> Option<&Report> {
        let (report, _) = self.reports.get(instance_id)?.seen.as_ref()?;
        Some(report)
    }

    /// Takes in what one machine told, while the look that began then goes on.
    pub(super) fn hear_report(&mut self, instance_id: &str, mut report: Report, began: Instant) {
        // What nobody is interested in any more is not kept.
        let Some(track) = self.reports.get_mut(instance_id) else {
            return;
        };
        if let Some(given) = self.given.get_mut(instance_id) {
            given.retain(|(_, at)| began <= *at);
            for (step, _) in given.iter() {
                report.fold(step);
            }
        }
        if report.people.is_some() {
            self.untold.remove(instance_id);
        } else {
            self.untold.entry(instance_id.to_owned()).or_insert(began);
        }
        track.see(report, began);
    }

    /// Takes in which nodes there are, while the look that began then goes on: whether they are in use is as it was.
    pub(super) fn hear_view(&mut self, mut view: View, began: Instant) {
        if let Some((before, _)) = &self.view.seen {
            let before: BTreeMap<&str, Option<bool>> = before
                .nodes
                .iter()
                .map(|node| (node.node_id.as_str(), node.in_use))
                .collect();
            for node in &mut view.nodes {
                node.in_use = before.get(node.node_id.as_str()).copied().flatten();
            }
        }
        self.view.see(view, began);
    }

    /// Takes in what came of a look. `people` says which of them count as use.
    pub(super) fn take(&mut self, seen: Seen, people: &BTreeSet<Signal>, now: Instant) {
        let Seen { began, day, .. } = seen;
        let shown = seen.host_keys.into_iter();
        self.host_keys
            .extend(shown.filter(|(id, _)| self.reports.contains_key(id)));
        for (id, report) in seen.reports {
            if let Some(track) = self.reports.get_mut(&id) {
                track.tried = Some(began);
                match report {
                    Ok(report) => self.hear_report(&id, report, began),
                    Err(failure) => track.miss(failure, now),
                }
            }
        }
        self.follow_up(seen.view.as_ref().err(), began);
        match seen.view {
            Ok((view, activity)) => {
                let is_used = activity.as_ref().is_ok_and(|activity| !activity.signals.is_empty());
                let is_used = is_used || self.shows_people(people);
                if is_used {
                    self.clock.used(began, day);
                } else if activity.is_ok() && (people.is_empty() || self.all_tell_of_people(now)) {
                    self.clock.idle(began, day);
                } else {
                    self.clock.unknown(began, day);
                }
                self.view.see(view, began);
                self.took = now.saturating_duration_since(began);
                match activity {
                    Ok(activity) => self.activity.see(activity, began),
                    Err(failure) => self.activity.miss(failure, now),
                }
            }
            Err(failure) => {
                // The key that another head showed proves nothing of this one.
                if failure.why == Blindness::WrongPeer {
                    self.host_keys.remove(&self.head);
                }
                if matches!(failure.why, Blindness::WrongPeer | Blindness::HostKeyChanged { .. }) {
                    self.clock.used(began, day);
                } else {
                    self.clock.unknown(began, day);
                }
                self.view.miss(failure.clone(), now);
                self.activity.miss(failure, now);
            }
        }
    }

    /// Counts a look to those before it that met the same; after a gap in which nobody looked it is the first.
    fn follow_up(&mut self, failure: Option<&Failure>, began: Instant) {
        let report = self.reports.get(&self.head).and_then(Track::fact);
        let fault = failure.map(|failure| Fault::of(&failure.why, report));
        let before = self.looked.filter(|(_, last)| !self.is_gap(*last, began));
        let (first, last) = before.unwrap_or((began, began));
        let streak = before.map(|_| self.streak).unwrap_or_default();
        self.streak = streak.next(fault, began.duration_since(last));
        self.looked = Some((first, began));
    }

    fn is_gap(&self, last: Instant, now: Instant) -> bool {
        now.duration_since(last) > self.freshness.often
    }

    /// Whether every machine told who is on it, and not too long ago.
    fn all_tell_of_people(&self, now: Instant) -> bool {
        let mut looks = self.reports.values().map(|track| track.look(now));
        looks.all(|look| look.known().is_some_and(|report| report.people.is_some()))
    }

    fn shows_people(&self, people: &BTreeSet<Signal>) -> bool {
        let reports = self.reports.values().filter_map(Track::fact);
        let mut counted = reports.map(|report| {
            let seen = report.people.unwrap_or_default();
            let signed_in = people.contains(&Signal::SshSession) && seen.ssh_sessions > 0;
            signed_in || (people.contains(&Signal::JupyterKernel) && seen.jupyter_kernels > 0)
        });
        counted.any(|is_use| is_use)
    }

    /// Whether the dashboard was never known.
    pub(super) fn is_new(&self) -> bool {
        self.view.seen.is_none()
    }

    /// Why the last look at the dashboard failed, or a part of it.
    pub(super) fn blindness(&self) -> Option<&Failure> {
        let missed = self.view.missed.as_ref().or(self.activity.missed.as_ref());
        missed.map(|(failure, _)| failure)
    }

    /// What host keys machines showed.
    pub(super) fn host_keys(&self) -> &BTreeMap<String, String> {
        &self.host_keys
    }

    /// All of it, as the planner reads it.
    pub(super) fn facts(&self, others: Others, now: Instant, day: Timestamp) -> RayFacts {
        let reports = self.reports.iter().map(|(id, track)| (id.clone(), track.look(now)));
        let untold = self.untold.iter();
        let untold = untold.map(|(id, since)| (id.clone(), now.duration_since(*since)));
        let looked = self.looked.filter(|(_, last)| !self.is_gap(*last, now));
        RayFacts {
            view: self.view.bridged(now),
            activity: self.activity.look(now),
            took: self.took,
            reports: reports.collect(),
            people_untold: untold.collect(),
            streak: looked.map(|_| self.streak).unwrap_or_default(),
            watched: looked.map_or(Duration::ZERO, |(first, last)| last.duration_since(first)),
            idle_for: self.clock.idle_for(now),
            clock_jumped: self.clock.jumped(now, day),
            others,
            host_keys: self.host_keys.clone(),
        }
    }

    /// A number that differs when something changed that a plan could act on.
    pub(super) fn news(&self, now: Instant) -> u64 {
        let mut news = DefaultHasher::new();
        self.host_keys.hash(&mut news);
        // A fact that grew old while the look that confirms it was under way is no news.
        let view = match (&self.view.missed, &self.view.seen) {
            (None, Some((fact, began))) => Look::Known {
                fact: Arc::clone(fact),
                age: now.duration_since(*began),
            },
            _ => self.view.bridged(now),
        };
        if let Look::Unknown { why, .. } = &view {
            why.hash(&mut news);
        }
        self.activity
            .missed
            .as_ref()
            .map(|(failure, _)| &failure.why)
            .hash(&mut news);
        if let Some(activity) = self.activity.fact() {
            activity.signals.keys().for_each(|signal| signal.hash(&mut news));
        }
        if let Some(view) = view.known() {
            view.session.hash(&mut news);
            view.version.hash(&mut news);
            for node in &view.nodes {
                let is_alive = node.state == NodeState::Alive;
                (&node.node_id, &node.instance_id, is_alive, node.in_use).hash(&mut news);
            }
        }
        for (id, track) in &self.reports {
            id.hash(&mut news);
            track.missed.as_ref().map(|(failure, _)| &failure.why).hash(&mut news);
            if let Some(report) = track.fact() {
                let people = report.people;
                let people = people.map(|people| (people.ssh_sessions > 0, people.jupyter_kernels > 0));
                let ray = (
                    report.ray_active,
                    report.has_token,
                    report.disk_full,
                    &report.boot_id,
                    &report.head_address,
                );
                (report.stage, &report.message, people, ray).hash(&mut news);
            }
        }
        news.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ray::facts::{Activity, Node, People, Stage};

    const OFTEN: Duration = Duration::from_secs(45);

    fn peer(id: &str) -> Peer {
        Peer {
            instance_id: id.into(),
            address: [10, 0, 1, 4].into(),
            host_key: None,
        }
    }

    fn begun() -> (Knowledge, Instant) {
        let now = Instant::now();
        let freshness = Freshness {
            often: OFTEN,
            rarely: OFTEN * 4,
        };
        let mut knowledge = Knowledge::new("i-head", freshness, BTreeMap::new(), now, Timestamp::UNIX_EPOCH);
        let interest = Interest {
            head: Some(peer("i-head")),
            closely: vec![peer("i-a")],
            widely: vec![peer("i-b")],
            ..Interest::default()
        };
        knowledge.follow(&interest, now);
        (knowledge, now)
    }

    fn slow() -> Failure {
        Failure::new(Blindness::Slow, "no answer")
    }

    fn seen(began: Instant, view: Result<View, Failure>) -> Seen {
        Seen {
            began,
            day: Timestamp::UNIX_EPOCH,
            view: view.map(|view| (view, Ok(Activity::default()))),
            reports: vec![("i-head".into(), Ok(Report::default()))],
            host_keys: Vec::new(),
        }
    }

    fn facts(knowledge: &Knowledge, now: Instant) -> RayFacts {
        knowledge.facts(Others::None, now, Timestamp::UNIX_EPOCH)
    }

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn what_was_seen_ages_and_becomes_stale() {
        let (mut knowledge, start) = begun();
        let since = |look: Look<View>| match look {
            Look::Unknown { why, since, last, .. } => (why, since.as_secs(), last.is_some()),
            Look::Known { age, .. } => panic!("known for {age:?}"),
        };
        assert_eq!(
            since(facts(&knowledge, at(start, 3)).view),
            (Blindness::NotLooked, 3, false)
        );
        knowledge.take(seen(at(start, 5), Ok(View::default())), &BTreeSet::new(), at(start, 6));
        let Look::Known { age, .. } = facts(&knowledge, at(start, 49)).view else {
            panic!("it is fresh")
        };
        assert_eq!(age.as_secs(), 44);
        assert_eq!(
            since(facts(&knowledge, at(start, 60)).view),
            (Blindness::Stale, 10, true)
        );
        // A look that fails then has been blind since the last one became stale.
        knowledge.take(seen(at(start, 60), Err(slow())), &BTreeSet::new(), at(start, 63));
        assert_eq!(
            since(facts(&knowledge, at(start, 70)).view),
            (Blindness::Slow, 20, true)
        );
        let other = Failure::new(Blindness::GcsDown, "503");
        knowledge.take(seen(at(start, 75), Err(other)), &BTreeSet::new(), at(start, 75));
        assert_eq!(
            since(facts(&knowledge, at(start, 80)).view),
            (Blindness::GcsDown, 30, true)
        );
    }

    #[test]
    fn a_failed_look_is_never_idle_and_neither_is_one_with_use() {
        let (mut knowledge, start) = begun();
        let none = BTreeSet::new();
        let idle = || Ok((View::default(), Ok(Activity::default())));
        let used = Activity {
            signals: BTreeMap::from([(Signal::Job, "job".into())]),
            last_end: None,
        };
        for (second, view, expected) in [
            (0, idle(), 0),
            (15, idle(), 15),
            (30, Err(slow()), 0),
            (45, idle(), 45),
            (60, Err(slow()), 0),
            (75, Err(slow()), 0),
            (90, idle(), 0),
            (105, idle(), 15),
            (120, Ok((View::default(), Ok(used))), 0),
            (135, idle(), 0),
            (150, idle(), 15),
            (165, Ok((View::default(), Err(slow()))), 0),
            (180, Err(Failure::new(Blindness::WrongPeer, "another")), 0),
            (195, idle(), 0),
        ] {
            let look = Seen {
                view,
                ..seen(at(start, second), Ok(View::default()))
            };
            knowledge.take(look, &none, at(start, second));
            assert_eq!(
                facts(&knowledge, at(start, second)).idle_for.as_secs(),
                expected,
                "at {second}"
            );
        }
    }

    #[test]
    fn people_break_the_idle_time_where_they_count() {
        let person = |ssh_sessions, jupyter_kernels| Report {
            people: Some(People {
                ssh_sessions,
                jupyter_kernels,
            }),
            ..Report::default()
        };
        let untold = || Ok(Report::default());
        let ssh = BTreeSet::from([Signal::SshSession]);
        let jupyter = BTreeSet::from([Signal::JupyterKernel]);
        for (people, machine, report, is_idle) in [
            (&ssh, "i-b", Ok(person(1, 0)), false),
            (&ssh, "i-head", Ok(person(1, 0)), false),
            (&ssh, "i-head", Ok(person(0, 1)), true),
            (&jupyter, "i-head", Ok(person(0, 1)), false),
            (&jupyter, "i-a", Ok(person(1, 0)), true),
            (&BTreeSet::new(), "i-head", Ok(person(1, 1)), true),
            (&ssh, "i-head", Err(slow()), false),
            (&ssh, "i-a", Err(slow()), false),
            (&ssh, "i-b", Err(slow()), false),
            (&jupyter, "i-b", untold(), false),
            (&ssh, "i-head", untold(), false),
            (&BTreeSet::new(), "i-b", untold(), true),
            (&BTreeSet::new(), "i-head", Err(slow()), true),
        ] {
            let (mut knowledge, start) = begun();
            for second in [0, 15] {
                let mut look = seen(at(start, second), Ok(View::default()));
                look.reports = ["i-head", "i-a", "i-b"].map(|id| (id.into(), Ok(person(0, 0)))).into();
                look.reports.push((machine.into(), report.clone()));
                knowledge.take(look, people, at(start, second));
            }
            let idle_for = facts(&knowledge, at(start, 15)).idle_for;
            assert_eq!(!idle_for.is_zero(), is_idle, "{people:?} {machine} {report:?}");
        }
    }

    #[test]
    fn looks_that_met_the_same_are_counted_and_a_gap_begins_anew() {
        let (mut knowledge, start) = begun();
        let fail = |why| Err(Failure::new(why, "no"));
        let running = Report {
            stage: Stage::Running,
            ray_active: true,
            ..Report::default()
        };
        let mut told = |second, view| {
            let mut look = seen(at(start, second), view);
            look.reports = vec![("i-head".into(), Ok(running.clone()))];
            knowledge.take(look, &BTreeSet::new(), at(start, second + 1));
            let facts = facts(&knowledge, at(start, second + 1));
            let streak = facts.streak;
            (
                streak.fault,
                streak.lasted.as_secs(),
                streak.looks,
                facts.watched.as_secs(),
            )
        };
        assert_eq!(told(0, Ok(View::default())), (None, 0, 0, 0));
        assert_eq!(told(15, fail(Blindness::Slow)), (Some(Fault::Other), 0, 1, 15));
        assert_eq!(told(30, fail(Blindness::Slow)), (Some(Fault::Other), 15, 2, 30));
        assert_eq!(told(45, fail(Blindness::GcsDown)), (Some(Fault::Down), 0, 1, 45));
        assert_eq!(told(60, fail(Blindness::DashboardDown)), (Some(Fault::Down), 15, 2, 60));
        assert_eq!(told(106, fail(Blindness::DashboardDown)), (Some(Fault::Down), 0, 1, 0));
        assert_eq!(told(121, Ok(View::default())), (None, 0, 0, 15));
        let later = facts(&knowledge, at(start, 167));
        assert_eq!((later.streak, later.watched), (Streak::default(), Duration::ZERO));
    }

    #[test]
    fn reports_are_kept_of_machines_that_are_of_interest() {
        let (mut knowledge, start) = begun();
        let mut look = seen(start, Ok(View::default()));
        look.reports.push(("i-gone".into(), Ok(Report::default())));
        look.reports.push(("i-b".into(), Ok(Report::default())));
        knowledge.take(look, &BTreeSet::new(), start);
        let later = facts(&knowledge, at(start, 60));
        assert_eq!(later.reports.keys().collect::<Vec<_>>(), ["i-a", "i-b", "i-head"]);
        assert!(
            later.reports["i-b"].known().is_some(),
            "rarely asked, it is fresh for longer"
        );
        assert!(later.reports["i-head"].known().is_none());
        let interest = Interest {
            head: Some(peer("i-head")),
            ..Interest::default()
        };
        knowledge.follow(&interest, start);
        assert_eq!(facts(&knowledge, start).reports.len(), 1);
    }

    #[test]
    fn a_look_that_shows_the_same_is_no_news_and_each_change_is() {
        let node = Node {
            node_id: "n".into(),
            instance_id: Some("i-a".into()),
            is_head: false,
            state: NodeState::Alive,
            started_at: Timestamp::UNIX_EPOCH,
            in_use: Some(false),
        };
        let view = |change: fn(&mut View)| {
            let mut view = View {
                nodes: vec![node.clone()],
                ..View::default()
            };
            change(&mut view);
            Ok((view, Ok(Activity::default())))
        };
        let (mut knowledge, start) = begun();
        let mut news = |view, report: Report| {
            let look = Seen {
                view,
                reports: vec![("i-a".into(), Ok(report))],
                ..seen(start, Ok(View::default()))
            };
            knowledge.take(look, &BTreeSet::new(), start);
            knowledge.news(start)
        };
        let same = || view(|_| {});
        let before = news(same(), Report::default());
        assert_eq!(news(same(), Report::default()), before);
        let job = |name: &str| {
            let mut activity = Activity::default();
            activity.signals.insert(Signal::Job, name.into());
            same().map(|(view, _)| (view, Ok(activity)))
        };
        let changes: [Result<Told, Failure>; 7] = [
            view(|view| view.session = "another".into()),
            view(|view| view.nodes[0].in_use = Some(true)),
            view(|view| {
                view.nodes[0].state = NodeState::Dead {
                    ended_at: None,
                    drained: false,
                    message: String::new(),
                }
            }),
            view(|view| view.nodes.clear()),
            job("job 1"),
            same().map(|(view, _)| (view, Err(slow()))),
            Err(slow()),
        ];
        for change in changes {
            assert_ne!(news(change.clone(), Report::default()), before, "{change:?}");
        }
        assert_eq!(
            news(job("job 2"), Report::default()),
            news(job("job 1"), Report::default())
        );
        for report in [
            Report {
                stage: Stage::Running,
                ..Report::default()
            },
            Report {
                message: "words".into(),
                ..Report::default()
            },
            Report {
                has_token: true,
                ..Report::default()
            },
        ] {
            assert_ne!(news(same(), report), before);
        }
    }

    #[test]
    fn nodes_that_are_heard_of_first_are_in_use_as_they_were() {
        let node = |id: &str, in_use| Node {
            node_id: id.into(),
            instance_id: Some("i-a".into()),
            is_head: false,
            state: NodeState::Alive,
            started_at: Timestamp::UNIX_EPOCH,
            in_use,
        };
        let view = |nodes: Vec<Node>| View {
            nodes,
            ..View::default()
        };
        let (mut knowledge, start) = begun();
        let known = view(vec![node("a", Some(true)), node("b", Some(false))]);
        knowledge.take(seen(start, Ok(known)), &BTreeSet::new(), start);
        let before = knowledge.news(start);
        knowledge.hear_view(view(vec![node("a", None), node("b", None)]), at(start, 1));
        assert_eq!(knowledge.news(at(start, 1)), before, "no news");
        knowledge.hear_view(
            view(vec![node("a", None), node("b", None), node("c", None)]),
            at(start, 2),
        );
        assert_ne!(knowledge.news(at(start, 2)), before, "a new one is");
        let facts = facts(&knowledge, at(start, 2));
        let nodes = facts
            .view
            .known()
            .map(|view| view.nodes.iter().map(|node| node.in_use).collect());
        assert_eq!(nodes, Some(vec![Some(true), Some(false), None]));
    }

    #[test]
    fn a_failed_look_takes_nothing_from_what_is_fresh_unless_it_tells_that_it_is_so_no_more() {
        use Blindness as B;
        let changed = B::HostKeyChanged {
            shown: "SHA256:b".into(),
        };
        for (whys, last) in [
            (vec![B::Slow], None),
            (vec![B::Unreachable, B::Slow], None),
            (vec![B::Slow, B::Slow, B::Slow], Some("Slow")),
            (vec![B::GcsDown], None),
            (vec![B::DashboardDown, B::Slow, B::GcsDown], Some("GcsDown")),
            (vec![B::DashboardDown, B::Slow], None),
            (vec![B::DashboardDown, B::GcsDown], Some("GcsDown")),
            (vec![B::WrongPeer], Some("WrongPeer")),
            (vec![changed], Some("HostKeyChanged")),
        ] {
            let (mut knowledge, start) = begun();
            let none = BTreeSet::new();
            knowledge.take(seen(start, Ok(View::default())), &none, start);
            let known = knowledge.news(start);
            let mut now = start;
            for why in &whys {
                now += OFTEN / 3;
                let failure = Failure::new(why.clone(), "no");
                knowledge.take(seen(now, Err(failure)), &none, now);
            }
            let facts = facts(&knowledge, now);
            assert_eq!(facts.idle_for, Duration::ZERO, "{whys:?}");
            assert_eq!(facts.activity.known(), None, "{whys:?}");
            match facts.view {
                Look::Known { age, .. } => {
                    assert_eq!(last, None, "{whys:?}");
                    assert_eq!(age, now.duration_since(start));
                }
                Look::Unknown { why, since, .. } => {
                    assert_eq!(Some(why.name()), last, "{whys:?}");
                    assert_eq!(
                        since,
                        now.duration_since(start + OFTEN / 3),
                        "since the first that failed"
                    );
                }
            }
            assert_ne!(knowledge.news(now), known, "{whys:?}");
        }
        // What becomes unknown by its age alone is told with the look that finds it.
        let (mut knowledge, start) = begun();
        knowledge.take(seen(start, Ok(View::default())), &BTreeSet::new(), start);
        knowledge.take(seen(at(start, 15), Err(slow())), &BTreeSet::new(), at(start, 15));
        assert_ne!(knowledge.news(at(start, 44)), knowledge.news(at(start, 45)));
    }

    #[test]
    fn keys_are_kept_of_machines_that_are_of_interest_and_a_try_is_remembered_that_failed() {
        let (mut knowledge, start) = begun();
        let mut look = seen(start, Ok(View::default()));
        look.reports.push(("i-b".into(), Err(slow())));
        look.host_keys = ["i-head", "i-b", "i-gone"]
            .map(|id| (id.into(), "SHA256:a".into()))
            .into();
        knowledge.take(look, &BTreeSet::new(), start);
        assert_eq!(knowledge.tried_at("i-b"), Some(start));
        assert_eq!((knowledge.asked_at("i-b"), knowledge.tried_at("i-a")), (None, None));
        let keys = |knowledge: &Knowledge| knowledge.host_keys().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&knowledge), ["i-b", "i-head"]);
        let interest = Interest {
            head: Some(peer("i-head")),
            ..Interest::default()
        };
        knowledge.follow(&interest, start);
        assert_eq!(keys(&knowledge), ["i-head"]);
    }

    #[test]
    fn what_a_machine_was_given_is_known_until_a_look_that_began_later() {
        let (mut knowledge, start) = begun();
        let look = |began| Seen {
            reports: vec![("i-a".into(), Ok(Report::default()))],
            ..seen(began, Ok(View::default()))
        };
        let has = |knowledge: &Knowledge, now| match &facts(knowledge, now).reports["i-a"] {
            Look::Known { fact, .. } => (fact.has_token, fact.head_address.clone()),
            Look::Unknown { why, .. } => panic!("{why:?}"),
        };
        knowledge.take(look(start), &BTreeSet::new(), start);
        let instance_id = String::from("i-a");
        let address = String::from("10.0.1.4");
        for step in [
            MachineStep::GiveToken {
                instance_id: instance_id.clone(),
            },
            MachineStep::SetHead { instance_id, address },
        ] {
            knowledge.note(&step, at(start, 2));
        }
        let given = (true, Some("10.0.1.4".to_owned()));
        assert_eq!(has(&knowledge, at(start, 2)), given);
        knowledge.take(look(at(start, 1)), &BTreeSet::new(), at(start, 3));
        assert_eq!(has(&knowledge, at(start, 3)), given, "that look began before");
        knowledge.take(look(at(start, 4)), &BTreeSet::new(), at(start, 5));
        assert_eq!(has(&knowledge, at(start, 5)), (false, None), "it lost them");
        knowledge.take(look(at(start, 1)), &BTreeSet::new(), at(start, 6));
        assert_eq!(has(&knowledge, at(start, 6)), (false, None));
    }

    #[test]
    fn a_key_is_pinned_at_first_contact_and_forgotten_if_another_ray_answered() {
        let (mut knowledge, start) = begun();
        let contact = |view| Seen {
            host_keys: vec![("i-head".into(), "SHA256:a".into())],
            ..seen(start, view)
        };
        knowledge.take(contact(Err(slow())), &BTreeSet::new(), start);
        assert_eq!(knowledge.pin(&peer("i-head"), None).known.as_deref(), Some("SHA256:a"));
        assert_eq!(facts(&knowledge, start).host_keys["i-head"], "SHA256:a");
        let other = Failure::new(Blindness::WrongPeer, "another");
        knowledge.take(contact(Err(other)), &BTreeSet::new(), start);
        assert_eq!(knowledge.pin(&peer("i-head"), None).known, None);
        let stored = Peer {
            host_key: Some("SHA256:b".into()),
            ..peer("i-head")
        };
        assert_eq!(knowledge.pin(&stored, None).known.as_deref(), Some("SHA256:b"));
    }
}
