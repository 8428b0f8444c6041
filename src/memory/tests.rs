use jiff::SignedDuration;

use super::*;
use crate::{
    aws::Scope,
    observe::{Pool, Source},
    resources::vpc::{Vpc, VpcChange},
    sweep::tests::snapshot,
    tags::Tags,
};

const WINDOW: Duration = Duration::from_mins(1);

fn error(class: ErrorClass) -> AwsError {
    AwsError {
        call: AwsCall::CreateVpc,
        subject: "vpc".into(),
        class,
        code: "VpcLimitExceeded".into(),
        message: "no more".into(),
    }
}

fn vpc(dns_hostnames: bool) -> Vpc {
    Vpc {
        id: "vpc-1".into(),
        cidr: "10.0.0.0/16".into(),
        dns_support: true,
        dns_hostnames,
        in_the_way: None,
        tags: Tags::new(),
    }
}

fn create() -> Change {
    Change::Vpc(VpcChange::Create {
        cidr: "10.0.0.0/16".into(),
        tags: Tags::new(),
    })
}

fn delete() -> Change {
    Change::Vpc(VpcChange::Delete { id: "vpc-1".into() })
}

fn name_machines() -> Change {
    Change::Vpc(VpcChange::EnableDnsHostnames { id: "vpc-1".into() })
}

fn shown(vpcs: &[Vpc]) -> Inventory {
    let mut inventory = Inventory::default();
    inventory.vpc.ours = vpcs.iter().map(|vpc| (vpc.id.clone(), vpc.clone())).collect();
    inventory
}

fn swept(began: Instant) -> Snapshot {
    snapshot(&[began], &Scope::default(), &[])
}

/// What a cluster is taken to have when a sweep that began then shows these VPCs.
fn seen(memory: &mut Memory, began: Instant, vpcs: &[Vpc]) -> Vec<Vpc> {
    let snapshot = swept(began);
    let mut inventory = shown(vpcs);
    memory.settle(&inventory, &snapshot, WINDOW);
    memory.replay(&mut inventory, &snapshot, WINDOW);
    inventory.vpc.ours.into_values().collect()
}

#[test]
fn what_was_made_is_there_although_an_older_look_does_not_show_it_and_is_gone_when_later_ones_do_not() {
    let start = Instant::now();
    let mut memory = Memory::new(start);
    memory.performed("k", create(), Answer::Created("vpc-1".into()), start);
    assert_eq!(seen(&mut memory, start, &[]), [vpc(false)]);
    assert_eq!(seen(&mut memory, start + WINDOW / 2, &[]), [vpc(false)]);
    // Another of AWS's hosts showed it, and the next one does not again.
    assert_eq!(seen(&mut memory, start + WINDOW / 4, &[vpc(true)]), [vpc(true)]);
    assert_eq!(seen(&mut memory, start + WINDOW / 2, &[]), [vpc(false)]);
    assert_eq!(seen(&mut memory, start + WINDOW, &[]), []);
    assert!(!memory.expects());
}

#[test]
fn what_was_deleted_does_not_come_back_with_an_older_look() {
    let start = Instant::now();
    let mut memory = Memory::new(start);
    memory.performed("k", delete(), Answer::Gone, start);
    assert_eq!(seen(&mut memory, start + WINDOW / 4, &[]), []);
    assert_eq!(seen(&mut memory, start + WINDOW / 2, &[vpc(true)]), []);
    assert_eq!(seen(&mut memory, start + WINDOW, &[vpc(true)]), [vpc(true)]);
}

#[test]
fn a_change_holds_until_it_is_seen_and_what_somebody_does_after_that_shows_at_once() {
    let start = Instant::now();
    let mut memory = Memory::new(start);
    memory.performed("k", name_machines(), Answer::Done, start);
    assert_eq!(
        seen(&mut memory, start + WINDOW / 4, &[vpc(false)]),
        [vpc(true)],
        "AWS is late"
    );
    assert_eq!(
        seen(&mut memory, start + WINDOW / 3, &[vpc(true)]),
        [vpc(true)],
        "AWS shows it"
    );
    assert_eq!(
        seen(&mut memory, start + WINDOW / 2, &[vpc(false)]),
        [vpc(false)],
        "somebody undid it"
    );
}

