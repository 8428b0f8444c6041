//! Looking into Ray, against machines that answer as real ones do, or as badly as they can.

mod ground;

use std::net::TcpStream;
use std::time::Duration;

use rayward::ray::facts::{Blindness, Interest, Look, NodeState, Others, Peer, RayFacts, Signal, Stage};
use rayward::ray::step::{MachineStep, StepAnswer};
use rayward::ray::watchers::Access;

use crate::support::light::load::{Actor, Job, Load};
use crate::support::light::manner::Manner;
use crate::support::light::trouble::{Trouble, Until};
use crate::support::wait::{PATIENCE, until};
use ground::{Ground, INTERVAL, TOKEN, UID};

#[tokio::test]
async fn a_cluster_is_seen_over_one_kept_connection_with_at_most_seven_requests_a_look() {
    let ground = Ground::seen().await;
    ground.looks(8).await;
    let (counts, looks) = (ground.light.counts(), ground.light.reports("i-head"));
    assert_eq!(counts.connections, 1);
    let requests: u64 = counts.requests.values().sum();
    // The requests of the look that is under way may be in already.
    assert!(requests <= 7 * (looks + 1), "{requests} requests in {looks} looks");
    assert!(requests > 6 * (looks - 2), "{requests} requests in {looks} looks");
    assert!(
        counts.requests.values().all(|count| *count <= looks + 1),
        "{:?}",
        counts.requests
    );

    let facts = ground.facts();
    let view = facts.view.known().expect("a view");
    assert_eq!(Some(&view.session), ground.light.session("i-head").as_ref());
    assert_eq!(view.version, "2.60.0");
    let mut nodes: Vec<_> = view
        .nodes
        .iter()
        .map(|node| (node.instance_id.as_deref().expect("a label"), node.is_head))
        .collect();
    nodes.sort_unstable();
    assert_eq!(nodes, [("i-a", false), ("i-b", false), ("i-head", true)]);
    assert!(
        view.nodes
            .iter()
            .all(|node| node.state == NodeState::Alive && node.in_use == Some(false))
    );
    assert_eq!(facts.host_keys["i-head"], ground.light.host_key("i-head"));
    assert_eq!(facts.others, Others::None);
}

#[tokio::test]
async fn an_answer_that_is_late_torn_old_or_refused_is_told_as_what_it_is_and_is_never_idle() {
    let ground = Ground::seen().await;
    let nodes = "/api/v0/nodes";
    for (path, manner, reason) in [
        ("/api/gcs_healthz", Manner::Hang, "Slow"),
        ("/api/gcs_healthz", Manner::Status(503), "GcsDown"),
        (nodes, Manner::Half, "Incomplete"),
        ("/api/version", Manner::Garbage, "Garbled"),
        (nodes, Manner::Truncated, "Incomplete"),
        (nodes, Manner::Partial, "Incomplete"),
        (nodes, Manner::Failed, "Incomplete"),
        (nodes, Manner::Null, "Incomplete"),
        (nodes, Manner::Status(500), "Incomplete"),
        (nodes, Manner::Status(404), "Garbled"),
        ("/api/version", Manner::Status(401), "TokenRefused"),
        (nodes, Manner::Status(403), "TokenRefused"),
    ] {
        ground.light.answer(path, manner);
        let message = ground.blind(reason).await;
        assert!(message.contains(path), "{manner:?}: {message}");
        is_blind_and_keeps_its_secrets(&ground);
        ground.light.answer_well();
        ground.known().await;
    }
}

