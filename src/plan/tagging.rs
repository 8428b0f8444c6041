//! Tags that somebody removed or changed, and those that the spec newly asks for: what lacks the same is tagged in one
//! call.

use std::collections::BTreeMap;

use super::{Action, Finding, Planner, Subject};
use crate::{
    aws::ErrorClass,
    observe::Refusal,
    resources::{Change, Kind, Resource, TagChange, instance::Instance},
    tags::{self, Tags},
};

/// How many things are tagged in one call at most: EC2 takes 1,000 and recommends fewer.
const TOGETHER: usize = 100;

/// Things by the tags that they lack.
#[derive(Debug)]
pub(crate) struct Untagged<T>(BTreeMap<Tags, Vec<T>>);

impl<T> Default for Untagged<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Untagged<T> {
    /// Notes that `thing` lacks `missing`.
    pub(crate) fn add(&mut self, missing: Tags, thing: T) {
        self.0.entry(missing).or_default().push(thing);
    }
}

impl Planner<'_> {
    /// Plans to put back the tags that `item` lost.
    pub fn repair_tags(&mut self, subject: Subject, kind: Kind, item: &impl Resource, wanted: &Tags) {
        let mut untagged = Untagged::default();
        self.note_untagged(&mut untagged, item, wanted);
        self.tag(subject, kind, untagged);
    }

    /// Notes, and tells, what `item` lacks of `wanted`.
    pub(crate) fn note_untagged(&mut self, untagged: &mut Untagged<String>, item: &impl Resource, wanted: &Tags) {
        if let Some(missing) = tags::missing(item.tags(), wanted) {
            self.tell_untagged(item.id(), item.tags(), &missing);
            untagged.add(missing, item.id().to_owned());
        }
    }

    /// Tells which tags something lacks, unless they were never asked for before. `tags` are those that say how old it
    /// is.
    pub(crate) fn tell_untagged(&mut self, id: &str, tags: &Tags, missing: &Tags) {
        if self.is_drift(tags) {
            let keys: Vec<&str> = missing.keys().map(String::as_str).collect();
            let what = format!("tags were missing or changed: {}", keys.join(", "));
            self.find(Finding::repaired(id, what));
        }
    }

    /// Plans to tag things of one kind.
    pub(crate) fn tag(&mut self, subject: Subject, kind: Kind, untagged: Untagged<String>) {
        self.tag_together(subject, untagged, |ids, tags| {
            let ids = ids.to_vec();
            Change::Tags(TagChange { kind, ids, tags })
        });
    }

    /// Plans to tag things by `change`: together what lacks the same. EC2 tags none of them where it cannot tag one, so
    /// that after such a refusal each is tagged by itself.
    pub(crate) fn tag_together<T>(
        &mut self,
        subject: Subject,
        untagged: Untagged<T>,
        change: impl Fn(&[T], Tags) -> Change,
    ) {
        for (tags, things) in untagged.0 {
            for together in things.chunks(TOGETHER) {
                let all = change(together, tags.clone());
                let refused = self.observed().refusals.get(&Action::Aws(all.clone()).key());
                if together.len() > 1 && refused.is_some_and(is_about_one) {
                    for one in together.chunks(1) {
                        self.change(subject, change(one, tags.clone()));
                    }
                } else {
                    self.change(subject, all);
                }
            }
        }
    }

    /// The tags that what comes with a machine has to carry: the machine's, but for those that others put on it.
    pub(crate) fn tags_of_parts(&self, machine: &Instance) -> Tags {
        let user = &self.cluster().tags;
        let is_ours = |key: &str| key == tags::NAME || key.starts_with(tags::PREFIX) || user.contains_key(key);
        let mut wanted = machine.tags.clone();
        wanted.retain(|key, _| is_ours(key));
        wanted
    }
}

