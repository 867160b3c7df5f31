//! When: one calendar per family. Its zone says which day it is, its week start where a week begins; no device is asked.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, TimeZone, Utc, Weekday};
use chrono_tz::Tz;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The first day a ledger keeps. Source: ours.
pub const FIRST_DAY: NaiveDate = match NaiveDate::from_ymd_opt(1970, 1, 1) {
    Some(day) => day,
    None => NaiveDate::MIN,
};

/// Where a family's week begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WeekStart {
    /// As ISO 8601 has it.
    #[default]
    Monday,
    /// As much of the Middle East has it.
    Saturday,
    /// As the Americas have it.
    Sunday,
}

/// A stretch that budgets and leaderboards count in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Period {
    /// Seven days from the family's week start.
    Week,
    /// A calendar month.
    Month,
}

impl Period {
    /// The word used in JSON and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Period::Week => "week",
            Period::Month => "month",
        }
    }
}

/// A family's calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// IANA zone.
    pub zone: Tz,
    /// Where weeks begin.
    pub week_start: WeekStart,
}

impl Default for Calendar {
    fn default() -> Self {
        Self {
            zone: Tz::UTC,
            week_start: WeekStart::Monday,
        }
    }
}

impl Calendar {
    /// The family's day at an instant. Right across daylight saving: the zone's own rules decide.
    pub fn day_of(&self, at: DateTime<Utc>) -> NaiveDate {
        at.with_timezone(&self.zone).date_naive()
    }

    /// The instant at which a day is over: the first of the next one.
    pub fn end_of(&self, day: NaiveDate) -> DateTime<Utc> {
        let midnight = day.succ_opt().unwrap_or(day).and_time(chrono::NaiveTime::MIN);
        // Where clocks jump over midnight the day begins at the first hour there is.
        let hours = (0..24).map(|hour| midnight + chrono::TimeDelta::hours(hour));
        let first = hours
            .filter_map(|local| self.zone.from_local_datetime(&local).earliest())
            .next();
        first.map_or_else(|| midnight.and_utc(), |first| first.with_timezone(&Utc))
    }

    /// First and last day (both included) of the period that holds `day`.
    pub fn period_of(&self, period: Period, day: NaiveDate) -> (NaiveDate, NaiveDate) {
        match period {
            Period::Week => {
                let first_weekday = match self.week_start {
                    WeekStart::Monday => Weekday::Mon,
                    WeekStart::Saturday => Weekday::Sat,
                    WeekStart::Sunday => Weekday::Sun,
                };
                let back = u64::from(day.weekday().days_since(first_weekday));
                let first = day.checked_sub_days(Days::new(back)).unwrap_or(day);
                (first, first.checked_add_days(Days::new(6)).unwrap_or(first))
            }
            Period::Month => {
                let first = day.with_day(1).unwrap_or(day);
                let next = first.checked_add_months(Months::new(1)).unwrap_or(first);
                (first, next.pred_opt().unwrap_or(next))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;
    use proptest::prelude::*;

    use super::*;

    fn day(y: i32, m: u32, d: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(y, m, d).expect("a day")
    }

    #[test]
    fn a_day_ends_when_the_next_begins_also_where_midnight_is_skipped() {
        let calendar = |zone| Calendar {
            zone,
            week_start: WeekStart::Monday,
        };
        let end = |zone, day| calendar(zone).end_of(day).to_rfc3339();
        assert_eq!(
            end(chrono_tz::Europe::Berlin, day(2026, 3, 28)),
            "2026-03-28T23:00:00+00:00"
        );
        assert_eq!(
            end(chrono_tz::Europe::Berlin, day(2026, 3, 29)),
            "2026-03-29T22:00:00+00:00"
        );
        // In Beirut the clocks went from midnight to one on 31 March 2024.
        assert_eq!(
            end(chrono_tz::Asia::Beirut, day(2024, 3, 30)),
            "2024-03-30T22:00:00+00:00"
        );
    }

    #[test]
    fn the_day_is_the_familys_own_across_a_clock_change() {
        let calendar = Calendar {
            zone: chrono_tz::Europe::Berlin,
            week_start: WeekStart::Monday,
        };
        let before = Utc
            .with_ymd_and_hms(2026, 3, 28, 22, 59, 59)
            .single()
            .expect("an instant");
        let after = Utc
            .with_ymd_and_hms(2026, 3, 28, 23, 0, 0)
            .single()
            .expect("an instant");
        let evening = Utc
            .with_ymd_and_hms(2026, 3, 29, 22, 0, 0)
            .single()
            .expect("an instant");
        assert_eq!(calendar.day_of(before), day(2026, 3, 28));
        assert_eq!(calendar.day_of(after), day(2026, 3, 29));
        assert_eq!(
            calendar.day_of(evening),
            day(2026, 3, 30),
            "summer time is two hours ahead of UTC"
        );
    }

    #[test]
    fn february_ends_where_the_year_says() {
        let calendar = Calendar::default();
        assert_eq!(
            calendar.period_of(Period::Month, day(2028, 2, 29)),
            (day(2028, 2, 1), day(2028, 2, 29))
        );
        assert_eq!(
            calendar.period_of(Period::Month, day(2027, 2, 3)),
            (day(2027, 2, 1), day(2027, 2, 28))
        );
    }

    #[test]
    fn a_week_begins_where_the_family_says() {
        let sunday = Calendar {
            zone: Tz::UTC,
            week_start: WeekStart::Sunday,
        };
        assert_eq!(sunday.period_of(Period::Week, day(2026, 11, 21)).0, day(2026, 11, 15));
        let monday = Calendar::default();
        assert_eq!(monday.period_of(Period::Week, day(2026, 11, 22)).0, day(2026, 11, 16));
    }

    proptest! {
        #[test]
        fn a_period_holds_its_day_and_the_next_begins_the_day_after(offset in 0_u64..40_000, is_week in any::<bool>()) {
            let period = if is_week { Period::Week } else { Period::Month };
            let today = FIRST_DAY + Days::new(offset);
            let (first, last) = Calendar::default().period_of(period, today);
            prop_assert!(first <= today && today <= last);
            let (next, _) = Calendar::default().period_of(period, last + Days::new(1));
            prop_assert_eq!(next, last + Days::new(1));
        }
    }
}
