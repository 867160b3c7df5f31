//! Amounts as people write them. Which mark is of decimals is decided by the whole file, never by one cell.

use domain::{Currency, Money};

use super::super::{
    DecimalMark, StatementError,
    decimal::{money, ungrouped},
    text::quote,
};

/// What people write beside an amount, folded to lower case. ISO 4217 codes are known besides.
const SYMBOLS: &[&str] = &[
    "$", "£", "¥", "€", "₹", "₺", "₽", "cr", "dr", "fr", "ft", "kr", "kč", "lei", "r$", "rs", "us$", "zł",
];

/// The mark of decimals.
///
/// # Errors
/// [`StatementError::AmbiguousDecimal`] when every cell reads both ways in a currency of three decimals, or when as
/// many cells speak for one mark as for the other.
pub(super) fn mark<'a>(
    cells: impl Iterator<Item = &'a str>,
    has_three_decimals: bool,
) -> Result<DecimalMark, StatementError> {
    let (mut commas, mut points) = (0_usize, 0_usize);
    let mut example = None;
    for cell in cells {
        match spoken(cell) {
            Some(Spoken::For(DecimalMark::Comma)) => commas += 1,
            Some(Spoken::For(DecimalMark::Point)) => points += 1,
            Some(Spoken::Either(mark)) => example = example.or_else(|| Some((quote(cell), mark))),
            None => {}
        }
        if commas > 0 && commas == points {
            example = example.or_else(|| Some((quote(cell), DecimalMark::Point)));
        }
    }
    match (commas.cmp(&points), example) {
        (std::cmp::Ordering::Less, _) => Ok(DecimalMark::Point),
        (std::cmp::Ordering::Greater, _) => Ok(DecimalMark::Comma),
        // `1,234` cannot be a decimal where a currency has two: the mark groups, and the other one is of decimals.
        (_, Some((_, DecimalMark::Comma))) if commas == 0 && !has_three_decimals => Ok(DecimalMark::Point),
        (_, Some((_, DecimalMark::Point))) if commas == 0 && !has_three_decimals => Ok(DecimalMark::Comma),
        (_, Some((example, _))) => Err(StatementError::AmbiguousDecimal { example }),
        (_, None) => Ok(DecimalMark::Point),
    }
}

/// Reads a cell: a sign before or after, brackets for what is negative, a currency beside it, spaces or apostrophes
/// grouping.
///
/// # Errors
/// What is wrong, in words.
pub(super) fn read(cell: &str, mark: DecimalMark, currency: Currency) -> Result<Money, String> {
    let not_amount = || format!("'{}' is not an amount", quote(cell));
    let Bare {
        is_negative,
        digits,
        currency: stated,
    } = bare(cell).ok_or_else(not_amount)?;
    if let Some(stated) = stated.filter(|stated| *stated != currency) {
        return Err(format!("the amount is in {stated}, the account in {currency}"));
    }
    let (decimal, grouping) = match mark {
        DecimalMark::Comma => (',', '.'),
        DecimalMark::Point => ('.', ','),
    };
    let (whole, decimals) = digits.split_once(decimal).unwrap_or((&digits, ""));
    if !decimals.bytes().all(|b| b.is_ascii_digit()) || (whole.is_empty() && decimals.is_empty()) {
        return Err(not_amount());
    }
    let grouping = if whole.contains('\'') { '\'' } else { grouping };
    let whole = ungrouped(whole, grouping).ok_or_else(not_amount)?;
    money(is_negative, &whole, decimals, currency)
}

/// Is it written as a negative amount?
pub(super) fn is_negative(cell: &str) -> bool {
    bare(cell).is_some_and(|bare| bare.is_negative && bare.digits.bytes().any(|b| (b'1'..=b'9').contains(&b)))
}

/// The currency that stands beside an amount: a code of ISO 4217, or a sign that only one currency has.
pub(super) fn stated_currency(cell: &str) -> Option<Currency> {
    bare(cell)?.currency
}

enum Spoken {
    /// The cell can only be read with this mark of decimals.
    For(DecimalMark),
    /// The cell has this one mark and may mean either by it.
    Either(DecimalMark),
}

/// Which mark a cell speaks for; none when it has no mark, or is no amount.
fn spoken(cell: &str) -> Option<Spoken> {
    let digits = bare(cell)?.digits;
    let last = digits.rfind([',', '.'])?;
    let (this, other) = if digits[last..].starts_with(',') {
        (DecimalMark::Comma, DecimalMark::Point)
    } else {
        (DecimalMark::Point, DecimalMark::Comma)
    };
    let sign = if this == DecimalMark::Comma { ',' } else { '.' };
    let (before, after) = (&digits[..last], &digits[last + 1..]);
    if before.contains(sign) {
        return Some(Spoken::For(other));
    }
    let may_group = after.len() == 3 && (1..=3).contains(&before.len()) && !before.starts_with('0');
    Some(if may_group {
        Spoken::Either(this)
    } else {
        Spoken::For(this)
    })
}

/// A cell's parts.
struct Bare {
    is_negative: bool,
    /// With their marks; whatever groups digits without being a mark is an apostrophe.
    digits: String,
    currency: Option<Currency>,
}

