//! An account in which many clusters, all alike, have all that they ask for. It is computed when it is asked for and
//! kept nowhere, so that the memory of the process is the controller's own.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use rayward::{
    aws::{Aws, AwsError, ErrorClass, Image, Scope},
    controller::regions::Cloud,
    observe::Shelf,
    resources::{
        Answer, Change, Inventory, Kind, Listing,
        bucket::{self, Bucket, Look, Settings, Step},
        security_group::{Peer, Rule},
    },
    tags::Tags,
    validate::{ImageRef, ValidCluster},
};
use serde_json::{Value, json};

use crate::fake::{
    ACCOUNT, Habits,
    world::{Object, PUBLIC_KEY, World},
};

/// Name and uid of the cluster after which all are made.
const NAME: &str = "pattern";
const UID: &str = "ffffffff-ffff-4fff-8fff-ffffffffffff";

/// What every one of these clusters asks for.
pub(crate) fn spec() -> Value {
    json!({
        "region": "ap-southeast-1",
        "head": {"image": {"id": "ami-003c463c8207b4dfa"}},
        "workerGroups": [{"name": "cpu", "replicas": 2}],
        "network": {"adminCidrs": ["192.0.2.0/24"]},
    })
}

/// See the module.
pub(crate) struct Alike {
    /// Uid and name of each cluster.
    clusters: Vec<(String, String)>,
    /// The public half of the key that all of them have.
    public_key: String,
    pattern: ValidCluster,
    inventory: Inventory,
    bucket_tags: BTreeMap<String, Tags>,
    calls: Arc<AtomicU64>,
}

/// Gives access to the account, and counts the calls that are no sweeps.
pub(crate) struct AlikeCloud {
    pub(crate) clusters: Vec<(String, String)>,
    pub(crate) public_key: String,
    pub(crate) calls: Arc<AtomicU64>,
}

#[async_trait]
impl Cloud for AlikeCloud {
    async fn connect(&self, _: &str) -> Arc<dyn Aws> {
        let world = World::new(Habits::default());
        let mut object = Object::new(NAME, UID, &spec());
        world.converge(&mut object).await;
        Arc::new(Alike {
            clusters: self.clusters.clone(),
            public_key: self.public_key.clone(),
            pattern: object.valid(),
            inventory: world.fake.inventory(),
            bucket_tags: world.fake.buckets(),
            calls: Arc::clone(&self.calls),
        })
    }
}

impl Alike {
    /// What stands in one cluster where `text` stands in the pattern.
    fn of(&self, index: usize, text: &str) -> String {
        let (uid, name) = &self.clusters[index];
        let own_key = self.public_key.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        let text = text
            .replace(UID, uid)
            .replace(&format!("/{NAME}"), &format!("/{name}"))
            .replace(&format!("-{NAME}-"), &format!("-{name}-"))
            .replace(PUBLIC_KEY, &own_key);
        // Ids of the fake have 17 digits, of which it uses the last few.
        text.replace("-00000000", &format!("-{index:08x}"))
    }

    fn tags(&self, index: usize, tags: &Tags) -> Tags {
        tags.iter()
            .map(|(key, value)| (key.clone(), self.of(index, value)))
            .collect()
    }

    fn every<T: Clone>(&self, pattern: &Shelf<T>, adapt: impl Fn(&mut T, &dyn Fn(&mut String), usize)) -> Vec<T> {
        let of_cluster = |index| {
            let adapt = &adapt;
            pattern.ours.values().map(move |item| {
                let mut item = item.clone();
                adapt(&mut item, &|text| *text = self.of(index, text), index);
                item
            })
        };
        (0..self.clusters.len()).flat_map(of_cluster).collect()
    }

    fn valid(&self, index: usize) -> ValidCluster {
        let mut cluster = self.pattern.clone();
        let (uid, name) = &self.clusters[index];
        cluster.id.uid.clone_from(uid);
        cluster.id.name.clone_from(name);
        cluster
    }

    fn buckets(&self) -> Vec<Bucket> {
        let of_cluster = |index| {
            let cluster = self.valid(index);
            let names: Vec<String> = bucket::names(&cluster, ACCOUNT).map(|(name, _)| name).collect();
            names
        };
        let names = (0..self.clusters.len()).flat_map(of_cluster);
        let bucket = |name| Bucket {
            name,
            ..Bucket::default()
        };
        names.map(bucket).collect()
    }

    /// What a look at a bucket shows.
    fn look(&self, name: &str, uid: &str, look: Look) -> Option<Bucket> {
        let index = self.clusters.iter().position(|(known, _)| known == uid)?;
        let purpose = |cluster: &ValidCluster| {
            let mut names = bucket::names(cluster, ACCOUNT);
            names.position(|(known, _)| known == name)
        };
        let position = purpose(&self.valid(index))?;
        let (pattern, _) = bucket::names(&self.pattern, ACCOUNT).nth(position)?;
        Some(Bucket {
            name: name.to_owned(),
            tags: self.tags(index, self.bucket_tags.get(&pattern)?),
            look: Some(look),
            ..Bucket::default()
        })
    }
}

