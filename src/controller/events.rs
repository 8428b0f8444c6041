//! The Events that an execution publishes: one for each change on AWS, naming the id, and one for each refusal.

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::{
    api::RayClusterStatus,
    aws::{Access, AwsCall, ErrorClass},
    execute::{Effect, Failure, KubernetesError},
    plan::{Action, Finding, Reason, StopMark, idle::IdleReason, suspend::Cause},
    resources::Answer,
    status::ConditionType,
};

/// Longest note that Kubernetes takes, in bytes.
const MAX_NOTE: usize = 1024;
/// Longest action and reason that Kubernetes takes, in bytes.
const MAX_WORD: usize = 128;

/// Something to tell about an object. Events that are equal but for their note are counted, not added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whether a person should look at it.
    pub is_warning: bool,
    /// `CamelCase` word: what happened, or AWS's error code.
    pub reason: String,
    /// What was done, on what; tells apart equal changes on different things.
    pub action: String,
    /// A sentence with the id.
    pub note: String,
}

impl Event {
    /// An Event with its texts cut to what Kubernetes takes.
    #[must_use]
    pub fn new(is_warning: bool, reason: &str, action: &str, note: &str) -> Self {
        Self {
            is_warning,
            reason: cut(&camel_case(reason), MAX_WORD),
            action: cut(action, MAX_WORD),
            note: cut(note, MAX_NOTE),
        }
    }

    /// The Event of something that was found to differ from the wish and is being put right.
    #[must_use]
    pub fn drift(finding: &Finding) -> Self {
        let what = format!("{} {}", finding.id, finding.what);
        let action = format!("Repair/{}", fingerprint(&what));
        Self::new(true, "Drifted", &action, &format!("{what}; it is being put right"))
    }

    /// The Event of something that may have been a deleted cluster's and stays, since nothing proves it.
    #[must_use]
    pub fn left_behind(finding: &Finding) -> Self {
        let what = format!("{} {}", finding.id, finding.what);
        let action = format!("Leave/{}", fingerprint(&what));
        Self::new(true, "LeftBehind", &action, &format!("{what}: it is left as it is"))
    }

    /// The Event of an action and what came of it; `None` where there is nothing to tell.
    #[must_use]
    pub fn of(action: &Action, result: &Result<Effect, Failure>) -> Option<Self> {
        let key = action.key();
        let tell = |is_warning, reason: &str, note: &str| Some(Self::new(is_warning, reason, &key, note));
        match (action, result) {
            (Action::Aws(change), Ok(Effect::Aws(answer))) => {
                if change.call().access() == Access::Read {
                    return None;
                }
                let note = match answer {
                    // Nobody changed anything: it was not there any more.
                    Answer::Gone => return None,
                    Answer::Done | Answer::Bucket(_) => change.to_string(),
                    _ => format!("{change}: {}", Effect::Aws(answer.clone())),
                };
                // What was done on different things, or made different things, is never one Event counted twice.
                let action = format!("{}/{}", change.call().action(), fingerprint(&note));
                Some(Self::new(false, &past(change.call()), &action, &note))
            }
            (Action::Machine(step), Ok(effect)) => tell(false, step.name(), &format!("{step}: {effect}")),
            (_, Err(Failure::Machine(error))) => tell(true, "StepFailed", &format!("could not {action}: {error}")),
            (Action::MarkStopped(mark), Ok(_)) => stopped_or_woken(mark),
            (Action::CreateKey, Ok(_)) => tell(false, "KeyCreated", "created the cluster's key and its Secret"),
            (_, Err(Failure::Aws(error))) => match error.class {
                ErrorClass::LostLease | ErrorClass::Waiting => None,
                _ => tell(
                    true,
                    &error.code,
                    &format!("could not {action}: {}: {}", error.code, error.words()),
                ),
            },
            (_, Err(Failure::Kubernetes(error @ KubernetesError::Failed { .. }))) => {
                tell(true, "KubernetesRefused", &error.to_string())
            }
            // A look or a write that went as it should, and what only makes the pass begin anew.
            (_, Ok(_) | Err(Failure::Kubernetes(_))) => None,
        }
    }
}

/// The Event of what does not go on until a person acts although no change on AWS was refused: what blocks a deletion,
/// what the spec names and is not there, that AWS refuses to be looked at. `None` while the status before said the
/// same.
#[must_use]
pub fn held_up(before: &RayClusterStatus, now: &RayClusterStatus) -> Option<Event> {
    let of = |status: &RayClusterStatus| {
        let conditions = status.conditions.iter().filter(|condition| condition.status == "True");
        let find = |name: ConditionType| conditions.clone().find(|condition| condition.type_ == name.name());
        if let Some(blocked) = find(ConditionType::DeletionBlocked) {
            return Some(Event::new(true, &blocked.type_, &blocked.reason, &blocked.message));
        }
        // Each refused change has an Event of its own.
        let stalled = find(ConditionType::Stalled).filter(|stalled| stalled.reason != Reason::Refused.name())?;
        let note = undated(&stalled.message);
        Some(Event::new(true, &stalled.reason, &stalled.type_, &note))
    };
    of(now).filter(|event| of(before).as_ref() != Some(event))
}

