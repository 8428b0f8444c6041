//! The conditions: what is as asked for, what is on its way, and what waits for a person.

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{
    ConditionType, Facts, Standing,
    machines::{has_joined, works},
};
use crate::{
    api::{Phase, RayClusterStatus},
    observe::Source,
    plan::{
        Action, Finding, Outcome, Reason, Subject, Waiting,
        suspend::{self, Cause},
    },
    resources::{Kind, head::choose},
    validate::ValidationError,
};

/// Most characters of a message: with hundreds of machines in trouble the first ones say enough.
const MESSAGE_LENGTH: usize = 1024;

/// A condition without its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Draft {
    kind: ConditionType,
    /// `None`: unknown.
    holds: Option<bool>,
    reason: Cow<'static, str>,
    message: String,
}

impl Draft {
    fn new(
        kind: ConditionType,
        holds: Option<bool>,
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        let mut message = message.into();
        if let Some((end, _)) = message.char_indices().nth(MESSAGE_LENGTH) {
            message.truncate(end);
            message.push_str(" ...");
        }
        Self {
            kind,
            holds,
            reason: reason.into(),
            message,
        }
    }

    fn standing(kind: ConditionType, holds: bool, standing: Standing, message: impl Into<String>) -> Self {
        Self::new(kind, Some(holds), standing.name(), message)
    }
}

/// The phase and the conditions, in the order of [`ConditionType::ALL`].
pub(super) fn draft(facts: &Facts<'_>) -> (Phase, Vec<Draft>) {
    if facts.inputs.cluster.deleting {
        return deletion(facts);
    }
    let parts = [network(facts), head(facts), workers(facts), buckets(facts)];
    let blocked = worst(facts.waiting().filter(|waiting| waiting.reason.needs_person()));
    let down = facts.is_down();
    let is_settled = facts.inputs.plan.is_settled() && !facts.machines_unknown();
    let ready = parts.iter().all(|part| part.holds == Some(true)) && is_settled;
    let phase = phase(facts, ready, blocked.is_some());
    let standing = match phase {
        Phase::Suspending => Standing::Suspending,
        Phase::Suspended => facts.standing_of_suspension(),
        Phase::Resuming => Standing::Resuming,
        Phase::Degraded => Standing::Recovering,
        _ => Standing::Provisioning,
    };
    let mut drafts = vec![summary(facts, phase, standing, &parts, blocked.as_ref())];
    match &blocked {
        Some((reason, message)) => drafts.push(Draft::new(ConditionType::Stalled, Some(true), *reason, message)),
        None if ready || (down && is_settled) => {}
        None => {
            let message = facts.in_progress();
            drafts.push(Draft::standing(ConditionType::Reconciling, true, standing, message));
        }
    }
    drafts.extend(parts);
    drafts.push(up_to_date(facts));
    drafts.extend(idle(facts));
    if let Some(cause) = facts.cause() {
        let reason = if down {
            cause.name()
        } else {
            Standing::Suspending.name()
        };
        let message = facts.suspension();
        drafts.push(Draft::new(ConditionType::Suspended, Some(down), reason, message));
    }
    drafts.extend(drifted(facts));
    (phase, drafts)
}

/// The conditions of an object whose spec breaks a rule.
pub(super) fn invalid(error: &ValidationError) -> Vec<Draft> {
    let message = format!("{error}. Until then nothing is changed on AWS");
    vec![
        Draft::standing(ConditionType::Ready, false, Standing::InvalidSpec, &message),
        Draft::standing(ConditionType::Stalled, true, Standing::InvalidSpec, &message),
    ]
}

