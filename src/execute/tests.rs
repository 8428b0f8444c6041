//! Executions of scripted plans against doubles, on a clock that ticks when everything waits: each call takes one tick.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use tokio::sync::watch;

use super::*;
use crate::{
    api::{Launch, LaunchState, StepStatus},
    aws::{Scope, TIMEOUT},
    observe::{KeySecret, Shelf},
    plan::{StopMark, scenario::Scenario},
    ray::step::{DRAIN, DRAIN_FAILED, MachineStep, NoHands},
    resources::{
        Change, Inventory, Kind, Listing,
        instance::REBOOT,
        vpc::{Vpc, VpcChange},
    },
    tags::Tags,
    validate::ImageRef,
};

/// Counts ticks.
struct Ticks(watch::Sender<u64>);

impl Ticks {
    fn elapsed(&self) -> u64 {
        *self.0.borrow()
    }

    /// Returns one tick later.
    async fn pass(&self) {
        let next = self.elapsed() + 1;
        let mut ticks = self.0.subscribe();
        ticks.wait_for(|tick| *tick >= next).await.unwrap();
    }

    /// Ticks whenever everything else had its turn.
    async fn run(&self) {
        loop {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            self.0.send_modify(|tick| *tick += 1);
        }
    }
}

/// AWS that takes one tick for each change and refuses what it is told to.
struct FakeAws {
    ticks: Arc<Ticks>,
    refusals: Mutex<VecDeque<(&'static str, ErrorClass)>>,
    log: Mutex<Vec<String>>,
    running: AtomicUsize,
    most: AtomicUsize,
}

impl FakeAws {
    fn refusing(refusals: &[(&'static str, ErrorClass)]) -> Self {
        Self {
            ticks: Arc::new(Ticks(watch::channel(0).0)),
            refusals: Mutex::new(refusals.iter().copied().collect()),
            log: Mutex::default(),
            running: AtomicUsize::default(),
            most: AtomicUsize::default(),
        }
    }

    fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

#[async_trait]
impl Aws for FakeAws {
    async fn account(&self) -> Result<String, AwsError> {
        Ok("123456789012".into())
    }

    async fn list(&self, _: Kind, _: &Scope) -> Result<Listing, AwsError> {
        panic!("an execution does not list");
    }

    async fn image(&self, _: &ImageRef) -> Result<Image, AwsError> {
        panic!("an execution does not look up images");
    }

    async fn apply(&self, change: &Change) -> Result<Answer, AwsError> {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        self.ticks.pass().await;
        self.running.fetch_sub(1, Ordering::SeqCst);
        let line = change.to_string();
        self.log.lock().unwrap().push(line.clone());
        let mut refusals = self.refusals.lock().unwrap();
        match refusals.iter().position(|(refused, _)| *refused == line) {
            Some(index) => {
                let (_, class) = refusals.remove(index).unwrap();
                Err(AwsError {
                    call: change.call(),
                    subject: change.subject(),
                    class,
                    // Nothing came back: whether it was carried out nobody knows.
                    code: if class == ErrorClass::Retryable {
                        TIMEOUT
                    } else {
                        "Refused"
                    }
                    .into(),
                    message: "as told".into(),
                })
            }
            None => Ok(Answer::Done),
        }
    }
}

#[derive(Default)]
struct FakeKubernetes {
    events: Mutex<Vec<Event>>,
    ledgers: Mutex<Vec<Ledger>>,
    fails: Mutex<Option<KubernetesError>>,
    steps: Mutex<Vec<BTreeMap<String, StepStatus>>>,
}

impl FakeKubernetes {
    fn answer(&self) -> Result<(), KubernetesError> {
        self.fails.lock().unwrap().clone().map_or(Ok(()), Err)
    }

    fn reasons(&self) -> Vec<String> {
        let events = self.events.lock().unwrap();
        events.iter().map(|event| event.reason.clone()).collect()
    }
}

#[async_trait]
impl Kubernetes for FakeKubernetes {
    async fn record_launches(&self, ledger: &Ledger) -> Result<(), KubernetesError> {
        self.ledgers.lock().unwrap().push(ledger.clone());
        self.answer()
    }
    async fn record_steps(&self, steps: &BTreeMap<String, StepStatus>) -> Result<(), KubernetesError> {
        self.steps.lock().unwrap().push(steps.clone());
        self.answer()
    }
    async fn create_key(&self) -> Result<KeySecret, KubernetesError> {
        self.answer().map(|()| KeySecret::Present {
            public_key: "ssh-ed25519 A".into(),
        })
    }
    async fn set_finalizer(&self, _: bool) -> Result<(), KubernetesError> {
        self.answer()
    }
    async fn mark_stopped(&self, _: &StopMark) -> Result<(), KubernetesError> {
        self.answer()
    }
    fn publish(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }
}

struct TestClock(Arc<Ticks>);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + Duration::from_secs(self.0.elapsed())
    }
    fn jitter(&self) -> f64 {
        0.0
    }
}

fn observed(vpc_ids: &[&str]) -> Observed {
    let vpc = |id: &str| Vpc {
        id: id.into(),
        cidr: "10.0.0.0/16".into(),
        dns_support: false,
        dns_hostnames: false,
        in_the_way: None,
        tags: Tags::new(),
    };
    let shelf = Shelf {
        swept: Source::Known(()),
        ours: vpc_ids.iter().map(|id| ((*id).to_owned(), vpc(id))).collect(),
        others: BTreeMap::new(),
    };
    let inventory = Inventory {
        vpc: shelf,
        ..Inventory::default()
    };
    Observed {
        inventory,
        has_finalizer: true,
        ..Observed::default()
    }
}

/// Each VPC: DNS support first, then host names; what was refused waits for its time.
fn dns_plan(observed: &Observed, now: Timestamp) -> Plan {
    let wanted = observed.inventory.vpc.ours.values().filter_map(|vpc| {
        let id = vpc.id.clone();
        match (vpc.dns_support, vpc.dns_hostnames) {
            (false, _) => Some(VpcChange::EnableDnsSupport { id }),
            (true, false) => Some(VpcChange::EnableDnsHostnames { id }),
            (true, true) => None,
        }
    });
    let is_due = |action: &Action| {
        let refusal = observed.refusals.get(&action.key());
        refusal.is_none_or(|refusal| refusal.until <= now)
    };
    Plan {
        actions: wanted.map(Change::Vpc).map(Action::Aws).filter(is_due).collect(),
        ..Plan::default()
    }
}

struct Bench {
    aws: FakeAws,
    kubernetes: FakeKubernetes,
    clock: TestClock,
    stop: CancellationToken,
    timeout: Duration,
}

impl Bench {
    fn new(aws: FakeAws) -> Self {
        Self {
            clock: TestClock(aws.ticks.clone()),
            aws,
            kubernetes: FakeKubernetes::default(),
            stop: CancellationToken::new(),
            timeout: Duration::from_mins(1),
        }
    }

