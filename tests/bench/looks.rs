//! A thousand clusters whose Ray is looked at every ten seconds: what that takes of one core, of memory and of the
//! heads. The heads are light ones, in this process; a process of its own looks.

use std::{
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use async_trait::async_trait;
use rayward::ray::{
    facts::{Interest, Peer},
    watchers::{Access, ClusterRef, Keys, Settings, Watchers},
};
use russh::keys::ssh_key::{
    LineEnding,
    private::{Ed25519Keypair, PrivateKey},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    asked::{Asked, processor_time, questions, resident_kib},
    figures::{Figure, Part},
    support::{
        light::{
            Light, Shining,
            machine::{Account, Machine},
        },
        wait::until,
    },
};

pub(crate) const PART: Part = Part("looks");
/// The role of the process that looks.
pub(crate) const ROLE: &str = "look";
const CLUSTERS: u16 = 1000;
const INTERVAL: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_mins(2);
/// How long is looked before it is measured.
const WARMING: Duration = Duration::from_secs(20);
/// How long is measured: in each such time every worker is asked once, too.
const MEASURED: Duration = Duration::from_mins(1);
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Measures the looking.
pub(crate) async fn measure() -> Vec<Figure> {
    let lights: Vec<Shining> = (0..CLUSTERS).map(|number| Cluster(number).shine()).collect();
    let mut looking = Asked::start(ROLE, |_| {});
    let empty = looking.ask("nothing");
    until("every cluster is seen", PATIENCE, async || {
        let seen = looking.ask("look");
        (seen["seen"] == CLUSTERS).then_some(()).ok_or_else(|| seen.to_string())
    })
    .await;
    tokio::time::sleep(WARMING).await;

    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    let (before, counted, began) = (looking.ask("look"), Counted::of(&lights), Instant::now());
    tokio::time::sleep(MEASURED).await;
    let (after, counted, took) = (
        looking.ask("look"),
        Counted::of(&lights).since(&counted),
        began.elapsed(),
    );
    assert_eq!(after["seen"], CLUSTERS, "all are seen at the end, too");
    let due = f64::from(CLUSTERS) * took.as_secs_f64() / INTERVAL.as_secs_f64();
    let grown = number(&after["kib"]) - number(&empty["kib"]);
    vec![
        PART.lower(
            "cores that 1,000 clusters take, looked at every 10 s",
            (number(&after["seconds"]) - number(&before["seconds"])) / took.as_secs_f64(),
            "cores",
            1.0,
        ),
        PART.higher("their looks by those that were due", counted.looks / due, "times", 0.98),
        PART.lower(
            "requests of one look",
            counted.requests / counted.looks,
            "requests",
            7.0,
        ),
        PART.lower(
            "SSH connections to a head since the first look",
            Counted::of(&lights).connections / f64::from(CLUSTERS),
            "each",
            1.0,
        ),
        PART.lower(
            "memory of a cluster that is looked at, with its SSH",
            grown / f64::from(CLUSTERS),
            "KiB",
            128.0,
        ),
    ]
}

/// What the heads counted.
struct Counted {
    looks: f64,
    requests: f64,
    connections: f64,
}

impl Counted {
    fn of(lights: &[Shining]) -> Self {
        let (mut looks, mut requests, mut connections) = (0, 0, 0);
        for counts in lights.iter().map(|light| light.counts()) {
            // Every look begins with this question.
            looks += counts.requests.get("/api/gcs_healthz").copied().unwrap_or_default();
            requests += counts.requests.values().sum::<u64>();
            connections += counts.connections;
        }
        let number = |count: u64| u32::try_from(count).map_or(f64::NAN, f64::from);
        Self {
            looks: number(looks),
            requests: number(requests),
            connections: number(connections),
        }
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            looks: self.looks - before.looks,
            requests: self.requests - before.requests,
            connections: self.connections - before.connections,
        }
    }
}