#[test]
fn a_look_that_began_before_a_change_proves_nothing_about_it() {
    let start = Instant::now();
    let mut memory = Memory::new(start);
    memory.performed("k", name_machines(), Answer::Done, start + WINDOW / 4);
    assert_eq!(seen(&mut memory, start, &[vpc(true)]), [vpc(true)]);
    assert_eq!(seen(&mut memory, start + WINDOW / 2, &[vpc(false)]), [vpc(true)]);
    assert_eq!(
        seen(&mut memory, start + WINDOW * 5 / 4, &[vpc(false)]),
        [vpc(false)],
        "the window is over"
    );
}

#[test]
fn changes_are_entered_in_the_order_in_which_they_were_made() {
    let start = Instant::now();
    let mut memory = Memory::new(start);
    memory.performed("k", create(), Answer::Created("vpc-1".into()), start);
    memory.performed("k", name_machines(), Answer::Done, start);
    assert_eq!(seen(&mut memory, start, &[]), [vpc(true)]);
    memory.performed("k", delete(), Answer::Done, start);
    assert_eq!(seen(&mut memory, start + WINDOW / 2, &[vpc(true)]), []);
}

#[test]
fn refusals_come_back_later_each_time_and_go_with_success_or_another_spec() {
    let start = Instant::now();
    let now = Timestamp::UNIX_EPOCH;
    let mut memory = Memory::new(start);
    let refuse = |memory: &mut Memory, class, at| {
        let delays = RetryDelays::default();
        memory.refused(
            "k",
            Kind::Vpc,
            &error(class),
            &delays,
            start,
            Duration::from_secs(10),
            at,
            1.0,
        );
        memory.refusals()["k"].clone()
    };
    memory.begin_pass(1);
    let first = refuse(&mut memory, ErrorClass::Terminal, now);
    assert_eq!((first.times, first.until.as_second()), (1, 60));
    assert!(
        first.message.contains("VpcLimitExceeded: delete what is not needed"),
        "{}",
        first.message
    );
    let second = refuse(&mut memory, ErrorClass::Terminal, now);
    assert_eq!((second.times, second.until.as_second()), (2, 120));
    memory.begin_pass(1);
    assert_eq!(memory.refusals().len(), 1);
    memory.begin_pass(2);
    assert!(memory.refusals().is_empty());
    refuse(&mut memory, ErrorClass::Retryable, now);
    memory.performed("k", create(), Answer::Created("vpc-1".into()), start);
    assert!(memory.refusals().is_empty());
}

#[test]
fn each_class_has_its_delay_and_none_grows_for_ever() {
    let delays = RetryDelays::default();
    let after = |class, times| delays.after(class, times, 1.0).as_secs();
    assert_eq!(
        (after(ErrorClass::Retryable, 1), after(ErrorClass::Retryable, 3)),
        (1, 4)
    );
    assert_eq!(after(ErrorClass::Retryable, 1000), 60);
    assert!(after(ErrorClass::Throttled, 1) > after(ErrorClass::Retryable, 1));
    assert_eq!(
        (after(ErrorClass::Capacity, 1), after(ErrorClass::Capacity, 9)),
        (180, 180)
    );
    assert_eq!(after(ErrorClass::Terminal, 1000), 3600);
    assert_eq!(
        (after(ErrorClass::Waiting, 20), after(ErrorClass::Waiting, 21)),
        (3, 30)
    );
    assert_eq!(delays.after(ErrorClass::Terminal, 1, 0.0), Duration::from_secs(30));
}

#[test]
fn a_call_that_may_still_land_counts_as_the_last_change_and_one_that_was_never_made_does_not() {
    let start = Instant::now();
    let may_land = Duration::from_secs(10);
    let later = start + Duration::from_secs(5);
    assert_eq!(
        Memory::new(start).shown_from(WINDOW),
        start + WINDOW,
        "a process before this one may have got no answer"
    );
    let mut memory = Memory::of_new_object(start);
    let mut refuse = |class| {
        let delays = RetryDelays::default();
        memory.refused(
            "k",
            Kind::Vpc,
            &error(class),
            &delays,
            later,
            may_land,
            Timestamp::UNIX_EPOCH,
            0.0,
        );
        memory.shown_from(WINDOW)
    };
    assert_eq!(refuse(ErrorClass::LostLease), start);
    assert_eq!(refuse(ErrorClass::Terminal), later);
    assert_eq!(refuse(ErrorClass::Retryable), later + may_land + WINDOW);
}

