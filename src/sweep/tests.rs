use std::{collections::VecDeque, sync::atomic::AtomicUsize, sync::atomic::Ordering};

use async_trait::async_trait;
use tokio::task::JoinHandle;

use super::*;
use crate::{
    aws::{AwsCall, ErrorClass, Image},
    resources::{Answer, Change, Listing, instance, key_pair::KeyPair, vpc::Vpc},
    tags::Tags,
    validate::ImageRef,
};

/// AWS with machines and VPCs, all else empty.
#[derive(Default)]
struct Account {
    machines: Mutex<Vec<instance::Instance>>,
    vpcs: Mutex<Vec<Vpc>>,
    /// Answers of the next sweeps of machines that fail.
    failures: Mutex<VecDeque<ErrorClass>>,
    took: Duration,
    slow: Mutex<Option<(Kind, Duration)>>,
    sweeps: Mutex<BTreeMap<Kind, Vec<(Instant, Scope)>>>,
    running: AtomicUsize,
    most_of_machines: AtomicUsize,
}

#[async_trait]
impl Aws for Account {
    async fn account(&self) -> Result<String, AwsError> {
        Ok("111122223333".into())
    }

    async fn list(&self, kind: Kind, scope: &Scope) -> Result<Listing, AwsError> {
        lock(&self.sweeps)
            .entry(kind)
            .or_default()
            .push((Instant::now(), scope.clone()));
        if kind == Kind::Instance {
            let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_of_machines.fetch_max(running, Ordering::SeqCst);
        }
        let slow = lock(&self.slow).filter(|(slow, _)| *slow == kind).map(|(_, took)| took);
        tokio::time::sleep(slow.unwrap_or(self.took)).await;
        match kind {
            Kind::Instance => {
                self.running.fetch_sub(1, Ordering::SeqCst);
                match lock(&self.failures).pop_front() {
                    Some(class) => Err(AwsError {
                        call: AwsCall::DescribeInstances,
                        subject: "page".into(),
                        class,
                        code: "Code".into(),
                        message: "no".into(),
                    }),
                    None => Ok(Listing::Instance(lock(&self.machines).clone())),
                }
            }
            Kind::Vpc => Ok(Listing::Vpc(lock(&self.vpcs).clone())),
            other => Ok(empty(other)),
        }
    }

    async fn image(&self, _: &ImageRef) -> Result<Image, AwsError> {
        unreachable!("sweeps look at no image")
    }

    async fn apply(&self, _: &Change) -> Result<Answer, AwsError> {
        unreachable!("sweeps change nothing")
    }
}

fn empty(kind: Kind) -> Listing {
    match kind {
        Kind::Vpc => Listing::Vpc(vec![]),
        Kind::InternetGateway => Listing::InternetGateway(vec![]),
        Kind::Subnet => Listing::Subnet(vec![]),
        Kind::RouteTable => Listing::RouteTable(vec![]),
        Kind::SecurityGroup => Listing::SecurityGroup(vec![]),
        Kind::KeyPair => Listing::KeyPair(vec![]),
        Kind::Address => Listing::Address(vec![]),
        Kind::Volume => Listing::Volume(vec![]),
        Kind::NetworkInterface => Listing::NetworkInterface(vec![]),
        Kind::Instance => Listing::Instance(vec![]),
        Kind::Bucket => Listing::Bucket(vec![]),
    }
}

impl Account {
    fn times(&self, kind: Kind) -> usize {
        lock(&self.sweeps).get(&kind).map_or(0, Vec::len)
    }
}

fn tags_of(uid: &str) -> Tags {
    Tags::from([
        (tags::INSTALLATION.into(), "inst".into()),
        (tags::CLUSTER_UID.into(), uid.into()),
        (tags::CLUSTER.into(), format!("ml/{uid}")),
    ])
}

fn machine(id: &str, uid: &str) -> instance::Instance {
    instance::Instance {
        tags: tags_of(uid),
        ..instance::sample(id)
    }
}

fn interest(uid: &str) -> Interest {
    Interest {
        path: format!("ml/{uid}"),
        ..Interest::default()
    }
}