#[tokio::test]
async fn where_only_its_use_cannot_be_told_the_nodes_of_a_ray_stay_known_and_it_is_never_idle() {
    let ground = Ground::seen().await;
    let status = "/api/cluster_status";
    for (path, manner, reason) in [
        ("/api/jobs/", Manner::Hang, "Slow"),
        (status, Manner::Slow(Duration::from_secs(5)), "Slow"),
        ("/api/v0/actors", Manner::Garbage, "Garbled"),
        ("/api/serve/applications/", Manner::Status(500), "Incomplete"),
        ("/api/serve/applications/", Manner::Garbage, "Garbled"),
        (status, Manner::Null, "Incomplete"),
        (status, Manner::Old(Duration::from_mins(1)), "Stale"),
    ] {
        ground.light.answer(path, manner);
        let message = ground
            .wait("its use is not known", |facts| match &facts.activity {
                Look::Unknown { why, message, .. } if why.name() == reason => Some(message.clone()),
                _ => None,
            })
            .await;
        assert!(message.contains(path), "{manner:?}: {message}");
        // Further looks: what is still fresh is no proof.
        ground.looks(4).await;
        let facts = ground.facts();
        assert_eq!(facts.idle_for, Duration::ZERO);
        // While a slow look is under way the last one may be too old.
        let in_use = ground
            .wait("its nodes are known", |facts| {
                let nodes = match &facts.view {
                    Look::Known { fact, .. } => &fact.nodes,
                    Look::Unknown { why, last, .. } => &last.as_ref().filter(|_| why.name() == "Stale")?.nodes,
                };
                Some(nodes.iter().filter(|node| node.in_use.is_some()).count())
            })
            .await;
        assert_eq!(in_use, 0, "nobody can tell");
        ground.tells_no_secret(&format!("{facts:?}"));
        ground.light.answer_well();
        ground
            .wait("its use is known", |facts| facts.activity.known().map(|_| ()))
            .await;
    }
}

#[tokio::test]
async fn a_head_that_cannot_be_reached_or_asked_is_told_as_what_it_is_and_is_never_idle() {
    let mut ground = Ground::seen().await;
    for (trouble, reason) in [
        (Trouble::Dashboard, "DashboardDown"),
        (Trouble::Gcs, "GcsDown"),
        (Trouble::SshClosed, "Unreachable"),
        (Trouble::Cable, "Unreachable"),
    ] {
        ground.light.trouble("i-head", trouble, Until::Replaced);
        ground.blind(reason).await;
        is_blind_and_keeps_its_secrets(&ground);
        ground.light.mend("i-head");
        ground.known().await;
    }
    for (trouble, reason) in [
        (Trouble::KeyRefused, "AccessDenied"),
        (Trouble::NoForwarding, "ForwardingDenied"),
        (Trouble::SshSilent, "Unreachable"),
    ] {
        ground.light.trouble("i-head", trouble, Until::Replaced);
        ground.light.end_connections("i-head");
        ground.blind(reason).await;
        is_blind_and_keeps_its_secrets(&ground);
        ground.light.mend("i-head");
        ground.light.end_connections("i-head");
        ground.known().await;
    }
    ground.light.pose("i-head", Some("another-cluster"));
    let message = ground.blind("WrongPeer").await;
    assert!(
        message.contains("another-cluster") && message.contains(UID),
        "{message}"
    );
    is_blind_and_keeps_its_secrets(&ground);
    ground.light.pose("i-head", None);
    ground.known().await;

    ground.interest.head = None;
    ground.watch();
    ground.blind("NotLooked").await;
}

/// What is told of a Ray that is not known: nothing that could stop a cluster, and no secret.
fn is_blind_and_keeps_its_secrets(ground: &Ground) {
    let facts = ground.facts();
    assert_eq!(facts.idle_for, Duration::ZERO);
    let Look::Unknown { last, .. } = &facts.view else {
        panic!("known: {facts:#?}")
    };
    assert!(last.is_some(), "what was seen last is still there");
    ground.tells_no_secret(&format!("{facts:?}"));
}

