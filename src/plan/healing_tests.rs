//! The ladders of workers and of the head, and what is told when they end: each a case.

mod head;
mod joining;
mod workers;

use super::{
    Reason, Subject,
    fleet::{HEAD, WORKER},
    scenario::Scenario,
};

/// The lab, all of it in Ray for an hour, and its status written.
fn joined_lab() -> Scenario {
    let mut lab = Scenario::lab();
    lab.run();
    lab.pass();
    lab.now += jiff::SignedDuration::from_hours(1);
    assert_eq!(lab.pass(), Vec::<String>::new());
    lab
}

fn head(lab: &Scenario) -> String {
    lab.live(HEAD).remove(0)
}

fn worker(lab: &Scenario) -> String {
    lab.live(WORKER).remove(0)
}

/// What the plan waits for about a part.
fn waits(lab: &Scenario, subject: Subject) -> Vec<(Reason, String)> {
    let waiting = lab.plan().waiting.into_iter();
    let of_part = waiting.filter(|waiting| waiting.subject == subject);
    of_part.map(|waiting| (waiting.reason, waiting.message)).collect()
}

fn reason(lab: &Scenario, subject: Subject) -> Option<Reason> {
    waits(lab, subject).first().map(|(reason, _)| *reason)
}
