//! The arithmetic of a limit: in which stretch of days something counts, and how much of it is left.

use chrono::NaiveDate;

use super::{Spending, SpendingLimit, SpendingRefusal};
use crate::{
    Money,
    calendar::{Calendar, Period},
};

/// A stretch of days that a limit counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitPeriod {
    /// One day of the family's.
    Day,
    /// Seven days from the family's week start.
    Week,
    /// A calendar month.
    Month,
}

impl LimitPeriod {
    /// The word used in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// First and last day, both included, of the stretch that holds `day`.
    pub fn days(self, calendar: Calendar, day: NaiveDate) -> (NaiveDate, NaiveDate) {
        match self {
            Self::Day => (day, day),
            Self::Week => calendar.period_of(Period::Week, day),
            Self::Month => calendar.period_of(Period::Month, day),
        }
    }
}

/// What is left of one part of a limit.
struct Room {
    left: Money,
    limit: Money,
    per: &'static str,
}

impl SpendingLimit {
    /// What is said for stretches of days.
    pub fn periods(&self) -> impl Iterator<Item = (LimitPeriod, Money)> {
        let said = [
            (LimitPeriod::Day, self.per_day),
            (LimitPeriod::Week, self.per_week),
            (LimitPeriod::Month, self.per_month),
        ];
        said.into_iter().filter_map(|(period, limit)| Some((period, limit?)))
    }
}

impl Spending {
    /// May this be spent for a day under a limit? The part of the limit that leaves least decides.
    ///
    /// # Errors
    /// [`SpendingRefusal::LimitExceeded`], [`SpendingRefusal::OtherCurrency`].
    pub fn check(
        &self,
        limit: &SpendingLimit,
        calendar: Calendar,
        day: NaiveDate,
        money: &Money,
    ) -> Result<(), SpendingRefusal> {
        if money.currency() != limit.currency {
            return Err(SpendingRefusal::OtherCurrency {
                limit: limit.currency,
                given: money.currency(),
            });
        }
        let entry = limit.per_entry.map(|limit| Room {
            left: limit,
            limit,
            per: "entry",
        });
        let periods = limit.periods().map(|(period, cap)| {
            let (first, last) = period.days(calendar, day);
            Room {
                left: left_of(cap, &self.spent(limit.currency, first, last)),
                limit: cap,
                per: period.as_str(),
            }
        });
        match entry.into_iter().chain(periods).min_by_key(|room| room.left.amount()) {
            Some(room) if money.amount() > room.left.amount() => Err(SpendingRefusal::LimitExceeded {
                left: room.left,
                limit: room.limit,
                per: room.per,
            }),
            _ => Ok(()),
        }
    }
}