/// What of a cluster's Ray is told when it comes: that it is another one than before, and that it is not known for a
/// reason that may pass by itself (the others need a person, see [`held_up`]).
#[must_use]
pub fn of_ray(before: &RayClusterStatus, now: &RayClusterStatus) -> Vec<Event> {
    let session = |status: &RayClusterStatus| status.head.as_ref().and_then(|head| head.session.clone());
    let new = match (session(before), session(now)) {
        (Some(before), Some(now)) if before != now => {
            let note = format!(
                "the cluster has a new Ray: session {now} instead of {before}. The jobs and actors of the old one are \
                 gone"
            );
            Some(Event::new(
                true,
                "NewRay",
                &format!("Session/{}", fingerprint(&now)),
                &note,
            ))
        }
        _ => None,
    };
    let unseen = |status: &RayClusterStatus| {
        let mut conditions = status.conditions.iter();
        let head = conditions.find(|condition| condition.type_ == ConditionType::HeadReady.name())?;
        let passing = [
            Reason::Unreachable,
            Reason::DashboardDown,
            Reason::GcsDown,
            Reason::Slow,
            Reason::Incomplete,
            Reason::Stale,
            Reason::Garbled,
        ];
        let is_told = passing.iter().any(|reason| reason.name() == head.reason);
        is_told.then(|| Event::new(true, &head.reason, &head.type_, &undated(&head.message)))
    };
    let is_new = |event: &Event| unseen(before).is_none_or(|earlier| earlier.reason != event.reason);
    new.into_iter().chain(unseen(now).filter(is_new)).collect()
}

/// A message without since when something is so: an Event has times of its own, and says the same when it comes again.
fn undated(message: &str) -> String {
    const SINCE: &str = " since ";
    let mut parts = message.split(SINCE);
    let mut note = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find('Z').map_or(0, |end| end + 1);
        if part[..end].parse::<Timestamp>().is_ok() {
            note.push_str(&part[end..]);
        } else {
            note.push_str(SINCE);
            note.push_str(part);
        }
    }
    note
}

/// The Event of a cluster that goes down or comes up for another reason than its spec, which tells itself.
fn stopped_or_woken(mark: &StopMark) -> Option<Event> {
    let Some(stopped) = &mark.stopped else {
        let note = format!("the cluster is to be up again: {}", mark.because);
        return Some(Event::new(false, "Waking", "wake", &note));
    };
    let (cause, _) = Cause::read(stopped).filter(|(cause, _)| *cause != Cause::Suspended)?;
    let what = match cause {
        Cause::IdleTerminated => "its machines are terminated; network and buckets stay",
        _ => "its machines are stopped; disks, addresses and buckets stay",
    };
    let note = format!("{}: {what}; {}", mark.because, cause.way_up());
    let action = format!("stop/{}", fingerprint(stopped));
    Some(Event::new(cause == Cause::RayUnknown, cause.name(), &action, &note))
}

/// The Event of what a person should know of an idle cluster before it goes down, or since it does not: each once for a
/// deadline. `None` while the status before said the same.
#[must_use]
pub fn idle_soon(before: &RayClusterStatus, now: &RayClusterStatus) -> Option<Event> {
    let of = |status: &RayClusterStatus| {
        let mut conditions = status.conditions.iter();
        let idle = conditions.find(|condition| condition.type_ == ConditionType::Idle.name())?;
        let told = IdleReason::ALL.iter().find(|reason| reason.name() == idle.reason)?;
        let is_warning = match told {
            IdleReason::StoppingSoon => false,
            IdleReason::KeepAliveUnreadable | IdleReason::Unconfirmed | IdleReason::UnknownForLong => true,
            _ => return None,
        };
        let deadline = status.idle_deadline.map_or_else(String::new, |at| at.to_string());
        Some(Event::new(
            is_warning,
            told.name(),
            &format!("idle/{deadline}"),
            &idle.message,
        ))
    };
    let is_told =
        |event: &Event| of(before).is_some_and(|told| (&told.reason, &told.action) == (&event.reason, &event.action));
    of(now).filter(|event| !is_told(event))
}