/// Gives conditions their times: the one of the last change of status stays while the status stays.
pub(super) fn dated(
    drafts: Vec<Draft>,
    generation: i64,
    previous: &RayClusterStatus,
    now: Timestamp,
) -> Vec<Condition> {
    let date = |draft: Draft| {
        let status = match draft.holds {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        };
        let before = previous
            .conditions
            .iter()
            .find(|condition| condition.type_ == draft.kind.name());
        let since = before
            .filter(|before| before.status == status)
            .map(|before| before.last_transition_time.clone());
        Condition {
            type_: draft.kind.name().into(),
            status: status.into(),
            reason: draft.reason.into_owned(),
            message: draft.message,
            observed_generation: Some(generation),
            // Whole seconds, as the API server keeps them.
            last_transition_time: since.unwrap_or_else(|| Time(Timestamp::from_second(now.as_second()).unwrap_or(now))),
        }
    };
    drafts.into_iter().map(date).collect()
}

impl<'a> Facts<'a> {
    fn waiting(&self) -> impl Iterator<Item = &'a Waiting> {
        self.inputs.plan.waiting.iter()
    }

    fn machines_unknown(&self) -> bool {
        matches!(self.inputs.observed.inventory.instance.swept, Source::Unknown(_))
    }

    /// Why the cluster is to be down, if it is.
    fn cause(&self) -> Option<Cause> {
        suspend::cause(self.inputs.cluster, self.inputs.observed)
    }

    /// Whether the machines are to be down and none is up.
    fn is_down(&self) -> bool {
        use crate::resources::instance::InstanceState::{ShuttingDown, Stopped};
        let mut seen = self.inputs.observed.inventory.instance.ours.values();
        let are_down = match self.cause() {
            None => false,
            Some(Cause::IdleTerminated) => {
                self.fleet.all().next().is_none() && seen.all(|machine| machine.state != ShuttingDown)
            }
            Some(_) => self.fleet.all().all(|machine| machine.state == Stopped),
        };
        are_down && !self.machines_unknown()
    }

    fn standing_of_suspension(&self) -> Standing {
        match self.cause() {
            _ if !self.is_down() => Standing::Suspending,
            Some(Cause::Suspended) => Standing::Suspended,
            _ => Standing::Stopped,
        }
    }

    fn suspension(&self) -> String {
        let up: Vec<String> = self
            .fleet
            .all()
            .filter(|machine| machine.state.name() != "stopped")
            .map(|machine| format!("{} {}", machine.id, machine.state.name()))
            .collect();
        let cause = self.cause().unwrap_or(Cause::Suspended);
        let why = match cause {
            Cause::Suspended => String::new(),
            cause => format!("{}: ", cause.words()),
        };
        let rest = match cause {
            _ if !up.is_empty() => up.join(", "),
            Cause::IdleTerminated => {
                format!(
                    "the machines are gone; network and buckets are kept. {}",
                    cause.way_up()
                )
            }
            _ => format!(
                "the machines are stopped; disks, addresses and buckets are kept. {}",
                cause.way_up()
            ),
        };
        why + &rest
    }

    /// What is being done and waited for.
    fn in_progress(&self) -> String {
        let actions = self.inputs.plan.actions.iter().map(ToString::to_string);
        let waits = self.waiting().map(|waiting| waiting.message.clone());
        let all = joined(actions.chain(waits));
        if all.is_empty() {
            "looking at what came of it".into()
        } else {
            all
        }
    }

    /// What is still to be done for a part.
    fn actions_of(&self, subject: Subject) -> Vec<String> {
        let actions = self.inputs.plan.actions.iter();
        actions
            .filter(|action| subject_of(action) == subject)
            .map(ToString::to_string)
            .collect()
    }

    /// A part of the cluster: as asked for when there is nothing to do and to wait for, and `lacking` says nothing.
    fn part(&self, kind: ConditionType, subjects: &[Subject], lacking: Option<String>, good: &str) -> Draft {
        let waits = self.waiting().filter(|waiting| subjects.contains(&waiting.subject));
        if let Some((reason, message)) = worst(waits) {
            return Draft::new(kind, holds_not(reason), reason, message);
        }
        let to_do: Vec<String> = subjects
            .iter()
            .flat_map(|subject| self.actions_of(*subject))
            .chain(lacking)
            .collect();
        if to_do.is_empty() {
            Draft::standing(kind, true, Standing::AsSpecified, good)
        } else {
            Draft::standing(kind, false, Standing::Provisioning, to_do.join("; "))
        }
    }
}

