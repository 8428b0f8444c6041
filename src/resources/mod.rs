//! One file a resource: its observed form, its pure plan, what it does on AWS, and how a change shows in what was
//! observed. A newcomer adds a resource by copying `vpc.rs` and adding its line to the registry below.

pub mod address;
pub mod bucket;
pub mod head;
pub mod instance;
pub mod internet_gateway;
pub mod key_pair;
pub mod network_interface;
pub mod route_table;
pub mod security_group;
pub mod subnet;
pub mod volume;
pub mod vpc;
pub mod workers;

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::Serialize;

use crate::{
    aws::{AwsCall, AwsError, Clients, ErrorClass, Scope},
    observe::{Shelf, Source},
    sweep::{Names, Stored, pack},
    tags::Tags,
};

/// What every observed form tells of itself.
pub trait Resource {
    /// Its AWS id; of a bucket, its name.
    fn id(&self) -> &str;
    /// A name by which a spec may refer to it though it lies in no VPC: a key pair's. What a cluster names so is put
    /// among its [`Shelf::others`].
    fn name(&self) -> Option<&str> {
        None
    }
    /// Its tags as last seen.
    fn tags(&self) -> &Tags;
    /// The same, to be changed when a change is folded in.
    fn tags_mut(&mut self) -> &mut Tags;
    /// The VPC in which it lies.
    fn vpc_id(&self) -> Option<&str>;
    /// The client token with which it was made.
    fn client_token(&self) -> Option<&str> {
        None
    }
    /// Whether nothing of it is left but its entry in a listing: a terminated machine.
    fn is_gone(&self) -> bool {
        false
    }
}

/// An observed form that has a shelf in the [`Inventory`].
pub trait Shelved: Resource + Clone + PartialEq + fmt::Debug + Send + Sync + 'static {
    /// Its kind.
    const KIND: Kind;
    /// The shelf of its kind.
    fn shelf(inventory: &mut Inventory) -> &mut Shelf<Self>;
}

/// A change on one resource kind.
pub trait ResourceChange: fmt::Display {
    /// The observed form that it changes.
    type Item: Resource;
    /// The call that carries it out (the first, if there are several).
    fn call(&self) -> AwsCall;
    /// The id or name that it is about; a kind's role where there is no id yet.
    fn subject(&self) -> String;
    /// Enters the change and its answer into what was observed, as the next look at AWS will show it.
    fn fold(&self, answer: &Answer, items: &mut BTreeMap<String, Self::Item>);
    /// The same where an answer also tells whose something is: only a look at a bucket does.
    fn fold_shelf(&self, answer: &Answer, all: &mut Shelf<Self::Item>) {
        self.fold(answer, &mut all.ours);
    }
}

/// What AWS answered to a change that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done; nothing new to know.
    Done,
    /// Something was made and has this id.
    Created(String),
    /// A subnet was made.
    CreatedIn {
        /// Its id.
        id: String,
        /// Where it is, by AWS's choice unless the request said it.
        availability_zone: String,
    },
    /// An address was allocated.
    Allocated {
        /// Its id.
        id: String,
        /// The address.
        public_address: String,
    },
    /// What it was about does not exist (any more).
    Gone,
    /// These machines were made.
    Launched(Vec<instance::Instance>),
    /// A repeated launch differed from the first, which was carried out: its machines are found by token.
    LaunchedBefore,
    /// What a bucket is, as far as it was looked at.
    Bucket(Box<bucket::Bucket>),
}