/// Sweeps that run until the test ends.
struct Running {
    sweeps: Arc<Sweeps>,
    account: Arc<Account>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Sweeps only what is asked for, once the first sweep is in.
fn on_request() -> SweepIntervals {
    let never = Duration::from_hours(1);
    SweepIntervals {
        machines: never,
        network: never,
        second_look: never,
        shortest: Duration::ZERO,
        retry: never,
        ..SweepIntervals::default()
    }
}

fn run(account: Account, intervals: SweepIntervals) -> Running {
    let account = Arc::new(account);
    let aws: Arc<dyn Aws> = Arc::<Account>::clone(&account);
    let sweeps = Sweeps::new(aws, "inst", intervals);
    let task = tokio::spawn(Arc::clone(&sweeps).run(CancellationToken::new()));
    Running { sweeps, account, task }
}

async fn until(mut holds: impl FnMut() -> bool) {
    let waited = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waited)
        .await
        .expect("in time");
}

/// Long enough for a sweep that should not be made to show.
async fn a_while() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}

impl Running {
    fn machines(&self) -> Vec<String> {
        let snapshot = self.sweeps.snapshot();
        let sweep = snapshot.sweep(Kind::Instance);
        sweep
            .into_iter()
            .flat_map(KindSweep::all)
            .map(|thing| thing.id().to_owned())
            .collect()
    }

    async fn track(&self, uid: &str) {
        self.sweeps.track(uid, interest(uid));
        until(|| self.sweeps.has_looked()).await;
    }

    async fn look_again(&self) -> Result<(), Arc<str>> {
        self.sweeps.refresh(&[Kind::Instance], Instant::now()).await
    }
}

#[tokio::test]
async fn nothing_is_read_while_no_cluster_is_there_and_machines_more_often_than_the_rest() {
    let intervals = SweepIntervals {
        machines: Duration::from_millis(10),
        network: Duration::from_millis(100),
        ..on_request()
    };
    let running = run(Account::default(), intervals);
    a_while().await;
    assert_eq!(running.account.times(Kind::Instance), 0);
    running.track("u-1").await;
    until(|| running.account.times(Kind::Subnet) == 5).await;
    assert!(running.account.times(Kind::Instance) > 10);
    running.sweeps.untrack("u-1");
    until(|| running.sweeps.snapshot().sweep(Kind::Instance).is_none()).await;
    let sweeps = running.account.times(Kind::Instance);
    a_while().await;
    assert_eq!(running.account.times(Kind::Instance), sweeps);
}

#[tokio::test]
async fn a_thousand_clusters_cost_no_more_sweeps_than_one() {
    let running = run(Account::default(), on_request());
    for number in 0..1000 {
        let uid = format!("u-{number}");
        running.sweeps.track(&uid, interest(&uid));
    }
    until(|| running.sweeps.has_looked()).await;
    a_while().await;
    assert_eq!(running.account.times(Kind::Instance), 1);
}

#[tokio::test]
async fn all_who_ask_share_one_sweep_that_begins_after_they_asked() {
    let account = Account {
        took: Duration::from_millis(30),
        ..Account::default()
    };
    let running = run(account, on_request());
    running.sweeps.track("u-1", interest("u-1"));
    until(|| running.account.times(Kind::Instance) == 1).await;
    // The first sweep is under way: it began too early for those who ask now.
    let asked = Instant::now();
    let ask = || running.sweeps.refresh(&[Kind::Instance, Kind::Subnet], asked);
    let (one, two, three) = tokio::join!(ask(), ask(), ask());
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    assert_eq!(running.account.times(Kind::Instance), 2);
    assert!(running.sweeps.snapshot().sweep(Kind::Instance).unwrap().began > asked);
    assert_eq!(
        running.account.most_of_machines.load(Ordering::SeqCst),
        1,
        "one at a time"
    );
}

#[tokio::test]
async fn the_first_look_is_awaited_and_is_another_one_when_clusters_come_back() {
    let running = run(Account::default(), on_request());
    running.sweeps.track("u-1", interest("u-1"));
    running.sweeps.first_look().await;
    assert!(running.sweeps.has_looked() && running.sweeps.snapshot().sweep(Kind::Subnet).is_some());
    running.sweeps.untrack("u-1");
    until(|| !running.sweeps.has_looked()).await;
    running.sweeps.track("u-1", interest("u-1"));
    running.sweeps.first_look().await;
    assert_eq!(running.account.times(Kind::Subnet), 2);
}

