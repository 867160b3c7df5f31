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
    if text.is_empty() {
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
    c.is_control() || matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

fn bounded(field: &'static str, text: &str, max: usize) -> Result<String, FamilyRefusal> {
    if text.chars().count() > max || text.chars().any(is_misleading) {
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
}