/// The part of a cluster with which an action has to do; of machines it is told by the machines themselves.
fn subject_of(action: &Action) -> Subject {
    match action {
        Action::Aws(change) => match change.kind() {
            Kind::Bucket => Subject::Buckets,
            Kind::KeyPair => Subject::Key,
            Kind::Address => Subject::Head,
            Kind::Instance | Kind::Volume | Kind::NetworkInterface => Subject::Cluster,
            Kind::Vpc | Kind::InternetGateway | Kind::Subnet | Kind::RouteTable | Kind::SecurityGroup => {
                Subject::Network
            }
        },
        Action::CreateKey => Subject::Key,
        Action::Machine(_)
        | Action::RecordLaunches(_)
        | Action::CloseLaunches(_)
        | Action::HoldLaunches { .. }
        | Action::AddFinalizer
        | Action::RemoveFinalizer
        | Action::MarkStopped(_)
        | Action::HandleWake { .. } => Subject::Cluster,
    }
}

/// The reason that weighs most, and all messages: what needs a person comes first, and what was not looked at last.
fn worst<'a>(waits: impl Iterator<Item = &'a Waiting>) -> Option<(&'static str, String)> {
    let mut waits: Vec<&Waiting> = waits.collect();
    let weight = |reason: Reason| match reason {
        reason if reason.needs_person() => 0,
        Reason::DependencyPending | Reason::Joining => 2,
        Reason::NotObserved | Reason::NotLooked | Reason::HeadUnknown => 3,
        _ => 1,
    };
    waits.sort_by_key(|waiting| weight(waiting.reason));
    let reason = waits.first()?.reason.name();
    Some((reason, joined(waits.iter().map(|waiting| waiting.message.clone()))))
}

/// Messages one after the other, those that say the same of several things once: `a: is away; b: is away` is
/// `a, b: is away`.
fn joined(messages: impl Iterator<Item = String>) -> String {
    let mut all: Vec<(Vec<String>, String)> = Vec::new();
    for message in messages {
        let (what, said) = match message.split_once(": ") {
            Some((what, said)) => (what.to_owned(), said.to_owned()),
            None => (String::new(), message),
        };
        match all.iter_mut().find(|(_, known)| *known == said) {
            Some((things, _)) if things.contains(&what) => {}
            Some((things, _)) => things.push(what),
            None => all.push((vec![what], said)),
        }
    }
    let told = all.into_iter().map(|(things, said)| match things.join(", ") {
        things if things.is_empty() => said,
        things => format!("{things}: {said}"),
    });
    told.collect::<Vec<_>>().join("; ")
}

/// What a reason makes of a condition: false, but for what nobody could look at.
fn holds_not(reason: &str) -> Option<bool> {
    let mut unseen = Reason::ALL.iter().filter(|reason| reason.is_unseen());
    (!unseen.any(|unseen| unseen.name() == reason)).then_some(false)
}

fn network(facts: &Facts<'_>) -> Draft {
    facts.part(
        ConditionType::NetworkReady,
        &[Subject::Network],
        None,
        "the network is as specified",
    )
}

fn head(facts: &Facts<'_>) -> Draft {
    let kind = ConditionType::HeadReady;
    if let Some(draft) = machines_draft(facts, kind) {
        return draft;
    }
    let head = choose(&facts.fleet.heads).0;
    let lacking = match head {
        Some(head) if works(head) && facts.members.ray.view().is_some() => None,
        Some(head) if works(head) => Some(format!("the Ray of {} is not known yet", head.id)),
        Some(head) => Some(format!("{} is {}", head.id, head.state.name())),
        None => Some("there is no head yet".into()),
    };
    let version = facts.members.ray.view().map_or("", |view| &view.version);
    let good = head.map_or_else(String::new, |head| format!("{} runs Ray {version}", head.id));
    facts.part(kind, &[Subject::Head, Subject::Key], lacking, &good)
}

