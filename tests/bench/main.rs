//! `make bench`: what Rayward costs, as one table and as target/bench.json. One file a part; `ONLY=<part>` measures
//! one.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a measurement that fails ends here, and its figures are what it prints"
)]

mod alike;
mod asked;
mod creation;
mod figures;
mod joining;
mod lab;
mod launcher;
mod looks;
mod many;
mod planning;
mod served;

#[path = "../fake/mod.rs"]
#[allow(
    dead_code,
    reason = "the account is shared with the tests, and each uses its part of it"
)]
mod fake;
#[path = "../support/mod.rs"]
#[allow(
    dead_code,
    reason = "the harness is shared with the tests, and each uses its part of it"
)]
mod support;

use figures::Figure;

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [served::ROLE, file] => return served::serve(file),
        [looks::ROLE] => return looks::look(),
        _ => {}
    }
    // The thread's name is where the harness puts its logs: target/test-logs/bench.
    let measured = std::thread::Builder::new()
        .name("bench".to_owned())
        .spawn(move || measure(&arguments));
    if measured
        .map(std::thread::JoinHandle::join)
        .is_ok_and(|ended| ended.is_ok())
    {
        return;
    }
    std::process::exit(1);
}

fn measure(only: &[String]) {
    let parts = [
        &planning::PART,
        &creation::PART,
        &many::PART,
        &looks::PART,
        &joining::PART,
        &launcher::PART,
    ];
    let parts = parts.map(|part| part.0);
    for name in only {
        assert!(
            parts.contains(&name.as_str()),
            "{name:?} is no part; write one of: {}",
            parts.join(", ")
        );
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let figures = runtime.expect("a runtime").block_on(async {
        let is_asked_for = |part: &figures::Part| only.is_empty() || only.iter().any(|name| name == part.0);
        let mut figures: Vec<Figure> = Vec::new();
        if is_asked_for(&planning::PART) {
            println!("plan: a cluster of 1,000 workers (seconds)");
            figures.extend(Box::pin(planning::measure()).await);
        }
        if is_asked_for(&creation::PART) {
            println!("creation: the lab on the stand-in (half a minute)");
            figures.extend(creation::measure().await);
        }
        if is_asked_for(&many::PART) {
            println!("many: 1,000 clusters on a real API server (two minutes)");
            figures.extend(many::measure().await);
        }
        if is_asked_for(&looks::PART) {
            println!("looks: 1,000 clusters whose Ray is looked at (two minutes)");
            figures.extend(looks::measure().await);
        }
        if is_asked_for(&joining::PART) {
            println!("joining: the lab on machines that run (two minutes)");
            figures.extend(joining::measure().await.unwrap_or_else(left_out));
        }
        if is_asked_for(&launcher::PART) {
            println!("ray-up: Ray's own launcher beside Rayward (eight minutes)");
            figures.extend(launcher::measure().await.unwrap_or_else(left_out));
        }
        figures
    });
    figures::tell(&figures, &support::repository().join("target/bench.json"));
}

/// No figures, and why.
fn left_out(why: &str) -> Vec<Figure> {
    println!("  left out: {why}");
    Vec::new()
}
