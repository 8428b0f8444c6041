//! The listener: one for all machines of the process.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::ssh::{self, Place};
use super::{FRESH, Light};

static LIGHTS: Mutex<Vec<Arc<Light>>> = Mutex::new(Vec::new());
static LISTENER: OnceLock<()> = OnceLock::new();

/// Answers for an account from now on.
pub(super) fn register(light: &Arc<Light>) {
    LISTENER.get_or_init(listen);
    lights().push(Arc::clone(light));
}

/// Answers for an account no more.
pub(super) fn forget(light: &Arc<Light>) {
    lights().retain(|each| !Arc::ptr_eq(each, light));
}

fn lights() -> MutexGuard<'static, Vec<Arc<Light>>> {
    LIGHTS.lock().unwrap_or_else(PoisonError::into_inner)
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
    // Without it, the answers of the small packets of SSH wait for each other.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    if let Some(place) = at_public(dialled).await {
        place.light.with(|state| state.counts.connections += 1);
        place.serve(stream).await;
        return;
    }
    let places = at_private(dialled);
    for place in &places {
        place.light.with(|state| state.counts.connections += 1);
    }
    if !places.is_empty() {
        ssh::serve_one_of(places, dialled, stream).await;
    }
}

/// The machine with this public address.
async fn at_public(dialled: Ipv4Addr) -> Option<Place> {
    let lights = lights().clone();
    let at = |light: &Arc<Light>| {
        let instance = light.with(|state| state.at_public(dialled))?;
        Some(Place {
            light: Arc::clone(light),
            instance,
        })
    };
    if let Some(light) = lights.iter().find(|light| at(light).is_some()) {
        light.look().await;
        return at(light);
    }
    // Once more after a while: who dials may know of a machine what was not true yet when the account was asked last.
    for wait in [Duration::ZERO, FRESH] {
        tokio::time::sleep(wait).await;
        for light in &lights {
            light.look().await;
            if let Some(place) = at(light) {
                return Some(place);
            }
        }
    }
    None
}

/// The machines with this private address, in whatever network: they repeat from VPC to VPC.
fn at_private(dialled: Ipv4Addr) -> Vec<Place> {
    let of = |light: &Arc<Light>| {
        let instances = light.with(|state| state.at_private(dialled, None));
        let light = Arc::clone(light);
        instances.into_iter().map(move |instance| Place {
            light: Arc::clone(&light),
            instance,
        })
    };
    lights().iter().flat_map(of).collect()
}
