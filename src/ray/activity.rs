//! Whether Ray is used: the decision table. Pure.
//!
//! Any one signal is use. That there is none counts only when every answer was there, complete and fresh, which
//! [`super::answers`] sees to. `/api/component_activities` is not asked: it calls detached actors, Serve and jobs
//! without `ray.init` inactive.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{
    answers::{ActorRow, JobKind, JobRow, JobStatus, Load, NodeRow, Serve, Usage},
    facts::{Activity, Signal},
    failure::excerpt,
};

/// Less than this of a resource is what is left of adding and subtracting fractions.
const NOTHING: f64 = 1e-6;
/// How long a name may be that others gave.
const MOST_LETTERS: usize = 80;

/// All that decides.
#[derive(Debug, Default)]
pub struct Answers {
    /// Jobs and drivers, those that ended too.
    pub jobs: Vec<JobRow>,
    /// Actors; dead ones are no matter.
    pub actors: Vec<ActorRow>,
    /// Serve's applications.
    pub serve: Serve,
    /// The load.
    pub load: Load,
}

impl Answers {
    /// What uses Ray. Ray tells when jobs and drivers ended, of actors it does not.
    #[must_use]
    pub fn activity(&self) -> Activity {
        let mut signals = BTreeMap::new();
        let mut found = |signal: Signal, names: Vec<String>| {
            if let Some(words) = summary(&names) {
                signals.insert(signal, words);
            }
        };
        found(Signal::Job, self.running(JobKind::Submission));
        found(Signal::Driver, self.running(JobKind::Driver));
        let actors = self.actors.iter().filter(|actor| is_use(actor));
        found(
            Signal::Actor,
            actors
                .map(|actor| format!("actor {}", name(&actor.class_name)))
                .collect(),
        );
        let applications = self.serve.applications.iter();
        found(
            Signal::Serve,
            applications
                .map(|application| format!("Serve application {}", name(application)))
                .collect(),
        );
        found(Signal::Demand, self.demand());
        found(Signal::Resources, usage(&self.load.usage));
        let ends = self.jobs.iter().filter_map(|job| job.end_time);
        let last_end = ends.max().and_then(|end| Timestamp::from_millisecond(end).ok());
        Activity { signals, last_end }
    }

    fn running(&self, kind: JobKind) -> Vec<String> {
        let running = self
            .jobs
            .iter()
            .filter(|job| job.kind == kind && matches!(job.status, JobStatus::Pending | JobStatus::Running));
        let words = running.map(|job| {
            let (word, first, second) = match kind {
                JobKind::Submission => ("job", &job.submission_id, &job.job_id),
                JobKind::Driver => ("driver", &job.job_id, &job.submission_id),
            };
            let id = first.as_deref().or(second.as_deref()).unwrap_or_default();
            format!("{word} {}", name(id))
        });
        words.collect()
    }

    fn demand(&self) -> Vec<String> {
        let resources = self.load.resource_demand.iter().filter(|(_, count)| *count > 0);
        let resources = resources.map(|(shape, count)| {
            let shape: Vec<String> = shape
                .iter()
                .map(|(resource, amount)| format!("{amount} {}", name(resource)))
                .collect();
            format!("{count} waiting for {}", shape.join(" and "))
        });
        let groups: u64 = self.load.pg_demand.iter().map(|(_, count)| count).sum();
        let groups = (groups > 0).then(|| format!("{groups} placement groups waiting"));
        resources.chain(groups).collect()
    }

    /// Ids of the nodes on which actors are that are use.
    #[must_use]
    pub fn nodes_with_actors(&self) -> BTreeSet<&str> {
        let actors = self.actors.iter().filter(|actor| is_use(actor));
        actors.filter_map(|actor| actor.node_id.as_deref()).collect()
    }

    /// Whether tasks, actors or placement groups use a node; `None`: Ray does not tell its resources. An actor may need
    /// no resources at all, so that `with_actors`, from [`Self::nodes_with_actors`], counts by itself.
    #[must_use]
    pub fn in_use(&self, node: &NodeRow, with_actors: &BTreeSet<&str>) -> Option<bool> {
        if with_actors.contains(node.node_id.as_str()) {
            return Some(true);
        }
        // By id on a cluster without Ray's autoscaler, by address on others.
        let nodes = self.load.usage_by_node.as_ref()?;
        let resources = nodes.get(&node.node_id).or_else(|| nodes.get(&node.node_ip))?;
        let memory = resources.get("memory").is_some_and(|(used, _)| *used > NOTHING);
        Some(memory || !usage(resources).is_empty())
    }
}

