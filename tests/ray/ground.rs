//! Machines that answer like machines, and watchers that look at them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use rayward::ray::facts::{Interest, Look, Peer, RayFacts};
use rayward::ray::watchers::{Access, ClusterRef, Keys, Patience, Settings, Watchers};
use ssh_key::{Algorithm, LineEnding, PrivateKey, rand_core::OsRng};
use tokio_util::sync::CancellationToken;

use crate::support::light::machine::{Account, Machine};
use crate::support::light::{Light, Shining};
use crate::support::require_boundary;
use crate::support::wait::{PATIENCE, until};

/// The cluster's uid, and its Ray's token.
pub(super) const UID: &str = "22222222-2222-4222-8222-222222222222";
pub(super) const TOKEN: &str = "5ec2e7-70ce4";

/// Time between two looks: as short as a busy machine allows.
pub(super) const INTERVAL: Duration = Duration::from_millis(400);
/// How long an answer may take; whatever hangs, hangs for ever.
pub(super) const LIMIT: Duration = Duration::from_secs(1);

/// Addresses of public machines, one each in the process.
static NEXT: AtomicU8 = AtomicU8::new(1);

struct List(Vec<Machine>);

impl Account for List {
    fn machines(&self) -> Result<Vec<Machine>, String> {
        Ok(self.0.clone())
    }
}

/// What opens the clusters: a test takes it away or spoils it.
pub(super) struct Ring {
    access: Mutex<Result<Access, String>>,
}

impl Ring {
    /// This opens them from now on.
    pub(super) fn set(&self, access: Result<Access, String>) {
        *self.access.lock().unwrap_or_else(PoisonError::into_inner) = access;
    }
}

