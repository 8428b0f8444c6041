//! `make demo`: Rayward at work on the sandbox, told step by step. It ends with code 0 only if each step was seen.

#[cfg(test)]
mod account;
#[cfg(test)]
mod kept;
#[cfg(test)]
mod narrator;
#[cfg(test)]
mod records;
#[cfg(test)]
mod running;
#[cfg(test)]
mod story;
#[cfg(test)]
#[path = "../support/mod.rs"]
#[allow(
    dead_code,
    reason = "the harness is shared with the tests, and each uses its part of it"
)]
mod support;

fn main() {
    // The thread's name is where the harness puts its logs: target/test-logs/demo.
    let told = std::thread::Builder::new()
        .name("demo".to_owned())
        .spawn(story::tell)
        .map(std::thread::JoinHandle::join);
    if !matches!(told, Ok(Ok(()))) {
        std::process::exit(1);
    }
}