/// What a call did, as a reason: `CreateVpc` -> `VpcCreated`.
#[must_use]
pub fn past(call: AwsCall) -> String {
    let action = call.action();
    let verb_end = action
        .char_indices()
        .skip(1)
        .find(|(_, letter)| letter.is_uppercase())
        .map_or(action.len(), |(index, _)| index);
    let (verb, noun) = action.split_at(verb_end);
    let done = match verb {
        "Run" => "Launched".to_owned(),
        "Put" => "Set".to_owned(),
        "Stop" => "Stopped".to_owned(),
        _ if verb.ends_with('y') => format!("{}ied", verb.trim_end_matches('y')),
        _ if verb.ends_with('e') => format!("{verb}d"),
        _ => format!("{verb}ed"),
    };
    format!("{noun}{done}")
}

/// A short word that is another for another text.
fn fingerprint(text: &str) -> String {
    let [a, b, c, d, ..] = <[u8; 32]>::from(Sha256::digest(text));
    format!("{:08x}", u32::from_be_bytes([a, b, c, d]))
}

/// AWS's codes may hold dots: `InvalidGroup.NotFound`; a reason may not.
fn camel_case(code: &str) -> String {
    code.chars().filter(char::is_ascii_alphanumeric).collect()
}

fn cut(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let mut end = bytes.saturating_sub(3);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}...", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        aws::AwsError,
        resources::{Change, vpc::VpcChange},
    };

    fn create() -> Action {
        Action::Aws(Change::Vpc(VpcChange::Create {
            cidr: "10.0.0.0/16".into(),
            tags: crate::tags::Tags::new(),
        }))
    }

    #[test]
    fn another_thing_made_is_another_event_and_the_same_refusal_is_the_same() {
        let made = |id: &str| Event::of(&create(), &Ok(Effect::Aws(Answer::Created(id.into())))).unwrap();
        assert_ne!(made("vpc-1").action, made("vpc-2").action);
        assert_eq!(made("vpc-1").action, made("vpc-1").action);
    }

    #[test]
    fn every_changing_call_has_a_readable_reason() {
        assert_eq!(past(AwsCall::CreateVpc), "VpcCreated");
        assert_eq!(past(AwsCall::RunInstances), "InstancesLaunched");
        assert_eq!(past(AwsCall::StopInstances), "InstancesStopped");
        assert_eq!(past(AwsCall::ModifyVpcAttribute), "VpcAttributeModified");
        assert_eq!(past(AwsCall::PutBucketVersioning), "BucketVersioningSet");
        assert_eq!(
            past(AwsCall::AuthorizeSecurityGroupIngress),
            "SecurityGroupIngressAuthorized"
        );
        for call in AwsCall::ALL.iter().filter(|call| call.access() != Access::Read) {
            assert!(
                past(*call).chars().all(|letter| letter.is_ascii_alphanumeric()),
                "{call}"
            );
        }
    }

    #[test]
    fn a_change_is_told_with_its_id() {
        let event = Event::of(&create(), &Ok(Effect::Aws(Answer::Created("vpc-1".into())))).unwrap();
        assert_eq!((event.is_warning, event.reason.as_str()), (false, "VpcCreated"));
        assert_eq!(event.note, "create VPC 10.0.0.0/16: vpc-1");
        for answer in [
            Answer::CreatedIn {
                id: "vpc-1".into(),
                availability_zone: "ra".into(),
            },
            Answer::Allocated {
                id: "vpc-1".into(),
                public_address: "192.0.2.1".into(),
            },
        ] {
            let event = Event::of(&create(), &Ok(Effect::Aws(answer))).unwrap();
            assert!(event.note.contains(": vpc-1"), "{}", event.note);
        }
    }

    #[test]
    fn what_differed_is_told_with_its_id() {
        let event = Event::drift(&Finding::repaired("vpc-1", "DNS support was off"));
        assert_eq!(event.note, "vpc-1 DNS support was off; it is being put right");
        assert_ne!(
            event.action,
            Event::drift(&Finding::repaired("vpc-1", "tags Name")).action
        );
    }

    #[test]
    fn a_refusal_is_a_warning_with_awss_code_and_fits() {
        let error = AwsError {
            call: AwsCall::CreateVpc,
            subject: "vpc".into(),
            class: ErrorClass::Terminal,
            code: "Vpc.LimitExceeded".into(),
            message: "é".repeat(2000),
        };
        let event = Event::of(&create(), &Err(error.into())).unwrap();
        assert_eq!((event.is_warning, event.reason.as_str()), (true, "VpcLimitExceeded"));
        assert!(event.note.len() <= MAX_NOTE && event.note.ends_with("..."));
        assert!(event.note.contains("ask AWS for a higher quota"), "{}", event.note);
    }

    #[test]
    fn a_blocked_deletion_is_told_once_and_again_when_something_else_blocks_it() {
        let status = |message: &str| RayClusterStatus {
            conditions: serde_json::from_value(serde_json::json!([{
                "type": "DeletionBlocked", "status": "True", "reason": "ForeignResource", "message": message,
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]))
            .unwrap(),
            ..RayClusterStatus::default()
        };
        let event = held_up(&RayClusterStatus::default(), &status("eni-1")).unwrap();
        assert_eq!(
            (event.is_warning, event.reason.as_str(), event.note.as_str()),
            (true, "DeletionBlocked", "eni-1")
        );
        assert_eq!(held_up(&status("eni-1"), &status("eni-1")), None);
        assert!(held_up(&status("eni-1"), &status("eni-2")).is_some());
        assert_eq!(held_up(&status("eni-1"), &RayClusterStatus::default()), None);
    }

    #[test]
    fn what_needs_a_person_is_told_once_and_again_when_it_is_something_else() {
        let stalled = |reason: &str, message: &str| RayClusterStatus {
            conditions: serde_json::from_value(serde_json::json!([{
                "type": "Stalled", "status": "True", "reason": reason, "message": message,
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]))
            .unwrap(),
            ..RayClusterStatus::default()
        };
        let status = stalled("LookRefused", "ec2:DescribeVpcs: AuthFailure: no");
        let event = held_up(&RayClusterStatus::default(), &status).unwrap();
        assert_eq!((event.is_warning, event.reason.as_str()), (true, "LookRefused"));
        assert_eq!(event.note, "ec2:DescribeVpcs: AuthFailure: no");
        assert_eq!(held_up(&status, &status), None);
        let unknown = |image| stalled("ImageUnknown", image);
        assert_eq!(held_up(&status, &unknown("ami-1")).unwrap().reason, "ImageUnknown");
        assert_eq!(held_up(&unknown("ami-1"), &unknown("ami-1")), None);
        assert!(held_up(&unknown("ami-1"), &unknown("ami-2")).is_some());
        let refused_change = stalled("Refused", "has an Event of its own");
        assert_eq!(held_up(&RayClusterStatus::default(), &refused_change), None);
    }

    #[test]
    fn a_new_ray_is_told_and_why_it_is_not_known_once() {
        let status = |session: Option<&str>, reason: &str, message: &str| RayClusterStatus {
            head: Some(crate::api::HeadStatus {
                session: session.map(ToOwned::to_owned),
                ..crate::api::HeadStatus::default()
            }),
            conditions: serde_json::from_value(serde_json::json!([{
                "type": "HeadReady", "status": "Unknown", "reason": reason, "message": message,
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]))
            .unwrap(),
            ..RayClusterStatus::default()
        };
        let well = |session| status(session, "AsSpecified", "");
        assert_eq!(of_ray(&well(None), &well(Some("s1"))), [], "the first one");
        assert_eq!(of_ray(&well(Some("s1")), &well(Some("s1"))), []);
        let events = of_ray(&well(Some("s1")), &well(Some("s2")));
        assert_eq!((events.len(), events[0].reason.as_str()), (1, "NewRay"));
        assert!(
            events[0].note.contains("session s2 instead of s1"),
            "{}",
            events[0].note
        );

        let slow = status(Some("s1"), "Slow", "no answer within 3 s");
        let events = of_ray(&well(Some("s1")), &slow);
        assert_eq!((events.len(), events[0].reason.as_str()), (1, "Slow"));
        assert_eq!(events[0].note, "no answer within 3 s");
        assert_eq!(of_ray(&slow, &status(Some("s1"), "Slow", "still none")), []);
        assert_eq!(of_ray(&slow, &status(Some("s1"), "GcsDown", "")).len(), 1);
        assert_eq!(
            of_ray(&slow, &status(Some("s1"), "KeyMissing", "")),
            [],
            "told as what needs a person"
        );
    }

    #[test]
    fn an_event_tells_no_time_since_when() {
        let at = "2026-11-23T12:00:00Z";
        assert_eq!(
            undated(&format!(
                "the Ray of i-1 is not known since {at}: no answer; it is down since {at}"
            )),
            "the Ray of i-1 is not known: no answer; it is down"
        );
        for kept in [
            "since then: Zoe",
            "not known since yesterday",
            &format!("waits until {at}"),
        ] {
            assert_eq!(undated(kept), kept);
        }
    }

    #[test]
    fn what_was_gone_already_and_what_only_waits_is_not_told() {
        assert_eq!(Event::of(&create(), &Ok(Effect::Aws(Answer::Gone))), None);
        let error = AwsError {
            call: AwsCall::DeleteVpc,
            subject: "vpc".into(),
            class: ErrorClass::Waiting,
            code: "DependencyViolation".into(),
            message: "has dependencies".into(),
        };
        assert_eq!(Event::of(&create(), &Err(error.into())), None);
    }
}