fn workers(facts: &Facts<'_>) -> Draft {
    let kind = ConditionType::WorkersReady;
    if let Some(draft) = machines_draft(facts, kind) {
        return draft;
    }
    // Machines that nobody can place count as workers of any group: more are not launched beside them.
    let unplaced = facts.fleet.unassigned.iter();
    let unplaced = unplaced.filter(|machine| has_joined(facts.members, machine)).count();
    let lacking: usize = facts
        .worker_groups
        .iter()
        .map(|group| group.desired.saturating_sub(group.joined) as usize)
        .sum();
    let exceeding = facts
        .worker_groups
        .iter()
        .any(|group| group.machines.len() > group.desired as usize);
    let joined: u32 = facts.worker_groups.iter().map(|group| group.joined).sum();
    let desired: u32 = facts.worker_groups.iter().map(|group| group.desired).sum();
    let tally = format!("{joined} of {desired} workers joined");
    let unfulfilled = (lacking > unplaced || exceeding).then(|| tally.clone());
    facts.part(kind, &[Subject::Workers], unfulfilled, &tally)
}

/// What a condition of machines says where it cannot speak of them.
fn machines_draft(facts: &Facts<'_>, kind: ConditionType) -> Option<Draft> {
    if let Source::Unknown(why) = &facts.inputs.observed.inventory.instance.swept {
        let waiting = Waiting::unseen(Subject::Cluster, "machines", why);
        return Some(Draft::new(kind, None, waiting.reason.name(), waiting.message));
    }
    facts
        .cause()
        .map(|_| Draft::standing(kind, false, facts.standing_of_suspension(), facts.suspension()))
}

/// Whether nobody uses it; what was known before stands where nobody could judge.
fn idle(facts: &Facts<'_>) -> Option<Draft> {
    let kind = ConditionType::Idle;
    let Some(idleness) = &facts.inputs.plan.idle else {
        let mut before = facts.inputs.previous.conditions.iter();
        let before = before.find(|condition| condition.type_ == kind.name())?;
        let holds = match before.status.as_str() {
            "True" => Some(true),
            "False" => Some(false),
            _ => None,
        };
        return Some(Draft::new(kind, holds, before.reason.clone(), before.message.clone()));
    };
    let verdict = idleness.verdict.as_ref()?;
    Some(Draft::new(kind, verdict.idle, verdict.reason, verdict.message.clone()))
}

fn buckets(facts: &Facts<'_>) -> Draft {
    let unready: Vec<&str> = facts
        .buckets
        .iter()
        .filter(|bucket| !bucket.ready)
        .map(|bucket| bucket.name.as_str())
        .collect();
    let lacking = (!unready.is_empty()).then(|| format!("not ready yet: {}", unready.join(", ")));
    let good = format!("{} buckets are as specified", facts.buckets.len());
    facts.part(ConditionType::BucketsReady, &[Subject::Buckets], lacking, &good)
}

fn up_to_date(facts: &Facts<'_>) -> Draft {
    let kind = ConditionType::UpToDate;
    if facts.machines_unknown() || facts.cause().is_some() {
        let holds_not = machines_draft(facts, kind);
        return Draft {
            holds: None,
            ..holds_not.unwrap_or_else(|| Draft::new(kind, None, Reason::NotObserved.name(), ""))
        };
    }
    let outdated = told(
        facts
            .inputs
            .plan
            .findings
            .iter()
            .filter(|finding| finding.outcome == Outcome::Outdated),
    );
    if outdated.is_empty() {
        return Draft::standing(
            kind,
            true,
            Standing::AsSpecified,
            "no machine was made from an older spec",
        );
    }
    let message = format!("terminate these machines to have them replaced: {outdated}");
    Draft::standing(kind, false, Standing::Outdated, message)
}