#[tokio::test]
async fn a_slow_kind_holds_no_other_back() {
    let running = run(Account::default(), on_request());
    running.track("u-1").await;
    let hour = Duration::from_hours(1);
    let (account, sweeps) = (Arc::clone(&running.account), Arc::clone(&running.sweeps));
    *lock(&account.slow) = Some((Kind::Instance, hour));
    let stuck = tokio::spawn(async move { sweeps.refresh(&[Kind::Instance], Instant::now()).await });
    until(|| account.times(Kind::Instance) == 2).await;
    running
        .sweeps
        .refresh(&[Kind::Subnet, Kind::Vpc], Instant::now())
        .await
        .unwrap();
    stuck.abort();
}

#[tokio::test]
async fn what_one_sweep_misses_is_looked_for_once_more_and_soon() {
    let soon = SweepIntervals {
        second_look: Duration::from_millis(30),
        ..on_request()
    };
    let running = run(Account::default(), soon);
    *lock(&running.account.machines) = vec![machine("i-1", "u-1"), machine("i-2", "u-1")];
    running.track("u-1").await;
    assert_eq!(running.machines(), ["i-1", "i-2"]);
    let mut changes = running.sweeps.changes();

    lock(&running.account.machines).remove(0);
    running.look_again().await.unwrap();
    assert_eq!(running.machines(), ["i-1", "i-2"], "one miss is nothing");
    assert!(changes.try_recv().is_err());
    until(|| running.account.times(Kind::Instance) == 3).await;
    until(|| running.machines() == ["i-2"]).await;
    let told = Changed::Clusters(Arc::new(BTreeSet::from(["u-1".to_owned()])));
    assert_eq!(changes.recv().await, Ok(told));
}

#[tokio::test]
async fn a_miss_that_is_made_good_is_told_to_nobody() {
    let running = run(Account::default(), on_request());
    *lock(&running.account.machines) = vec![machine("i-1", "u-1")];
    running.track("u-1").await;
    let mut changes = running.sweeps.changes();
    for machines in [vec![], vec![machine("i-1", "u-1")], vec![]] {
        *lock(&running.account.machines) = machines;
        running.look_again().await.unwrap();
        assert_eq!(running.machines(), ["i-1"]);
    }
    assert!(changes.try_recv().is_err());
}

#[tokio::test]
async fn a_failed_sweep_keeps_what_was_known_and_says_why_and_how_old_it_is() {
    let hasty = SweepIntervals {
        retry: Duration::from_millis(1),
        ..on_request()
    };
    let running = run(Account::default(), hasty);
    *lock(&running.account.machines) = vec![machine("i-1", "u-1")];
    running.track("u-1").await;
    let known = Instant::now();
    *lock(&running.account.failures) = VecDeque::from(vec![ErrorClass::Retryable; 3]);
    let refused = running.look_again().await.unwrap_err();
    assert!(refused.contains("ec2:DescribeInstances"), "{refused}");
    assert_eq!(running.machines(), ["i-1"]);
    let snapshot = running.sweeps.snapshot();
    assert!(snapshot.error(Kind::Instance).is_some());
    assert_eq!(snapshot.shortcoming(Kind::Instance, [], [], known), None);
    let later = known + SweepIntervals::default().stale_after + Duration::from_secs(1);
    let shortcoming = snapshot.shortcoming(Kind::Instance, [], [], later).unwrap();
    assert!(
        shortcoming.message.contains("last seen") && shortcoming.message.contains("DescribeInstances"),
        "{shortcoming}"
    );
    let ages: BTreeMap<Kind, Duration> = running.sweeps.ages().into_iter().collect();
    assert!(ages[&Kind::Instance] >= known.elapsed());
    // It is tried again on its own.
    until(|| running.sweeps.snapshot().error(Kind::Instance).is_none()).await;
    assert_eq!(running.account.times(Kind::Instance), 5);
}

#[tokio::test]
async fn what_only_a_person_can_mend_is_told_apart_from_weather() {
    let running = run(Account::default(), on_request());
    *lock(&running.account.failures) = VecDeque::from([ErrorClass::Terminal]);
    running.track("u-1").await;
    let shortcoming = |now| running.sweeps.snapshot().shortcoming(Kind::Instance, [], [], now);
    let refused = shortcoming(Instant::now()).unwrap();
    assert_eq!(
        (refused.message.as_str(), refused.refused.as_deref()),
        ("ec2:DescribeInstances: Code: no", Some("Code"))
    );

    let running = run(Account::default(), on_request());
    *lock(&running.account.failures) = VecDeque::from([ErrorClass::Retryable]);
    running.track("u-1").await;
    let snapshot = running.sweeps.snapshot();
    let weather = snapshot.shortcoming(Kind::Instance, [], [], Instant::now()).unwrap();
    assert_eq!(weather.refused, None);
}

