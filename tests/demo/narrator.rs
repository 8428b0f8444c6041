//! Says what is being done, and how long it took.

use std::io::{Write, stdout};
use std::time::Instant;

/// Tells the steps of a story in their order.
pub(crate) struct Narrator {
    began: Instant,
    step: usize,
    steps: usize,
}

impl Narrator {
    /// A story of this many steps.
    pub(crate) fn new(steps: usize) -> Self {
        Self {
            began: Instant::now(),
            step: 0,
            steps,
        }
    }

    /// Tells one step: what is about to happen, then, when it was seen, how long it took and what is worth showing.
    pub(crate) async fn step<T>(&mut self, what: &str, happens: impl Future<Output = (T, String)>) -> T {
        self.step += 1;
        let began = Instant::now();
        print!("{:>2}/{} {what} ... ", self.step, self.steps);
        stdout().flush().expect("somebody reads");
        let (value, shown) = happens.await;
        println!("{:.1} s", began.elapsed().as_secs_f64());
        for line in shown.lines() {
            println!("      {line}");
        }
        value
    }

    /// Ends the story; all of its steps were told.
    pub(crate) fn end(self) {
        assert_eq!(self.step, self.steps, "the story has as many steps as it said");
        println!(
            "Seen: all {} steps, in {:.0} s.",
            self.steps,
            self.began.elapsed().as_secs_f64()
        );
    }
}
