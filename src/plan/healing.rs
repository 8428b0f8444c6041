//! The ladders on which machines are healed: restart Ray on the machine, reboot it, and, of a worker, replace it. One
//! step a machine and [`RayLimits::heal_window`](super::RayLimits), each with its reason; a machine that came back and
//! stayed for as long begins anew at the bottom. A machine that is gone, or pending for too long, is no matter of
//! ladders: see [`crate::resources::workers::fault`]. One that fails EC2's status checks is, since a machine at work
//! may miss one: it is told while Ray lists it as alive, else rebooted, and a worker replaced if that does not help.
//!
//! Nothing is decided about workers while the head is not known.

mod head;
mod workers;

pub(crate) use head::head;
pub(crate) use workers::{Healing, workers};
