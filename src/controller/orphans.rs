//! Resources of this installation whose `RayCluster` this process does not know: counted on /metrics, named in the log,
//! never touched.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use crate::resources::Kind;

/// How long they have to be seen before they are told: after a start, clusters are met one after the other.
const LASTING: Duration = Duration::from_mins(1);
/// How many are named; the rest is counted.
const NAMED: usize = 20;

/// What was seen without a `RayCluster`, by region.
#[derive(Debug, Default)]
pub(super) struct Orphans(BTreeMap<String, Seen>);

#[derive(Debug)]
struct Seen {
    things: BTreeSet<String>,
    since: Instant,
    is_told: bool,
}

impl Orphans {
    /// Enters what a region has now. The answer is what to tell of it: once for each set that lasts.
    pub(super) fn news(&mut self, region: &str, things: &[(Kind, String)], now: Instant) -> Option<String> {
        let things: BTreeSet<String> = things
            .iter()
            .map(|(kind, id)| format!("{} {id}", kind.name()))
            .collect();
        let new = |things| Seen {
            things,
            since: now,
            is_told: false,
        };
        let seen = match self.0.get_mut(region) {
            Some(seen) if seen.things == things => seen,
            _ => {
                self.0.insert(region.to_owned(), new(things));
                return None;
            }
        };
        if seen.is_told || seen.things.is_empty() || now.duration_since(seen.since) < LASTING {
            return None;
        }
        seen.is_told = true;
        let mut named: Vec<&str> = seen.things.iter().take(NAMED).map(String::as_str).collect();
        let more = format!("and {} more", seen.things.len().saturating_sub(NAMED));
        if seen.things.len() > NAMED {
            named.push(&more);
        }
        Some(named.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_told_once_and_what_passes_never() {
        let (mut orphans, began) = (Orphans::default(), Instant::now());
        let vpc = [(Kind::Vpc, "vpc-1".to_owned())];
        let mut at = |minutes, things: &[_]| orphans.news("here", things, began + Duration::from_mins(minutes));
        assert_eq!(at(0, &vpc), None, "it may be a cluster's that was not met yet");
        assert_eq!(at(1, &vpc).as_deref(), Some("vpc vpc-1"));
        assert_eq!(at(2, &vpc), None);
        assert_eq!(at(3, &[]), None);
        assert_eq!(at(5, &[]), None, "none is no news");
        assert_eq!(at(6, &vpc), None);
        assert_eq!(at(7, &vpc).as_deref(), Some("vpc vpc-1"));
    }

    #[test]
    fn of_very_many_some_are_named_and_all_are_counted() {
        let (mut orphans, began) = (Orphans::default(), Instant::now());
        let many: Vec<_> = (10..40).map(|number| (Kind::Vpc, format!("vpc-{number}"))).collect();
        orphans.news("here", &many, began);
        let told = orphans.news("here", &many, began + LASTING).unwrap();
        assert!(told.contains("vpc-29") && !told.contains("vpc-30"), "{told}");
        assert!(told.ends_with("and 10 more"), "{told}");
    }
}
