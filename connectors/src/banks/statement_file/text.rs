//! Bytes to text, and text to the bounds of a bank transaction.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::StatementError;

/// Longest name of a creditor or debtor, in characters.
pub(super) const COUNTERPARTY_CHARS_MAX: usize = 200;
/// Longest remittance information, in characters.
pub(super) const REMITTANCE_CHARS_MAX: usize = 500;
/// Longest entry reference, in characters.
pub(super) const REFERENCE_CHARS_MAX: usize = 255;
/// Longest category, in characters.
pub(super) const CATEGORY_CHARS_MAX: usize = 120;
/// Longest name of a bank account, in characters.
pub(super) const BANK_ACCOUNT_CHARS_MAX: usize = 64;
/// Most that an error quotes of a file, in characters.
const QUOTE_CHARS_MAX: usize = 40;

/// Text of a file. In this order: a byte order mark, the encoding asked for, UTF-16 by its zero bytes, valid UTF-8,
/// what the file declares of itself, Windows-1252.
///
/// # Errors
/// [`StatementError::Encoding`] when the encoding asked for does not exist or does not fit.
pub(super) fn decode<'a>(bytes: &'a [u8], asked: Option<&str>) -> Result<Cow<'a, str>, StatementError> {
    if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
        return strictly(encoding, &bytes[mark..]);
    }
    if let Some(label) = asked {
        let encoding =
            Encoding::for_label(label.as_bytes()).ok_or_else(|| StatementError::Encoding { label: quote(label) })?;
        return strictly(encoding, bytes);
    }
    match bytes {
        [_, 0, _, 0, ..] => return strictly(UTF_16LE, bytes),
        [0, _, 0, _, ..] => return strictly(UTF_16BE, bytes),
        _ => {}
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Ok(Cow::Borrowed(text));
    }
    let encoding = declared(bytes)
        .filter(|encoding| *encoding != UTF_8)
        .unwrap_or(WINDOWS_1252);
    Ok(encoding.decode_without_bom_handling(bytes).0)
}

fn strictly<'a>(encoding: &'static Encoding, bytes: &'a [u8]) -> Result<Cow<'a, str>, StatementError> {
    encoding
        .decode_without_bom_handling_and_without_replacement(bytes)
        .ok_or_else(|| StatementError::Encoding {
            label: encoding.name().to_lowercase(),
        })
}

/// What a file declares: `encoding="…"` of XML, `CHARSET:` and `ENCODING:` of OFX.
fn declared(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(512)]).to_lowercase();
    let after = |key: &str| -> Option<String> {
        let rest = &head[head.find(key)? + key.len()..];
        Some(
            rest.chars()
                .take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c))
                .collect(),
        )
    };
    let label = after("encoding=\"")
        .or_else(|| after("encoding='"))
        .or_else(|| after("charset:"))?;
    Encoding::for_label(label.as_bytes()).or_else(|| Encoding::for_label(format!("windows-{label}").as_bytes()))
}

/// Control characters out (those that turn the direction of text among them), white space collapsed, cut to a number of
/// characters.
pub(super) fn clean(text: &str, chars_max: usize) -> String {
    let mut clean = String::new();
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let words = words.filter(|word| !word.chars().all(is_invisible));
    for word in words {
        if !clean.is_empty() {
            clean.push(' ');
        }
        clean.extend(word.chars().filter(|c| !is_invisible(*c)));
        if clean.len() > chars_max * 4 {
            break;
        }
    }
    match clean.char_indices().nth(chars_max) {
        Some((end, _)) => clean[..end].trim_end().to_owned(),
        None => clean,
    }
}

/// Bidirectional overrides make one text look like another; the byte order mark and its like have no look at all.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

/// As [`clean`]; none when nothing is left.
pub(super) fn clean_some(text: &str, chars_max: usize) -> Option<String> {
    Some(clean(text, chars_max)).filter(|text| !text.is_empty())
}

/// What an error may quote.
pub(super) fn quote(text: &str) -> String {
    clean(text, QUOTE_CHARS_MAX)
}

/// Counts lines while a reader moves forward through a text; each byte is looked at once.
#[derive(Clone)]
pub(super) struct Lines<'a> {
    text: &'a [u8],
    byte: usize,
    line: usize,
}

impl<'a> Lines<'a> {
    /// At the beginning, on line 1.
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text: text.as_bytes(),
            byte: 0,
            line: 1,
        }
    }

    /// The line of a byte that is not before the last one asked for.
    pub(super) fn at(&mut self, byte: usize) -> usize {
        let byte = byte.clamp(self.byte, self.text.len());
        self.line += self.text[self.byte..byte].iter().filter(|b| **b == b'\n').count();
        self.byte = byte;
        self.line
    }

    /// The last line of the text.
    pub(super) fn last(mut self) -> usize {
        self.at(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usual_encoding_is_read() {
        assert_eq!(decode("Müller".as_bytes(), None).as_deref(), Ok("Müller"));
        assert_eq!(decode(b"\xef\xbb\xbfM\xc3\xbcller", None).as_deref(), Ok("Müller"));
        assert_eq!(decode(b"M\xfcller \x80", None).as_deref(), Ok("Müller €"));
        assert_eq!(decode(b"\xff\xfeM\0\xfc\0", None).as_deref(), Ok("Mü"));
        assert_eq!(decode(b"\xfe\xff\0M\0\xfc", None).as_deref(), Ok("Mü"));
        assert_eq!(decode(b"M\0i\0", None).as_deref(), Ok("Mi"));
        assert_eq!(
            decode(b"<?xml encoding=\"ISO-8859-2\"?>\xb3", None).as_deref(),
            Ok("<?xml encoding=\"ISO-8859-2\"?>ł")
        );
        assert_eq!(decode(b"CHARSET:1250\n\xb3", None).as_deref(), Ok("CHARSET:1250\nł"));
        assert_eq!(decode(b"\xb3", Some("iso-8859-2")).as_deref(), Ok("ł"));
    }

    #[test]
    fn an_encoding_that_does_not_fit_is_refused() {
        assert!(decode(b"x", Some("klingon")).is_err());
        assert!(decode(b"\xff", Some("utf-8")).is_err());
        assert!(decode(b"\xff\xfe\0", None).is_err());
    }

    #[test]
    fn text_is_cleaned_and_bounded() {
        assert_eq!(clean("  a\u{0}b \t\r\n c ", 10), "a b c");
        assert_eq!(clean("äöü", 2), "äö");
        assert_eq!(clean("a\u{202E}b \u{FEFF} c", 9), "ab c");
        assert_eq!(clean_some(" \u{7} ", 5), None);
    }

    #[test]
    fn lines_are_counted_forward() {
        let mut lines = Lines::new("a\nb\r\nc");
        assert_eq!((lines.at(0), lines.at(2), lines.at(5), lines.at(99)), (1, 2, 3, 3));
    }
}
