//! Looking into Ray: what the head's dashboard and the machines themselves tell, over one SSH connection a cluster, and
//! the few things that are done on a machine. No port of a cluster is opened for it.
//!
//! What is seen is [`facts`], pure data that the planner reads; what is to be done is a [`step::MachineStep`].

pub mod facts;
pub mod step;
pub mod watchers;
