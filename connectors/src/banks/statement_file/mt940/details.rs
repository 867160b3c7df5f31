//! `:86:`, what a row is about, in the three habits of banks: `166?00…?20…?32…`, `/NAME/…/REMI/…`, and plain words.

use super::super::text;

/// A line of at least this many characters was cut by the bank's printer, not ended by its writer. Source: SWIFT allows
/// 65.
const CUT_LINE_CHARS_MIN: usize = 64;
/// A subfield of at least this many characters goes on in the next one. Source: the German banks' guide allows 27.
const CUT_SUBFIELD_CHARS_MIN: usize = 27;
/// The tags between slashes, sorted. Source: guides of ABN AMRO, ING, Rabobank and Triodos.
const SLASHED_TAGS: &[&str] = &[
    "ADDR", "BENM", "BIC", "CNTP", "CSID", "EREF", "IBAN", "ID", "INIT", "ISDT", "KREF", "MARF", "NAME", "NRTX",
    "ORDP", "PREF", "PURP", "REMI", "RTRN", "SVCL", "TRCD", "TRTP", "ULTB", "ULTC", "ULTD",
];
/// What ends the remittance information of a SEPA payment within the `?2x` subfields.
const SEPA_TAGS: &[&str] = &[
    "ABWA+", "ABWE+", "BIC+", "COAM+", "CRED+", "DEBT+", "EREF+", "IBAN+", "KREF+", "MREF+", "OAMT+", "RREF+", "SVWZ+",
];

/// What a row is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Details {
    /// The other side's name.
    pub(super) counterparty: String,
    /// Remittance information.
    pub(super) remittance: String,
}

/// Reads the lines of a `:86:`.
pub(super) fn read(lines: &[&str]) -> Details {
    let (counterparty, remittance) = coded(&lines.concat())
        .or_else(|| slashed(&flowed(lines)))
        .or_else(|| led_by_iban(lines))
        .unwrap_or_else(|| (String::new(), flowed(lines)));
    Details {
        counterparty: text::clean(&counterparty, text::COUNTERPARTY_CHARS_MAX),
        remittance: text::clean(&remittance, text::REMITTANCE_CHARS_MAX),
    }
}

/// Lines as one text: cut ones joined, ended ones with a space between.
fn flowed(lines: &[&str]) -> String {
    let mut text = String::new();
    for line in lines {
        text.push_str(line);
        if line.chars().count() < CUT_LINE_CHARS_MIN {
            text.push(' ');
        }
    }
    text
}

/// A transaction code of three digits, then subfields: a separator of the bank's choice, two digits, text.
fn coded(text: &str) -> Option<(String, String)> {
    let text = text.trim_start();
    let (code, rest) = text.split_at_checked(3)?;
    let separator = rest
        .chars()
        .next()
        .filter(|c| !c.is_alphanumeric() && !c.is_whitespace())?;
    let subfield = |part: &str| part.len() >= 2 && part.as_bytes()[..2].iter().all(u8::is_ascii_digit);
    if !code.bytes().all(|b| b.is_ascii_digit()) || !rest.split(separator).nth(1).is_some_and(subfield) {
        return None;
    }
    let (mut posting, mut name, mut remittance) = (String::new(), String::new(), String::new());
    let mut goes_to = 0;
    for part in rest.split(separator).skip(1) {
        let (key, words) = match part.split_at_checked(2) {
            Some((key, words)) if subfield(part) => (key.parse().unwrap_or(0), words.to_owned()),
            // A separator within the text.
            _ => (goes_to, format!("{separator}{part}")),
        };
        let text = match key {
            0 => &mut posting,
            20..=29 | 60..=63 => &mut remittance,
            32 | 33 => &mut name,
            _ => {
                goes_to = key;
                continue;
            }
        };
        text.push_str(&words);
        if words.chars().count() < CUT_SUBFIELD_CHARS_MIN {
            text.push(' ');
        }
        goes_to = key;
    }
    let remittance = purpose(&remittance).unwrap_or(&remittance);
    let remittance = if remittance.trim().is_empty() {
        &posting
    } else {
        remittance
    };
    Some((name, remittance.to_owned()))
}

/// What stands under `SVWZ+`, the remittance information proper, up to the next tag of its kind.
fn purpose(remittance: &str) -> Option<&str> {
    let (_, purpose) = remittance.split_once("SVWZ+")?;
    let end = SEPA_TAGS
        .iter()
        .filter_map(|tag| purpose.find(tag))
        .min()
        .unwrap_or(purpose.len());
    Some(&purpose[..end]).filter(|purpose| !purpose.trim().is_empty())
}

