//! Amounts and dates as machines write them: OFX, CAMT and MT940. What people write in CSV is read in `csv`.

use chrono::{Datelike, NaiveDate};
use domain::{Currency, Money};

use super::text::quote;

/// Reads digits with an optional sign and at most one decimal mark, comma or point. `12,`, `,5` and leading zeros are
/// amounts; where both marks stand, the first one groups thousands.
///
/// # Errors
/// What is wrong, in words.
pub(super) fn amount(text: &str, currency: Currency) -> Result<Money, String> {
    let not_amount = || format!("'{}' is not an amount", quote(text));
    let text = text.trim();
    let (is_negative, digits) = match text.strip_prefix(['-', '\u{2212}']) {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, decimals) = match digits.rfind([',', '.']) {
        Some(mark) => (&digits[..mark], &digits[mark + 1..]),
        None => (digits, ""),
    };
    let grouping = if digits[whole.len()..].starts_with(',') {
        '.'
    } else {
        ','
    };
    let whole = ungrouped(whole, grouping).ok_or_else(not_amount)?;
    if !decimals.bytes().all(|b| b.is_ascii_digit()) || (whole.is_empty() && decimals.is_empty()) {
        return Err(not_amount());
    }
    money(is_negative, &whole, decimals, currency)
}

/// Puts an amount together from its parts.
///
/// # Errors
/// What is wrong, in words.
pub(super) fn money(is_negative: bool, whole: &str, decimals: &str, currency: Currency) -> Result<Money, String> {
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let decimals = if decimals.is_empty() { "0" } else { decimals };
    let money = Money::parse(&format!("{whole}.{decimals}"), currency).map_err(|error| error.to_string())?;
    Ok(if is_negative { money.negated() } else { money })
}

/// Digits without their grouping mark; none when they are not grouped by threes (or, as in India, twos and a three).
pub(super) fn ungrouped(whole: &str, grouping: char) -> Option<String> {
    let groups: Vec<&str> = whole.split(grouping).collect();
    if !groups.iter().all(|group| group.bytes().all(|b| b.is_ascii_digit())) {
        return None;
    }
    if let [first, middle @ .., last] = groups.as_slice() {
        let by_three = middle.iter().all(|group| group.len() == 3);
        let by_two = middle.iter().all(|group| group.len() == 2) && first.len() <= 2;
        if first.is_empty() || first.len() > 3 || last.len() != 3 || !(by_three || by_two) {
            return (groups.len() == 1).then(|| groups.concat());
        }
    }
    Some(groups.concat())
}

/// A date of the years 1900 to 2199; a statement outside them is a misreading.
pub(super) fn date(year: i32, month: u32, day: u32) -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt(year, month, day).filter(|date| (1900..2200).contains(&date.year()))
}

/// The date that begins a text as `YYYYMMDD`, whatever time and zone follow: the local date as written.
pub(super) fn compact_date(text: &str) -> Option<NaiveDate> {
    let text = text.trim();
    let digits = text
        .get(..8)
        .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
    date(
        digits[..4].parse().ok()?,
        digits[4..6].parse().ok()?,
        digits[6..].parse().ok()?,
    )
}

/// The date that begins a text as `YYYY-MM-DD`, whatever time and zone follow: the local date as written.
pub(super) fn iso_date(text: &str) -> Option<NaiveDate> {
    let text = text.trim().get(..10)?;
    let part = |range: std::ops::Range<usize>| text.get(range).filter(|part| part.bytes().all(|b| b.is_ascii_digit()));
    let dashes = text.get(4..5) == Some("-") && text.get(7..8) == Some("-");
    dashes
        .then(|| {
            date(
                part(0..4)?.parse().ok()?,
                part(5..7)?.parse().ok()?,
                part(8..10)?.parse().ok()?,
            )
        })
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        amount(text, "EUR".parse().expect("known"))
            .ok()
            .map(|money| money.amount().to_string())
    }

    #[test]
    fn amounts_of_machines_are_read() {
        let read_as = [
            ("380115,", "380115.00"),
            ("0,12", "0.12"),
            (",5", "0.50"),
            ("000000001000,00", "1000.00"),
            ("-5.5", "-5.50"),
        ];
        let more = [
            ("+0115.8300", "115.83"),
            ("1.234,56", "1234.56"),
            ("1,234.56", "1234.56"),
            ("-0", "0.00"),
            ("12,34,567.00", "1234567.00"),
        ];
        for (text, amount) in read_as.into_iter().chain(more) {
            assert_eq!(read(text).as_deref(), Some(amount), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in [
            "",
            "-",
            ",",
            "$120",
            "1e5",
            "--1",
            "1.2.3",
            "1,2345.00",
            "0.001",
            "1 000",
            "٣",
            "9999999999999999999999999999999999",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn dates_are_taken_as_written() {
        let day = NaiveDate::from_ymd_opt(2009, 4, 1);
        assert_eq!(compact_date("20090401235959.000[-5:EST]"), day);
        assert_eq!(iso_date("2009-04-01T23:59:59+14:00"), day);
        assert_eq!(
            (
                compact_date("201120000000"),
                compact_date("2009"),
                compact_date("00010101")
            ),
            (None, None, None)
        );
        assert_eq!(
            (iso_date("2009-4-01"), iso_date("2009-02-30"), iso_date("2009é04-01")),
            (None, None, None)
        );
    }
}