#[tokio::test]
async fn a_dead_worker_and_a_drained_one_are_told_apart() {
    let ground = Ground::seen().await;
    ground.light.trouble("i-a", Trouble::Raylet, Until::Replaced);
    let node_id = ground
        .facts()
        .view
        .known()
        .and_then(|view| {
            view.nodes
                .iter()
                .find(|node| node.instance_id.as_deref() == Some("i-b"))
        })
        .map(|node| node.node_id.clone())
        .expect("a node");
    let drain = MachineStep::Drain {
        instance_id: "i-b".into(),
        node_id,
        force: false,
        deadline: Duration::from_mins(5),
        reason: "it isn't needed".into(),
    };
    let busy = Load {
        cpus: [("i-b".to_owned(), 1.0)].into(),
        ..Load::default()
    };
    ground.light.set_load(busy);
    assert_eq!(ground.watchers.hands(UID).perform(&drain).await, Ok(StepAnswer::Busy));
    ground.light.set_load(Load::default());
    assert_eq!(ground.watchers.hands(UID).perform(&drain).await, Ok(StepAnswer::Done));
    let calls = ground.light.calls("i-head");
    assert_eq!(
        calls.last().and_then(|call| call.last()).map(String::as_str),
        Some("it isn't needed")
    );
    ground
        .wait("both are dead, and one was drained", |facts| {
            let dead = |id: &str| {
                let nodes = &facts.view.known()?.nodes;
                let node = nodes.iter().find(|node| node.instance_id.as_deref() == Some(id))?;
                match &node.state {
                    NodeState::Dead { drained, ended_at, .. } => ended_at.map(|_| *drained),
                    NodeState::Alive => None,
                }
            };
            (dead("i-a")? != dead("i-b")? && dead("i-b")?).then_some(())
        })
        .await;
}

#[tokio::test]
async fn use_is_told_by_its_signals_and_where_it_is() {
    let ground = Ground::seen().await;
    ground
        .wait("it is idle", |facts| (!facts.idle_for.is_zero()).then_some(()))
        .await;
    let load = Load {
        jobs: vec![Job::submission("raysubmit_1", "RUNNING"), Job::driver("02000000")],
        actors: vec![Actor {
            class: "Keeper".into(),
            namespace: "mine".into(),
            state: "ALIVE",
        }],
        applications: vec!["app".into()],
        demand: vec![serde_json::json!([{"CPU": 1.0}, 4])],
        placement_groups: Vec::new(),
        cpus: [("i-a".to_owned(), 1.0)].into(),
        ..Load::default()
    };
    ground.light.set_load(load);
    let all = [
        Signal::Job,
        Signal::Driver,
        Signal::Actor,
        Signal::Serve,
        Signal::Demand,
        Signal::Resources,
    ];
    ground
        .wait("all signals are there", |facts| {
            let (view, activity) = (facts.view.known()?, facts.activity.known()?);
            let is_busy = |id: &str| {
                let mut nodes = view.nodes.iter();
                nodes.find(|node| node.instance_id.as_deref() == Some(id))?.in_use
            };
            assert!(activity.signals.is_empty() || facts.idle_for.is_zero());
            let is_so = activity.signals.keys().eq(&all);
            (is_so && is_busy("i-a")? && !is_busy("i-b")?).then_some(())
        })
        .await;
    ground.light.set_load(Load::default());
    ground
        .wait("it is idle again", |facts| (!facts.idle_for.is_zero()).then_some(()))
        .await;
}

#[tokio::test]
async fn an_actor_is_found_behind_more_dead_ones_than_ray_lists() {
    let ground = Ground::seen().await;
    let dead = Actor {
        state: "DEAD",
        ..Actor::alive("Done")
    };
    let mut actors = vec![dead; 10_000];
    actors.push(Actor::alive("Keeper"));
    ground.light.set_load(Load {
        actors,
        ..Load::default()
    });
    ground
        .wait("the actor is seen", |facts| {
            facts.activity.known()?.signals.get(&Signal::Actor).cloned()
        })
        .await;
}

#[tokio::test]
async fn people_on_any_machine_are_reported_and_count_where_they_are_said_to() {
    let mut ground = Ground::seen().await;
    ground.light.set_people("i-b", 1, 0);
    let people = |id: &'static str| {
        move |facts: &RayFacts| {
            let report = facts.reports.get(id)?.known()?;
            (report.people?.ssh_sessions == 1).then_some(report.stage)
        }
    };
    let stage = ground.wait("somebody is on the worker", people("i-b")).await;
    assert_eq!(stage, Stage::Running);
    // Nobody said that they count.
    ground
        .wait("it is idle", |facts| (facts.idle_for > INTERVAL).then_some(()))
        .await;
    ground.interest.people = [Signal::SshSession].into();
    ground.watch();
    ground
        .wait("it is in use", |facts| facts.idle_for.is_zero().then_some(()))
        .await;
    ground.looks(4).await;
    assert_eq!(ground.facts().idle_for, Duration::ZERO);
    ground.light.set_people("i-b", 0, 1);
    ground
        .wait("it is idle", |facts| (!facts.idle_for.is_zero()).then_some(()))
        .await;
}