fn bare(cell: &str) -> Option<Bare> {
    let mut currency = None;
    let cell = cell.trim().to_lowercase();
    let (mut is_negative, mut rest) = match cell.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        Some(inside) => (true, inside.trim()),
        None => (false, cell.as_str()),
    };
    // Sign and currency may stand on either side, in either order, each once.
    for _ in 0..4 {
        let before = rest;
        if let Some(unsigned) = rest
            .strip_prefix(['-', '\u{2212}'])
            .or_else(|| rest.strip_suffix(['-', '\u{2212}']))
        {
            if is_negative {
                return None;
            }
            (is_negative, rest) = (true, unsigned);
        } else if let Some(unsigned) = rest.strip_prefix('+').or_else(|| rest.strip_suffix('+')) {
            rest = unsigned;
        } else {
            let (bare, symbol) = without_symbol(rest);
            is_negative |= symbol == "dr";
            currency = currency.or_else(|| named(symbol));
            rest = bare;
        }
        rest = rest.trim();
        if rest == before {
            break;
        }
    }
    let groups = |c: char| c.is_whitespace() || matches!(c, '\'' | '’');
    let digits: String = rest.chars().map(|c| if groups(c) { '\'' } else { c }).collect();
    let is_amount = digits.len() <= 60
        && digits
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, ',' | '.' | '\''));
    (is_amount && digits.contains(|c: char| c.is_ascii_digit())).then_some(Bare {
        is_negative,
        digits,
        currency,
    })
}

/// The one currency that a word or sign beside an amount names.
fn named(symbol: &str) -> Option<Currency> {
    let code = match symbol {
        "€" => "EUR".to_owned(),
        "₹" => "INR".to_owned(),
        "zł" => "PLN".to_owned(),
        code => code.to_uppercase(),
    };
    code.parse().ok()
}

/// The amount without the currency or word beside it, and that word.
fn without_symbol(text: &str) -> (&str, &str) {
    let is_of_amount = |c: char| c.is_ascii_digit() || matches!(c, ',' | '.' | '-' | '+' | '\u{2212}');
    let is_symbol = |word: &str| SYMBOLS.contains(&word) || word.to_uppercase().parse::<Currency>().is_ok();
    let (before, rest) = text.split_at(text.find(is_of_amount).unwrap_or(text.len()));
    if is_symbol(before.trim()) {
        return (rest, before.trim());
    }
    let (rest, after) = text.split_at(text.trim_end_matches(|c| !is_of_amount(c)).len());
    if is_symbol(after.trim()) {
        (rest, after.trim())
    } else {
        (text, "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(cell: &str, mark: DecimalMark) -> Option<String> {
        read(cell, mark, "EUR".parse().expect("known"))
            .ok()
            .map(|money| money.amount().to_string())
    }

    #[test]
    fn amounts_of_every_habit_are_read() {
        let points = [
            "-1,234.50",
            "(1,234.50)",
            "1,234.50-",
            "$-1,234.50",
            "-$1,234.5",
            "-1 234.50 EUR",
            "EUR -1'234.50",
            "1234.50 DR",
            "\u{2212}1234.5",
        ];
        for cell in points {
            assert_eq!(told(cell, DecimalMark::Point).as_deref(), Some("-1234.50"), "{cell}");
        }
        for cell in [
            "-1.234,50",
            "-1234,5 €",
            "1.234,50- €",
            "-1\u{a0}234,50 Fr",
            "- 1.234,50",
        ] {
            assert_eq!(told(cell, DecimalMark::Comma).as_deref(), Some("-1234.50"), "{cell}");
        }
        assert_eq!(
            (
                told("+5", DecimalMark::Comma).as_deref(),
                told(".5", DecimalMark::Point).as_deref()
            ),
            (Some("5.00"), Some("0.50"))
        );
        assert_eq!(told("1,23,456.00", DecimalMark::Point).as_deref(), Some("123456.00"));
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for cell in [
            "",
            "-",
            "x",
            "12x",
            "1.2.3",
            "--5",
            "1,2",
            "1 2.00",
            "5.001",
            "1e5",
            "٣",
            "(-5)x",
            "€",
            "12,34,5.00",
        ] {
            assert_eq!(told(cell, DecimalMark::Point), None, "{cell}");
        }
    }

    #[test]
    fn an_amount_says_which_currency_it_is_in() {
        let told = |cell: &str| stated_currency(cell).map(|currency| currency.code().to_owned());
        assert_eq!(
            (told("-4,50 PLN"), told("€ 5"), told("$5"), told("5")),
            (Some("PLN".into()), Some("EUR".into()), None, None)
        );
        let error = read("5.00 zł", DecimalMark::Point, "EUR".parse().expect("known"));
        assert_eq!(error, Err("the amount is in PLN, the account in EUR".into()));
    }

    #[test]
    fn the_whole_file_decides_on_the_mark() {
        let decided = |cells: &[&str]| mark(cells.iter().copied(), false);
        assert_eq!(decided(&["1.234", "-4,50"]), Ok(DecimalMark::Comma));
        assert_eq!(decided(&["1,234", "4.5"]), Ok(DecimalMark::Point));
        assert_eq!(decided(&["1.234.567"]), Ok(DecimalMark::Comma));
        assert_eq!(decided(&["1.234", "5"]), Ok(DecimalMark::Comma));
        assert_eq!(decided(&["0.123"]), Ok(DecimalMark::Point));
        assert_eq!(decided(&["5", "", "x"]), Ok(DecimalMark::Point));
        assert!(matches!(
            decided(&["1,5", "1.5"]),
            Err(StatementError::AmbiguousDecimal { .. })
        ));
        assert_eq!(
            mark(["1.234"].into_iter(), true),
            Err(StatementError::AmbiguousDecimal {
                example: "1.234".into()
            })
        );
    }
}
