//! Programs that a test starts: each has a log, and none outlives the test.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, Mutex, mpsc};
use std::time::Duration;
use std::{io, thread};

use rustix::process::{Pid, Signal, kill_process};

use super::wait::Waited;

/// A running program. Dropping it kills it.
pub(crate) struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

/// A command for `program` that dies with the process that starts it, even if that is killed.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

impl Process {
    /// Starts a command made by [`command`], with its output in `<logs>/<name>.log` (appended: a restarted program
    /// goes on in the same file).
    pub(crate) fn spawn(name: &str, logs: &Path, mut command: Command, stdout: Output) -> Self {
        super::require_boundary();
        let log = logs.join(format!("{name}.log"));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("a log can be opened");
        command
            .stdin(Stdio::null())
            .stderr(file.try_clone().expect("a file handle can be cloned"));
        match stdout {
            Output::Log => command.stdout(file),
            Output::Piped => command.stdout(Stdio::piped()),
        };
        let child = spawn_from_lasting_thread(command).unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self {
            child,
            name: name.to_owned(),
            log,
        }
    }

    /// The pipe of a program that was started with [`Output::Piped`]; there is one.
    pub(crate) fn stdout(&mut self) -> std::process::ChildStdout {
        self.child
            .stdout
            .take()
            .expect("standard output is piped and not yet taken")
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal)
            .unwrap_or_else(|error| panic!("{signal:?} to {}: {error}", self.name));
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Waits until it ends by itself; panics with the end of its log after `deadline`.
    pub(crate) fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let mut waited = Waited::nothing();
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(
                waited.so_far() < deadline,
                "{} still runs after {deadline:?}\n{}",
                self.name,
                self.log_tail()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills it, as `kill -9` does, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Where its output goes.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// The last lines of its log, for the message of a test that fails.
    pub(crate) fn log_tail(&self) -> String {
        log_tail(&self.log)
    }
}

/// The last lines of a log.
pub(crate) fn log_tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(30)..].join("\n");
    format!("--- the end of {}:\n{tail}", log.display())
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where a program's standard output goes; its standard error always goes to the log.
#[derive(Clone, Copy)]
pub(crate) enum Output {
    Log,
    Piped,
}

/// The kernel's parent-death signal is sent when the *thread* that started the child ends, and each test has a thread
/// of its own: what tests share must come from a thread that lasts.
fn spawn_from_lasting_thread(command: Command) -> io::Result<Child> {
    type Order = (Command, mpsc::Sender<io::Result<Child>>);
    static ORDERS: LazyLock<Mutex<mpsc::Sender<Order>>> = LazyLock::new(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, answer) in inbox {
                // The one who ordered waits for the answer.
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let (answer, answered) = mpsc::channel();
    ORDERS
        .lock()
        .expect("the lock is not poisoned")
        .send((command, answer))
        .expect("the thread lasts");
    answered.recv().expect("the thread answers")
}
