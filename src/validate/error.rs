//! The rules that a manifest can break, and what to write instead.

use ipnet::Ipv4Net;

use crate::api::MAX_WORKERS;

/// A rule that a manifest breaks. The CRD has every one of these, so that the API server refuses such a manifest;
/// what still comes here was written before the rule was there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValidationError {
    /// The object did not come from an API server.
    #[error("metadata.{0} is missing: this object was not read from an API server")]
    NoMetadata(&'static str),
    /// Not an IPv4 range.
    #[error("{field} is {value:?}: write an IPv4 range such as 10.0.0.0/16")]
    NotACidr {
        /// Path of the field.
        field: String,
        /// What it says.
        value: String,
    },
    /// A range with bits beyond its prefix: AWS would keep another text, and it would drift for ever.
    #[error("{field} is {value:?}: write {canonical}, its canonical form")]
    NotCanonical {
        /// Path of the field.
        field: String,
        /// What it says.
        value: String,
        /// What to write.
        canonical: Ipv4Net,
    },
    /// AWS has VPCs and subnets of /16 to /28 only.
    #[error("{field} is {cidr}: write a range from /16 to /28")]
    PrefixLength {
        /// Path of the field.
        field: String,
        /// What it says.
        cidr: Ipv4Net,
    },
    /// A subnet that is not in its VPC.
    #[error("network.subnets[{name}].cidr is {cidr}: write a range inside {vpc}, the range of the VPC")]
    SubnetOutside {
        /// The subnet.
        name: String,
        /// Its range.
        cidr: Ipv4Net,
        /// The VPC's.
        vpc: Ipv4Net,
    },
    /// Two subnets with common addresses.
    #[error("network.subnets[{first}] and network.subnets[{second}] overlap: write ranges without common addresses")]
    SubnetsOverlap {
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
    /// Not a duration, or none that can be kept.
    #[error("idle.timeout is {0:?}: write a duration from 10s to 720h, for example 90m or 1h30m")]
    IdleTimeout(String),
    /// A list that needs an entry.
    #[error("{0} is empty: write at least one, or leave the field out")]
    Empty(String),
    /// The same name twice in a list.
    #[error("{list} names {name:?} twice: write each name once")]
    Duplicate {
        /// Path of the list.
        list: &'static str,
        /// What is there twice.
        name: String,
    },
    /// Neither a port nor a range of ports.
    #[error(
        "network.ingress ports {0:?}: write a port such as 8265 or a range such as 1024-65535, each from 1 to 65535"
    )]
    Ports(String),
    /// A subnet that the spec does not have.
    #[error(
        "{field} names {name:?}: write the name of an entry of network.subnets, or one of network.existing.subnetIds"
    )]
    UnknownSubnet {
        /// Path of the field.
        field: String,
        /// What it says.
        name: String,
    },
    /// An existing network together with fields of one that Rayward makes.
    #[error("network.existing excludes {0}: leave one of them out")]
    ExistingExcludes(&'static str),
    /// Two ways to name an image.
    #[error("head.image has both id and ssmParameter: leave one of them out")]
    TwoImages,
    /// No release of Ray, or one that cannot ask for a token.
    #[error("rayVersion is {0:?}: write a release of Ray in full, 2.52.0 or later, for example 2.60.0")]
    RayVersion(String),
    /// Not something that pip could install by that name.
    #[error("pipPackages has {0:?}: write one requirement a line as pip takes it, beginning with a letter or digit")]
    PipPackage(String),
    /// No name of an environment variable.
    #[error("environment has {0:?}: write letters, digits and _, not beginning with a digit")]
    EnvironmentName(String),
    /// Not the name of a flag.
    #[error("{field} has {name:?}: write flags of ray start without their dashes, for example num-cpus")]
    Flag {
        /// Path of the field.
        field: String,
        /// What it says.
        name: String,
    },
    /// A name that Rayward uses itself.
    #[error("{field} has {name}, which Rayward sets itself: leave it out")]
    Reserved {
        /// Path of the field.
        field: String,
        /// The name.
        name: String,
    },
    /// Text that no file or command line holds unharmed.
    #[error("{0} has control characters: write text with none but tabs and newlines")]
    ControlCharacters(String),
    /// More workers than one head is good for.
    #[error("the worker groups ask for {0} machines: write at most {MAX_WORKERS} replicas in all")]
    TooManyWorkers(u64),
}