/// Actors of Ray's own libraries that stay when what they were made for is over, by namespace and class: Serve's when
/// its last application is deleted, those of Ray Data and Ray Train when the job that used them has ended (seen on Ray
/// 2.60.0, where they are detached actors of fixed names).
const MACHINERY: [(&str, &str); 9] = [
    ("serve", "ServeController"),
    ("serve", "ProxyActor"),
    ("_dataset_stats_actor", "_StatsActor"),
    ("_dataset_stats_summary_actor", "_StatsSummaryActor"),
    ("DataUsageCollectionActor", "_UsageCollectionActor"),
    ("AutoscalingCoordinator", "_AutoscalingCoordinatorActor"),
    ("AutoscalingRequester", "AutoscalingRequester"),
    ("ActorLocationTracker", "ActorLocationTracker"),
    ("_train_state_actor", "TrainStateActor"),
];

fn is_use(actor: &ActorRow) -> bool {
    let namespace = actor.ray_namespace.as_deref().unwrap_or_default();
    actor.state != "DEAD" && !MACHINERY.contains(&(namespace, actor.class_name.as_str()))
}

/// CPU, GPU and custom resources that are in use. Memory is not asked for by itself, and what lies in the object store
/// may lie there unused.
fn usage(resources: &Usage) -> Vec<String> {
    let is_counted = |resource: &str| {
        !matches!(resource, "memory" | "objectStoreMemory" | "object_store_memory") && !resource.starts_with("node:")
    };
    let used = resources
        .iter()
        .filter(|(resource, (used, _))| is_counted(resource) && *used > NOTHING);
    used.map(|(resource, (used, all))| format!("{used} of {all} {}", name(resource)))
        .collect()
}

fn name(given: &str) -> String {
    excerpt(given, MOST_LETTERS)
}

