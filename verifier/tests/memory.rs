//! Memory does not grow with a pack: what is alive at once is counted, byte by byte, for a short history and a long one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]
#![allow(unsafe_code, reason = "an allocator is, and this one only counts")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    path::Path,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use verifier::{Limits, Pack, Report, Trust, VerifierKey, verify};

mod made;

static ALIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: the system's allocator does the work; the numbers beside it change nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let alive = ALIVE.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(alive, Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Verifies, and says how many bytes were alive at once.
fn verified(folder: &Path, key: &VerifierKey) -> (Report, usize) {
    let trust = Trust {
        keys: vec![key.clone()],
        ..Trust::default()
    };
    let before = ALIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let mut pack = Pack::open(folder, Limits::default()).unwrap();
    let report = verify(&mut pack, &trust).unwrap();
    (report, PEAK.load(Relaxed) - before)
}

/// Ten times the history, the same memory.
#[test]
fn a_longer_history_needs_no_more_memory() {
    let sizes = [2_000, 20_000];
    let folders = sizes.map(|_| tempfile::tempdir().unwrap());
    let mut peaks = Vec::new();
    for (folder, events) in folders.iter().zip(sizes) {
        let key = made::pack(folder.path(), events).unwrap();
        let (report, peak) = verified(folder.path(), &key);
        assert!(report.is_whole(), "{:?}", report.faults);
        assert_eq!((report.entries, report.journals), (events, 2));
        peaks.push(peak);
    }
    assert!(
        peaks[1] < peaks[0] + 16 * 1024,
        "{} bytes for {} events, {} for {}",
        peaks[0],
        sizes[0],
        peaks[1],
        sizes[1]
    );
}