#[tokio::test]
async fn clusters_are_told_that_a_kind_is_not_seen_any_more_and_that_it_is_seen_again() {
    let blind_at_once = SweepIntervals {
        retry: Duration::from_millis(1),
        stale_after: Duration::ZERO,
        ..on_request()
    };
    let running = run(Account::default(), blind_at_once);
    running.track("u-1").await;
    let mut changes = running.sweeps.changes();
    *lock(&running.account.failures) =
        VecDeque::from([ErrorClass::Retryable, ErrorClass::Retryable, ErrorClass::Terminal]);
    running.look_again().await.unwrap_err();
    until(|| running.sweeps.snapshot().error(Kind::Instance).is_none()).await;
    let told = Changed::Clusters(Arc::new(BTreeSet::from(["u-1".to_owned()])));
    for why in ["weather", "a refusal", "seen again"] {
        assert_eq!(changes.try_recv().as_ref(), Ok(&told), "{why}");
    }
    assert!(changes.try_recv().is_err(), "once each");
}

#[tokio::test]
async fn throttling_of_one_kind_slows_all() {
    let running = run(Account::default(), on_request());
    running.track("u-1").await;
    *lock(&running.account.failures) = VecDeque::from([ErrorClass::Throttled]);
    running.look_again().await.unwrap_err();
    let asked = running.sweeps.refresh(&[Kind::Subnet], Instant::now());
    let waited = tokio::time::timeout(Duration::from_millis(50), asked).await;
    assert!(waited.is_err(), "the account is throttled");
    assert_eq!(running.account.times(Kind::Subnet), 1);
}

#[tokio::test]
async fn those_are_told_whose_content_changed_and_all_at_the_start() {
    let running = run(Account::default(), on_request());
    let mut changes = running.sweeps.changes();
    let mut second = machine("i-2", "u-2");
    *lock(&running.account.machines) = vec![machine("i-1", "u-1"), second.clone()];
    for uid in ["u-1", "u-2", "u-3"] {
        running.track(uid).await;
    }
    assert_eq!(changes.recv().await, Ok(Changed::All));
    assert!(changes.try_recv().is_err(), "once, not for each kind");

    second.state = instance::InstanceState::Stopped;
    lock(&running.account.machines)[1] = second;
    running.look_again().await.unwrap();
    let told = Changed::Clusters(Arc::new(BTreeSet::from(["u-2".to_owned()])));
    assert_eq!(changes.try_recv(), Ok(told));
    running.look_again().await.unwrap();
    assert!(changes.try_recv().is_err());
}

#[test]
fn a_key_pair_of_the_users_concerns_the_cluster_that_names_it() {
    let pair = KeyPair {
        id: "key-1".into(),
        name: "mine".into(),
        public_key: String::new(),
        tags: Tags::new(),
    };
    let mut touched = Touched::default();
    touched.note(pack(pair, &mut Names::default()).as_ref(), "prefix");
    let names_it = Interest {
        key_pair: Some("mine".into()),
        ..interest("u-1")
    };
    let tracked = BTreeMap::from([("u-1".to_owned(), names_it), ("u-2".to_owned(), interest("u-2"))]);
    assert_eq!(touched.clusters(&tracked), BTreeSet::from(["u-1".to_owned()]));
}

#[tokio::test]
async fn a_vpc_of_ours_that_no_status_names_is_looked_into_at_once_and_its_cluster_is_told() {
    let running = run(Account::default(), on_request());
    let mut changes = running.sweeps.changes();
    *lock(&running.account.vpcs) = vec![Vpc {
        id: "vpc-9".into(),
        cidr: "10.0.0.0/16".into(),
        dns_support: true,
        dns_hostnames: true,
        in_the_way: None,
        tags: tags_of("u-1"),
    }];
    running.track("u-1").await;
    let shortcoming = || {
        let snapshot = running.sweeps.snapshot();
        snapshot.shortcoming(Kind::Subnet, ["vpc-9"], [], Instant::now())
    };
    until(|| shortcoming().is_none()).await;
    assert!(running.account.times(Kind::Subnet) <= 2);
    let told = Changed::Clusters(Arc::new(BTreeSet::from(["u-1".to_owned()])));
    until(|| changes.try_recv().as_ref() == Ok(&told)).await;
}

