//! This program once more, in a process of its own that answers questions: what is measured from outside.
//!
//! It prints `ready`, and then a line of JSON for each line that it reads. It ends with its input.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write, stdin},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::support::{logs, process::command};

/// What the process says when it can be asked.
pub(crate) const READY: &str = "ready";

/// The process, from outside. Ends when dropped.
pub(crate) struct Asked {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    pub(crate) ready_after: Duration,
}

impl Asked {
    /// Starts this program in a role, with a log in `target/test-logs/bench`, and waits until it is ready.
    pub(crate) fn start(role: &str, prepare: impl FnOnce(&mut Command)) -> Self {
        let log: PathBuf = logs("bench").join(format!("{role}.log"));
        let mut program = command(std::env::current_exe().expect("this program"));
        program.arg(role);
        prepare(&mut program);
        let started = Instant::now();
        let spawned = program
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("a log"))
            .spawn();
        let mut child = spawned.expect("it starts");
        let questions = child.stdin.take().expect("a pipe");
        let mut answers = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        answers.read_line(&mut line).expect("it answers");
        assert_eq!(line.trim(), READY, "see {}", log.display());
        Self {
            child,
            questions,
            answers,
            ready_after: started.elapsed(),
        }
    }

    /// Asks, and waits for the answer.
    pub(crate) fn ask(&mut self, question: &str) -> Value {
        writeln!(self.questions, "{question}").expect("it reads");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("it answers");
        serde_json::from_str(&line).expect("an answer")
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Inside the process: says that it is ready, and hands on what it is asked until the input ends.
pub(crate) fn questions() -> UnboundedReceiver<String> {
    let (asked, questions) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        stdin()
            .lock()
            .lines()
            .map_while(Result::ok)
            .try_for_each(|line| asked.send(line))
    });
    println!("{READY}");
    questions
}

/// What the process that asks this holds in memory.
pub(crate) fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.expect("a number of KiB")
}

/// How long the processor has worked for the process that asks this.
pub(crate) fn processor_time() -> Duration {
    // In hundredths of a second, whatever the kernel counts in: https://man7.org/linux/man-pages/man7/time.7.html
    const TICK: Duration = Duration::from_millis(10);
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    // The name before may hold anything; state is the third field, utime and stime the 14th and 15th.
    let (_, fields) = stat.rsplit_once(") ").expect("fields after the name");
    let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<u32>);
    TICK * ticks.sum::<Result<u32, _>>().expect("numbers of ticks")
}