/// The first of them, and how many more there are.
fn summary(names: &[String]) -> Option<String> {
    let names: BTreeSet<&String> = names.iter().collect();
    let first = names.first()?;
    Some(match names.len() - 1 {
        0 => (*first).clone(),
        more => format!("{first} and {more} more"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(kind: JobKind, status: JobStatus, id: &str) -> JobRow {
        let is_driver = kind == JobKind::Driver;
        JobRow {
            kind,
            status,
            submission_id: (!is_driver).then(|| id.into()),
            job_id: is_driver.then(|| id.into()),
            end_time: None,
        }
    }

    fn actor(class: &str, namespace: &str, state: &str) -> ActorRow {
        ActorRow {
            class_name: class.into(),
            state: state.into(),
            node_id: Some("n1".into()),
            ray_namespace: Some(namespace.into()),
        }
    }

    fn using(usage: &[(&str, f64)]) -> Usage {
        let entry = |(name, used): &(&str, f64)| ((*name).to_owned(), (*used, 4.0));
        usage.iter().map(entry).collect()
    }

    /// The signals of these answers; the words of each are not empty.
    fn signals(answers: &Answers) -> Vec<Signal> {
        let activity = answers.activity();
        assert!(activity.signals.values().all(|words| !words.is_empty()));
        activity.signals.into_keys().collect()
    }

    /// A Ray on which nothing was ever run: every answer is there, and empty.
    fn nothing() -> Answers {
        let mut answers = Answers::default();
        answers.load.usage = using(&[("CPU", 0.0), ("memory", 0.0), ("objectStoreMemory", 0.0)]);
        answers
    }

    #[test]
    fn each_row_of_the_table_is_told_by_the_signals_that_it_shows() {
        use JobKind::{Driver, Submission};
        use JobStatus::{Running, Succeeded};
        let supervisor = || actor("JobSupervisor", "SUPERVISOR_ACTOR_RAY_INTERNAL_NAMESPACE", "ALIVE");
        let machinery = || {
            vec![
                actor("ServeController", "serve", "ALIVE"),
                actor("ProxyActor", "serve", "ALIVE"),
            ]
        };
        let rows: [(&str, Answers, &[Signal]); 8] = [
            ("idle", nothing(), &[]),
            (
                "a submitted job that uses Ray",
                Answers {
                    jobs: vec![job(Submission, Running, "raysubmit_1")],
                    actors: vec![supervisor()],
                    ..nothing()
                },
                &[Signal::Job, Signal::Actor],
            ),
            (
                "a submitted job that only sleeps",
                Answers {
                    jobs: vec![job(Submission, Running, "raysubmit_1")],
                    ..nothing()
                },
                &[Signal::Job],
            ),
            (
                "an interactive driver without a task",
                Answers {
                    jobs: vec![job(Driver, Running, "02000000")],
                    ..nothing()
                },
                &[Signal::Driver],
            ),
            (
                "a detached actor without resources whose driver is gone",
                Answers {
                    jobs: vec![job(Driver, Succeeded, "02000000")],
                    actors: vec![actor("Keeper", "mine", "ALIVE")],
                    ..nothing()
                },
                &[Signal::Actor],
            ),
            (
                "a detached actor with a CPU",
                Answers {
                    actors: vec![actor("Keeper", "mine", "ALIVE")],
                    load: Load {
                        usage: using(&[("CPU", 1.0)]),
                        ..Load::default()
                    },
                    ..nothing()
                },
                &[Signal::Actor, Signal::Resources],
            ),
            (
                "a Serve application",
                Answers {
                    actors: machinery()
                        .into_iter()
                        .chain([actor("ServeReplica:app", "serve", "ALIVE")])
                        .collect(),
                    serve: serde_json::from_str(r#"{"applications":{"app":{"status":"RUNNING"}}}"#).unwrap(),
                    ..nothing()
                },
                &[Signal::Actor, Signal::Serve],
            ),
            (
                "Serve with all applications deleted",
                Answers {
                    actors: machinery(),
                    ..nothing()
                },
                &[],
            ),
        ];
        for (row, answers, expected) in rows {
            assert_eq!(signals(&answers), expected, "{row}");
        }
    }

    #[test]
    fn jobs_and_drivers_count_while_they_are_pending_or_running() {
        for (kind, signal) in [(JobKind::Submission, Signal::Job), (JobKind::Driver, Signal::Driver)] {
            for (status, is_use) in [
                (JobStatus::Pending, true),
                (JobStatus::Running, true),
                (JobStatus::Stopped, false),
                (JobStatus::Succeeded, false),
                (JobStatus::Failed, false),
            ] {
                let mut answers = nothing();
                answers.jobs.push(job(kind, status, "x"));
                let expected: &[Signal] = if is_use { &[signal] } else { &[] };
                assert_eq!(signals(&answers), expected, "{kind:?} {status:?}");
            }
        }
    }

    #[test]
    fn an_actor_counts_unless_it_is_dead_or_machinery_of_rays_own() {
        for (class, namespace, state, is_use) in [
            ("Keeper", "mine", "ALIVE", true),
            ("Keeper", "mine", "PENDING_CREATION", true),
            ("Keeper", "mine", "DEPENDENCIES_UNREADY", true),
            ("Keeper", "mine", "RESTARTING", true),
            ("Keeper", "mine", "NEVER_HEARD_OF", true),
            ("Keeper", "mine", "DEAD", false),
            ("ServeController", "serve", "ALIVE", false),
            ("ProxyActor", "serve", "ALIVE", false),
            ("ServeReplica:app", "serve", "ALIVE", true),
            ("ServeController", "mine", "ALIVE", true),
            ("ProxyActor", "mine", "ALIVE", true),
            ("_StatsActor", "_dataset_stats_actor", "ALIVE", false),
            ("_UsageCollectionActor", "DataUsageCollectionActor", "ALIVE", false),
            ("_AutoscalingCoordinatorActor", "AutoscalingCoordinator", "ALIVE", false),
            ("TrainStateActor", "_train_state_actor", "ALIVE", false),
            ("TrainStateActor", "mine", "ALIVE", true),
            ("Keeper", "_train_state_actor", "ALIVE", true),
        ] {
            let mut answers = nothing();
            answers.actors.push(actor(class, namespace, state));
            let expected: &[Signal] = if is_use { &[Signal::Actor] } else { &[] };
            assert_eq!(signals(&answers), expected, "{class} in {namespace} is {state}");
        }
    }

    #[test]
    fn demand_counts_for_tasks_and_for_placement_groups() {
        let load = |text: &str| Answers {
            load: serde_json::from_str(text).unwrap(),
            ..Answers::default()
        };
        let tasks = load(r#"{"usage":{},"resourceDemand":[[{"CPU":1.0,"GPU":2.0},4]],"pgDemand":[]}"#);
        assert_eq!(
            tasks.activity().signals[&Signal::Demand],
            "4 waiting for 1 CPU and 2 GPU"
        );
        let groups = load(r#"{"usage":{},"resourceDemand":[],"pgDemand":[[{"strategy":"PACK"},2]]}"#);
        assert_eq!(groups.activity().signals[&Signal::Demand], "2 placement groups waiting");
        let none = load(r#"{"usage":{},"resourceDemand":[[{"CPU":1.0},0]],"pgDemand":[[{},0]]}"#);
        assert_eq!(signals(&none), []);
    }

    #[test]
    fn resources_count_but_memory_and_nodes_marks_do_not() {
        for (resource, used, is_use) in [
            ("CPU", 0.5, true),
            ("GPU", 1.0, true),
            ("myBigDisk", 1.0, true),
            ("CPU", 1e-9, false),
            ("memory", 5e9, false),
            ("objectStoreMemory", 5e9, false),
            ("node:10.0.1.4", 0.01, false),
        ] {
            let mut answers = nothing();
            answers.load.usage = using(&[(resource, used)]);
            let expected: &[Signal] = if is_use { &[Signal::Resources] } else { &[] };
            assert_eq!(signals(&answers), expected, "{resource} {used}");
        }
    }

    #[test]
    fn a_serve_application_counts_by_itself() {
        let mut answers = nothing();
        answers.serve = serde_json::from_str(r#"{"applications":{"app":{}},"proxies":{}}"#).unwrap();
        assert_eq!(signals(&answers), [Signal::Serve]);
        answers.serve = serde_json::from_str(r#"{"applications":{},"proxies":{}}"#).unwrap();
        assert_eq!(signals(&answers), []);
    }

    #[test]
    fn the_newest_end_is_told_and_names_are_few_and_short() {
        let mut answers = nothing();
        for (number, end) in [(1, None), (2, Some(2_000)), (3, Some(1_000))] {
            answers.jobs.push(JobRow {
                end_time: end,
                ..job(
                    JobKind::Submission,
                    JobStatus::Running,
                    &format!("{number}{}", "x".repeat(200)),
                )
            });
        }
        let activity = answers.activity();
        assert_eq!(activity.last_end, Timestamp::from_second(2).ok());
        let words = &activity.signals[&Signal::Job];
        assert!(
            words.starts_with("job 1xx") && words.ends_with("… and 2 more"),
            "{words}"
        );
    }

    #[test]
    fn a_node_is_in_use_by_its_resources_or_by_an_actor_that_needs_none() {
        let node = |id: &str| NodeRow {
            node_id: id.into(),
            node_ip: "10.0.1.5".into(),
            ..NodeRow::default()
        };
        let with = |key: &str, resource: &str, used| {
            let mut answers = nothing();
            let resources = using(&[(resource, used), ("objectStoreMemory", 1.0)]);
            answers.load.usage_by_node = Some(BTreeMap::from([(key.to_owned(), resources)]));
            answers
        };
        let in_use = |answers: &Answers, id: &str| answers.in_use(&node(id), &answers.nodes_with_actors());
        assert_eq!(in_use(&nothing(), "n2"), None);
        assert_eq!(in_use(&with("other", "CPU", 1.0), "n2"), None);
        assert_eq!(in_use(&with("n2", "CPU", 1.0), "n2"), Some(true));
        assert_eq!(in_use(&with("n2", "CPU", 0.0), "n2"), Some(false));
        assert_eq!(in_use(&with("10.0.1.5", "GPU", 1.0), "n2"), Some(true));
        assert_eq!(in_use(&with("n2", "memory", 1.0), "n2"), Some(true));
        let mut answers = with("n1", "CPU", 0.0);
        answers.actors.push(actor("Keeper", "mine", "ALIVE"));
        assert_eq!(in_use(&answers, "n1"), Some(true));
    }
}