/// Whether EC2 refused because of one of several things: it does not exist (any more), or has 50 tags already.
fn is_about_one(refusal: &Refusal) -> bool {
    refusal.class == ErrorClass::NotFound || refusal.code == "TagLimitExceeded"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::Phase,
        plan::{
            fleet::{HEAD, WORKER},
            scenario::Scenario,
        },
    };

    /// The lab, all of it running, and the wish reached.
    fn made() -> Scenario {
        let mut lab = Scenario::lab();
        lab.run();
        lab.now += jiff::SignedDuration::from_hours(1);
        lab.observed.recorded.observed_generation = Some(lab.cluster.generation);
        lab.observed.recorded.phase = Some(Phase::Ready);
        assert_eq!(lab.lines(), Vec::<String>::new());
        lab
    }

    fn about(lines: &[String], prefix: &str) -> Vec<String> {
        let prefix = format!("tag {prefix}-");
        lines.iter().filter(|line| line.starts_with(&prefix)).cloned().collect()
    }

    #[test]
    fn a_tag_that_the_spec_newly_asks_for_reaches_machines_disks_and_interfaces_in_few_calls() {
        let mut lab = made();
        lab.cluster.generation += 1;
        lab.cluster.tags.insert("team".into(), "blue".into());
        let done = lab.settle();
        let head = lab.live(HEAD).remove(0);
        let workers = lab.live(WORKER);
        let (one, two) = (&workers[0], &workers[1]);
        assert_eq!(
            about(&done, "i"),
            [
                format!("tag {head} with team=blue"),
                format!("tag {one}, {two} with team=blue")
            ]
        );
        assert_eq!(
            about(&done, "vol"),
            [format!(
                "tag vol-{head} (of {head}), vol-{one} (of {one}), vol-{two} (of {two}) with team=blue"
            )]
        );
        assert_eq!(
            about(&done, "eni"),
            [format!("tag eni-{head}, eni-{one}, eni-{two} with team=blue")]
        );
        let interfaces = lab.observed.inventory.network_interface.ours.values();
        assert!(
            interfaces
                .map(|interface| &interface.tags)
                .all(|tags| tags["team"] == "blue")
        );
        assert_eq!(lab.plan().findings, [], "nobody changed anything");
    }

    #[test]
    fn tags_that_an_interface_lost_come_back_and_are_told() {
        let mut lab = made();
        let head = lab.live(HEAD).remove(0);
        let id = format!("eni-{head}");
        // Without its tags a look shows it as anybody's in that VPC.
        let shelf = &mut lab.observed.inventory.network_interface;
        let mut interface = shelf.ours.remove(&id).unwrap();
        let before = std::mem::take(&mut interface.tags);
        shelf.others.insert(id.clone(), interface);
        let plan = lab.plan();
        assert_eq!(plan.findings.len(), 1, "{:?}", plan.findings);
        assert_eq!(plan.findings[0].id, id);
        lab.settle();
        assert_eq!(lab.observed.inventory.network_interface.ours[&id].tags, before);

        lab.observed.inventory.network_interface.ours.clear();
        assert_eq!(
            lab.lines(),
            Vec::<String>::new(),
            "not seen yet: it was made with its tags"
        );
    }

    #[test]
    fn what_others_put_on_a_machine_is_put_on_nothing_else() {
        let mut lab = made();
        let head = lab.live(HEAD).remove(0);
        let tags = &mut lab.machine_mut(&head).tags;
        tags.insert("cost-center".into(), "42".into());
        assert_eq!(lab.lines(), Vec::<String>::new());
    }

    #[test]
    fn where_one_thing_cannot_be_tagged_each_is_tagged_by_itself() {
        let mut lab = made();
        lab.cluster.tags.insert("team".into(), "blue".into());
        let joint = |line: &&String| line.starts_with("tag i-") && line.contains(',');
        assert_eq!(lab.lines().iter().filter(joint).count(), 1);
        let plan = lab.plan();
        let action = plan.actions.iter().find(|action| joint(&&action.to_string())).unwrap();
        let refused = |class, code: &str| Refusal {
            class,
            kind: Kind::Instance,
            code: code.into(),
            message: String::new(),
            times: 1,
            until: lab.now - jiff::SignedDuration::from_secs(1),
        };
        let mut gone = made();
        gone.cluster.tags.clone_from(&lab.cluster.tags);
        let refusal = refused(ErrorClass::NotFound, "InvalidInstanceID.NotFound");
        gone.observed.refusals.insert(action.key(), refusal);
        assert_eq!(about(&gone.lines(), "i").len(), 3);
        // Everything else is as true of one as of all.
        for (class, code) in [
            (ErrorClass::Throttled, "RequestLimitExceeded"),
            (ErrorClass::Terminal, "UnauthorizedOperation"),
        ] {
            gone.observed.refusals.insert(action.key(), refused(class, code));
            assert_eq!(about(&gone.lines(), "i").len(), 2, "{code}");
        }
    }
}
