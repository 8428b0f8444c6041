//! What a plan waits for and what it found: data, from which the status is made.

use crate::{
    aws::advice::where_to_look,
    observe::{Refusal, Unseen},
    ray::facts::Blindness,
};

/// How often in a row AWS may say that it does not know something before it counts as not there: with the delays
/// between them some ten seconds.
const UNKNOWN_YET: u32 = 4;

/// Which part of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// VPC, gateway, subnets, routes, security group.
    Network,
    /// Key pair and key.
    Key,
    /// The head.
    Head,
    /// The workers.
    Workers,
    /// The buckets.
    Buckets,
    /// The cluster as a whole.
    Cluster,
}

/// Something that cannot be done yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Which part waits.
    pub subject: Subject,
    /// Why; the reason of a condition.
    pub reason: Reason,
    /// What is waited for, on what, and what a person can do where they can.
    pub message: String,
}

impl Waiting {
    /// A change that was refused and whose time has not come again.
    #[must_use]
    pub fn refused(subject: Subject, refusal: &Refusal) -> Self {
        use crate::aws::ErrorClass as Class;
        let reason = match refusal.class {
            Class::Throttled => Reason::Throttled,
            Class::Capacity => Reason::NoCapacity,
            Class::Terminal | Class::Unsupported => Reason::Refused,
            Class::Waiting => Reason::InTransition,
            // What was made a moment ago is not known everywhere at once.
            Class::NotFound if refusal.times <= UNKNOWN_YET => Reason::DependencyPending,
            Class::NotFound => Reason::InvalidReference,
            Class::Retryable | Class::AlreadyCarriedOut | Class::LostLease => Reason::AwsUnavailable,
        };
        Self {
            subject,
            reason,
            message: refusal.message.clone(),
        }
    }

    /// Something that is not known: `what`, with the reason why.
    #[must_use]
    pub fn unseen(subject: Subject, what: &str, why: &Unseen) -> Self {
        let (reason, message) = match &why.refused {
            // Its words name the call, and are the same for all who wait for it.
            Some(_) => (Reason::LookRefused, why.message.clone()),
            None => (Reason::NotObserved, format!("{what}: {why}")),
        };
        Self {
            subject,
            reason,
            message,
        }
    }

    /// A deletion that AWS keeps refusing because of something that nobody has found.
    #[must_use]
    pub(super) fn in_use(subject: Subject, refusal: &Refusal) -> Self {
        let words = refusal.message.trim_end_matches('.');
        let message = match where_to_look(refusal.kind) {
            Some(place) => format!("{words}: {place}, and remove what is in the way: then the deletion goes on"),
            None => words.to_owned(),
        };
        Self {
            subject,
            reason: Reason::ForeignResource,
            message,
        }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $Reason:ident,)*) => {
        /// Why something waits. Each is the `reason` of a condition.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        pub enum Reason { $($(#[$doc])* $Reason,)* }

        impl Reason {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$Reason),*];

            /// Its name in the API.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$Reason => stringify!($Reason),)* }
            }
        }
    };
}

reasons! {
    /// A look at AWS is not in yet.
    NotObserved,
    /// AWS refuses to be looked at; a person has to act.
    LookRefused,
    /// What it needs is being made.
    DependencyPending,
    /// Machines are starting.
    MachinesPending,
    /// Machines, gateways, groups are between two states.
    InTransition,
    /// AWS throttles this account.
    Throttled,
    /// AWS does not answer, or with a server error.
    AwsUnavailable,
    /// No pool that the spec allows has capacity.
    NoCapacity,
    /// AWS refused for good; a person has to act.
    Refused,
    /// The image of the spec could not be resolved.
    ImageUnknown,
    /// The cap on launches per time window is reached.
    LaunchCapReached,
    /// The record of launches was lost; nothing is launched until it is certain what runs.
    LaunchRecordLost,
    /// Nothing tells any more what the head was made from, and the spec has changed.
    RevisionLost,
    /// A predecessor of the same name is alive.
    PredecessorAlive,
    /// A machine lost its tags and the record of its launch; it may be the head that is missing.
    MachineUnplaced,
    /// The Secret with the controller's key is gone while machines live.
    KeyLost,
    /// Something that is not ours is in the way: of a deletion, or of what the spec asks for.
    ForeignResource,
    /// A bucket holds data, and nobody confirmed its deletion.
    BucketHoldsData,
    /// Everything is gone by what was seen; it is looked at once more.
    ConfirmGone,
    /// Nobody uses the cluster; it is looked at once more before it goes down.
    ConfirmIdle,
    /// The spec asks for what AWS does not have: an unknown subnet, a zone without this type.
    InvalidReference,
    /// Machines are on their way into Ray.
    Joining,
    /// A machine whose Ray is gone is being brought back, or may come back by itself.
    Healing,
    /// A machine fails EC2's status checks, while Ray lists it as alive.
    Impaired,
    /// The disk of a machine that Ray lists as alive is full.
    DiskFull,
    /// Workers that are to go finish what runs on them.
    Draining,
    /// Nothing is decided about workers while the Ray of their head is not known.
    HeadUnknown,
    /// Ray could not be installed or started on the head.
    BootstrapFailed,
    /// Machine after machine of a group never joined Ray: no further one is launched.
    RepeatedFailure,
    /// All that may be done about the head was done, and its Ray is still not known.
    HeadUnhealed,
    /// Nobody has looked into Ray yet.
    NotLooked,
    /// The Secret with the key, or the token in it, is not there or cannot be read.
    KeyMissing,
    /// The controller has no way to the head.
    NoWayIn,
    /// No connection to the head.
    Unreachable,
    /// A machine shows another SSH host key than at the first contact.
    HostKeyChanged,
    /// A machine does not accept the controller's key.
    AccessDenied,
    /// The head's SSH server lets the controller in, and not through.
    ForwardingDenied,
    /// Nothing answers at the dashboard's port of the head.
    DashboardDown,
    /// Ray's GCS on the head does not answer.
    GcsDown,
    /// Ray does not answer in time.
    Slow,
    /// Ray refuses the cluster's token.
    TokenRefused,
    /// An answer of Ray lacks a part.
    Incomplete,
    /// An answer of Ray is too old.
    Stale,
    /// An answer of Ray cannot be read.
    Garbled,
    /// Another cluster's head answers at the address of this one's.
    WrongPeer,
}

