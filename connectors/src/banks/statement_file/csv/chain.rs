//! A column of running balances proves every row: each balance is the one before it and the row's amount.

use chrono::NaiveDate;
use domain::Money;

/// What one record says of the balance.
pub(super) struct Link {
    /// Where it stands, counted from 1.
    pub(super) line: usize,
    /// The row's signed amount; none when it could not be read.
    pub(super) amount: Option<Money>,
    /// The balance after the row; none when it is blank or could not be read.
    pub(super) balance: Option<Money>,
    /// The row's booking date.
    pub(super) booked_on: Option<NaiveDate>,
}

/// What the balances say as a whole.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    /// The first balance without the first amount.
    pub(super) opening: Option<Money>,
    /// The last balance.
    pub(super) closing: Option<Money>,
    /// The last row's booking date.
    pub(super) closing_on: Option<NaiveDate>,
    /// The first row whose balance does not follow, in words.
    pub(super) gap: Option<String>,
    gaps: usize,
}

/// Follows the balances down the file and up the file, and takes the way with fewer gaps; of equals the one that goes
/// forward in time, and of those the one down the file.
pub(super) fn chain(links: &[Link]) -> Chain {
    let (down, up) = (follow(links.iter()), follow(links.iter().rev()));
    let mut dates = links.iter().filter_map(|link| link.booked_on);
    let first = dates.next();
    let is_newest_first = first > dates.next_back().or(first);
    let goes_up = up.gaps < down.gaps || (up.gaps == down.gaps && is_newest_first);
    if goes_up { up } else { down }
}

fn follow<'a>(links: impl Iterator<Item = &'a Link>) -> Chain {
    let mut chain = Chain::default();
    let mut is_first = true;
    for link in links {
        let expected = chain
            .closing
            .zip(link.amount)
            .and_then(|(before, amount)| before.checked_add(&amount).ok());
        if is_first {
            chain.opening = link
                .balance
                .zip(link.amount)
                .and_then(|(balance, amount)| balance.checked_add(&amount.negated()).ok());
            is_first = false;
        }
        if let (Some(expected), Some(balance)) = (expected, link.balance)
            && expected != balance
        {
            chain.gaps += 1;
            let told = || {
                format!(
                    "line {}: the balance is {balance}, but {expected} follows from the row before it",
                    link.line
                )
            };
            chain.gap = chain.gap.or_else(|| Some(told()));
        }
        chain.closing = link.balance.or(expected);
        chain.closing_on = link.booked_on.or(chain.closing_on);
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn euro(amount: &str) -> Option<Money> {
        Money::parse(amount, "EUR".parse().expect("known")).ok()
    }

    fn links(rows: &[(&str, &str, u32)]) -> Vec<Link> {
        let link = |(place, (amount, balance, day)): (usize, &(&str, &str, u32))| Link {
            line: place + 2,
            amount: euro(amount),
            balance: euro(balance),
            booked_on: NaiveDate::from_ymd_opt(2024, 1, *day),
        };
        rows.iter().enumerate().map(link).collect()
    }

    fn ends(rows: &[(&str, &str, u32)]) -> (Option<Money>, Option<Money>, Option<u32>, Option<String>) {
        let chain = chain(&links(rows));
        (
            chain.opening,
            chain.closing,
            chain.closing_on.map(|day| chrono::Datelike::day(&day)),
            chain.gap,
        )
    }

    #[test]
    fn balances_chain_down_and_up_the_file() {
        let down = [("1", "11", 1), ("-2", "9", 2), ("5", "14", 3)];
        assert_eq!(ends(&down), (euro("10"), euro("14"), Some(3), None));
        let up: Vec<_> = down.iter().rev().copied().collect();
        assert_eq!(ends(&up), (euro("10"), euro("14"), Some(3), None));
        assert_eq!(ends(&down[..1]), (euro("10"), euro("11"), Some(1), None));
        assert_eq!(ends(&[]), (None, None, None, None));
    }

    #[test]
    fn when_both_ways_chain_time_decides() {
        assert_eq!(
            ends(&[("5", "10", 2), ("-5", "5", 1)]),
            (euro("10"), euro("10"), Some(2), None)
        );
        assert_eq!(
            ends(&[("5", "10", 1), ("-5", "5", 2)]),
            (euro("5"), euro("5"), Some(2), None)
        );
    }

    #[test]
    fn a_row_that_does_not_follow_is_named() {
        let (.., gap) = ends(&[("1", "11", 1), ("-2", "9", 2), ("5", "15", 3), ("1", "16", 4)]);
        assert_eq!(
            gap.as_deref(),
            Some("line 4: the balance is 15.00 EUR, but 14.00 EUR follows from the row before it")
        );
    }

    #[test]
    fn a_gap_in_the_column_is_bridged() {
        assert_eq!(
            ends(&[("1", "11", 1), ("-2", "", 2), ("5", "14", 3)]),
            (euro("10"), euro("14"), Some(3), None)
        );
        assert_eq!(
            ends(&[("1", "11", 1), ("x", "9", 2), ("5", "14", 3)]),
            (euro("10"), euro("14"), Some(3), None)
        );
        assert_eq!(
            ends(&[("1", "11", 1), ("x", "", 2), ("5", "14", 3)]),
            (euro("10"), euro("14"), Some(3), None)
        );
    }
}
