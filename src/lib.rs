//! Rayward: a person applies a `RayCluster`, and Rayward makes it true on AWS and keeps it true.
//!
//! A pass over one cluster goes `validate -> observe -> plan -> execute -> status`, one module each.
//! Every choice is made in [`plan`], which is pure; Kubernetes stays in [`controller`], AWS behind [`aws::Aws`].

pub mod admin;
pub mod api;
pub mod aws;
pub mod bootstrap;
pub mod config;
pub mod controller;
pub mod execute;
pub mod memory;
pub mod metrics;
pub mod observe;
pub mod plan;
pub mod ray;
pub mod resources;
pub mod shutdown;
pub mod status;
pub mod sweep;
pub mod tags;
pub mod telemetry;
pub mod validate;