/// `/TAG/text` after `/TAG/text`. Texts may hold slashes, so only known tags count.
fn slashed(text: &str) -> Option<(String, String)> {
    let (mut name, mut remittance) = (None, None);
    let mut parts = text.split('/').skip(1).peekable();
    while let Some(tag) = parts.next() {
        if SLASHED_TAGS.binary_search(&tag.trim()).is_err() {
            continue;
        }
        let mut value = Vec::new();
        while let Some(part) = parts.next_if(|part| SLASHED_TAGS.binary_search(&part.trim()).is_err()) {
            value.push(part);
        }
        match tag.trim() {
            "NAME" if name.is_none() => name = Some(value.join("/")),
            // Account, bank, name and town, between slashes.
            "CNTP" if name.is_none() => name = value.get(2).map(|name| (*name).to_owned()),
            "REMI" if remittance.is_none() => {
                let value = value.join("/");
                let value = value.trim();
                let bare = value
                    .strip_prefix("USTD//")
                    .or_else(|| value.strip_prefix("STRD/"))
                    .unwrap_or(value);
                remittance = Some(bare.trim_end_matches('/').to_owned());
            }
            _ => {}
        }
    }
    let is_slashed = name.is_some() || remittance.is_some();
    is_slashed.then(|| {
        (
            name.unwrap_or_default().trim_end_matches('/').to_owned(),
            remittance.unwrap_or_default(),
        )
    })
}

/// The other side's IBAN and name on the first line, what it is about on the others.
fn led_by_iban(lines: &[&str]) -> Option<(String, String)> {
    let (first, others) = lines.split_first()?;
    let (iban, name) = first.trim().split_once(' ')?;
    let is_iban = (15..=34).contains(&iban.len())
        && iban.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        && iban.bytes().take(2).all(|b| b.is_ascii_uppercase())
        && iban.bytes().skip(2).take(2).all(|b| b.is_ascii_digit());
    is_iban.then(|| (name.to_owned(), flowed(others)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[&str]) -> (String, String) {
        let details = read(lines);
        (details.counterparty, details.remittance)
    }

    fn pair(counterparty: &str, remittance: &str) -> (String, String) {
        (counterparty.to_owned(), remittance.to_owned())
    }

    #[test]
    fn coded_details_give_name_and_purpose() {
        let lines = [
            "166?00CREDIT?100399?20EREF+7?21SVWZ+Rent for the month of J?2",
            "2une?31DE1?32Richter Renate 70 Zeichen B?33eginn",
        ];
        assert_eq!(
            told(&lines),
            pair("Richter Renate 70 Zeichen Beginn", "Rent for the month of June")
        );
        assert_eq!(
            told(&["008?00STANDING ORDER?20Rent June?21Ann?3010020030?32MUELLER"]),
            pair("MUELLER", "Rent June Ann")
        );
        assert_eq!(told(&[" 844~00Interest~34000"]), pair("", "Interest"));
        assert_eq!(told(&["079?00Really?Yes?109800"]), pair("", "Really ?Yes"));
    }

    #[test]
    fn slashed_details_give_name_and_remittance() {
        let cut = "/EREF/01-01-2013 12:00 0030000987654321/BENM//NAME/CONTRA ACCOUN";
        assert_eq!(
            told(&[cut, "T HOLDER/REMI//ISDT/2013-07-11"]),
            pair("CONTRA ACCOUNT HOLDER", "")
        );
        assert_eq!(
            told(&["/BENM//NAME/J/K DOE/REMI/Ref 7/8/ISDT/2013"]),
            pair("J/K DOE", "Ref 7/8")
        );
        assert_eq!(
            told(&["/CNTP/NL1/RABONL2U/SHOP/TOWN//REMI/USTD//Thanks/"]),
            pair("SHOP", "Thanks")
        );
    }

    #[test]
    fn plain_details_are_remittance() {
        assert_eq!(
            told(&["NL47INGB9999999999 hr paulissen", "", "Betaling"]),
            pair("hr paulissen", "Betaling")
        );
        assert_eq!(told(&["999PN5477SCHECK"]), pair("", "999PN5477SCHECK"));
        assert_eq!(
            told(&["/PT/FT/PY/SOMETHING", "  123"]),
            pair("", "/PT/FT/PY/SOMETHING 123")
        );
        assert_eq!(told(&[]), pair("", ""));
    }

    #[test]
    fn the_list_of_tags_is_sorted() {
        assert!(SLASHED_TAGS.is_sorted());
    }
}