impl From<&Blindness> for Reason {
    fn from(why: &Blindness) -> Self {
        match why {
            Blindness::NotLooked => Self::NotLooked,
            Blindness::KeyMissing => Self::KeyMissing,
            Blindness::NoWayIn => Self::NoWayIn,
            Blindness::Unreachable => Self::Unreachable,
            Blindness::HostKeyChanged { .. } => Self::HostKeyChanged,
            Blindness::AccessDenied => Self::AccessDenied,
            Blindness::ForwardingDenied => Self::ForwardingDenied,
            Blindness::DashboardDown => Self::DashboardDown,
            Blindness::GcsDown => Self::GcsDown,
            Blindness::Slow => Self::Slow,
            Blindness::TokenRefused => Self::TokenRefused,
            Blindness::Incomplete => Self::Incomplete,
            Blindness::Stale => Self::Stale,
            Blindness::Garbled => Self::Garbled,
            Blindness::WrongPeer => Self::WrongPeer,
        }
    }
}

impl Reason {
    /// Whether it says that something could not be seen, rather than that something is not so.
    #[must_use]
    pub fn is_unseen(self) -> bool {
        matches!(
            self,
            Self::NotObserved
                | Self::LookRefused
                | Self::HeadUnknown
                | Self::NotLooked
                | Self::KeyMissing
                | Self::NoWayIn
                | Self::Unreachable
                | Self::HostKeyChanged
                | Self::AccessDenied
                | Self::ForwardingDenied
                | Self::Slow
                | Self::TokenRefused
                | Self::Incomplete
                | Self::Stale
                | Self::Garbled
                | Self::WrongPeer
        )
    }

    /// Whether nothing goes on until a person acts.
    #[must_use]
    pub fn needs_person(self) -> bool {
        matches!(
            self,
            Self::LookRefused
                | Self::Refused
                | Self::ImageUnknown
                | Self::RevisionLost
                | Self::PredecessorAlive
                | Self::MachineUnplaced
                | Self::KeyLost
                | Self::ForeignResource
                | Self::BucketHoldsData
                | Self::InvalidReference
                | Self::DiskFull
                | Self::BootstrapFailed
                | Self::RepeatedFailure
                | Self::HeadUnhealed
                | Self::KeyMissing
                | Self::NoWayIn
                | Self::HostKeyChanged
                | Self::AccessDenied
                | Self::ForwardingDenied
                | Self::TokenRefused
                | Self::WrongPeer
        )
    }
}

/// Something that differs from the wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Id of what differs.
    pub id: String,
    /// What is different.
    pub what: String,
    /// What becomes of it.
    pub outcome: Outcome,
}

/// What becomes of something that differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is ours and is being put right.
    Repaired,
    /// Others added it: it is told and kept.
    Kept,
    /// A machine was made from an older wish; it goes on until it is replaced.
    Outdated,
}

impl Finding {
    /// It is ours and is being put right.
    #[must_use]
    pub fn repaired(id: &str, what: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            what: what.into(),
            outcome: Outcome::Repaired,
        }
    }

    /// Others added it: it is told and kept.
    #[must_use]
    pub fn kept(id: &str, what: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            what: what.into(),
            outcome: Outcome::Kept,
        }
    }

    /// A machine was made from an older wish; it goes on until it is replaced.
    #[must_use]
    pub fn outdated(id: &str, what: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            what: what.into(),
            outcome: Outcome::Outdated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{aws::ErrorClass, resources::Kind};

    #[test]
    fn what_aws_does_not_know_is_awaited_for_seconds_and_then_a_persons_matter() {
        let reason = |times| {
            let refusal = Refusal {
                class: ErrorClass::NotFound,
                kind: Kind::Instance,
                code: "InvalidGroup.NotFound".into(),
                message: "RunInstances head: InvalidGroup.NotFound: no such group".into(),
                times,
                until: jiff::Timestamp::UNIX_EPOCH,
            };
            Waiting::refused(Subject::Head, &refusal).reason
        };
        assert_eq!(reason(1), Reason::DependencyPending);
        assert_eq!(reason(UNKNOWN_YET), Reason::DependencyPending);
        assert_eq!(reason(UNKNOWN_YET + 1), Reason::InvalidReference);
    }
}