#[tokio::test]
async fn a_look_that_was_asked_for_asks_every_machine_and_is_told() {
    let ground = Ground::seen().await;
    ground
        .wait("all have reported", |facts| {
            let all = facts.reports.values().all(|report| report.known().is_some());
            (all && facts.reports.len() == 3).then_some(())
        })
        .await;
    let before = (ground.light.reports("i-a"), ground.changes().len());
    ground.watchers.look_now(UID);
    until("it was told", PATIENCE, async || {
        let changes = ground.changes().len();
        if changes > before.1 {
            Ok(())
        } else {
            Err(format!("{changes}"))
        }
    })
    .await;
    until("it was asked", PATIENCE, async || {
        let reports = ground.light.reports("i-a");
        if reports > before.0 {
            Ok(())
        } else {
            Err(format!("{reports}"))
        }
    })
    .await;
    let Look::Known { age, .. } = ground.facts().view else {
        panic!("it is known")
    };
    assert!(age < Duration::from_secs(5), "{age:?}");
}

#[tokio::test]
async fn a_connection_that_had_many_streams_gives_way_to_another_and_nothing_is_missed() {
    let ground = Ground::seen().await;
    until("another connection", PATIENCE, async || {
        ground.watchers.look_now(UID);
        assert!(ground.facts().view.known().is_some(), "{:#?}", ground.facts());
        let counts = ground.light.counts();
        if counts.connections > 1 {
            Ok(())
        } else {
            Err(format!("{} streams to workers", counts.inner_connections))
        }
    })
    .await;
    ground.known().await;
}

#[tokio::test]
async fn looks_that_show_the_same_are_not_told_and_a_change_is() {
    let ground = Ground::seen().await;
    ground
        .wait("all have reported", |facts| {
            facts
                .reports
                .values()
                .all(|report| report.known().is_some())
                .then_some(())
        })
        .await;
    ground.looks(2).await;
    let before = ground.changes().len();
    ground.looks(4).await;
    assert_eq!(ground.changes().len(), before);
    ground.light.set_load(Load {
        jobs: vec![Job::driver("02000000")],
        ..Load::default()
    });
    until("the driver is told", PATIENCE, async || match ground.changes().len() {
        same if same == before => Err("nothing was told".to_owned()),
        _ => Ok(()),
    })
    .await;
    assert!(ground.changes().iter().all(|uid| uid == UID));
}

#[tokio::test]
async fn machines_get_their_token_and_their_head_over_the_same_connection() {
    let mut ground = Ground::new();
    ground.interest.closely = std::mem::take(&mut ground.interest.widely);
    ground.watch();
    ground.blind("DashboardDown").await;
    ground
        .wait("all wait for the token", |facts| {
            let mut reports = facts.reports.values();
            let waits = reports.all(|report| {
                report
                    .known()
                    .is_some_and(|report| report.stage == Stage::WaitingForToken)
            });
            (waits && facts.reports.len() == 3).then_some(())
        })
        .await;
    for machine in ["i-head", "i-a", "i-b"] {
        let instance_id = machine.to_owned();
        let steps = [
            MachineStep::GiveToken {
                instance_id: instance_id.clone(),
            },
            MachineStep::SetHead {
                instance_id,
                address: "10.0.1.4".into(),
            },
        ];
        for step in steps {
            assert_eq!(
                ground.watchers.hands(UID).perform(&step).await,
                Ok(StepAnswer::Done),
                "{step}"
            );
            let reports = ground.facts().reports;
            let report = reports.get(machine).and_then(Look::known);
            assert!(
                report.is_some_and(|report| report.has_token),
                "{step}: nobody gives it again"
            );
        }
        assert_eq!(
            ground.light.calls(machine),
            [vec!["token"], vec!["head-address", "10.0.1.4"]]
        );
    }
    ground.known().await;
    assert_eq!(ground.light.counts().connections, 1);

    let restart = MachineStep::RestartRay {
        instance_id: "i-gone".into(),
        reason: "lost".into(),
    };
    let error = ground
        .watchers
        .hands(UID)
        .perform(&restart)
        .await
        .expect_err("there is none");
    assert!(error.message.contains("i-gone"), "{error}");
    ground.watchers.forget(UID);
    assert!(ground.watchers.hands(UID).perform(&restart).await.is_err());
}