#[tokio::test]
async fn orphans_are_what_no_known_cluster_has() {
    let running = run(Account::default(), on_request());
    let copied = instance::Instance {
        tags: Tags::from([(tags::CLUSTER_UID.into(), "u-8".into())]),
        ..instance::sample("i-8")
    };
    let gone = instance::Instance {
        state: instance::InstanceState::Terminated,
        ..machine("i-7", "u-9")
    };
    *lock(&running.account.machines) = vec![machine("i-1", "u-1"), gone, copied, machine("i-9", "u-9")];
    running.track("u-1").await;
    assert_eq!(running.sweeps.orphans(), [(Kind::Instance, "i-9".to_owned())]);
}

#[tokio::test]
async fn sweeps_that_find_nothing_are_counted_from_the_last_change_on() {
    let running = run(Account::default(), on_request());
    *lock(&running.account.machines) = vec![machine("i-1", "u-1")];
    running.track("u-1").await;
    let changed = Instant::now();
    let clean = |uid: &str, after| running.sweeps.snapshot().clean_sweeps(uid, after);
    let look = || async { running.sweeps.refresh(Kind::ALL, Instant::now()).await.unwrap() };
    look().await;
    look().await;
    assert_eq!(clean("u-1", changed), 0, "the machine is there");
    assert_eq!(clean("u-2", changed), 2, "nothing is of another cluster");
    lock(&running.account.machines).clear();
    look().await;
    assert_eq!(clean("u-1", changed), 1);
    look().await;
    assert_eq!(clean("u-1", changed), 2);
    assert_eq!(
        clean("u-1", Instant::now()),
        0,
        "none began after a call that was only just made"
    );
}

#[test]
fn since_when_a_machine_hangs_is_known_also_where_ec2_does_not_tell() {
    use instance::InstanceState::{Running, ShuttingDown, Stopping};
    let at = |second| Timestamp::from_second(second).unwrap();
    let (mut names, mut last): (_, Option<KindSweep>) = (Names::default(), None);
    let mut look = |state, told, second| {
        let machine = instance::Instance {
            state,
            transition_at: told,
            ..machine("i-1", "u-1")
        };
        let listed = Listing::Instance(vec![machine]).into_stored(&mut names);
        let (began, scope) = (Instant::now(), Scope::default());
        let sweep = KindSweep::new(last.as_ref(), began, at(second), &scope, listed, &mut names, |_| {});
        let mut inventory = crate::resources::Inventory::default();
        sweep.get("i-1").unwrap().put(&mut inventory, true);
        last = Some(sweep);
        inventory.instance.ours["i-1"].transition_at
    };
    assert_eq!(look(Running, None, 1), None);
    assert_eq!(look(ShuttingDown, None, 2), Some(at(2)));
    assert_eq!(
        look(ShuttingDown, None, 9),
        Some(at(2)),
        "not since the last look alone"
    );
    assert_eq!(look(Stopping, None, 10), Some(at(10)), "another state");
    assert_eq!(look(Stopping, Some(at(5)), 11), Some(at(5)), "EC2 knows better");
}

/// A snapshot in which every kind was swept at these times, the last time with these things.
pub(crate) fn snapshot(began: &[Instant], scope: &Scope, listings: &[Listing]) -> Snapshot {
    let mut snapshot = Snapshot {
        stale_after: SweepIntervals::default().stale_after,
        ..Snapshot::default()
    };
    let mut names = Names::default();
    for kind in Kind::ALL {
        let mut sweep: Option<KindSweep> = None;
        for at in began {
            let mine = listings
                .iter()
                .filter(|listing| std::mem::discriminant(*listing) == std::mem::discriminant(&empty(*kind)));
            let listed = mine
                .cloned()
                .flat_map(|listing| listing.into_stored(&mut names))
                .collect();
            sweep = Some(KindSweep::new(
                sweep.as_ref(),
                *at,
                Timestamp::UNIX_EPOCH,
                scope,
                listed,
                &mut names,
                |_| {},
            ));
        }
        let state = KindState {
            last_good: sweep.map(Arc::new),
            ..KindState::default()
        };
        snapshot.kinds.insert(*kind, state);
    }
    snapshot
}