#[async_trait]
impl Aws for Alike {
    async fn account(&self) -> Result<String, AwsError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Ok(ACCOUNT.into())
    }

    async fn list(&self, kind: Kind, _: &Scope) -> Result<Listing, AwsError> {
        let all = &self.inventory;
        Ok(match kind {
            Kind::Vpc => Listing::Vpc(self.every(&all.vpc, |item, adapt, index| {
                adapt(&mut item.id);
                item.tags = self.tags(index, &item.tags);
            })),
            Kind::InternetGateway => {
                Listing::InternetGateway(self.every(&all.internet_gateway, |item, adapt, index| {
                    adapt(&mut item.id);
                    item.attached_to.iter_mut().for_each(adapt);
                    item.tags = self.tags(index, &item.tags);
                }))
            }
            Kind::Subnet => Listing::Subnet(self.every(&all.subnet, |item, adapt, index| {
                adapt(&mut item.id);
                adapt(&mut item.vpc_id);
                item.tags = self.tags(index, &item.tags);
            })),
            Kind::RouteTable => Listing::RouteTable(self.every(&all.route_table, |item, adapt, index| {
                let adapted = |text: &String| self.of(index, text);
                adapt(&mut item.id);
                adapt(&mut item.vpc_id);
                item.routes.values_mut().for_each(adapt);
                let associations = item.associations.iter();
                item.associations = associations
                    .map(|(subnet, id)| (adapted(subnet), adapted(id)))
                    .collect();
                item.tags = self.tags(index, &item.tags);
            })),
            Kind::SecurityGroup => Listing::SecurityGroup(self.every(&all.security_group, |item, adapt, index| {
                adapt(&mut item.id);
                adapt(&mut item.name);
                adapt(&mut item.vpc_id);
                let rules = |rules: &BTreeSet<Rule>| {
                    let own = rules.iter().cloned().map(|mut rule| {
                        if let Peer::Group { id, .. } = &mut rule.peer {
                            adapt(id);
                        }
                        rule
                    });
                    own.collect()
                };
                item.ingress = rules(&item.ingress);
                item.egress = rules(&item.egress);
                item.tags = self.tags(index, &item.tags);
            })),
            Kind::KeyPair => Listing::KeyPair(self.every(&all.key_pair, |item, adapt, index| {
                adapt(&mut item.id);
                adapt(&mut item.name);
                adapt(&mut item.public_key);
                item.tags = self.tags(index, &item.tags);
            })),
            Kind::Volume => Listing::Volume(self.every(&all.volume, |item, adapt, index| {
                adapt(&mut item.id);
                item.instance_id.iter_mut().for_each(adapt);
                item.tags = self.tags(index, &item.tags);
            })),
            Kind::Instance => Listing::Instance(self.every(&all.instance, |item, adapt, index| {
                adapt(&mut item.id);
                let places = [&mut item.vpc_id, &mut item.subnet_id];
                places.into_iter().flatten().for_each(adapt);
                let parts = [&mut item.root_volume, &mut item.network_interface];
                parts.into_iter().flatten().for_each(adapt);
                item.client_token.iter_mut().for_each(adapt);
                item.tags = self.tags(index, &item.tags);
            })),
            Kind::Address => Listing::Address(vec![]),
            Kind::NetworkInterface => {
                Listing::NetworkInterface(self.every(&all.network_interface, |item, adapt, index| {
                    let places = [&mut item.id, &mut item.vpc_id, &mut item.subnet_id];
                    places.into_iter().chain(&mut item.group_ids).for_each(adapt);
                    item.instance_id.iter_mut().for_each(adapt);
                    item.tags = self.tags(index, &item.tags);
                }))
            }
            Kind::Bucket => Listing::Bucket(self.buckets()),
        })
    }

    async fn image(&self, image: &ImageRef) -> Result<Image, AwsError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let ImageRef::Id(id) = image else {
            unreachable!("the spec names an image by its id")
        };
        Ok(Image {
            id: id.clone(),
            root_device: "/dev/sda1".into(),
            min_size_gib: 8,
        })
    }

    async fn apply(&self, change: &Change) -> Result<Answer, AwsError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let seen = match change {
            Change::Bucket(bucket) => match bucket.step {
                Step::Look { at, generation } => {
                    let settings = Settings {
                        versioned: true,
                        public_access_blocked: true,
                        encrypted: true,
                    };
                    let settings = Some(settings);
                    let look = Look {
                        at,
                        generation,
                        settings,
                    };
                    self.look(&bucket.name, &bucket.cluster_uid, look)
                }
                _ => None,
            },
            _ => None,
        };
        seen.map(|bucket| Answer::Bucket(Box::new(bucket)))
            .ok_or_else(|| AwsError {
                call: change.call(),
                subject: change.subject(),
                class: ErrorClass::Terminal,
                code: "Quiet".into(),
                message: format!("nothing is to be changed here, and yet: {change}"),
            })
    }
}
