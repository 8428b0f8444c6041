//! A range of public addresses for each stand-in that runs, so that an address tells whose machine it is.

use std::sync::{Mutex, PoisonError};

/// Ranges of 1,024 addresses within 198.18.0.0/15. The first is left out: it has the address at which machines find
/// the services of their internet.
const BLOCKS: u8 = 128;
static IN_USE: Mutex<u128> = Mutex::new(1);

/// Free again when dropped.
pub(crate) struct PublicRange(u8);

impl PublicRange {
    /// A range that nobody in this process has.
    pub(crate) fn take() -> Self {
        let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        let free = (0..BLOCKS).find(|block| *in_use & (1 << block) == 0);
        let block = free.expect("fewer stand-ins run at a time than there are ranges");
        *in_use |= 1 << block;
        Self(block)
    }

    /// As CIDR.
    pub(crate) fn cidr(&self) -> String {
        format!("198.{}.{}.0/22", 18 + self.0 / 64, self.0 % 64 * 4)
    }
}

impl Drop for PublicRange {
    fn drop(&mut self) {
        *IN_USE.lock().unwrap_or_else(PoisonError::into_inner) &= !(1 << self.0);
    }
}