#[async_trait]
impl Keys for Ring {
    async fn access(&self, _: &ClusterRef) -> Result<Access, String> {
        self.access.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A head, two workers, and who watches them.
pub(super) struct Ground {
    pub(super) light: Shining,
    pub(super) watchers: Arc<Watchers>,
    pub(super) ring: Arc<Ring>,
    pub(super) access: Access,
    /// Uids of clusters that changed.
    changes: Arc<Mutex<Vec<String>>>,
    pub(super) interest: Interest,
    stop: CancellationToken,
}

impl Drop for Ground {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn machine(id: &str, role: &str, private: u8, public: Option<Ipv4Addr>, vpc: &str, key: &str) -> Machine {
    let tags = [("role", role), ("cluster-uid", UID), ("group", "cpu")];
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Machine {
        id: id.into(),
        state: "running".into(),
        private_address: Some([10, 0, 1, private].into()),
        public_address: public,
        vpc: Some(vpc.into()),
        user_data: key.into(),
        tags: tags
            .iter()
            .map(|(name, value)| (format!("rayward.dev/{name}"), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>(),
        booted_at: now.ok().map(|now| now.as_secs_f64()),
    }
}

impl Ground {
    /// The machines, none of which has a token yet, and watchers that do not look yet.
    pub(super) fn new() -> Self {
        Self::with(&[])
    }

    /// The same with more workers, each with the last part of its address, that are not looked at yet.
    pub(super) fn with(more: &[(String, u8)]) -> Self {
        Self::looked_at_every(INTERVAL, more)
    }

    /// The same with another time between two looks.
    pub(super) fn looked_at_every(interval: Duration, more: &[(String, u8)]) -> Self {
        require_boundary();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let address = Ipv4Addr::new(127, 22, 0, number);
        let key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).expect("a key");
        let public = key.public_key().to_openssh().expect("OpenSSH's form");
        let access = Access {
            private_key: key.to_openssh(LineEnding::LF).expect("OpenSSH's form").to_string(),
            token: TOKEN.into(),
        };
        let vpc = format!("vpc-{number}");
        let mut machines = vec![
            machine("i-head", "head", 4, Some(address), &vpc, &public),
            machine("i-a", "worker", 5, None, &vpc, &public),
            machine("i-b", "worker", 6, None, &vpc, &public),
        ];
        let more = more.iter();
        machines.extend(more.map(|(id, private)| machine(id, "worker", *private, None, &vpc, &public)));
        let light = Light::shine(List(machines));
        let ring = Arc::new(Ring {
            access: Mutex::new(Ok(access.clone())),
        });
        let settings = Settings {
            look_interval: interval,
            people_interval: interval * 2,
            connect_timeout: LIMIT,
            patience: Patience {
                health: LIMIT,
                request: LIMIT,
            },
        };
        let changes = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&changes);
        let stop = CancellationToken::new();
        let on_change = move |uid: &str| told.lock().expect("nobody panics").push(uid.to_owned());
        let keys: Arc<dyn Keys> = Arc::clone(&ring) as _;
        let watchers = Watchers::new(settings, keys, on_change, stop.clone());
        let peer = |id: &str, address| Peer {
            instance_id: id.into(),
            address,
            host_key: None,
        };
        let interest = Interest {
            head: Some(peer("i-head", address)),
            widely: vec![peer("i-a", [10, 0, 1, 5].into()), peer("i-b", [10, 0, 1, 6].into())],
            ..Interest::default()
        };
        Self {
            light,
            watchers,
            ring,
            access,
            changes,
            interest,
            stop,
        }
    }

    /// The same with Ray on all machines, and seen.
    pub(super) async fn seen() -> Self {
        let ground = Self::new();
        for machine in ["i-head", "i-a", "i-b"] {
            ground.light.put_token(machine, TOKEN);
        }
        ground.watch();
        ground.known().await;
        ground
    }

    pub(super) fn cluster() -> ClusterRef {
        ClusterRef {
            namespace: "ml".into(),
            name: "lab".into(),
            uid: UID.into(),
        }
    }

    /// Looks at what is of interest from now on.
    pub(super) fn watch(&self) {
        self.watchers.set(UID, Self::cluster(), self.interest.clone());
    }

    /// The uids of clusters of which a change was told so far.
    pub(super) fn changes(&self) -> Vec<String> {
        self.changes.lock().expect("nobody panics").clone()
    }

    pub(super) fn facts(&self) -> RayFacts {
        self.watchers.facts(UID)
    }

    /// Waits until the facts are so.
    pub(super) async fn wait<T>(&self, what: &str, mut is_so: impl FnMut(&RayFacts) -> Option<T>) -> T {
        until(what, PATIENCE, async || {
            let facts = self.facts();
            is_so(&facts).ok_or_else(|| format!("{facts:#?}"))
        })
        .await
    }

    /// Waits until Ray is known, all three nodes of it.
    pub(super) async fn known(&self) {
        self.wait("Ray is known", |facts| {
            let view = facts.view.known()?;
            (view.nodes.len() == 3).then_some(())
        })
        .await;
    }

    /// Waits until Ray is not known for this reason; what is told of it.
    pub(super) async fn blind(&self, reason: &str) -> String {
        self.wait(&format!("Ray is not known: {reason}"), |facts| match &facts.view {
            Look::Unknown { why, message, .. } if why.name() == reason => Some(message.clone()),
            _ => None,
        })
        .await
    }

    /// Neither the token nor any line of the key is in a text.
    pub(super) fn tells_no_secret(&self, text: &str) {
        assert!(!text.contains(TOKEN), "{text}");
        for line in self.access.private_key.lines() {
            assert!(!text.contains(line), "{text}");
        }
    }

    /// Waits for so many further looks, by the reports that the head gave.
    pub(super) async fn looks(&self, more: u64) {
        let wanted = self.light.reports("i-head") + more;
        until("some further looks", PATIENCE, async || {
            let looks = self.light.reports("i-head");
            if looks >= wanted {
                Ok(())
            } else {
                Err(format!("{looks} of {wanted}"))
            }
        })
        .await;
    }
}
