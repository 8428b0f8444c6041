//! A stateful account and region of AWS in memory, behind [`rayward::aws::Aws`]: for what the stand-in is too slow for,
//! thousands of clusters or thousands of generated stories. It knows what depends on what, client tokens, capacity,
//! states between two states, reads that lag behind, and fails when it is told to.

mod bucket;
pub(crate) mod clock;
mod launch;
mod ray;
mod rules;
pub(crate) mod world;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use rayward::{
    aws::{Access, Aws, AwsError, ErrorClass, Image, Scope},
    execute::Clock as _,
    observe::{Pool, Shelf},
    resources::{
        Answer, Change, Inventory, Kind, Listing, Resource,
        address::AddressChange,
        instance::{Instance, InstanceState},
        internet_gateway::InternetGatewayChange,
        key_pair::KeyPairChange,
        route_table::RouteTableChange,
        security_group::SecurityGroupChange,
        subnet::SubnetChange,
        vpc::VpcChange,
    },
    tags,
    validate::ImageRef,
};
use tokio::time::Instant;

/// The account that every fake is.
pub(crate) const ACCOUNT: &str = "111122223333";

/// How a fake behaves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Habits {
    /// How long machines stay pending, stopping and shutting down.
    pub(crate) transition: Duration,
    /// How far reads lag behind changes.
    pub(crate) lag: Duration,
    /// What each call takes.
    pub(crate) delay: Duration,
}

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is refused with this class.
    Refused(ErrorClass),
    /// It is carried out, and its answer is lost.
    AnswerLost,
}

/// Decides what goes wrong with a change.
pub(crate) type Faults = Box<dyn FnMut(&Change) -> Option<Fault> + Send>;

/// See the module.
pub(crate) struct Fake {
    habits: Habits,
    clock: Arc<clock::Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What there is; everything is on the shelves of `ours`.
    real: Inventory,
    /// What reads show, and the changes that they do not show yet.
    shown: Inventory,
    unseen: VecDeque<(Instant, Change, Answer)>,
    buckets: BTreeMap<String, bucket::Kept>,
    launches: BTreeMap<String, launch::Batch>,
    /// When machines between two states reach the second.
    settling: BTreeMap<String, Instant>,
    /// Machines that are left in each pool; a pool that is not here has as many as anybody wants.
    capacity: BTreeMap<Pool, u32>,
    faults: Option<Faults>,
    last_id: u64,
    most_machines: usize,
    performed: Vec<Change>,
    reads: u64,
}

