//! That nothing waits for a pass which nobody makes: time goes on by what the plan itself asks for and by news alone,
//! as with the controller, and never by small steps.

mod cases;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use proptest::{collection::vec, prelude::*};
use serde_json::Value;

use super::{
    idle_tests::Lab,
    ray_properties::{self, Event as OfRay},
};
use crate::{
    api::RayClusterStatus,
    ray::facts::{Blindness, Look, NodeState, Report, Signal},
};

/// How often Ray and EC2 are looked at, whether a pass is made or not.
const INTERVAL: SignedDuration = SignedDuration::from_secs(15);

/// A cluster whose controller makes a pass only when the last plan asked for one, or when something is new.
struct World {
    lab: Lab,
    next_look: Timestamp,
    looked_at: Timestamp,
    next_pass: Option<Timestamp>,
    news: Vec<String>,
    /// A pass follows the next look, whatever it shows.
    owed: bool,
    /// What a pass would have changed after looks that nobody took for news, and since when.
    overdue: BTreeMap<String, Timestamp>,
    /// All that happened: what was done, and how conditions changed.
    told: Vec<(Timestamp, String)>,
    passes: usize,
}

impl World {
    fn of(lab: Lab) -> Self {
        let now = lab.scenario.now;
        let mut world = Self {
            lab,
            next_look: now,
            looked_at: now,
            next_pass: None,
            news: Vec::new(),
            owed: false,
            overdue: BTreeMap::new(),
            told: Vec::new(),
            passes: 0,
        };
        // All of it runs and has joined.
        world.go(300).expect("nothing is late in a cluster that fares well");
        world
    }

    fn now(&self) -> Timestamp {
        self.lab.scenario.now
    }

    /// A pass as the controller makes it.
    fn pass(&mut self) {
        let lab = &mut self.lab.scenario;
        let before = conditions(&lab.observed.recorded);
        let done = lab.settle();
        let plan = lab.plan();
        lab.write();
        let after = conditions(&lab.observed.recorded);
        let changed = after.into_iter().filter(|condition| !before.contains(condition));
        let now = lab.now;
        if plan.look_now || !done.is_empty() {
            self.next_look = self.next_look.min(now + SignedDuration::from_secs(1));
        }
        self.owed |= plan.look_now;
        self.told
            .extend(done.into_iter().chain(changed).map(|what| (now, what)));
        self.next_pass = plan.next_check.map(|check| {
            let check = check.as_secs() + u64::from(check.subsec_nanos() > 0);
            now + SignedDuration::from_secs(i64::try_from(check.max(1)).unwrap_or(i64::MAX))
        });
        self.overdue.clear();
        self.passes += 1;
    }

    /// Lets so many seconds pass; an error where something that is due has waited for longer than an interval.
    fn go(&mut self, seconds: i64) -> Result<(), String> {
        let end = self.now() + SignedDuration::from_secs(seconds);
        while self.now() < end {
            let at = [self.next_look, end]
                .into_iter()
                .chain(self.next_pass)
                .min()
                .unwrap_or(end);
            self.lab.advance(at.duration_since(self.now()).as_secs());
            let looks = at >= self.next_look;
            let mut is_due = self.next_pass.is_some_and(|next| next <= at);
            if looks {
                self.lab.see();
                (self.looked_at, self.next_look) = (at, at + INTERVAL);
                let news = news(&self.lab);
                is_due |= news != self.news || std::mem::take(&mut self.owed);
                self.news = news;
            }
            self.grow_old();
            if is_due {
                self.pass();
            } else if looks {
                self.nothing_is_late()?;
            }
        }
        Ok(())
    }

    /// What was seen is as old as it is.
    fn grow_old(&mut self) {
        let passed = self.now().duration_since(self.looked_at).unsigned_abs();
        let observed = &mut self.lab.scenario.observed;
        observed.machine_sweep_age = passed;
        let old = |age: &mut Duration| *age = passed;
        if let Look::Known { age, .. } = &mut observed.ray.view {
            old(age);
        }
        if let Look::Known { age, .. } = &mut observed.ray.activity {
            old(age);
        }
        for report in observed.ray.reports.values_mut() {
            if let Look::Known { age, .. } = report {
                old(age);
            }
        }
    }

