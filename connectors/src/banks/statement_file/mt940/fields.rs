//! The fields of an MT940 file.

/// The tag of the pseudo-field that ends a message.
pub(super) const END: &str = "-";

/// Most lines that one field keeps; the rest is passed over. Source: ours; SWIFT allows six.
const FIELD_LINES_MAX: usize = 64;

/// A field: `:61:` with its first line and the lines that continue it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field<'a> {
    /// The tag without its colons, or [`END`].
    pub(super) tag: &'a str,
    /// Where it begins, counted from 1.
    pub(super) line: usize,
    /// Its lines, the first one without the tag.
    pub(super) lines: Vec<&'a str>,
}

/// Walks over the fields of a text. What stands before the first field and between messages is passed over.
pub(super) struct Fields<'a> {
    lines: std::iter::Enumerate<std::str::Lines<'a>>,
    /// The field whose lines are being gathered.
    open: Option<Field<'a>>,
    is_torn: bool,
}

impl<'a> Fields<'a> {
    /// At the beginning of a text.
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            lines: text.lines().enumerate(),
            open: None,
            is_torn: false,
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        for (place, line) in self.lines.by_ref() {
            // Spaces that end a line are kept: where the bank's printer cut it, they are part of the text.
            let line = envelope_stripped(line.trim_end_matches('\r'));
            let found = if self.is_torn { torn_tag(line) } else { tag(line) };
            // A lone colon is the beginning of a tag whose rest fell onto the next line.
            self.is_torn = line.trim_end() == ":";
            let next = match found {
                Some((tag, rest)) => Field {
                    tag,
                    line: place + 1,
                    lines: vec![rest],
                },
                None if is_end(line) => Field {
                    tag: END,
                    line: place + 1,
                    lines: Vec::new(),
                },
                None => {
                    let open = self
                        .open
                        .as_mut()
                        .filter(|open| !self.is_torn && open.lines.len() < FIELD_LINES_MAX);
                    if let Some(open) = open.filter(|open| open.tag != END) {
                        open.lines.push(line);
                    }
                    continue;
                }
            };
            if let Some(ended) = self.open.replace(next) {
                return Some(ended);
            }
        }
        self.open.take()
    }
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
    matches!(line.trim_end(), "-" | "-XXX") || line.starts_with("-}") || line.starts_with("{1:")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        Fields::new(text)
            .map(|field| format!("{} {}={}", field.line, field.tag, field.lines.join("|")))
            .collect()
    }

    #[test]
    fn fields_go_on_over_lines_and_end_with_their_message() {
        assert_eq!(
            told("940 00\n:20:a\n:86:b\n- c\n\nd\n-XXX\nnoise\n:20:e"),
            ["2 20=a", "3 86=b|- c||d", "7 -=", "9 20=e"]
        );
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