#[test]
fn what_is_remembered_is_bounded() {
    let start = Instant::now();
    let mut memory = Memory::new(start);
    for number in 0..1000 {
        let (key, delays) = (format!("k-{number}"), RetryDelays::default());
        memory.refused(
            &key,
            Kind::Vpc,
            &error(ErrorClass::Terminal),
            &delays,
            start,
            WINDOW,
            // Each is over before the next comes.
            Timestamp::UNIX_EPOCH + SignedDuration::from_hours(2) * number,
            0.0,
        );
        memory.performed("other", name_machines(), Answer::Done, start);
    }
    assert_eq!(
        (memory.refusals().len(), memory.expectations.len()),
        (KEPT_REFUSALS, MAX_EXPECTATIONS)
    );
}

#[test]
fn no_refusal_is_forgotten_before_its_time() {
    let start = Instant::now();
    let mut memory = Memory::new(start);
    for number in 0..10 * KEPT_REFUSALS {
        memory.refused(
            &format!("k-{number}"),
            Kind::Volume,
            &error(ErrorClass::Terminal),
            &RetryDelays::default(),
            start,
            WINDOW,
            Timestamp::UNIX_EPOCH,
            0.0,
        );
    }
    assert_eq!(memory.refusals().len(), 10 * KEPT_REFUSALS);
}

#[test]
fn what_was_short_is_not_asked_for_for_a_while() {
    let shortage = Shortage::Capacity(Pool {
        instance_type: "t2.medium".into(),
        availability_zone: "ap-southeast-1a".into(),
    });
    let shortages = Shortages::default();
    let until = Timestamp::from_second(100).unwrap();
    shortages.skip(shortage.clone(), until);
    assert_eq!(
        shortages.at(Timestamp::from_second(99).unwrap()),
        BTreeMap::from([(shortage, until)])
    );
    assert_eq!(shortages.at(until), BTreeMap::new());
}

#[test]
fn a_fold_keeps_what_a_sweep_says_of_itself() {
    let mut inventory = shown(&[]);
    inventory.set_swept(Kind::Vpc, Source::Known(()));
    inventory.fold(&create(), &Answer::Created("vpc-1".into()));
    assert_eq!(inventory.vpc.swept, Source::Known(()));
}

#[test]
fn what_may_have_been_made_without_an_answer_is_made_again_only_after_a_look() {
    let (start, now) = (Instant::now(), Timestamp::UNIX_EPOCH);
    let mut memory = Memory::new(start);
    memory.begin_pass(1);
    let delays = RetryDelays::default();
    let lost = error(ErrorClass::Retryable);
    memory.refused("k", Kind::Vpc, &lost, &delays, start, WINDOW, now, 1.0);
    let until = |memory: &Memory| memory.refusals()["k"].until.duration_since(now).unsigned_abs();
    assert_eq!(memory.unseen_kinds(), BTreeSet::from([Kind::Vpc]));
    assert!(until(&memory) >= UNSEEN);
    // Neither a look from before the call nor another spec is proof.
    memory.looked(&swept(start));
    memory.begin_pass(2);
    assert!(until(&memory) >= UNSEEN);
    memory.looked(&swept(start + Duration::from_secs(1)));
    assert_eq!(until(&memory), delays.retry);
    assert!(memory.unseen_kinds().is_empty());
}

#[test]
fn what_aws_does_not_know_is_asked_for_soon_at_first_and_then_ever_more_seldom() {
    let delays = RetryDelays::default();
    let after = |times| delays.after(ErrorClass::NotFound, times, 1.0);
    assert_eq!((after(1), after(2)), (Duration::from_secs(1), Duration::from_secs(2)));
    assert!(after(4) < Duration::from_secs(10));
    assert_eq!(after(20), delays.terminal_max);
}
