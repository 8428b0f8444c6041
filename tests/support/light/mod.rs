//! Light Ray: what answers like machines with Ray on them in tests that boot none.
//!
//! One SSH server in the process stands for all machines of all accounts ([`Light`]) that it was told of. From the
//! address that was dialled it learns which machine is meant, and asks the account what that is and whether it runs.
//! A head answers with its dashboard, every machine with `rayward-node`. Without steering, everything joins at once and
//! nothing is in use; the methods in [`steer`] change that.

mod answers;
mod commands;
mod dashboard;
pub(crate) mod load;
pub(crate) mod machine;
pub(crate) mod manner;
mod node;
mod ray;
mod server;
mod ssh;
pub(crate) mod state;
mod steer;
pub(crate) mod timing;
pub(crate) mod trouble;

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use machine::Account;
use node::Node;
use state::State;

/// How old an account's answer may be: machines change within tenths of a second.
const FRESH: Duration = Duration::from_millis(50);

/// Machines that answer. When it is dropped they are gone, and their addresses can be those of others.
pub(crate) struct Shining(Arc<Light>);

impl Deref for Shining {
    type Target = Light;

    fn deref(&self) -> &Light {
        &self.0
    }
}

impl Drop for Shining {
    fn drop(&mut self) {
        server::forget(&self.0);
        self.0
            .with(|state| state.nodes.values_mut().for_each(Node::end_connections));
    }
}

/// The machines of one account.
pub(crate) struct Light {
    account: Box<dyn Account>,
    state: Mutex<State>,
    asked: tokio::sync::Mutex<Option<Instant>>,
}

impl Light {
    /// Answers for the machines of an account from now on.
    pub(crate) fn shine(account: impl Account + 'static) -> Shining {
        let light = Arc::new(Self {
            account: Box::new(account),
            state: Mutex::default(),
            asked: tokio::sync::Mutex::default(),
        });
        server::register(&light);
        Shining(light)
    }

    /// Looks at the state or changes it, after what was due has happened.
    fn with<R>(&self, look: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.advance();
        look(&mut state)
    }

    /// Asks the account now, in the caller's own thread.
    fn look_now(&self) {
        if let Ok(machines) = self.account.machines() {
            self.with(|state| state.learn(machines));
        }
    }

    /// Asks the account, if that is due. An account that does not answer is one whose stand-in has ended.
    async fn look(self: &Arc<Self>) {
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|asked| asked.elapsed() < FRESH) {
            return;
        }
        let this = Arc::clone(self);
        let answer = tokio::task::spawn_blocking(move || this.account.machines()).await;
        if let Ok(Ok(machines)) = answer {
            self.with(|state| state.learn(machines));
        }
        *asked = Some(Instant::now());
    }
}
