//! A Kinledger of a test's own, and the people who use it.

mod client;
mod household;
mod process;

pub use client::{Client, Reply, Route};
pub use household::{Entrance, Household, PASSWORD, Person, amount, consent, dec, payload, register, today};
pub use process::{Kinledger, program, signal};

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Looks again and again until it is so; says whether it was in time.
pub fn wait_until(within: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    loop {
        if is_so() {
            return true;
        }
        if began.elapsed() > within {
            return false;
        }
        pause(Duration::from_millis(10));
    }
}

/// Lets time go by.
#[allow(
    clippy::disallowed_methods,
    reason = "clients are plain threads here: no runtime is held up"
)]
pub fn pause(duration: Duration) {
    thread::sleep(duration);
}

/// Tells threads that go on until something is over that it is, however its holder ends.
pub struct Over<'a>(pub &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
