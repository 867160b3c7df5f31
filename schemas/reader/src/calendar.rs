//! When: one calendar per family. Its zone says which day it is, its week start where a week begins; no device is asked.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, Utc, Weekday};
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
