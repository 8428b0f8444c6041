//! AWS behind one narrow trait with domain types: [`Aws`]. The SDK is spoken in [`sdk`] and in the `list` and `apply`
//! of the files in [`crate::resources`]; every call goes through the one [`Gate`].

pub(crate) mod advice;
pub mod brake;
mod call;
mod error;
mod gate;
mod image;
pub mod pace;
pub mod rotation;
pub mod sdk;

use async_trait::async_trait;

pub use call::{Access, AwsCall, Service};
pub use error::{AwsError, ErrorClass, SUBNET_FULL, TIMEOUT, UNKNOWN_HOST};
pub use gate::{Fence, Gate, Observer};
pub use sdk::Clients;

use crate::{
    resources::{Answer, Change, Kind, Listing},
    validate::ImageRef,
};

/// One account and region, as far as Rayward needs it.
#[async_trait]
pub trait Aws: Send + Sync {
    /// Id of the account whose credentials are used.
    async fn account(&self) -> Result<String, AwsError>;

    /// Everything of one kind that `scope` covers, all pages.
    async fn list(&self, kind: Kind, scope: &Scope) -> Result<Listing, AwsError>;

    /// Resolves and describes an image.
    async fn image(&self, image: &ImageRef) -> Result<Image, AwsError>;

    /// Carries out one change.
    async fn apply(&self, change: &Change) -> Result<Answer, AwsError>;
}

/// What a sweep looks for: what carries our installation's tag, and what lies in the VPCs that our clusters use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Value of the tag `rayward.dev/installation`.
    pub installation: String,
    /// What every client token of this installation begins with.
    pub token_prefix: String,
    /// VPCs of our clusters, made by Rayward or existing; their untagged content is looked at too.
    pub vpc_ids: Vec<String>,
    /// Names of the buckets that our clusters ask for or have.
    pub bucket_names: Vec<String>,
}

/// An Amazon machine image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its id.
    pub id: String,
    /// Name of its root device, for example `/dev/sda1`: a wrong one would add a second disk.
    pub root_device: String,
    /// Smallest root disk in GiB.
    pub min_size_gib: i32,
}
