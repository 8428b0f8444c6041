//! The page of conditions, reasons and phases.

use std::fs;

use super::*;
use crate::plan::{idle::IdleReason, suspend::Cause};

/// The page lists the words that programs may rely on: each that the code has, and none that it has not.
#[test]
fn the_reference_page_lists_every_condition_reason_and_phase() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference-conditions.md")).unwrap();
    let table = |heading: &str| -> Vec<(String, String)> {
        let section = page
            .split("\n## ")
            .find(|section| {
                section.starts_with(&format!("{heading}\n")) || section.starts_with(&format!("{heading} and"))
            })
            .unwrap();
        let rows = section.lines().filter(|line| line.starts_with("| `"));
        let cells = rows.map(|row| row.split('|').map(|cell| cell.trim().replace('`', "")).collect());
        cells
            .map(|cells: Vec<String>| (cells[1].clone(), cells[2].clone()))
            .collect()
    };
    let polarity = |kind: &ConditionType| match kind.polarity() {
        Polarity::Normal => "always; True is good",
        Polarity::Abnormal => "only while True",
        Polarity::Up => "only while the head runs; neither is better",
        Polarity::Wish => "only while it is to be down",
    };
    let conditions: Vec<_> = ConditionType::ALL
        .iter()
        .map(|kind| (kind.name().to_owned(), polarity(kind).to_owned()))
        .collect();
    assert_eq!(table("Conditions"), conditions);
    let names = |heading| table(heading).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let reasons = Standing::ALL
        .iter()
        .map(|reason| reason.name())
        .chain(Reason::ALL.iter().map(|reason| reason.name()));
    assert_eq!(names("Reasons"), reasons.collect::<Vec<_>>());
    let causes = Cause::ALL.iter().map(|cause| cause.name());
    let idle = IdleReason::ALL.iter().map(|reason| reason.name()).chain(causes);
    assert_eq!(names("Reasons of `Idle`"), idle.collect::<Vec<_>>());
    let person: Vec<_> = table("Reasons")
        .into_iter()
        .filter(|(_, who)| who == "you")
        .map(|(name, _)| name)
        .collect();
    let needs_person = Reason::ALL
        .iter()
        .filter(|reason| reason.needs_person())
        .map(|reason| reason.name());
    assert_eq!(
        person,
        std::iter::once(Standing::InvalidSpec.name())
            .chain(needs_person)
            .collect::<Vec<_>>()
    );
    let phases: Vec<_> = Phase::ALL.iter().map(|phase| format!("{phase:?}")).collect();
    assert_eq!(names("Phases"), phases);
}
