//! Text that people write: bounded, without control characters.

use crate::family::FamilyRefusal;

/// Longest name of a family, member, account, category or chore, in characters. Source: ours.
pub const NAME_CHARS_MAX: usize = 120;
/// Longest note, payee or remittance text, in characters. Source: ours.
pub const NOTE_CHARS_MAX: usize = 500;

/// A name: trimmed, 1 to [`NAME_CHARS_MAX`] characters, none of them a control character.
///
/// # Errors
/// [`FamilyRefusal::BadText`] naming `field`.
pub fn name(field: &'static str, text: &str) -> Result<String, FamilyRefusal> {
    let text = text.trim();
    if !text.chars().any(is_visible) {
        Err(FamilyRefusal::BadText {
            field,
            max: NAME_CHARS_MAX,
        })
    } else {
        bounded(field, text, NAME_CHARS_MAX)
    }
}

/// A note: may be empty, at most [`NOTE_CHARS_MAX`] characters; line breaks become spaces.
///
/// # Errors
/// [`FamilyRefusal::BadText`] naming `field`.
pub fn note(field: &'static str, text: &str) -> Result<String, FamilyRefusal> {
    bounded(field, &text.trim().replace(['\n', '\r', '\t'], " "), NOTE_CHARS_MAX)
}

/// Text from a bank, which nobody here can correct: what a note may not hold is left out, and the rest cut to `max` characters.
pub fn cleaned(text: &str, max: usize) -> String {
    let kept: String = text
        .chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .filter(|c| !is_misleading(*c))
        .collect();
    kept.split(' ')
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(max)
        .collect()
}

/// Control characters, and those that make one text look like another.
fn is_misleading(c: char) -> bool {
    let is_of_layout = matches!(
        c,
        '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{1D173}'..='\u{1D17A}'
    );
    let is_no_character = matches!(c, '\u{FDD0}'..='\u{FDEF}') || u32::from(c) & 0xFFFE == 0xFFFE;
    c.is_control() || is_of_layout || is_no_character
}

/// Characters that show nothing at all; joiners and marks of direction are not among them, scripts and emoji need those.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{AD}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180E}' | '\u{200B}' | '\u{2060}'
            ..='\u{2064}' | '\u{2800}' | '\u{3164}' | '\u{FFA0}'
    )
}

/// Does it show anything by itself? Joiners, marks of direction, variation selectors and tags only change what is beside them.
fn is_visible(c: char) -> bool {
    !(c.is_whitespace()
        || is_invisible(c)
        || matches!(c, '\u{61C}' | '\u{200C}'..='\u{200F}' | '\u{FE00}'..='\u{FE0F}' | '\u{E0000}'..='\u{E01EF}'))
}

fn bounded(field: &'static str, text: &str, max: usize) -> Result<String, FamilyRefusal> {
    if text.chars().count() > max || text.chars().any(|c| is_misleading(c) || is_invisible(c)) {
        return Err(FamilyRefusal::BadText { field, max });
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_trimmed_and_bounded() {
        assert_eq!(name("name", "  Ada  "), Ok("Ada".to_owned()));
        assert!(name("name", "   ").is_err());
        assert!(name("name", &"x".repeat(NAME_CHARS_MAX + 1)).is_err());
        assert!(name("name", "a\u{0}b").is_err());
        assert!(name("name", "a\u{202E}b").is_err());
    }

    #[test]
    fn a_name_shows_something() {
        for nothing in [
            "\u{200B}",
            "\u{200D}",
            "\u{200E}\u{FE0F}",
            "\u{3164}",
            "a\u{200B}b",
            "\u{AD}",
            "\u{2800}",
            "\u{17B4}",
            "a\u{2028}b",
            "a\u{206A}b",
            "a\u{FFF9}b",
            "a\u{FFFF}b",
            "a\u{1D173}b",
        ] {
            assert!(name("name", nothing).is_err(), "{nothing:?}");
        }
        // A family of four, an English flag, Persian with a non-joiner, a name from right to left.
        for seen in [
            "👨\u{200D}👩\u{200D}👧\u{200D}👦",
            "🏴\u{E0067}\u{E0062}\u{E007F}",
            "می\u{200C}خواهم",
            "\u{200F}דנה",
        ] {
            assert_eq!(name("name", seen).as_deref(), Ok(seen));
        }
    }
}
