//! The listener: one for all machines of the process.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::trouble::Trouble;
use super::{FRESH, Light, ssh};

static LIGHTS: Mutex<Vec<Weak<Light>>> = Mutex::new(Vec::new());
static LISTENER: OnceLock<()> = OnceLock::new();

/// Answers for an account from now on.
pub(super) fn register(light: &Arc<Light>) {
    LISTENER.get_or_init(listen);
    let mut lights = LIGHTS.lock().unwrap_or_else(PoisonError::into_inner);
    lights.retain(|light| light.strong_count() > 0);
    lights.push(Arc::downgrade(light));
}

/// Starts to listen on every address inside the boundary, in a thread that outlives the runtimes of the tests.
fn listen() {
    let listener = std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, 22))
        .unwrap_or_else(|error| panic!("port 22 is taken, or this is outside the sandbox's boundary: {error}"));
    listener.set_nonblocking(true).expect("a listener can be asynchronous");
    let serve = async move {
        let listener = TcpListener::from_std(listener).expect("a listener can be watched");
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(take(stream));
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("light")
        .enable_all()
        .build()
        .expect("a runtime");
    let serving = std::thread::Builder::new().name("light".to_owned());
    serving.spawn(move || runtime.block_on(serve)).expect("a thread");
}

/// Answers a connection as the machine that was dialled, or closes it when there is none.
async fn take(stream: TcpStream) {
    let Ok(IpAddr::V4(dialled)) = stream.local_addr().map(|address| address.ip()) else {
        return;
    };
    let Some((light, instance)) = find(dialled).await else {
        return;
    };
    // Without it, the answers of the small packets of SSH wait for each other.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    light.with(|state| state.counts.connections += 1);
    if light.with(|state| {
        state
            .nodes
            .get(&instance)
            .is_some_and(|node| node.has(&Trouble::SshClosed))
    }) {
        return;
    }
    ssh::serve(light, instance, stream).await;
}

/// The machine that was dialled.
async fn find(dialled: Ipv4Addr) -> Option<(Arc<Light>, String)> {
    let lights: Vec<Arc<Light>> = {
        let lights = LIGHTS.lock().unwrap_or_else(PoisonError::into_inner);
        lights.iter().filter_map(Weak::upgrade).collect()
    };
    let at = |light: &Arc<Light>| light.with(|state| state.at_public(dialled));
    if let Some(light) = lights.iter().find(|light| at(light).is_some()) {
        light.look().await;
        return at(light).map(|instance| (Arc::clone(light), instance));
    }
    // Once more after a while: who dials may know of a machine what was not true yet when the account was asked last.
    for wait in [Duration::ZERO, FRESH] {
        tokio::time::sleep(wait).await;
        for light in &lights {
            light.look().await;
            if let Some(instance) = at(light) {
                return Some((Arc::clone(light), instance));
            }
        }
    }
    // Private addresses repeat from account to account: a test that dials them takes some of its own.
    let mut found = lights.iter().filter_map(|light| {
        let instance = light.with(|state| state.at_private(dialled, None))?;
        Some((Arc::clone(light), instance))
    });
    found.next().filter(|_| found.next().is_none())
}
