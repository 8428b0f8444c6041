//! What opens a cluster, and where it comes from.

use std::fmt;

use async_trait::async_trait;

/// Which cluster it is: what finds its Secret, and what its Ray must carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterRef {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Uid of the object.
    pub uid: String,
}

/// What opens a cluster. Its `Debug` form tells nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Access {
    /// The controller's private key, in OpenSSH's form.
    pub private_key: String,
    /// The token of the cluster's Ray.
    pub token: String,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

/// Where the keys of clusters are.
#[async_trait]
pub trait Keys: Send + Sync {
    /// What opens this cluster now. It is kept, and asked for again once it is refused.
    ///
    /// # Errors
    /// What is missing or cannot be read, and what a person can do: it goes into a condition.
    async fn access(&self, cluster: &ClusterRef) -> Result<Access, String>;
}