impl Fake {
    /// An empty account.
    pub(crate) fn new(habits: Habits, clock: Arc<clock::Clock>) -> Self {
        Self {
            habits,
            clock,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on `faults` decides what goes wrong.
    pub(crate) fn fail_by(&self, faults: impl FnMut(&Change) -> Option<Fault> + Send + 'static) {
        self.state().faults = Some(Box::new(faults));
    }

    /// From now on nothing goes wrong.
    pub(crate) fn recover(&self) {
        self.state().faults = None;
    }

    /// So many machines of a type are left in a zone.
    pub(crate) fn limit(&self, instance_type: &str, availability_zone: &str, machines: u32) {
        let pool = Pool {
            instance_type: instance_type.into(),
            availability_zone: availability_zone.into(),
        };
        self.state().capacity.insert(pool, machines);
    }

    /// Somebody else changes something; every read shows it at once.
    pub(crate) fn disturb(&self, change: impl Fn(&mut Inventory)) {
        let mut state = self.state();
        change(&mut state.real);
        change(&mut state.shown);
    }

    /// What there really is.
    pub(crate) fn inventory(&self) -> Inventory {
        let mut state = self.state();
        state.settle(Instant::now());
        state.real.clone()
    }

    /// Names and tags of the buckets.
    pub(crate) fn buckets(&self) -> BTreeMap<String, tags::Tags> {
        let state = self.state();
        state
            .buckets
            .iter()
            .map(|(name, kept)| (name.clone(), kept.tags.clone()))
            .collect()
    }

    /// The changes that were carried out, in their order.
    pub(crate) fn performed(&self) -> Vec<Change> {
        self.state().performed.clone()
    }

    /// The most machines that lived at the same time.
    pub(crate) fn most_machines(&self) -> usize {
        self.state().most_machines
    }

    /// How many calls there were: reads, changes.
    pub(crate) fn calls(&self) -> (u64, usize) {
        let state = self.state();
        (state.reads, state.performed.len())
    }
}

#[async_trait]
impl Aws for Fake {
    async fn account(&self) -> Result<String, AwsError> {
        tokio::time::sleep(self.habits.delay).await;
        Ok(ACCOUNT.into())
    }

    async fn list(&self, kind: Kind, scope: &Scope) -> Result<Listing, AwsError> {
        if !self.habits.delay.is_zero() {
            tokio::time::sleep(self.habits.delay).await;
        }
        let mut state = self.state();
        state.reads += 1;
        state.catch_up(Instant::now(), self.habits.lag);
        Ok(state.listing(kind, scope))
    }

    async fn image(&self, image: &ImageRef) -> Result<Image, AwsError> {
        let id = match image {
            ImageRef::Id(id) => id.clone(),
            ImageRef::SsmParameter(_) => "ami-0123456789abcdef0".into(),
        };
        Ok(Image {
            id,
            root_device: "/dev/sda1".into(),
            min_size_gib: 8,
        })
    }

    async fn apply(&self, change: &Change) -> Result<Answer, AwsError> {
        if !self.habits.delay.is_zero() {
            tokio::time::sleep(self.habits.delay).await;
        }
        let mut state = self.state();
        let now = Instant::now();
        state.settle(now);
        let fault = state.faults.as_mut().and_then(|faults| faults(change));
        if let Some(Fault::Refused(class)) = fault {
            return Err(refusal(change, class, "Injected"));
        }
        let answer = state.carry_out(change, now, self.habits.transition, self.clock.now())?;
        if change.call().access() == Access::Read {
            state.reads += 1;
        } else {
            state.performed.push(change.clone());
        }
        match fault {
            Some(_) => Err(refusal(change, ErrorClass::Retryable, "AnswerLost")),
            None => Ok(answer),
        }
    }
}

/// A refusal of a change.
fn refusal(change: &Change, class: ErrorClass, code: &str) -> AwsError {
    AwsError {
        call: change.call(),
        subject: change.subject(),
        class,
        code: code.into(),
        message: "refused by the fake".into(),
    }
}

impl State {
    fn carry_out(
        &mut self,
        change: &Change,
        now: Instant,
        transition: Duration,
        time: Timestamp,
    ) -> Result<Answer, AwsError> {
        if let Change::Bucket(bucket) = change {
            return bucket::carry_out(&mut self.buckets, bucket).map_err(|(class, code)| refusal(change, class, code));
        }
        self.check(change)
            .map_err(|(class, code)| refusal(change, class, code))?;
        if !self.exists(change) {
            return Ok(Answer::Gone);
        }
        let answer = self.answer(change, time)?;
        self.real.fold(change, &answer);
        self.after(change, now + transition);
        let is_live = |machine: &&Instance| !machine.is_lost();
        let live = self.real.instance.ours.values().filter(is_live).count();
        self.most_machines = self.most_machines.max(live);
        self.unseen.push_back((now, change.clone(), answer.clone()));
        Ok(answer)
    }

    fn answer(&mut self, change: &Change, time: Timestamp) -> Result<Answer, AwsError> {
        Ok(match change {
            Change::Vpc(VpcChange::Create { .. }) => Answer::Created(self.id("vpc")),
            Change::InternetGateway(InternetGatewayChange::Create { .. }) => Answer::Created(self.id("igw")),
            Change::RouteTable(RouteTableChange::Create { .. }) => Answer::Created(self.id("rtb")),
            Change::RouteTable(RouteTableChange::Associate { .. } | RouteTableChange::ReplaceAssociation { .. }) => {
                Answer::Created(self.id("rtbassoc"))
            }
            Change::SecurityGroup(SecurityGroupChange::Create { .. }) => Answer::Created(self.id("sg")),
            Change::KeyPair(KeyPairChange::Import { .. }) => Answer::Created(self.id("key")),
            Change::Address(AddressChange::Associate { .. }) => Answer::Created(self.id("eipassoc")),
            Change::Address(AddressChange::Allocate { .. }) => {
                let id = self.id("eipalloc");
                let public_address = self.public_address();
                Answer::Allocated { id, public_address }
            }
            Change::Subnet(SubnetChange::Create { availability_zone, .. }) => Answer::CreatedIn {
                id: self.id("subnet"),
                availability_zone: availability_zone.clone().unwrap_or_else(|| "ap-southeast-1a".into()),
            },
            Change::Instance(instance) => self.change_machines(change, instance, time)?,
            _ => Answer::Done,
        })
    }

    fn id(&mut self, prefix: &str) -> String {
        self.last_id += 1;
        format!("{prefix}-{:017x}", self.last_id)
    }

    /// An address of those for documentation.
    fn public_address(&mut self) -> String {
        self.last_id += 1;
        format!("203.0.113.{}", self.last_id % 256)
    }

    /// Brings machines whose time has come to their next state.
    fn settle(&mut self, now: Instant) {
        let due: Vec<String> = self
            .settling
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(id, _)| id.clone())
            .collect();
        for id in due {
            self.settling.remove(&id);
            let reached = self.real.instance.ours.get_mut(&id).map(|machine| {
                machine.state = match machine.state {
                    InstanceState::Pending => InstanceState::Running,
                    InstanceState::Stopping => InstanceState::Stopped,
                    InstanceState::ShuttingDown => InstanceState::Terminated,
                    settled => settled,
                };
                machine.state
            });
            if reached == Some(InstanceState::Terminated) {
                let volumes = &mut self.real.volume.ours;
                volumes.retain(|_, volume| volume.instance_id.as_ref() != Some(&id));
                let interfaces = &mut self.real.network_interface.ours;
                interfaces.retain(|_, interface| interface.instance_id.as_ref() != Some(&id));
                for address in self.real.address.ours.values_mut() {
                    if address.instance_id.as_ref() == Some(&id) {
                        (address.instance_id, address.association_id) = (None, None);
                    }
                }
            }
        }
    }

    /// Lets reads show what happened until `lag` ago.
    fn catch_up(&mut self, now: Instant, lag: Duration) {
        self.settle(now);
        while let Some((_, change, answer)) = self.unseen.pop_front_if(|(at, ..)| *at + lag <= now) {
            self.shown.fold(&change, &answer);
        }
        if self.unseen.is_empty() {
            self.shown = self.real.clone();
        }
    }

    fn listing(&self, kind: Kind, scope: &Scope) -> Listing {
        let shown = &self.shown;
        match kind {
            Kind::Vpc => Listing::Vpc(covered(&shown.vpc, scope)),
            Kind::InternetGateway => Listing::InternetGateway(covered(&shown.internet_gateway, scope)),
            Kind::Subnet => Listing::Subnet(covered(&shown.subnet, scope)),
            Kind::RouteTable => Listing::RouteTable(covered(&shown.route_table, scope)),
            Kind::SecurityGroup => Listing::SecurityGroup(covered(&shown.security_group, scope)),
            Kind::KeyPair => Listing::KeyPair(shown.key_pair.ours.values().cloned().collect()),
            Kind::Address => Listing::Address(covered(&shown.address, scope)),
            Kind::Volume => Listing::Volume(covered(&shown.volume, scope)),
            Kind::NetworkInterface => Listing::NetworkInterface(covered(&shown.network_interface, scope)),
            Kind::Instance => Listing::Instance(covered(&shown.instance, scope)),
            Kind::Bucket => Listing::Bucket(bucket::listing(&self.buckets)),
        }
    }
}

/// What a sweep with this scope finds on a shelf.
fn covered<T: Resource + Clone>(shelf: &Shelf<T>, scope: &Scope) -> Vec<T> {
    let is_covered = |item: &&T| {
        item.tags().get(tags::INSTALLATION) == Some(&scope.installation)
            || item
                .client_token()
                .is_some_and(|token| token.starts_with(&scope.token_prefix))
            || item
                .vpc_id()
                .is_some_and(|vpc| scope.vpc_ids.iter().any(|id| id == vpc))
    };
    shelf.ours.values().filter(is_covered).cloned().collect()
}
