//! Looking into Ray: what the head's dashboard and the machines themselves tell, over one SSH connection a cluster, and
//! the few things that are done on a machine. No port of a cluster is opened for it.
//!
//! What is seen is [`facts`], pure data that the planner reads; what is to be done is a [`step::MachineStep`]. The
//! controller talks to [`watchers::Watchers`] alone: each cluster has a watcher with a line into the cluster, which
//! asks the [`dashboard`] and the machines for their [`report`]s, and keeps what it saw as its knowledge.

pub mod activity;
pub mod answers;
pub mod dashboard;
pub mod facts;
pub mod failure;
mod hands;
pub mod idle_clock;
pub mod keys;
mod knowledge;
mod line;
pub mod report;
pub mod ssh;
pub mod step;
pub mod streak;
mod watcher;
pub mod watchers;