    /// Whether a pass would change something now, and would have at the look before.
    fn nothing_is_late(&mut self) -> Result<(), String> {
        let lab = &self.lab.scenario;
        let mut late: Vec<String> = lab.plan().actions.iter().map(ToString::to_string).collect();
        let (recorded, status) = (fields(&lab.observed.recorded), fields(&lab.status()));
        let names: BTreeSet<&String> = recorded.keys().chain(status.keys()).collect();
        let changed = names
            .into_iter()
            .filter(|name| recorded.get(*name) != status.get(*name));
        late.extend(changed.map(|name| format!("the status' {name}")));
        self.overdue.retain(|what, _| late.contains(what));
        for what in late {
            let now = lab.now;
            let since = *self.overdue.entry(what.clone()).or_insert(now);
            if now.duration_since(since) >= INTERVAL {
                return Err(format!(
                    "{what}: late since {since}, and now it is {now}; the next pass comes at {:?}; {recorded:#?} would \
                     be {status:#?}",
                    self.next_pass
                ));
            }
        }
        Ok(())
    }

    /// A pass while a look takes so long that what was seen before it counts no more; when it ends, it shows no news.
    fn pass_over_a_late_look(&mut self) {
        fn grow_stale<T>(look: &mut Look<T>) {
            if let Look::Known { fact, .. } = look {
                *look = Look::Unknown {
                    why: Blindness::Stale,
                    message: "the last look is 46 s old".into(),
                    since: Duration::from_secs(1),
                    last: Some(std::sync::Arc::clone(fact)),
                };
            }
        }
        let seen = self.lab.scenario.observed.ray.clone();
        let ray = &mut self.lab.scenario.observed.ray;
        grow_stale(&mut ray.view);
        grow_stale(&mut ray.activity);
        ray.reports.values_mut().for_each(grow_stale);
        self.pass();
        self.lab.scenario.observed.ray = seen;
    }

    /// The object was changed: that is news at once.
    fn edit(&mut self, change: impl FnOnce(&mut Lab)) {
        change(&mut self.lab);
        self.pass();
    }
}

/// The fields of a status but the record of launches: what is over goes from it with whatever pass comes next.
fn fields(status: &RayClusterStatus) -> BTreeMap<String, Value> {
    let Value::Object(fields) = serde_json::to_value(status).expect("a status is JSON") else {
        panic!("a status has fields")
    };
    fields.into_iter().filter(|(name, _)| name != "launches").collect()
}

/// `type status reason` of each condition.
fn conditions(status: &RayClusterStatus) -> Vec<String> {
    let conditions = status.conditions.iter();
    let word = |condition: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
        format!("{} {} {}", condition.type_, condition.status, condition.reason)
    };
    conditions.map(word).collect()
}

/// What of a look makes a pass follow: the same of Ray as in the knowledge of a watcher, and EC2's machines.
fn news(lab: &Lab) -> Vec<String> {
    let (ray, machines) = (
        &lab.scenario.observed.ray,
        &lab.scenario.observed.inventory.instance.ours,
    );
    let mut news: Vec<String> = machines
        .values()
        .map(|machine| format!("{} {:?} {}", machine.id, machine.state, machine.impaired))
        .collect();
    match &ray.view {
        Look::Unknown { why, .. } => news.push(why.name().into()),
        Look::Known { fact, .. } => {
            news.push(fact.session.clone());
            news.extend(fact.nodes.iter().map(|node| {
                let is_alive = node.state == NodeState::Alive;
                format!("{} {:?} {is_alive} {:?}", node.node_id, node.instance_id, node.in_use)
            }));
        }
    }
    match &ray.activity {
        Look::Unknown { why, .. } => news.push(why.name().into()),
        Look::Known { fact, .. } => news.extend(fact.signals.keys().map(ToString::to_string)),
    }
    news.extend(ray.reports.iter().map(|(id, report)| match report {
        Look::Unknown { why, .. } => format!("{id} {}", why.name()),
        Look::Known { fact, .. } => format!("{id} {}", words(fact)),
    }));
    news
}

