//! What a plan asks the executor to do. An action says everything that is needed to do it.

use std::fmt;

use serde::Serialize;

use crate::{api::Launch, ray::step::MachineStep, resources::Change};

/// One thing to do. Prints as one line; the same line is the dry run, the Event and the test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Action {
    /// Change something on AWS.
    Aws(Change),
    /// Do something on a machine, over SSH.
    Machine(MachineStep),
    /// Write launches down in the status, before the calls that carry them out.
    RecordLaunches(Vec<Launch>),
    /// Write down what came of launches that got no definite answer and are not to be sent again.
    CloseLaunches(Vec<ClosedLaunch>),
    /// The record of launches is gone: write down since when, so that nothing is launched too early.
    HoldLaunches {
        /// Until when nothing is launched.
        until: jiff::Timestamp,
        /// The number from which launches are counted again.
        last: u64,
    },
    /// Make the controller's own key and keep it in a Secret owned by the cluster.
    CreateKey,
    /// Put our finalizer on the object.
    AddFinalizer,
    /// Let the object go: nothing of it is left on AWS.
    RemoveFinalizer,
    /// Set the annotation that says why the cluster is down, or remove it, and the one that says which wish to be
    /// woken is handled.
    MarkStopped(StopMark),
    /// Set the annotation that says which wish to be woken is handled, of a cluster that is up.
    HandleWake {
        /// Value of `rayward.dev/wake`.
        text: String,
    },
}

/// What the annotations say of a cluster that is to be down, or up again: both are written at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StopMark {
    /// Value of `rayward.dev/stopped`; `None` removes it.
    pub stopped: Option<String>,
    /// Value of `rayward.dev/wake-handled`; `None` removes it.
    pub wake_handled: Option<String>,
    /// Why, for people.
    pub because: String,
}

/// A launch that is not sent any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClosedLaunch {
    /// Its number.
    pub number: u64,
    /// The machines that came of it; none: it was not carried out.
    pub instance_ids: Vec<String>,
}

impl Action {
    /// What it is about, the same however often it is planned: actions with equal keys are one and the same.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Aws(change) => format!("{:?} {}", change.call(), change.subject()),
            Self::Machine(step) => format!("{} {}", step.name(), step.instance_id()),
            Self::RecordLaunches(_) | Self::CloseLaunches(_) | Self::HoldLaunches { .. } => "record launches".into(),
            Self::CreateKey => "create key".into(),
            Self::AddFinalizer | Self::RemoveFinalizer => "finalizer".into(),
            Self::MarkStopped(_) | Self::HandleWake { .. } => "mark stopped".into(),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aws(change) => change.fmt(f),
            Self::Machine(step) => step.fmt(f),
            Self::RecordLaunches(launches) => {
                f.write_str("record")?;
                launches.iter().try_for_each(|launch| {
                    let group = launch.group.as_deref().unwrap_or("head");
                    write!(
                        f,
                        " launch {} ({} x {} for {group})",
                        launch.number, launch.count, launch.instance_type
                    )
                })
            }
            Self::CloseLaunches(closed) => {
                f.write_str("close")?;
                closed
                    .iter()
                    .try_for_each(|launch| match launch.instance_ids.as_slice() {
                        [] => write!(f, " launch {} (nothing came of it)", launch.number),
                        ids => write!(f, " launch {} ({})", launch.number, ids.join(", ")),
                    })
            }
            Self::HoldLaunches { until, .. } => write!(f, "hold launches until {until}"),
            Self::CreateKey => f.write_str("create the cluster's key"),
            Self::AddFinalizer => f.write_str("add the finalizer"),
            Self::RemoveFinalizer => f.write_str("remove the finalizer"),
            Self::MarkStopped(mark) => match &mark.stopped {
                Some(reason) => write!(f, "mark as stopped: {reason}"),
                None => f.write_str("remove the mark of being stopped"),
            },
            Self::HandleWake { text } => write!(f, "note that the wake {text:?} is handled"),
        }
    }
}