#[tokio::test]
async fn a_machine_with_another_token_lacks_the_clusters_and_is_well_once_it_has_it() {
    let ground = Ground::seen().await;
    let has = |facts: &RayFacts| {
        let reports = facts.reports.values().filter_map(Look::known);
        reports.filter(|report| report.has_token).count()
    };
    ground
        .wait("all have the token", |facts| (has(facts) == 3).then_some(()))
        .await;
    let other = Access {
        token: "another-70ce4".into(),
        ..ground.access.clone()
    };
    ground.ring.set(Ok(other));
    // Whoever is refused reads the Secret again.
    ground.light.answer("/api/version", Manner::Status(403));
    ground.blind("TokenRefused").await;
    ground.light.answer_well();
    ground
        .wait("all have another token", |facts| (has(facts) == 0).then_some(()))
        .await;
    ground.blind("TokenRefused").await;
    let hands = ground.watchers.hands(UID);
    for machine in ["i-head", "i-a", "i-b"] {
        let give = MachineStep::GiveToken {
            instance_id: machine.into(),
        };
        assert_eq!(hands.perform(&give).await, Ok(StepAnswer::Done));
        let facts = ground.facts();
        let report = facts.reports[machine].known().expect("it was just there");
        assert!(report.has_token, "known at once: {machine}");
        assert!(!format!("{facts:?}").contains("another-70ce4"));
    }
    ground.known().await;
    ground
        .wait("all have it", |facts| (has(facts) == 3).then_some(()))
        .await;
}

#[tokio::test]
async fn a_changed_host_key_is_told_until_a_person_accepts_it() {
    let mut ground = Ground::seen().await;
    let old = ground.light.host_key("i-head");
    ground.light.change_host_key("i-head");
    let new = ground.light.host_key("i-head");
    let message = ground.blind("HostKeyChanged").await;
    assert!(message.contains(&new) && message.contains(&old), "{message}");
    assert!(message.contains("rayward.dev/accept-host-key"), "{message}");
    let facts = ground.facts();
    assert!(matches!(&facts.view, Look::Unknown { why: Blindness::HostKeyChanged { shown }, .. } if *shown == new));
    assert_eq!(facts.host_keys["i-head"], old, "it is not taken by itself");
    ground.interest.accepted_host_key = Some("SHA256:of-another".into());
    ground.watch();
    ground.watchers.look_now(UID);
    ground.blind("HostKeyChanged").await;
    ground.interest.accepted_host_key = Some(new.clone());
    ground.watch();
    ground.known().await;
    assert_eq!(ground.facts().host_keys["i-head"], new);
}

#[tokio::test]
async fn a_key_that_the_status_remembers_is_the_only_right_one() {
    let mut ground = Ground::new();
    if let Some(head) = &mut ground.interest.head {
        head.host_key = Some("SHA256:from-the-status".into());
    }
    ground.watch();
    ground.blind("HostKeyChanged").await;
    assert!(ground.facts().host_keys.is_empty());
}