    async fn run(&self, observed: Observed, plan: impl Fn(&Observed, Timestamp) -> Plan + Sync) -> Outcome {
        self.run_with(observed, Vec::new(), plan).await
    }

    async fn run_with<'a>(
        &'a self,
        observed: Observed,
        lookups: Vec<BoxFuture<'a, Fact>>,
        plan: impl Fn(&Observed, Timestamp) -> Plan + Sync,
    ) -> Outcome {
        let execution = Execution {
            hands: &NoHands,
            aws: &self.aws,
            kubernetes: &self.kubernetes,
            clock: &self.clock,
            stop: &self.stop,
            deadline: Instant::now() + self.timeout,
            bounds: &Bounds {
                width: 8,
                call_timeout: Duration::from_secs(10),
                launch_window: Duration::from_hours(1),
                delays: RetryDelays::default(),
            },
        };
        let mut memory = Memory::new(Instant::now());
        tokio::select! {
            outcome = execution.run(observed, &mut memory, lookups, plan) => outcome,
            () = self.aws.ticks.run() => unreachable!("the clock never ends"),
        }
    }
}

#[tokio::test]
async fn independent_chains_run_side_by_side_and_the_whole_is_as_long_as_the_longest() {
    let bench = Bench::new(FakeAws::refusing(&[]));
    let outcome = bench.run(observed(&["vpc-1", "vpc-2", "vpc-3"]), dns_plan).await;
    assert_eq!(bench.aws.ticks.elapsed(), 2, "each chain has two calls");
    assert_eq!((bench.aws.log().len(), bench.aws.most.load(Ordering::SeqCst)), (6, 3));
    assert!(outcome.plan.actions.is_empty() && outcome.interrupted.is_none());
    assert!(
        outcome
            .observed
            .inventory
            .vpc
            .ours
            .values()
            .all(|vpc| vpc.dns_hostnames)
    );
}

/// A plan that reboots a machine unless it was.
fn reboot_plan(observed: &Observed, _: Timestamp) -> Plan {
    let mut plan = Plan::default();
    if !observed.steps.contains_key("i-1") {
        let (ids, reason) = (vec!["i-1".to_owned()], "it is silent".to_owned());
        let reboot = Change::Instance(InstanceChange::Reboot { ids, reason });
        plan.actions.push(Action::Aws(reboot));
    }
    plan
}

#[tokio::test]
async fn a_step_of_a_ladder_is_written_down_and_then_taken_once() {
    let bench = Bench::new(FakeAws::refusing(&[]));
    let outcome = bench.run(Observed::default(), reboot_plan).await;
    assert_eq!(bench.aws.log().len(), 1);
    let written = bench.kubernetes.steps.lock().unwrap();
    let named = |steps: &BTreeMap<String, StepStatus>| steps.get("i-1").map(|step| step.step.clone());
    let written: Vec<_> = written.iter().map(named).collect();
    assert_eq!(written, [Some(REBOOT.to_owned())]);
    assert_eq!(named(&outcome.observed.steps).as_deref(), Some(REBOOT));
}

#[tokio::test]
async fn a_step_whose_answer_is_lost_counts_as_taken_and_one_that_is_refused_does_not() {
    let line = "reboot i-1: it is silent";
    for (class, counts) in [(ErrorClass::Retryable, true), (ErrorClass::Throttled, false)] {
        let bench = Bench::new(FakeAws::refusing(&[(line, class)]));
        let once = |observed: &Observed, now: Timestamp| {
            let mut plan = reboot_plan(observed, now);
            plan.actions
                .retain(|action| !observed.refusals.contains_key(&action.key()));
            plan
        };
        let outcome = bench.run(Observed::default(), once).await;
        assert_eq!(bench.aws.log(), [line], "{class:?}");
        assert_eq!(outcome.observed.steps.contains_key("i-1"), counts, "{class:?}");
        assert!(outcome.plan.actions.is_empty(), "{class:?}");
    }
}

/// A plan that restarts the Ray of many machines, each once.
fn restart_plan(observed: &Observed, _: Timestamp) -> Plan {
    let lost = (0..400).map(|number| format!("i-{number:03}"));
    let restart = |instance_id: String| {
        let reason = "it is lost".into();
        Action::Machine(MachineStep::RestartRay { instance_id, reason })
    };
    Plan {
        actions: lost
            .filter(|id| !observed.steps.contains_key(id))
            .map(restart)
            .collect(),
        ..Plan::default()
    }
}

#[tokio::test]
async fn the_steps_on_many_machines_are_written_down_in_a_few_writes_each_before_it_is_taken() {
    let bench = Bench::new(FakeAws::refusing(&[]));
    let outcome = bench.run(Observed::default(), restart_plan).await;
    assert_eq!((outcome.observed.steps.len(), outcome.performed.len()), (400, 400));
    let written = bench.kubernetes.steps.lock().unwrap();
    assert!(written.len() <= 10, "{} writes", written.len());
    let all: BTreeSet<&String> = written.iter().flat_map(BTreeMap::keys).collect();
    assert_eq!(all.len(), 400);
}

#[tokio::test]
async fn what_was_written_down_and_not_taken_before_the_end_is_no_step() {
    let bench = Bench::new(FakeAws::refusing(&[]));
    let stopped = |observed: &Observed, now: Timestamp| {
        if !observed.steps.is_empty() {
            bench.stop.cancel();
        }
        restart_plan(observed, now)
    };
    let outcome = bench.run(Observed::default(), stopped).await;
    let (taken, written) = (outcome.performed.len(), bench.kubernetes.steps.lock().unwrap()[0].len());
    assert_eq!(outcome.observed.steps.len(), taken);
    assert!(0 < taken && taken < written, "{taken} of {written}");
}

#[tokio::test]
async fn a_step_that_cannot_be_written_down_is_not_taken() {
    let bench = Bench::new(FakeAws::refusing(&[]));
    *bench.kubernetes.fails.lock().unwrap() = Some(KubernetesError::Conflict("it".into()));
    let outcome = bench.run(Observed::default(), reboot_plan).await;
    assert!(bench.aws.log().is_empty(), "{:?}", bench.aws.log());
    assert!(outcome.observed.steps.is_empty());
}

#[tokio::test]
async fn a_drain_that_fails_is_no_drain_and_since_when_it_fails_is_kept() {
    let drain = |observed: &Observed, _: Timestamp| {
        let mut plan = Plan::default();
        if observed.steps.get("i-1").is_none_or(|step| step.step != DRAIN) {
            plan.actions.push(Action::Machine(MachineStep::Drain {
                instance_id: "i-1".into(),
                node_id: "n".into(),
                force: false,
                deadline: Duration::from_mins(5),
                reason: "fewer are asked for".into(),
            }));
        }
        plan
    };
    let bench = Bench::new(FakeAws::refusing(&[]));
    let first = bench.run(Observed::default(), drain).await.observed;
    assert_eq!(first.steps["i-1"].step, DRAIN_FAILED);
    bench.clock.0.0.send_modify(|ticks| *ticks += 60);
    let second = bench.run(first.clone(), drain).await.observed;
    assert_eq!(first.steps, second.steps);
}

#[tokio::test]
async fn what_was_seen_grows_old_while_calls_take_their_time() {
    let bench = Bench::new(FakeAws::refusing(&[]));
    let outcome = bench.run(observed(&["vpc-1"]), dns_plan).await;
    assert!(outcome.observed.machine_sweep_age > Duration::ZERO);
    assert!(outcome.observed.sweep_age > Duration::ZERO);
}

#[tokio::test]
async fn no_more_than_the_width_runs_side_by_side() {
    let bench = Bench::new(FakeAws::refusing(&[]));
    let ids: Vec<String> = (0..20).map(|number| format!("vpc-{number:02}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    bench.run(observed(&ids), dns_plan).await;
    assert_eq!((bench.aws.log().len(), bench.aws.most.load(Ordering::SeqCst)), (40, 8));
}

#[tokio::test]
async fn after_a_refusal_for_good_the_independent_ones_still_finish() {
    let refused = "enable DNS support of vpc-1";
    let bench = Bench::new(FakeAws::refusing(&[(refused, ErrorClass::Terminal)]));
    let outcome = bench.run(observed(&["vpc-1", "vpc-2"]), dns_plan).await;
    assert_eq!(bench.aws.log().len(), 3, "{:?}", bench.aws.log());
    assert!(outcome.observed.inventory.vpc.ours["vpc-2"].dns_hostnames);
    let (key, refusal) = outcome.observed.refusals.first_key_value().unwrap();
    assert_eq!(key, "ModifyVpcAttribute vpc-1 DNS support");
    assert_eq!((refusal.code.as_str(), refusal.times), ("Refused", 1));
    assert!(bench.kubernetes.reasons().contains(&"Refused".to_owned()));
}

#[tokio::test]
async fn what_differed_is_told_once_before_it_is_put_right() {
    let bench = Bench::new(FakeAws::refusing(&[]));
    let plan = |observed: &Observed, now: Timestamp| {
        let mut plan = dns_plan(observed, now);
        plan.findings
            .push(plan::Finding::repaired("vpc-1", "DNS support was off"));
        plan.findings
            .push(plan::Finding::kept("vpc-1", "holds subnet subnet-1"));
        plan
    };
    bench.run(observed(&["vpc-1"]), plan).await;
    let reasons = bench.kubernetes.reasons();
    assert_eq!(reasons, ["Drifted", "VpcAttributeModified", "VpcAttributeModified"]);
    bench.run(observed(&[]), plan).await;
    assert_eq!(bench.kubernetes.reasons(), reasons, "nothing is done about it");
}

#[tokio::test]
async fn what_stays_when_a_cluster_goes_is_told_before() {
    let bench = Bench::new(FakeAws::refusing(&[]));
    let plan = |observed: &Observed, _: Timestamp| Plan {
        actions: Vec::from_iter(observed.has_finalizer.then_some(Action::RemoveFinalizer)),
        findings: vec![plan::Finding::kept("key-1", "has the name of this cluster's key pair")],
        ..Plan::default()
    };
    let leaving = Observed {
        has_finalizer: true,
        ..observed(&[])
    };
    bench.run(leaving, plan).await;
    assert_eq!(bench.kubernetes.reasons(), ["LeftBehind"]);
}

#[tokio::test]
async fn a_success_ends_the_row_of_failures() {
    let bench = Bench::new(FakeAws::refusing(&[]));
    let mut before = observed(&["vpc-1"]);
    let earlier = crate::observe::Refusal {
        class: ErrorClass::Retryable,
        kind: Kind::Vpc,
        code: "Timeout".into(),
        message: String::new(),
        times: 4,
        until: Timestamp::UNIX_EPOCH,
    };
    before
        .refusals
        .insert("ModifyVpcAttribute vpc-1 DNS support".into(), earlier);
    let outcome = bench.run(before, dns_plan).await;
    assert!(outcome.observed.refusals.is_empty());
}

#[tokio::test]
async fn when_stopped_nothing_new_starts_and_the_answers_in_flight_are_kept() {
    let bench = Bench::new(FakeAws::refusing(&[]));
    let plan = |observed: &Observed, now: Timestamp| {
        // As if the signal came when the first answers are still out.
        tokio::spawn({
            let stop = bench.stop.clone();
            async move { stop.cancel() }
        });
        dns_plan(observed, now)
    };
    let outcome = bench.run(observed(&["vpc-1", "vpc-2"]), plan).await;
    assert_eq!(outcome.interrupted, Some(Interruption::Stopped));
    assert_eq!(outcome.performed.len(), 2);
    assert!(
        outcome
            .observed
            .inventory
            .vpc
            .ours
            .values()
            .all(|vpc| vpc.dns_support && !vpc.dns_hostnames)
    );
}

#[tokio::test]
async fn a_pass_whose_time_is_over_starts_nothing_and_goes_on_later() {
    let mut bench = Bench::new(FakeAws::refusing(&[]));
    bench.timeout = Duration::ZERO;
    let outcome = bench.run(observed(&["vpc-1"]), dns_plan).await;
    assert_eq!(outcome.interrupted, Some(Interruption::TimedOut));
    assert_eq!((outcome.performed.len(), outcome.plan.actions.len()), (0, 1));
}

#[tokio::test]
async fn a_process_that_may_not_change_anything_stops_without_remembering_a_refusal() {
    let refused = "enable DNS support of vpc-1";
    let bench = Bench::new(FakeAws::refusing(&[(refused, ErrorClass::LostLease)]));
    let outcome = bench.run(observed(&["vpc-1"]), dns_plan).await;
    assert_eq!(outcome.interrupted, Some(Interruption::Stopped));
    assert!(outcome.observed.refusals.is_empty() && bench.kubernetes.reasons().is_empty());
}

#[tokio::test]
async fn what_changes_nothing_is_not_repeated_for_ever() {
    let bench = Bench::new(FakeAws::refusing(&[]));
    let stubborn = Plan {
        actions: vec![Action::Aws(Change::Vpc(VpcChange::EnableDnsSupport {
            id: "vpc-9".into(),
        }))],
        ..Plan::default()
    };
    let outcome = bench.run(observed(&[]), |_, _| stubborn.clone()).await;
    assert_eq!(outcome.performed.len(), 2);
}

#[tokio::test]
async fn what_is_looked_up_is_folded_in_while_the_plan_is_carried_out() {
    let bench = Bench::new(FakeAws::refusing(&[]));
    let lookup = async {
        bench.aws.ticks.pass().await;
        Fact::Account(Source::Known("123456789012".into()))
    };
    let plan = |observed: &Observed, now: Timestamp| {
        let mut plan = dns_plan(observed, now);
        if observed.account.known().is_some() && !observed.has_finalizer {
            plan.actions.push(Action::AddFinalizer);
        }
        plan
    };
    let mut before = observed(&["vpc-1"]);
    before.has_finalizer = false;
    let outcome = bench.run_with(before, vec![lookup.boxed()], plan).await;
    assert!(outcome.observed.has_finalizer);
    assert_eq!(bench.aws.ticks.elapsed(), 2);
}

#[tokio::test]
async fn what_kubernetes_refuses_is_not_tried_again_in_the_same_pass_and_holds_nothing_else_up() {
    let bench = Bench::new(FakeAws::refusing(&[]));
    *bench.kubernetes.fails.lock().unwrap() = Some(KubernetesError::Failed {
        what: "create Secret ml/lab-ssh".into(),
        message: "forbidden".into(),
    });
    let plan = |observed: &Observed, now: Timestamp| {
        let mut plan = dns_plan(observed, now);
        plan.actions.push(Action::CreateKey);
        plan
    };
    let outcome = bench.run(observed(&["vpc-1"]), plan).await;
    assert_eq!((outcome.performed.len(), outcome.interrupted), (3, None));
    assert!(bench.kubernetes.reasons().contains(&"KubernetesRefused".to_owned()));
}

#[tokio::test]
async fn an_object_that_changed_meanwhile_ends_the_pass() {
    let bench = Bench::new(FakeAws::refusing(&[]));
    *bench.kubernetes.fails.lock().unwrap() = Some(KubernetesError::Conflict("RayCluster ml/lab".into()));
    let plan = |observed: &Observed, now: Timestamp| {
        let mut plan = dns_plan(observed, now);
        plan.actions.push(Action::AddFinalizer);
        plan
    };
    let outcome = bench.run(observed(&["vpc-1"]), plan).await;
    assert_eq!(outcome.interrupted, Some(Interruption::Conflict));
    assert_eq!(bench.aws.log().len(), 1, "what was in flight is finished, and no more");
}

#[tokio::test]
async fn held_launches_are_written_down_with_their_number() {
    let bench = Bench::new(FakeAws::refusing(&[]));
    let until = Timestamp::UNIX_EPOCH + Duration::from_mins(5);
    let plan = |observed: &Observed, _: Timestamp| Plan {
        actions: match observed.ledger.last {
            None => vec![Action::HoldLaunches { until, last: 1000 }],
            Some(_) => Vec::new(),
        },
        ..Plan::default()
    };
    let outcome = bench.run(observed(&[]), plan).await;
    let written = bench.kubernetes.ledgers.lock().unwrap().clone();
    assert_eq!(written, std::slice::from_ref(&outcome.observed.ledger));
    assert_eq!((written[0].last, written[0].held_until), (Some(1000), Some(until)));
}

#[tokio::test]
async fn what_may_have_been_made_without_an_answer_is_not_made_again_before_a_look() {
    let create = VpcChange::Create {
        cidr: "10.0.0.0/16".into(),
        tags: Tags::new(),
    };
    let action = Action::Aws(Change::Vpc(create));
    let bench = Bench::new(FakeAws::refusing(&[("create VPC 10.0.0.0/16", ErrorClass::Retryable)]));
    let plan = |observed: &Observed, now: Timestamp| {
        let refusal = observed.refusals.get(&action.key());
        let is_due = refusal.is_none_or(|refusal| refusal.until <= now);
        Plan {
            actions: is_due.then(|| action.clone()).into_iter().collect(),
            ..Plan::default()
        }
    };
    let outcome = bench.run(observed(&[]), plan).await;
    assert_eq!(bench.aws.log().len(), 1);
    let refusal = &outcome.observed.refusals[&action.key()];
    let minute = Duration::from_mins(1);
    assert!(
        refusal.until > bench.clock.now() + minute,
        "a VPC knows no client token: {refusal:?}"
    );
    assert_eq!(bench.kubernetes.reasons(), [TIMEOUT], "and it is told");
}

#[tokio::test]
async fn a_launch_without_an_answer_stays_open_and_the_same_request_is_sent_again() {
    let mut lab = Scenario::lab();
    lab.settle_network();
    while !lab.lines().iter().any(|line| line.starts_with("launch ")) {
        let recording = lab.plan().actions.remove(0);
        lab.carry_out(&recording);
    }
    let line = "launch 1 x t2.medium in subnet-7 for the head (launch 101)";
    let silent = (line, ErrorClass::Retryable);
    let bench = Bench::new(FakeAws::refusing(&[silent, silent]));
    let make_plan = |observed: &Observed, now: Timestamp| {
        plan::plan(&plan::Inputs {
            cluster: &lab.cluster,
            observed,
            limits: &lab.limits,
            now,
        })
    };
    let first = bench.run(lab.observed.clone(), make_plan).await;
    let launches = &first.observed.ledger.launches;
    assert_eq!((launches.len(), launches[0].state), (1, LaunchState::Open));
    assert!(launches[0].uncertain, "it may have been carried out");

    let mut later = first.observed.clone();
    later.refusals.clear();
    let second = bench.run(later, make_plan).await;
    assert_eq!(bench.aws.log(), [line, line]);
    // All that the request is made of; not what became of it.
    let request = |outcome: &Outcome| match &outcome.performed[0].action {
        Action::Aws(Change::Instance(InstanceChange::Launch {
            launch,
            token,
            user_data,
        })) => {
            let launch = Launch {
                uncertain: false,
                ..(**launch).clone()
            };
            (launch, token.clone(), user_data.clone())
        }
        other => panic!("{other}"),
    };
    assert_eq!(request(&first), request(&second));
}

#[tokio::test]
async fn what_is_short_is_kept_for_all_clusters_and_what_is_unsupported_for_this_one() {
    for (class, is_shared, reason) in [
        (ErrorClass::Capacity, true, plan::Reason::NoCapacity),
        (ErrorClass::Unsupported, false, plan::Reason::InvalidReference),
    ] {
        let mut lab = Scenario::lab();
        lab.settle_network();
        let refused = "launch 1 x t2.medium in subnet-7 for the head (launch 101)";
        let bench = Bench::new(FakeAws::refusing(&[(refused, class)]));
        let (cluster, limits) = (&lab.cluster, &lab.limits);
        let plan = |observed: &Observed, now: Timestamp| {
            plan::plan(&plan::Inputs {
                cluster,
                observed,
                limits,
                now,
            })
        };
        let outcome = bench.run(lab.observed.clone(), plan).await;
        assert_eq!(bench.aws.log(), [refused], "{class:?}");
        assert_eq!(!outcome.observed.exhausted.is_empty(), is_shared);
        let reasons: Vec<_> = outcome.plan.waiting.iter().map(|waiting| waiting.reason).collect();
        assert_eq!(reasons[0], reason, "{:?}", outcome.plan);
        assert!(
            outcome.plan.waiting[0].message.contains("as told"),
            "{:?}",
            outcome.plan
        );
    }
}
