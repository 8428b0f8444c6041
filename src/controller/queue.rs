//! Which cluster is looked at next. A cluster is never worked on twice at the same time: what comes up meanwhile is
//! looked at right after.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// Nothing is put off for longer, so that no time runs over.
const LONGEST: Duration = Duration::from_hours(24);

/// Keys with the time at which each is due.
#[derive(Debug)]
pub struct Queue<K> {
    state: Mutex<State<K>>,
    wake: Notify,
}

#[derive(Debug)]
struct State<K> {
    /// By time, then in the order in which they came.
    line: BTreeMap<(Instant, u64), K>,
    places: HashMap<K, (Instant, u64)>,
    /// Worked on now, and when to look again.
    active: HashMap<K, Option<Instant>>,
    /// Not looked at before then.
    put_off: HashMap<K, Instant>,
    count: u64,
}

impl<K: Clone + Eq + Hash> Default for Queue<K> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                line: BTreeMap::new(),
                places: HashMap::new(),
                active: HashMap::new(),
                put_off: HashMap::new(),
                count: 0,
            }),
            wake: Notify::new(),
        }
    }
}

impl<K: Clone + Eq + Hash> Queue<K> {
    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at `key` after `delay` at the latest.
    pub fn add(&self, key: &K, delay: Duration) {
        self.state().add(key, Instant::now() + delay.min(LONGEST));
        self.wake.notify_one();
    }

    /// Looks at `key` after `pause`, and not before, whatever comes up.
    pub fn put_off(&self, key: &K, pause: Duration) {
        let at = Instant::now() + pause.min(LONGEST);
        let mut state = self.state();
        state.take_out(key);
        state.put_off.insert(key.clone(), at);
        state.add(key, at);
        drop(state);
        self.wake.notify_one();
    }

    /// Does not look at `key` any more, unless it is added again.
    pub fn remove(&self, key: &K) {
        let mut state = self.state();
        state.take_out(key);
        state.put_off.remove(key);
        if let Some(again) = state.active.get_mut(key) {
            *again = None;
        }
    }

    /// The next key that is due; it is worked on until [`Self::done`].
    pub async fn next(&self) -> K {
        loop {
            let first = {
                let mut state = self.state();
                match state.line.first_key_value() {
                    Some(((due, _), _)) if *due <= Instant::now() => {
                        if let Some((_, key)) = state.line.pop_first() {
                            state.places.remove(&key);
                            state.put_off.remove(&key);
                            state.active.insert(key.clone(), None);
                            return key;
                        }
                        None
                    }
                    first => first.map(|((due, _), _)| *due),
                }
            };
            match first {
                Some(due) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(due) => {}
                        () = self.wake.notified() => {}
                    }
                }
                None => self.wake.notified().await,
            }
        }
    }

    /// The work on `key` ended.
    pub fn done(&self, key: &K) {
        let mut state = self.state();
        if let Some(Some(again)) = state.active.remove(key) {
            state.add(key, again);
        }
        drop(state);
        self.wake.notify_one();
    }

    /// How many are due and how many are worked on.
    #[must_use]
    pub fn depth(&self) -> (usize, usize) {
        let (state, now) = (self.state(), Instant::now());
        let due = state.line.keys().take_while(|(due, _)| *due <= now).count();
        (due, state.active.len())
    }
}

impl<K: Clone + Eq + Hash> State<K> {
    fn take_out(&mut self, key: &K) {
        if let Some(place) = self.places.remove(key) {
            self.line.remove(&place);
        }
    }

    fn add(&mut self, key: &K, due: Instant) {
        let due = self.put_off.get(key).map_or(due, |until| due.max(*until));
        if let Some(again) = self.active.get_mut(key) {
            *again = Some(again.map_or(due, |earlier| earlier.min(due)));
            return;
        }
        match self.places.get(key) {
            Some((earlier, _)) if *earlier <= due => return,
            Some(place) => {
                self.line.remove(place);
            }
            None => {}
        }
        self.count += 1;
        let place = (due, self.count);
        self.line.insert(place, key.clone());
        self.places.insert(key.clone(), place);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const LATER: Duration = Duration::from_hours(1);

    #[tokio::test]
    async fn what_is_due_comes_in_the_order_in_which_it_came() {
        let queue = Queue::default();
        queue.add(&"later", LATER);
        queue.add(&"a", Duration::ZERO);
        queue.add(&"b", Duration::ZERO);
        queue.add(&"a", Duration::ZERO);
        assert_eq!((queue.next().await, queue.next().await), ("a", "b"));
        assert!(queue.next().now_or_never().is_none());
        assert_eq!(queue.depth(), (0, 2));
    }

    #[tokio::test]
    async fn an_earlier_time_wins_and_a_later_one_does_not() {
        let queue = Queue::default();
        queue.add(&"a", LATER);
        queue.add(&"a", Duration::ZERO);
        queue.add(&"a", LATER);
        assert_eq!(queue.next().await, "a");
    }

    #[tokio::test]
    async fn a_key_is_never_worked_on_twice_at_once_and_never_forgotten() {
        let queue = Queue::default();
        queue.add(&"a", Duration::ZERO);
        assert_eq!(queue.next().await, "a");
        queue.add(&"a", Duration::ZERO);
        assert!(queue.next().now_or_never().is_none());
        queue.done(&"a");
        assert_eq!(queue.next().await, "a");
        queue.done(&"a");
        assert!(queue.next().now_or_never().is_none());
    }

    #[tokio::test]
    async fn who_waits_is_woken_by_what_comes() {
        let queue = Queue::default();
        let (key, ()) = futures::join!(queue.next(), async { queue.add(&"a", Duration::ZERO) });
        assert_eq!(key, "a");
    }

    #[tokio::test]
    async fn what_was_put_off_does_not_come_before_whatever_comes_up() {
        let (queue, began, pause) = (Queue::default(), Instant::now(), Duration::from_millis(50));
        queue.add(&"a", Duration::ZERO);
        queue.put_off(&"a", pause);
        queue.add(&"a", Duration::ZERO);
        assert_eq!(queue.next().await, "a");
        assert!(began.elapsed() >= pause);
        queue.done(&"a");
        queue.add(&"a", Duration::ZERO);
        assert_eq!(queue.next().now_or_never(), Some("a"));
    }

    #[tokio::test]
    async fn what_was_removed_does_not_come() {
        let queue = Queue::default();
        queue.add(&"a", Duration::ZERO);
        queue.remove(&"a");
        assert!(queue.next().now_or_never().is_none());
    }
}
