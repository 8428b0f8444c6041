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

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    aws::{AwsCall, AwsError, Clients, ErrorClass, Scope},
    observe::{Shelf, Source},
    sweep::{Names, Stored, pack},
    tags::Tags,
    validate::ClusterId,
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
    /// Enters what AWS does not tell and only somebody who looks again and again knows. `before` is how the last look
    /// saw it.
    fn seen_again(&mut self, _before: Option<&Self>, _now: Timestamp) {}
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
    /// The last lines of a machine's console.
    Console(Vec<String>),
    /// These are in the way, each with its id, for people.
    InTheWay(Vec<String>),
}

macro_rules! registry {
    ($($Kind:ident: $module:ident::$Item:ident, $Change:ident;)*) => {
        /// The kinds of resources that are swept.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum Kind { $(#[doc = concat!("See [`", stringify!($module), "`].")] $Kind,)* }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$Kind),*];

            /// Its name in metrics.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$Kind => stringify!($module),)* }
            }
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
        pub struct Inventory {
            $(#[doc = concat!("See [`", stringify!($module), "`].")] pub $module: Shelf<$module::$Item>,)*
        }

        impl Change {
            /// The call that carries it out (the first, if there are several).
            #[must_use]
            pub fn call(&self) -> AwsCall {
                match self { $(Self::$Kind(change) => change.call(),)* Self::Tags(_) => AwsCall::CreateTags }
            }

            /// The id or name that it is about.
            #[must_use]
            pub fn subject(&self) -> String {
                match self { $(Self::$Kind(change) => change.subject(),)* Self::Tags(change) => change.ids.join(",") }
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
                match self {
                    $(Self::$Kind(change) => change.apply(clients).await,)*
                    Self::Tags(change) => change.apply(clients).await,
                }
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

            /// Whether a look at this kind is in.
            #[must_use]
            pub fn swept(&self, kind: Kind) -> &Source<()> {
                match kind { $(Kind::$Kind => &self.$module.swept,)* }
            }

            /// Ids of everything of ours that is not gone.
            #[must_use]
            pub fn ids(&self) -> Vec<(Kind, String)> {
                let mut ids = Vec::new();
                $(
                    let present = self.$module.ours.values().filter(|item| !item.is_gone());
                    ids.extend(present.map(|item| (Kind::$Kind, item.id().to_owned())));
                )*
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

/// Puts tags back on things of ours on EC2 that all lack the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TagChange {
    /// What kind of things.
    pub kind: Kind,
    /// Their ids.
    pub ids: Vec<String>,
    /// The tags that are missing or have another value.
    pub tags: Tags,
}

impl fmt::Display for TagChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tag {} with", self.ids.join(", "))?;
        self.tags
            .iter()
            .try_for_each(|(key, value)| write!(f, " {key}={value}"))
    }
}

impl TagChange {
    async fn apply(&self, clients: &Clients) -> Result<Answer, AwsError> {
        tag(clients, self.ids.clone(), &self.tags).await
    }

    fn fold<T: Resource>(&self, all: &mut Shelf<T>) {
        for id in &self.ids {
            // Told apart by its name, its machine or our record: with its tags it will be seen among ours.
            if let Some(item) = all.others.remove(id) {
                all.ours.insert(id.clone(), item);
            }
            if let Some(item) = all.ours.get_mut(id) {
                item.tags_mut().extend(self.tags.clone());
            }
        }
    }
}

/// Puts tags on things of EC2; where one of them does not exist, on none.
async fn tag(clients: &Clients, ids: Vec<String>, tags: &Tags) -> Result<Answer, AwsError> {
    let subject = ids.join(",");
    let tags = clients.ec2_tags(tags);
    let request = clients.ec2.create_tags().set_resources(Some(ids)).set_tags(Some(tags));
    clients.gate.send(AwsCall::CreateTags, &subject, request.send()).await?;
    Ok(Answer::Done)
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

/// What the unique names of a cluster's things begin with.
const NAME_PREFIX: &str = "rayward-";

/// A name for something of a cluster that EC2 wants to be unique: two installations, and a cluster that was deleted and
/// applied again, have different ones. EC2 takes 255 characters.
#[must_use]
pub fn unique_name(id: &ClusterId) -> String {
    let uid: String = id.uid.chars().take(8).collect();
    let name = format!("{NAME_PREFIX}{}-{}", id.namespace, id.name);
    let name: String = name.chars().take(255 - 1 - uid.len()).collect();
    format!("{name}-{uid}")
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
    /// What AWS wants gone before this VPC. The default group and the main route table do not count: they go with it.
    /// What lies in a subnet does not either: the subnet does.
    fn content<'a>(&'a self, vpc_id: &'a str, side: Side) -> impl Iterator<Item = String> + 'a {
        fn on<T>(shelf: &Shelf<T>, side: Side) -> impl Iterator<Item = &T> {
            match side {
                Side::Ours => shelf.ours.values(),
                Side::Others => shelf.others.values(),
            }
        }
        let gateways = on(&self.internet_gateway, side)
            .filter(move |gateway| gateway.attached_to.as_deref() == Some(vpc_id))
            .map(|gateway| format!("internet gateway {}", gateway.id));
        let subnets = on(&self.subnet, side)
            .filter(move |subnet| subnet.vpc_id == vpc_id)
            .map(|subnet| format!("subnet {}", subnet.id));
        let tables = on(&self.route_table, side)
            .filter(move |table| table.vpc_id == vpc_id && !table.main)
            .map(|table| format!("route table {}", table.id));
        let groups = on(&self.security_group, side)
            .filter(move |group| group.vpc_id == vpc_id && !group.is_default())
            .map(|group| format!("security group {} ({})", group.id, group.name));
        gateways.chain(subnets).chain(tables).chain(groups)
    }

    /// Whether anything that AWS wants gone first lies in this VPC.
    #[must_use]
    pub fn has_content(&self, vpc_id: &str) -> bool {
        self.content(vpc_id, Side::Ours).next().is_some() || self.content(vpc_id, Side::Others).next().is_some()
    }

    /// What of others lies in this VPC and keeps it from being deleted, for people.
    #[must_use]
    pub fn foreign_content(&self, vpc_id: &str) -> Vec<String> {
        self.content(vpc_id, Side::Others).collect()
    }
}

/// A side of a [`Shelf`].
#[derive(Clone, Copy)]
enum Side {
    Ours,
    Others,
}
