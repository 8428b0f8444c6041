//! What AWS tells only one thing at a time is read in turn, a few with each sweep, and remembered.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Values by id, the one that was read longest ago first in line.
#[derive(Debug)]
pub struct Rotation<T> {
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    values: BTreeMap<String, T>,
    line: VecDeque<String>,
}

impl<T> Default for Rotation<T> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                values: BTreeMap::new(),
                line: VecDeque::new(),
            }),
        }
    }
}

impl<T: Clone> Rotation<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ids to read now, `budget` at most: those never read first, then those read longest ago. Forgets what is not
    /// among `ids`.
    pub fn due(&self, ids: &[&str], budget: usize) -> Vec<String> {
        let mut state = self.state();
        let State { values, line } = &mut *state;
        line.retain(|id| ids.contains(&id.as_str()));
        values.retain(|id, _| ids.contains(&id.as_str()));
        let new: Vec<String> = ids
            .iter()
            .filter(|id| !values.contains_key(**id))
            .map(|id| (*id).to_owned())
            .collect();
        new.into_iter().chain(line.iter().cloned()).take(budget).collect()
    }

    /// Remembers what was read and puts the id at the end of the line.
    pub fn seen(&self, id: &str, value: T) {
        let mut state = self.state();
        state.line.retain(|waiting| waiting != id);
        state.line.push_back(id.to_owned());
        state.values.insert(id.to_owned(), value);
    }

    /// What was last read.
    pub fn get(&self, id: &str) -> Option<T> {
        self.state().values.get(id).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_ones_come_first_then_the_oldest_and_the_lost_are_forgotten() {
        let rotation = Rotation::default();
        assert_eq!(rotation.due(&["a", "b", "c"], 2), ["a", "b"]);
        rotation.seen("a", 1);
        rotation.seen("b", 2);
        assert_eq!(rotation.due(&["a", "b", "c"], 2), ["c", "a"]);
        rotation.seen("c", 3);
        rotation.seen("a", 4);
        assert_eq!(rotation.due(&["a", "c"], 2), ["c", "a"]);
        assert_eq!((rotation.get("a"), rotation.get("b")), (Some(4), None));
    }
}