macro_rules! registry {
    ($($Kind:ident: $module:ident::$Item:ident, $Change:ident;)*) => {
        /// The kinds of resources that are swept.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum Kind { $(#[doc = concat!("See [`", stringify!($module), "`].")] $Kind,)* }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$Kind),*];
        }

        /// What a sweep of one kind found.
        #[derive(Clone, Debug)]
        pub enum Listing { $(#[doc = concat!("See [`", stringify!($module), "`].")] $Kind(Vec<$module::$Item>),)* }

        /// One change on AWS: it says everything that is needed to carry it out.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
        pub enum Change {
            $(#[doc = concat!("See [`", stringify!($module), "`].")] $Kind($module::$Change),)*
            /// Puts tags back.
            Tags(TagChange),
        }

        impl Listing {
            /// What was found, in the form in which it is kept between sweeps.
            pub(crate) fn into_stored(self, names: &mut Names) -> Vec<Arc<dyn Stored>> {
                match self { $(Self::$Kind(items) => items.into_iter().map(|item| pack(item, names)).collect(),)* }
            }
        }

        $(impl Shelved for $module::$Item {
            const KIND: Kind = Kind::$Kind;
            fn shelf(inventory: &mut Inventory) -> &mut Shelf<Self> {
                &mut inventory.$module
            }
        })*

        /// What one cluster has on AWS.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Inventory { $(#[doc = concat!("See [`", stringify!($module), "`].")] pub $module: Shelf<$module::$Item>,)* }

        impl Change {
            /// The call that carries it out (the first, if there are several).
            #[must_use]
            pub fn call(&self) -> AwsCall {
                match self { $(Self::$Kind(change) => change.call(),)* Self::Tags(change) => change.call() }
            }

            /// The id or name that it is about.
            #[must_use]
            pub fn subject(&self) -> String {
                match self { $(Self::$Kind(change) => change.subject(),)* Self::Tags(change) => change.id.clone() }
            }

            /// The kind that it changes.
            #[must_use]
            pub fn kind(&self) -> Kind {
                match self { $(Self::$Kind(_) => Kind::$Kind,)* Self::Tags(change) => change.kind }
            }

            /// Carries it out.
            ///
            /// # Errors
            /// What AWS answered, with its class.
            pub async fn apply(&self, clients: &Clients) -> Result<Answer, AwsError> {
                match self { $(Self::$Kind(change) => change.apply(clients).await,)* Self::Tags(change) => change.apply(clients).await }
            }
        }

        impl fmt::Display for Change {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self { $(Self::$Kind(change) => change.fmt(f),)* Self::Tags(change) => change.fmt(f) }
            }
        }

        impl Inventory {
            /// Enters a change and its answer, as the next look at AWS will show it.
            pub fn fold(&mut self, change: &Change, answer: &Answer) {
                match change {
                    $(Change::$Kind(change) => change.fold_shelf(answer, &mut self.$module),)*
                    Change::Tags(change) => match change.kind { $(Kind::$Kind => change.fold(&mut self.$module),)* },
                }
            }

            /// Says whether a kind was looked at.
            pub fn set_swept(&mut self, kind: Kind, swept: Source<()>) {
                match kind { $(Kind::$Kind => self.$module.swept = swept,)* }
            }

            /// Ids of everything of ours that is not gone.
            #[must_use]
            pub fn ids(&self) -> Vec<(Kind, String)> {
                let mut ids = Vec::new();
                $(ids.extend(self.$module.ours.values().filter(|item| !item.is_gone()).map(|item| (Kind::$Kind, item.id().to_owned())));)*
                ids
            }
        }

        impl Clients {
            /// Everything of one kind that `scope` covers.
            ///
            /// # Errors
            /// What AWS answered, with its class.
            pub async fn list_kind(&self, kind: Kind, scope: &Scope) -> Result<Listing, AwsError> {
                Ok(match kind { $(Kind::$Kind => Listing::$Kind($module::list(self, scope).await?),)* })
            }
        }
    };
}

registry! {
    Vpc: vpc::Vpc, VpcChange;
    InternetGateway: internet_gateway::InternetGateway, InternetGatewayChange;
    Subnet: subnet::Subnet, SubnetChange;
    RouteTable: route_table::RouteTable, RouteTableChange;
    SecurityGroup: security_group::SecurityGroup, SecurityGroupChange;
    NetworkInterface: network_interface::NetworkInterface, NetworkInterfaceChange;
    KeyPair: key_pair::KeyPair, KeyPairChange;
    Address: address::Address, AddressChange;
    Volume: volume::Volume, VolumeChange;
    Instance: instance::Instance, InstanceChange;
    Bucket: bucket::Bucket, BucketChange;
}

/// Puts tags back on something of ours on EC2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TagChange {
    /// What kind of thing.
    pub kind: Kind,
    /// Its id.
    pub id: String,
    /// The tags that are missing or have another value.
    pub tags: Tags,
}

impl fmt::Display for TagChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tag {} with", self.id)?;
        self.tags
            .iter()
            .try_for_each(|(key, value)| write!(f, " {key}={value}"))
    }
}

impl TagChange {
    fn call(&self) -> AwsCall {
        AwsCall::CreateTags
    }

    async fn apply(&self, clients: &Clients) -> Result<Answer, AwsError> {
        let request = clients
            .ec2
            .create_tags()
            .resources(&self.id)
            .set_tags(Some(clients.ec2_tags(&self.tags)));
        clients.gate.send(AwsCall::CreateTags, &self.id, request.send()).await?;
        Ok(Answer::Done)
    }

    fn fold<T: Resource>(&self, all: &mut Shelf<T>) {
        if let Some(item) = all.ours.get_mut(&self.id) {
            item.tags_mut().extend(self.tags.clone());
        }
    }
}

/// The answer to a call that made something with the id in its answer.
///
/// # Errors
/// When the answer holds no id: the next sweep will find what was made.
fn created(call: AwsCall, subject: &str, id: Option<String>) -> Result<Answer, AwsError> {
    id.map(Answer::Created).ok_or_else(|| AwsError {
        call,
        subject: subject.into(),
        class: ErrorClass::Retryable,
        code: "BadAnswer".into(),
        message: "the answer holds no id".into(),
    })
}

/// The answer to a call that takes something away: what is not there any more is gone too.
fn gone<T>(result: Result<T, AwsError>) -> Result<Answer, AwsError> {
    match result {
        Ok(_) => Ok(Answer::Done),
        Err(error) if error.class == ErrorClass::NotFound => Ok(Answer::Gone),
        Err(error) => Err(error),
    }
}

/// Of several things where there should be one (a crash between making and seeing it), the one that is kept: the one
/// in use, else the lowest id, so that every pass and every process chooses alike.
pub fn keeper<T>(items: &BTreeMap<String, T>, in_use: impl Fn(&T) -> bool) -> Option<&T> {
    items
        .values()
        .find(|item| in_use(item))
        .or_else(|| items.values().next())
}

impl Inventory {
    /// Whether anything that AWS wants gone first lies in this VPC. The default group and the main route table do not
    /// count: they go with it.
    #[must_use]
    pub fn has_content(&self, vpc_id: &str) -> bool {
        fn any<T: Resource>(shelf: &Shelf<T>, vpc_id: &str, counts: impl Fn(&T) -> bool) -> bool {
            shelf.all().any(|item| item.vpc_id() == Some(vpc_id) && counts(item))
        }
        any(&self.internet_gateway, vpc_id, |_| true)
            || any(&self.subnet, vpc_id, |_| true)
            || any(&self.route_table, vpc_id, |table| !table.main)
            || any(&self.security_group, vpc_id, |group| !group.is_default())
            || any(&self.network_interface, vpc_id, |_| true)
    }
}