fn drifted(facts: &Facts<'_>) -> Option<Draft> {
    let findings = || facts.inputs.plan.findings.iter();
    let repairing = told(findings().filter(|finding| finding.outcome == Outcome::Repaired));
    let kept = told(findings().filter(|finding| finding.outcome == Outcome::Kept));
    let kind = ConditionType::Drifted;
    match (repairing.is_empty(), kept.is_empty()) {
        (true, true) => None,
        (true, false) => Some(Draft::standing(
            kind,
            true,
            Standing::Kept,
            format!("not Rayward's, and kept: {kept}"),
        )),
        (false, true) => Some(Draft::standing(kind, true, Standing::Repairing, repairing)),
        (false, false) => {
            let message = format!("{repairing}; not Rayward's, and kept: {kept}");
            Some(Draft::standing(kind, true, Standing::Repairing, message))
        }
    }
}

fn told<'a>(findings: impl Iterator<Item = &'a Finding>) -> String {
    let told: Vec<String> = findings
        .map(|finding| format!("{} {}", finding.id, finding.what))
        .collect();
    told.join("; ")
}

fn phase(facts: &Facts<'_>, ready: bool, blocked: bool) -> Phase {
    let previous = facts.inputs.previous;
    if facts.cause().is_some() {
        return if facts.is_down() {
            Phase::Suspended
        } else {
            Phase::Suspending
        };
    }
    if blocked {
        return Phase::Stalled;
    }
    if ready {
        return Phase::Ready;
    }
    let same_wish = previous.observed_generation == Some(facts.inputs.cluster.generation);
    match previous.phase {
        Some(Phase::Suspending | Phase::Suspended | Phase::Resuming) => Phase::Resuming,
        Some(Phase::Ready | Phase::Degraded) if same_wish => Phase::Degraded,
        _ => Phase::Provisioning,
    }
}

/// `Ready`: its reason is the one that weighs most, so that `kubectl get` shows it.
fn summary(
    facts: &Facts<'_>,
    phase: Phase,
    standing: Standing,
    parts: &[Draft],
    blocked: Option<&(&'static str, String)>,
) -> Draft {
    let kind = ConditionType::Ready;
    if phase == Phase::Ready {
        return Draft::standing(kind, true, Standing::AsSpecified, "everything is as specified");
    }
    if let Some((reason, message)) = blocked {
        return Draft::new(kind, holds_not(reason), *reason, message);
    }
    if facts.cause().is_some() {
        return Draft::standing(kind, false, standing, facts.suspension());
    }
    match parts.iter().find(|part| part.holds != Some(true)) {
        Some(part) => Draft { kind, ..part.clone() },
        None => match worst(facts.waiting()) {
            Some((reason, message)) => Draft::new(kind, holds_not(reason), reason, message),
            None => Draft::standing(kind, false, standing, facts.in_progress()),
        },
    }
}

/// The conditions of a cluster that is being deleted: the parts are on their way out, so only the whole is told.
fn deletion(facts: &Facts<'_>) -> (Phase, Vec<Draft>) {
    let message = facts.in_progress();
    let mut drafts = vec![Draft::standing(
        ConditionType::Ready,
        false,
        Standing::Deleting,
        &message,
    )];
    match worst(facts.waiting().filter(|waiting| waiting.reason.needs_person())) {
        Some((reason, blockers)) => {
            drafts.push(Draft::new(ConditionType::Stalled, Some(true), reason, &blockers));
            drafts.push(Draft::new(
                ConditionType::DeletionBlocked,
                Some(true),
                reason,
                &blockers,
            ));
        }
        None => drafts.push(Draft::standing(
            ConditionType::Reconciling,
            true,
            Standing::Deleting,
            &message,
        )),
    }
    (Phase::Deleting, drafts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_things_have_in_common_is_said_once() {
        let messages = [
            "vpc: no",
            "machines: not yet",
            "subnets: no",
            "vpc: no",
            "something else",
        ];
        let joined = joined(messages.into_iter().map(ToOwned::to_owned));
        assert_eq!(joined, "vpc, subnets: no; machines: not yet; something else");
    }
}