/// What is left when this much is spent; never less than nothing, as when a limit was lowered afterwards.
pub fn left_of(limit: Money, spent: &Money) -> Money {
    let nothing = Money::zero(limit.currency());
    limit
        .checked_add(&spent.negated())
        .ok()
        .filter(Money::is_positive)
        .unwrap_or(nothing)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Datelike, Days, Utc};
    use proptest::prelude::*;
    use rust_decimal::Decimal;
    use uuid::Uuid;

    use super::*;
    use crate::{
        Currency,
        calendar::WeekStart,
        id::{EntryId, MemberId},
        spending::{SpendingCounted, SpendingGivenBack},
    };

    const ZONES: [chrono_tz::Tz; 6] = [
        chrono_tz::Tz::UTC,
        chrono_tz::Europe::Berlin,
        chrono_tz::America::New_York,
        chrono_tz::Asia::Beirut,
        chrono_tz::Pacific::Apia,
        chrono_tz::Australia::Lord_Howe,
    ];
    const STARTS: [WeekStart; 3] = [WeekStart::Monday, WeekStart::Saturday, WeekStart::Sunday];
    /// No decimal places, two, three.
    const CURRENCIES: [&str; 3] = ["JPY", "EUR", "KWD"];

    fn minor(units: i64, currency: Currency) -> Money {
        Money::try_new(Decimal::new(units, currency.scale()), currency).expect("money")
    }

    fn member() -> MemberId {
        MemberId::from_uuid(Uuid::from_u128(1))
    }

    /// Which week, month or day a day is in, reckoned from the day's own number and nothing of the calendar's.
    fn stretch(period: LimitPeriod, start: WeekStart, day: NaiveDate) -> (i64, u32) {
        // The first day of the common era was a Monday.
        let since = i64::from(day.num_days_from_ce()) - 1;
        match period {
            LimitPeriod::Day => (since, 0),
            LimitPeriod::Week => {
                let shift = match start {
                    WeekStart::Monday => 0,
                    WeekStart::Saturday => 5,
                    WeekStart::Sunday => 6,
                };
                ((since - shift).div_euclid(7), 1)
            }
            LimitPeriod::Month => (i64::from(day.year()), day.month()),
        }
    }

    /// One spending: an instant it is entered at, days it is dated back, minor units, and whether it is undone at once.
    type Spent = (i64, u64, i64, bool);

    /// Instants around the end of February of leap and other years, and around nights of clock changes, beside any others.
    fn instants() -> impl Strategy<Value = i64> {
        let near = |at: &str| {
            let at = at.parse::<DateTime<Utc>>().expect("an instant").timestamp();
            at - 3 * 86_400..at + 3 * 86_400
        };
        prop_oneof![
            near("2028-02-29T12:00:00Z"),
            near("2027-02-28T23:00:00Z"),
            near("2026-03-29T01:00:00Z"),
            near("2026-10-25T01:00:00Z"),
            near("2024-03-30T22:00:00Z"),
            near("2025-12-31T23:00:00Z"),
        ]
    }

    fn spendings() -> impl Strategy<Value = Vec<Spent>> {
        let one = (instants(), 0_u64..=7, 1_i64..400, prop::bool::weighted(0.15));
        prop::collection::vec(one, 1..60)
    }

    fn caps() -> impl Strategy<Value = [Option<i64>; 4]> {
        prop::array::uniform4(prop::option::of(0_i64..1_500))
    }

    proptest! {
        #[test]
        fn what_is_let_through_never_passes_a_limit_and_what_is_refused_would(
            spent in spendings(),
            caps in caps(),
            zone in prop::sample::select(&ZONES[..]),
            week_start in prop::sample::select(&STARTS[..]),
            code in prop::sample::select(&CURRENCIES[..]),
        ) {
            let calendar = Calendar { zone, week_start };
            let currency: Currency = code.parse().expect("a currency");
            let [per_entry, per_day, per_week, per_month] = caps.map(|cap| cap.map(|units| minor(units, currency)));
            let limit = SpendingLimit { currency, per_entry, per_day, per_week, per_month };
            let mut spending = Spending::default();
            let mut kept: Vec<(NaiveDate, i64)> = Vec::new();
            for (number, (at, back, units, is_undone)) in spent.into_iter().enumerate() {
                let at = DateTime::from_timestamp(at, 0).expect("an instant");
                let day = calendar.day_of(at) - Days::new(back);
                let fits = |period: LimitPeriod, cap: i64| {
                    let mine = stretch(period, week_start, day);
                    let before: i64 = kept.iter()
                        .filter(|(on, _)| stretch(period, week_start, *on) == mine)
                        .map(|(_, units)| units)
                        .sum();
                    before + units <= cap
                };
                let expected = caps[0].is_none_or(|cap| units <= cap)
                    && caps[1].is_none_or(|cap| fits(LimitPeriod::Day, cap))
                    && caps[2].is_none_or(|cap| fits(LimitPeriod::Week, cap))
                    && caps[3].is_none_or(|cap| fits(LimitPeriod::Month, cap));
                let money = minor(units, currency);
                let said = spending.check(&limit, calendar, day, &money);
                prop_assert_eq!(said.is_ok(), expected, "{} on {}: {:?}", money, day, said);
                if let Err(SpendingRefusal::LimitExceeded { left, .. }) = said {
                    prop_assert!(!left.is_negative() && left.amount() < money.amount());
                    prop_assert!(left.is_zero() || spending.check(&limit, calendar, day, &left).is_ok(), "{} is left", left);
                    continue;
                }
                let entry_id = EntryId::from_uuid(Uuid::from_u128(number as u128));
                let member_id = member();
                spending.fold(SpendingCounted { member_id, entry_id, spent_on: day, money }.into());
                if is_undone {
                    spending.fold(SpendingGivenBack { member_id, entry_id, spent_on: day, money }.into());
                } else {
                    kept.push((day, units));
                }
            }
        }
    }

    #[test]
    fn a_lowered_limit_leaves_nothing_and_never_less() {
        let euros: Currency = "EUR".parse().expect("a currency");
        assert_eq!(left_of(minor(500, euros), &minor(700, euros)), minor(0, euros));
        assert_eq!(left_of(minor(500, euros), &minor(200, euros)), minor(300, euros));
    }

    #[test]
    fn money_of_another_currency_is_measured_by_no_limit() {
        let (euros, yen): (Currency, Currency) = ("EUR".parse().expect("euros"), "JPY".parse().expect("yen"));
        let limit = SpendingLimit {
            currency: euros,
            per_entry: Some(minor(100_000, euros)),
            per_day: None,
            per_week: None,
            per_month: None,
        };
        let day = NaiveDate::from_ymd_opt(2026, 11, 21).expect("a day");
        let said = Spending::default().check(&limit, Calendar::default(), day, &minor(1, yen));
        assert_eq!(
            said,
            Err(SpendingRefusal::OtherCurrency {
                limit: euros,
                given: yen
            })
        );
    }
}
