//! Dates as people write them. Whether the day or the month comes first is decided by the whole column, never by one
//! cell.

use chrono::NaiveDate;

use super::super::{OptionError, StatementError, decimal::date, text::quote};

/// What comes first. A year of four digits is known where it stands, so only the other cells ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// `31.01.2024`
    Day,
    /// `01/31/2024`
    Month,
    /// `24-01-31`; never guessed.
    Year,
}

/// The beginnings of months' names, by month, in the seven languages of the headings.
const MONTHS: [&[&str]; 12] = [
    &["jan", "jän", "ene", "gen", "sty"],
    &["feb", "fév", "fev", "lut"],
    &["mar", "mär", "mrz", "mrt", "maa"],
    &["apr", "avr", "abr", "kwi"],
    &["may", "mai", "mei", "mag", "maj"],
    &["jun", "juin", "giu", "cze"],
    &["jul", "juil", "lug", "lip"],
    &["aug", "aoû", "aou", "ago", "sie"],
    &["sep", "set", "wrz"],
    &["oct", "okt", "ott", "paź", "paz"],
    &["nov", "lis"],
    &["dec", "dez", "déc", "dic", "gru"],
];

/// The order that was asked for.
///
/// # Errors
/// [`OptionError`] when day, month and year are not all in it, or in an order nobody writes.
pub(super) fn asked(format: &str) -> Result<Order, OptionError> {
    let format = format.to_lowercase();
    let mut letters: Vec<char> = format.chars().filter(|c| matches!(c, 'd' | 'm' | 'y')).collect();
    letters.dedup();
    match letters.as_slice() {
        ['d', 'm', 'y'] => Ok(Order::Day),
        ['m', 'd', 'y'] => Ok(Order::Month),
        ['y', 'm', 'd'] => Ok(Order::Year),
        _ => Err(OptionError {
            name: "csv.date_format".into(),
            problem: format!("'{}' is none of DMY, MDY and YMD", quote(&format)),
        }),
    }
}

/// The order by which more cells are dates.
///
/// # Errors
/// [`StatementError::AmbiguousDate`] when either does and they are not the same dates.
pub(super) fn order<'a>(cells: impl Iterator<Item = &'a str>) -> Result<Order, StatementError> {
    let (mut day_first, mut month_first) = (0_usize, 0_usize);
    let mut example = None;
    for cell in cells {
        let by_day = read(cell, Order::Day);
        // Nobody writes the month first and dots between.
        let by_month = if cell.contains('.') {
            None
        } else {
            read(cell, Order::Month)
        };
        day_first += usize::from(by_day.is_some());
        month_first += usize::from(by_month.is_some());
        if by_day.is_some() && by_month.is_some() && by_day != by_month && example.is_none() {
            example = Some(quote(cell));
        }
    }
    match (day_first.cmp(&month_first), example) {
        (std::cmp::Ordering::Less, _) => Ok(Order::Month),
        (std::cmp::Ordering::Equal, Some(example)) => Err(StatementError::AmbiguousDate { example }),
        _ => Ok(Order::Day),
    }
}

/// A cell's date; a time of day after it is passed over.
pub(super) fn read(cell: &str, order: Order) -> Option<NaiveDate> {
    let cell = cell.trim();
    let cell = match cell.find(':') {
        Some(colon) => &cell[..cell[..colon].rfind([' ', 'T'])?],
        None => cell,
    };
    let groups: Vec<&str> = cell
        .split([' ', '\u{a0}', '.', ',', '-', '/'])
        .filter(|group| !group.is_empty())
        .take(4)
        .collect();
    match groups.as_slice() {
        [digits] if digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_digit()) => {
            let year_first = numbers(&digits[..4], &digits[4..6], &digits[6..]);
            let by_year = year_first.and_then(|(year, month, day)| date(year, month, day));
            by_year.or_else(|| ordered(&digits[..2], &digits[2..4], &digits[4..], order))
        }
        [first, second, third] => match (month(first), month(second)) {
            (Some(month), _) => dated(third, month, second),
            (_, Some(month)) if first.len() == 4 => dated(first, month, third),
            (_, Some(month)) => dated(third, month, first),
            _ if first.len() == 4 => ordered(first, second, third, Order::Year),
            _ => ordered(first, second, third, order),
        },
        _ => None,
    }
}

