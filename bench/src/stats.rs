//! Medians, percentiles and spreads.

/// A median and the range around it.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Spread {
    /// The middle one; of an even number, the lower of the two.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// None of nothing.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        let median = *values.get((values.len().checked_sub(1)?) / 2)?;
        Some(Self {
            median,
            min: *values.first()?,
            max: *values.last()?,
        })
    }
}

/// The value below which this share of all lies; sorts in place. None of nothing.
pub fn percentile(values: &mut [u32], share: f64) -> Option<u32> {
    let last = values.len().checked_sub(1)?;
    let index = (last as f64 * share).round() as usize;
    let (_, value, _) = values.select_nth_unstable(index.min(last));
    Some(*value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(
            Spread::of([3.0, 1.0, 2.0]),
            Some(Spread {
                median: 2.0,
                min: 1.0,
                max: 3.0
            })
        );
        assert_eq!(Spread::of([4.0, 1.0]).map(|spread| spread.median), Some(1.0));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn percentiles_include_both_ends() {
        let mut values: Vec<u32> = (0..=100).rev().collect();
        assert_eq!(percentile(&mut values, 0.5), Some(50));
        assert_eq!(percentile(&mut values, 0.99), Some(99));
        assert_eq!(percentile(&mut values, 1.0), Some(100));
        assert_eq!(percentile(&mut [], 0.5), None);
    }
}
