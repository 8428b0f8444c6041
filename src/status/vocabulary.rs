//! The closed sets of words in the status: types of conditions, their polarity, and reasons.

macro_rules! names {
    ($(#[$outer:meta])* $Enum:ident { $($(#[$doc:meta])* $Name:ident,)* }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $Enum { $($(#[$doc])* $Name,)* }

        impl $Enum {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$Name),*];

            /// Its name in the API.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$Name => stringify!($Name),)* }
            }
        }
    };
}

names! {
    /// The conditions that Rayward writes, in the order in which they stand in the status.
    ConditionType {
        /// Everything is as asked for: the summary.
        Ready,
        /// Rayward is working on it; see kstatus.
        Reconciling,
        /// It does not go on until a person acts; see kstatus.
        Stalled,
        /// VPC, gateway, subnets, routes and security group are as asked for.
        NetworkReady,
        /// The head runs, with its key and its addresses, and its Ray answers.
        HeadReady,
        /// As many workers have joined Ray as are asked for.
        WorkersReady,
        /// The buckets exist with all their settings.
        BucketsReady,
        /// Every machine was made from what the spec now says.
        UpToDate,
        /// Nobody uses the cluster.
        Idle,
        /// The machines are to be stopped, and they are.
        Suspended,
        /// Something differs from what Rayward made.
        Drifted,
        /// Something that Rayward may not remove is in the way of deletion.
        DeletionBlocked,
    }
}

/// When a condition is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polarity {
    /// Always there while the cluster is to exist; `True` is good.
    Normal,
    /// There only while it is `True`, which calls for attention.
    Abnormal,
    /// There only while the head runs; neither is better.
    Up,
    /// There only while the cluster is to be down.
    Wish,
}

impl ConditionType {
    /// When it is there.
    #[must_use]
    pub fn polarity(self) -> Polarity {
        match self {
            Self::Ready
            | Self::NetworkReady
            | Self::HeadReady
            | Self::WorkersReady
            | Self::BucketsReady
            | Self::UpToDate => Polarity::Normal,
            Self::Reconciling | Self::Stalled | Self::Drifted | Self::DeletionBlocked => Polarity::Abnormal,
            Self::Idle => Polarity::Up,
            Self::Suspended => Polarity::Wish,
        }
    }
}

names! {
    /// Reasons of conditions beside those for which a plan waits (see [`Reason`]).
    Standing {
        /// It is as the spec says.
        AsSpecified,
        /// It is being made or changed.
        Provisioning,
        /// It was as asked for, and what is missing is being put back.
        Recovering,
        /// The machines are being stopped.
        Suspending,
        /// The machines are stopped, as the spec says.
        Suspended,
        /// The machines are stopped, and the spec does not say so.
        Stopped,
        /// The machines are being started again.
        Resuming,
        /// The cluster is being deleted.
        Deleting,
        /// Machines were made from an older spec; they go on until they are replaced.
        Outdated,
        /// What differs is being put right.
        Repairing,
        /// What differs is not Rayward's and is kept.
        Kept,
        /// The spec breaks a rule.
        InvalidSpec,
    }
}
