//! The Kubernetes API of Rayward: group `rayward.dev`, version `v1alpha1`, kind `RayCluster`.
//!
//! `spec` is what a person writes and only they change; `status` is what Rayward saw and did.

mod crd;
mod rules;
#[allow(unreachable_pub, reason = "the schema derive repeats each type inside a function")]
mod spec;
#[allow(unreachable_pub, reason = "as above")]
mod status;

pub use crd::{crd, crd_yaml};
pub use spec::*;
pub use status::*;

/// API group of every object of ours.
pub const GROUP: &str = "rayward.dev";
/// Finalizer that holds a `RayCluster` until nothing of it is left on AWS.
pub const FINALIZER: &str = "rayward.dev/aws-resources";
/// Annotation without which a bucket that holds data is not deleted; its value is the uid of the cluster.
pub const CONFIRM_BUCKET_DELETION: &str = "rayward.dev/confirm-bucket-deletion";
/// Annotation that says why a cluster is down: `<reason>@<RFC 3339 time>`, written before the first machine is stopped.
pub const STOPPED: &str = "rayward.dev/stopped";
/// Field manager of every write to Kubernetes.
pub const FIELD_MANAGER: &str = "rayward";
/// Most workers of one cluster.
pub const MAX_WORKERS: u32 = 1000;
