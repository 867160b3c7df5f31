//! Counts in this process: of fixed size, however many there are to be counted.
//!
//! A count is one number, the moment at which everything asked for will have been paid off at the pace of the quota (the generic
//! cell rate algorithm). It is kept in two places of a table, chosen by two keyed hashes, and the earlier of the two counts:
//! those who share one place with somebody greedy do not notice, and nobody is ever counted less than they asked for. So there is
//! nothing to make room for, and flooding the table with invented addresses washes nobody's count away.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use super::{Charge, Counted};

/// Places in each of the two rows; 8 bytes each.
const PLACES: usize = 1 << 17;

/// The counts of one process: 2 MiB.
pub struct MemoryCounts {
    rows: Mutex<[Box<[u64]>; 2]>,
    hashes: [RandomState; 2],
    began: Instant,
}

impl MemoryCounts {
    pub fn new() -> Self {
        Self {
            rows: Mutex::new([vec![0; PLACES].into(), vec![0; PLACES].into()]),
            hashes: [RandomState::new(), RandomState::new()],
            began: Instant::now(),
        }
    }

    /// Charges all or, when one is over its quota, none.
    pub fn charge(&self, charges: &[Charge]) -> Counted {
        let now_us = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.charge_at(charges, now_us)
    }

    fn charge_at(&self, charges: &[Charge], now_us: u64) -> Counted {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let paid_off_at =
            |rows: &[Box<[u64]>; 2], places: [usize; 2]| rows[0][places[0]].min(rows[1][places[1]]).max(now_us);
        let mut refused: Option<(usize, u64)> = None;
        for (index, charge) in charges.iter().enumerate() {
            let owed_us = paid_off_at(&rows, self.places(charge)) - now_us + charge.cost_us;
            if let Some(wait_us) = owed_us.checked_sub(super::WINDOW_US).filter(|wait_us| *wait_us > 0)
                && refused.is_none_or(|(_, longest_us)| wait_us > longest_us)
            {
                refused = Some((index, wait_us));
            }
        }
        if let Some((index, wait_us)) = refused {
            return Counted::Refused { index, wait_us };
        }
        let owed_us = charges.iter().map(|charge| {
            let places = self.places(charge);
            let then_us = paid_off_at(&rows, places) + charge.cost_us;
            for (row, place) in rows.iter_mut().zip(places) {
                row[place] = row[place].max(then_us);
            }
            then_us - now_us
        });
        Counted::Admitted {
            owed_us: owed_us.collect(),
        }
    }

    fn places(&self, charge: &Charge) -> [usize; 2] {
        // The remainder is below the number of places.
        [0, 1].map(|row| self.hashes[row].hash_one(&charge.key) as usize % PLACES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::rates::WINDOW_US;

    fn charge(name: u64, quota: u64) -> Charge {
        Charge {
            key: name.to_string(),
            cost_us: WINDOW_US / quota,
        }
    }

    fn is_admitted(counted: &Counted) -> bool {
        matches!(counted, Counted::Admitted { .. })
    }

    #[test]
    fn a_quota_is_admitted_at_once_and_then_at_its_pace() {
        let counts = MemoryCounts::new();
        let asked = |now_us| counts.charge_at(&[charge(1, 60)], now_us);
        assert_eq!((0..100).filter(|_| is_admitted(&asked(7))).count(), 60);
        let Counted::Refused { index: 0, wait_us } = asked(7) else {
            panic!("it is spent")
        };
        assert_eq!(wait_us, 1_000_000, "one a second comes back");
        assert!(!is_admitted(&asked(7 + wait_us - 1)));
        assert!(is_admitted(&asked(7 + wait_us)));
        // Whoever asks while refused waits no longer for it.
        assert_eq!((0..100).filter(|_| is_admitted(&asked(10 + WINDOW_US * 2))).count(), 60);
    }

    #[test]
    fn what_one_count_refuses_is_charged_to_none() {
        let counts = MemoryCounts::new();
        let both = [charge(1, 10), charge(2, 1_000)];
        for _ in 0..10 {
            assert!(is_admitted(&counts.charge_at(&both, 0)));
        }
        for _ in 0..2_000 {
            let Counted::Refused { index, .. } = counts.charge_at(&both, 0) else {
                panic!("the first is spent")
            };
            assert_eq!(index, 0);
        }
        let left = (0..2_000)
            .filter(|_| is_admitted(&counts.charge_at(&both[1..], 0)))
            .count();
        assert_eq!(left, 990);
    }

    #[test]
    fn ten_thousand_greedy_ones_keep_out_themselves_and_hardly_anybody_else() {
        let counts = MemoryCounts::new();
        for name in 0..10_000 {
            while is_admitted(&counts.charge_at(&[charge(name, 4)], 0)) {}
        }
        for name in 0..10_000 {
            assert!(
                !is_admitted(&counts.charge_at(&[charge(name, 4)], 0)),
                "never counted less than asked"
            );
        }
        // Some six in a thousand share both their places with greedy ones.
        let innocent = (10_000..20_000).filter(|name| is_admitted(&counts.charge_at(&[charge(*name, 4)], 0)));
        assert!(innocent.count() > 9_500);
    }
}