fn words(report: &Report) -> String {
    let people = report
        .people
        .map(|people| (people.ssh_sessions > 0, people.jupyter_kernels > 0));
    let ray = (report.ray_active, report.has_token, &report.boot_id);
    format!("{:?} {} {people:?} {ray:?}", report.stage, report.message)
}

/// Something that happens.
#[derive(Clone, Debug)]
enum Event {
    Ray(OfRay),
    Use(bool),
    Person(bool),
    KeepAlive(Option<i64>),
    Wake(u8),
    Suspend(bool),
    Timeout(u64),
    Blind(bool),
    LateLook,
    Minutes(i64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let of_ray = ray_properties::events(true).prop_map(|all| all.into_iter().map(Event::Ray).collect::<Vec<_>>());
    let of_use = prop_oneof![
        any::<bool>().prop_map(Event::Use),
        any::<bool>().prop_map(Event::Person),
        proptest::option::of(-60..120_i64).prop_map(Event::KeepAlive),
        (0..3_u8).prop_map(Event::Wake),
        any::<bool>().prop_map(Event::Suspend),
        (5..40_u64).prop_map(Event::Timeout),
        any::<bool>().prop_map(Event::Blind),
        Just(Event::LateLook),
    ];
    let of_use = prop_oneof![2 => of_use, 3 => (1..25_i64).prop_map(Event::Minutes)];
    let of_use = vec(of_use, 0..6);
    (of_ray, of_use).prop_flat_map(|(of_ray, of_use)| Just([of_ray, of_use].concat()).prop_shuffle())
}

fn happen(world: &mut World, event: &Event) -> Result<(), String> {
    let now = world.now();
    match event {
        Event::Ray(OfRay::TimePasses(seconds)) => world.go(*seconds)?,
        Event::Ray(OfRay::WritesFail(_) | OfRay::StepsFail(_)) => {}
        Event::Ray(event @ (OfRay::Scale(..) | OfRay::ControllerForgets)) => {
            world.edit(|lab| ray_properties::happen(&mut lab.scenario, event));
        }
        Event::Ray(event) => ray_properties::happen(&mut world.lab.scenario, event),
        Event::Use(true) => world.lab.uses(Signal::Actor),
        Event::Use(false) => world.lab.is_unused(),
        Event::Person(is_there) => {
            let head = world.lab.scenario.live(super::fleet::HEAD).pop();
            let people = head.filter(|_| *is_there).map(|head| (head, (1, 0)));
            world.lab.people = people.into_iter().collect();
        }
        Event::KeepAlive(minutes) => {
            let until = minutes.map(|minutes| (now + SignedDuration::from_mins(minutes)).to_string());
            world.edit(|lab| lab.scenario.observed.wishes.keep_alive_until = until);
        }
        Event::Wake(text) => world.edit(|lab| lab.wake(&text.to_string())),
        Event::Suspend(suspend) => world.edit(|lab| lab.scenario.cluster.suspend = *suspend),
        Event::Timeout(minutes) => {
            world.edit(|lab| lab.scenario.cluster.idle.timeout = Duration::from_mins(*minutes));
        }
        Event::Blind(blind) => world.lab.scenario.ray.unknown = blind.then_some(Blindness::Slow),
        Event::LateLook => world.pass_over_a_late_look(),
        Event::Minutes(minutes) => world.go(minutes * 60)?,
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever happens, what a pass would do or tell is done and told within an interval.
    #[test]
    fn nothing_that_is_due_waits_for_a_pass_that_nobody_makes(history in events()) {
        let mut world = World::of(Lab::with(|scenario| *scenario = ray_properties::scenario()));
        for event in &history {
            let late = happen(&mut world, event);
            prop_assert!(late.is_ok(), "{}", late.unwrap_err());
        }
    }
}