/// Looks at every cluster once it is asked to, until the input ends.
pub(crate) fn look() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let settings = Settings {
            look_interval: INTERVAL,
            ..Settings::default()
        };
        let watchers = Watchers::new(settings, Arc::new(OneKey), |_| {}, CancellationToken::new());
        let clusters = || (0..CLUSTERS).map(Cluster);
        let mut questions = questions();
        while let Some(question) = questions.recv().await {
            if question == "look" {
                // The same again changes nothing.
                clusters().for_each(|cluster| watchers.set(&cluster.uid(), cluster.reference(), cluster.interest()));
            }
            let is_seen = |cluster: &Cluster| {
                let facts = watchers.facts(&cluster.uid());
                facts
                    .view
                    .known()
                    .is_some_and(|view| view.nodes.len() == Cluster::MACHINES)
            };
            let seen = clusters().filter(is_seen).count();
            let seconds = processor_time().as_secs_f64();
            println!("{}", json!({"seen": seen, "kib": resident_kib(), "seconds": seconds}));
        }
    });
}

/// One of the clusters: both processes know it by its number. It is like the lab: a head and two workers.
struct Cluster(u16);

impl Cluster {
    const MACHINES: usize = 3;

    fn uid(&self) -> String {
        format!("{:08x}-0000-4000-8000-000000000000", self.0)
    }

    fn reference(&self) -> ClusterRef {
        ClusterRef {
            namespace: "bench".to_owned(),
            name: format!("looked-at-{:04}", self.0),
            uid: self.uid(),
        }
    }

    fn instance(&self, number: usize) -> String {
        format!("i-{:08x}{number:09x}", self.0)
    }

    fn private_address(number: usize) -> Ipv4Addr {
        let number = u8::try_from(number).expect("a few machines");
        Ipv4Addr::new(10, 0, 1, 10 + number)
    }

    fn public_address(&self) -> Ipv4Addr {
        let [high, low] = self.0.to_be_bytes();
        Ipv4Addr::new(198, 19, high, low)
    }

    fn interest(&self) -> Interest {
        let peer = |number, address| Peer {
            instance_id: self.instance(number),
            address,
            host_key: None,
        };
        Interest {
            head: Some(peer(0, self.public_address())),
            widely: (1..Self::MACHINES)
                .map(|number| peer(number, Self::private_address(number)))
                .collect(),
            ..Interest::default()
        }
    }

    /// Its machines, with Ray on them.
    fn shine(&self) -> Shining {
        let now = SystemTime::UNIX_EPOCH.elapsed().map(|since| since.as_secs_f64());
        let public_key = private_key().public_key().to_openssh().expect("OpenSSH's form");
        let machine = |number| {
            let (role, group) = if number == 0 {
                ("head", "head")
            } else {
                ("worker", "cpu")
            };
            let tags = [("cluster-uid", self.uid().as_str()), ("role", role), ("group", group)]
                .map(|(key, value)| (format!("rayward.dev/{key}"), value.to_owned()));
            Machine {
                id: self.instance(number),
                state: "running".to_owned(),
                private_address: Some(Self::private_address(number)),
                public_address: (number == 0).then(|| self.public_address()),
                vpc: Some(format!("vpc-{:08x}", self.0)),
                user_data: public_key.clone(),
                tags: tags.into(),
                booted_at: now.as_ref().ok().copied(),
            }
        };
        let light = Light::shine(Machines((0..Self::MACHINES).map(machine).collect()));
        for number in 0..Self::MACHINES {
            light.put_token(&self.instance(number), TOKEN);
        }
        light
    }
}

/// They never change.
struct Machines(Vec<Machine>);

impl Account for Machines {
    fn machines(&self) -> Result<Vec<Machine>, String> {
        Ok(self.0.clone())
    }
}

/// The key of all clusters.
fn private_key() -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[7; 32]))
}

struct OneKey;

#[async_trait]
impl Keys for OneKey {
    async fn access(&self, _: &ClusterRef) -> Result<Access, String> {
        let private_key = private_key().to_openssh(LineEnding::LF).expect("OpenSSH's form");
        Ok(Access {
            private_key: private_key.to_string(),
            token: TOKEN.to_owned(),
        })
    }
}