fn ordered(first: &str, second: &str, third: &str, order: Order) -> Option<NaiveDate> {
    let (year, month, day) = match order {
        Order::Day => (third, second, first),
        Order::Month => (third, first, second),
        Order::Year => (first, second, third),
    };
    dated(year, month.parse().ok()?, day)
}

fn dated(year: &str, month: u32, day: &str) -> Option<NaiveDate> {
    let (number, _, day) = numbers(year, "1", day)?;
    match year.len() {
        4 => date(number, month, day),
        2 => date(if number < 80 { 2000 + number } else { 1900 + number }, month, day),
        _ => None,
    }
}

fn numbers(year: &str, month: &str, day: &str) -> Option<(i32, u32, u32)> {
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    (plain(year) && plain(month) && plain(day) && day.len() <= 2)
        .then(|| Some((year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)))?
}

/// The month that a word names.
fn month(word: &str) -> Option<u32> {
    if word.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let word = word.to_lowercase();
    let place = MONTHS
        .iter()
        .position(|names| names.iter().any(|name| word.starts_with(name)))?;
    u32::try_from(place + 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(cell: &str, order: Order) -> Option<String> {
        read(cell, order).map(|date| date.to_string())
    }

    #[test]
    fn dates_of_every_habit_are_read() {
        let cells = [
            "31.01.2024",
            "31/1/24",
            "2024-01-31",
            "2024/01/31 23:59",
            "2024-01-31T10:00:00Z",
            "20240131",
            "31012024",
        ];
        let more = [
            "31 Jan 2024",
            "31-janv.-2024",
            "Jan 31, 2024",
            "31 stycznia 2024",
            "2024-Jan-31",
            "31.01.2024 10:11:12 PM",
        ];
        for cell in cells.into_iter().chain(more) {
            assert_eq!(told(cell, Order::Day).as_deref(), Some("2024-01-31"), "{cell}");
        }
        assert_eq!(told("1/31/2024", Order::Month).as_deref(), Some("2024-01-31"));
        assert_eq!(told("24-01-31", Order::Year).as_deref(), Some("2024-01-31"));
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for cell in [
            "",
            "31.02.2024",
            "2024",
            "1/2",
            "1/2/3/4",
            "31.01.024",
            "12:30",
            "+1/+2/2024",
            "0x1.1.2024",
            "١/١/2024",
            "é:",
        ] {
            assert_eq!(told(cell, Order::Day), None, "{cell}");
        }
    }

    #[test]
    fn the_whole_column_decides() {
        assert_eq!(order(["01/02/2024", "13/02/2024"].into_iter()), Ok(Order::Day));
        assert_eq!(
            order(["01/02/2024", "02/13/2024", "broken"].into_iter()),
            Ok(Order::Month)
        );
        assert_eq!(order(["01.02.2024"].into_iter()), Ok(Order::Day));
        assert_eq!(order(["2024-01-02", "02/02/2024", ""].into_iter()), Ok(Order::Day));
        assert_eq!(
            order(["2024-01-02", "01/02/2024"].into_iter()),
            Err(StatementError::AmbiguousDate {
                example: "01/02/2024".into()
            })
        );
    }

    #[test]
    fn an_order_may_be_asked_for() {
        assert_eq!(
            (asked("DD/MM/YYYY"), asked("%m/%d/%Y"), asked("yyyy-mm-dd")),
            (Ok(Order::Day), Ok(Order::Month), Ok(Order::Year))
        );
        assert!(asked("YYYY-DD-MM").is_err());
        assert!(asked("").is_err());
    }
}
