//! The Kubernetes API of Rayward: group `rayward.dev`, version `v1alpha1`, kind `RayCluster`.
//!
//! `spec` is what a person writes and only they change; `status` is what Rayward saw and did.

mod crd;
#[allow(unreachable_pub, reason = "the schema derive repeats each type inside a function")]
mod idle;
mod rules;
#[allow(unreachable_pub, reason = "as above")]
mod spec;
#[allow(unreachable_pub, reason = "as above")]
mod status;

pub use crd::{crd, crd_yaml};
pub use idle::*;
pub(crate) use spec::default_ray_version;
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
/// Annotation of a person: the cluster is not stopped for being idle before this time, RFC 3339.
pub const KEEP_ALIVE_UNTIL: &str = "rayward.dev/keep-alive-until";
/// Annotation of a person: any text; a stopped cluster is started once for each new one.
pub const WAKE: &str = "rayward.dev/wake";
/// Annotation of ours: the last value of [`WAKE`] that was acted upon, or was there when the cluster was stopped.
pub const WAKE_HANDLED: &str = "rayward.dev/wake-handled";
/// Annotation of a person: the fingerprint of a changed SSH host key that is right.
pub const ACCEPT_HOST_KEY: &str = "rayward.dev/accept-host-key";
/// Field manager of every write to Kubernetes.
pub const FIELD_MANAGER: &str = "rayward";
/// Most workers of one cluster.
pub const MAX_WORKERS: u32 = 1000;