#[tokio::test]
async fn without_its_secret_a_cluster_is_not_known_and_a_new_one_is_read_once_the_old_is_refused() {
    let ground = Ground::new();
    let missing = "the Secret ml/lab-ssh does not exist";
    ground.ring.set(Err(missing.into()));
    ground.watch();
    assert_eq!(ground.blind("KeyMissing").await, missing);
    let garbage = Access {
        private_key: "no key".into(),
        ..ground.access.clone()
    };
    ground.ring.set(Ok(garbage));
    ground
        .wait("the key cannot be read", |facts| match &facts.view {
            Look::Unknown { message, .. } => message.contains("cannot be read").then_some(()),
            Look::Known { .. } => None,
        })
        .await;
    let other_token = Access {
        token: "another".into(),
        ..ground.access.clone()
    };
    ground.ring.set(Ok(other_token));
    for machine in ["i-head", "i-a", "i-b"] {
        ground.light.put_token(machine, TOKEN);
    }
    let message = ground.blind("TokenRefused").await;
    assert!(!message.contains("another"), "{message}");
    ground.ring.set(Ok(ground.access.clone()));
    ground.known().await;
}

#[tokio::test]
async fn a_worker_that_cannot_be_reached_takes_nothing_from_what_is_known_of_the_others() {
    let mut ground = Ground::new();
    ground.interest.closely = std::mem::take(&mut ground.interest.widely);
    for machine in ["i-head", "i-a", "i-b"] {
        ground.light.put_token(machine, TOKEN);
    }
    ground.light.trouble("i-a", Trouble::SshClosed, Until::Replaced);
    let failed = Trouble::failed("the set-up script failed", &["apt: no such package"]);
    ground.light.trouble("i-b", failed, Until::Replaced);
    ground.watch();
    ground
        .wait("each tells for itself", |facts| {
            facts.view.known()?;
            let failed = facts.reports.get("i-b")?.known()?;
            assert_eq!(failed.stage, Stage::Failed);
            assert_eq!(
                (failed.message.as_str(), failed.lines.len()),
                ("the set-up script failed", 1)
            );
            match facts.reports.get("i-a")? {
                Look::Unknown {
                    why: Blindness::Unreachable,
                    message,
                    ..
                } => message.contains("i-a").then_some(()),
                _ => None,
            }
        })
        .await;
}

/// Long enough that nothing but haste brings a second look, or a second question, within a test.
const SELDOM: Duration = Duration::from_mins(10);

