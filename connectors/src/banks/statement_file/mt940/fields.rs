//! The fields of an MT940 file.

/// The tag of the pseudo-field that ends a message.
pub(super) const END: &str = "-";

/// A field: `:61:` with its first line and the lines that continue it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field<'a> {
    /// The tag without its colons, or [`END`].
    pub(super) tag: String,
    /// Where it begins, counted from 1.
    pub(super) line: usize,
    /// Its lines, the first one without the tag.
    pub(super) lines: Vec<&'a str>,
}

/// Splits a text into fields. What stands before the first field and between messages is passed over.
pub(super) fn fields(text: &str) -> Vec<Field<'_>> {
    let mut fields: Vec<Field<'_>> = Vec::new();
    let mut is_torn = false;
    for (place, line) in text.lines().enumerate() {
        let line = envelope_stripped(line.trim_end());
        let found = if is_torn { torn_tag(line) } else { tag(line) };
        // A lone colon is the beginning of a tag whose rest fell onto the next line.
        is_torn = line == ":";
        if is_torn {
            continue;
        }
        match (found, fields.last_mut()) {
            (Some((tag, rest)), _) => fields.push(Field { tag: tag.to_owned(), line: place + 1, lines: vec![rest] }),
            (None, _) if is_end(line) => fields.push(Field { tag: END.to_owned(), line: place + 1, lines: Vec::new() }),
            (None, Some(field)) if field.tag != END => field.lines.push(line),
            _ => {}
        }
    }
    fields
}

/// The tag that begins a line, and the rest of the line.
pub(super) fn tag(line: &str) -> Option<(&str, &str)> {
    torn_tag(line.strip_prefix(':')?)
}

fn torn_tag(line: &str) -> Option<(&str, &str)> {
    let (tag, rest) = line.split_at_checked(line.bytes().take(4).position(|b| b == b':')?)?;
    let is_tag = match tag.as_bytes() {
        b"NS" => true,
        [first, second] => first.is_ascii_digit() && second.is_ascii_digit(),
        [first, second, third] => first.is_ascii_digit() && second.is_ascii_digit() && third.is_ascii_alphanumeric(),
        _ => false,
    };
    is_tag.then(|| (tag, &rest[1..]))
}

/// `{4::20:…` begins a field as `:20:…` does.
fn envelope_stripped(line: &str) -> &str {
    match line.find("{4:") {
        Some(place) if line.starts_with('{') && line[place + 3..].starts_with(':') => &line[place + 3..],
        _ => line,
    }
}

/// `-`, `-}{5:}`, `-XXX`, or the next message's envelope.
fn is_end(line: &str) -> bool {
    matches!(line, "-" | "-XXX") || line.starts_with("-}") || line.starts_with("{1:")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        fields(text).into_iter().map(|field| format!("{} {}={}", field.line, field.tag, field.lines.join("|"))).collect()
    }

    #[test]
    fn fields_go_on_over_lines_and_end_with_their_message() {
        assert_eq!(told("940 00\n:20:a\n:86:b\n- c\n\nd\n-XXX\nnoise\n:20:e"), ["2 20=a", "3 86=b|- c||d", "7 -=", "9 20=e"]);
        assert_eq!(told("{1:x}{4::20:a\n-}{5:}"), ["1 20=a", "2 -="]);
    }

    #[test]
    fn what_only_looks_like_a_tag_continues_a_field() {
        assert_eq!(told(":86:a\n:b: c\n:1:\n12:30"), ["1 86=a|:b: c|:1:|12:30"]);
    }

    #[test]
    fn a_torn_tag_is_mended() {
        assert_eq!(told(":61:a\n:\n86:b"), ["1 61=a", "3 86=b"]);
    }
}