#[tokio::test]
async fn while_something_arrives_what_is_known_already_is_told_before_the_look_is_over() {
    let mut ground = Ground::looked_at_every(SELDOM, &[]);
    ground.interest.closely = std::mem::take(&mut ground.interest.widely);
    for machine in ["i-head", "i-a", "i-b"] {
        ground.light.put_token(machine, TOKEN);
    }
    ground.light.trouble("i-b", Trouble::SshSilent, Until::Replaced);
    ground.light.answer("/api/jobs/", Manner::Hang);
    ground.watch();
    ground
        .wait("what answered is known, and nothing of what did not", |facts| {
            let is_open = |look: Option<&Blindness>| look == Some(&Blindness::NotLooked);
            let why_b = match facts.reports.get("i-b")? {
                Look::Unknown { why, .. } => Some(why),
                Look::Known { .. } => None,
            };
            let why_used = match &facts.activity {
                Look::Unknown { why, .. } => Some(why),
                Look::Known { .. } => None,
            };
            facts.view.known()?;
            facts.reports.get("i-head")?.known()?;
            facts.reports.get("i-a")?.known()?;
            assert!(!ground.changes().is_empty(), "and told");
            (is_open(why_b) && is_open(why_used)).then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_worker_that_has_all_it_needs_is_left_to_start_and_one_that_lacks_something_is_asked_in_every_look() {
    let mut ground = Ground::looked_at_every(SELDOM, &[]);
    ground.interest.closely = std::mem::take(&mut ground.interest.widely);
    let starting = Trouble::Stuck {
        stage: "starting",
        message: "starting Ray".into(),
        lines: Vec::new(),
    };
    ground.light.put_token("i-a", TOKEN);
    ground.light.trouble("i-a", starting, Until::Replaced);
    ground.watch();
    ground.looks(4).await;
    assert_eq!(ground.light.reports("i-a"), 1);
    assert!(ground.light.reports("i-b") >= 3, "its token is missing");
    // Whoever asks for all machines gets all.
    ground.watchers.look_now(UID);
    until("it was asked again", PATIENCE, async || {
        match ground.light.reports("i-a") {
            2 => Ok(()),
            other => Err(format!("{other}")),
        }
    })
    .await;
}

#[tokio::test]
async fn a_dozen_workers_that_swallow_everything_keep_no_new_one_waiting() {
    let holes: Vec<(String, u8)> = (100..112).map(|part| (format!("i-{part}"), part)).collect();
    let mut ground = Ground::with(&holes);
    let fresh = ground.interest.widely.remove(0);
    ground.interest.closely = holes
        .iter()
        .map(|(id, part)| Peer {
            instance_id: id.clone(),
            address: [10, 0, 1, *part].into(),
            host_key: None,
        })
        .chain([fresh])
        .collect();
    for (id, _) in &holes {
        ground.light.trouble(id, Trouble::SshSilent, Until::Replaced);
    }
    ground.watch();
    ground
        .wait("the new worker tells of itself", |facts| {
            // A look that waits for the others takes longer than what it shows is fresh here.
            let told = match facts.reports.get("i-a")? {
                Look::Known { fact, .. } => Some(fact),
                Look::Unknown { last, .. } => last.as_ref(),
            };
            (told?.stage == Stage::WaitingForToken).then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_step_that_failed_is_told_after_the_next_look() {
    let ground = Ground::seen().await;
    ground
        .wait("all have reported", |facts| {
            let all = facts.reports.values().all(|report| report.known().is_some());
            (all && facts.reports.len() == 3).then_some(())
        })
        .await;
    ground.looks(2).await;
    let before = ground.changes().len();
    let restart = MachineStep::RestartRay {
        instance_id: "i-gone".into(),
        reason: "lost".into(),
    };
    let result = ground.watchers.hands(UID).perform(&restart).await;
    result.expect_err("there is none");
    until("it was told", PATIENCE, async || match ground.changes().len() {
        same if same == before => Err("nothing was told".to_owned()),
        _ => Ok(()),
    })
    .await;
    ground.looks(2).await;
    assert_eq!(ground.changes().len(), before + 1, "once");
}

#[tokio::test]
async fn another_head_or_address_makes_unknown_what_was_known_and_no_interest_ends_the_connection() {
    let mut ground = Ground::seen().await;
    let head = ground.interest.head.clone().expect("a head");
    assert_eq!(connections_to(head.address), 1);
    if let Some(head) = &mut ground.interest.head {
        head.instance_id = "i-successor".into();
    }
    ground.watch();
    assert_eq!(ground.facts().view.known(), None);
    ground.blind("WrongPeer").await;
    ground.interest = Interest::default();
    ground.watch();
    until("no connection is left", PATIENCE, async || {
        match connections_to(head.address) {
            0 => Ok(()),
            left => Err(format!("{left} left")),
        }
    })
    .await;
    assert!(
        TcpStream::connect((head.address, 22)).is_ok(),
        "the machine still answers"
    );
}

/// How many connections to port 22 of an address stand.
fn connections_to(address: std::net::Ipv4Addr) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
    let [a, b, c, d] = address.octets();
    let remote = format!("{d:02X}{c:02X}{b:02X}{a:02X}:0016");
    let is_one = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.get(2) == Some(&remote.as_str()) && fields.get(3) == Some(&"01")
    };
    table.lines().filter(is_one).count()
}

#[tokio::test]
async fn the_heads_of_other_clusters_tell_whether_it_may_be_this_network_that_fails() {
    let ground = Ground::seen().await;
    let other = "another-uid";
    let facts = || ground.watchers.facts(other).others;
    assert_eq!(facts(), Others::Answering);
    ground.watchers.set(other, Ground::cluster(), ground.interest.clone());
    ground.light.trouble("i-head", Trouble::SshClosed, Until::Replaced);
    until("none answers", PATIENCE, async || {
        match (ground.facts().others, facts()) {
            (Others::Silent, Others::Silent) => Ok(()),
            seen => Err(format!("{seen:?}")),
        }
    })
    .await;
    ground.watchers.forget(UID);
    assert_eq!(facts(), Others::None);
}
