//! The tags of an OFX file, SGML or XML alike.

use super::super::text::Lines;

/// Longest name of a tag, in bytes; what is longer is no tag.
const NAME_BYTES_MAX: usize = 64;
/// Longest entity, in bytes, `&` and `;` included.
const ENTITY_BYTES_MAX: usize = 10;

/// A tag with what it brings.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// An opening tag and the text up to the next one: an element's value, or the white space of an aggregate.
    Open {
        /// The tag, in capitals.
        name: String,
        /// The text with its entities resolved and its white space collapsed.
        value: String,
        /// Counted from 1.
        line: usize,
    },
    /// A closing tag.
    Close {
        /// The tag, in capitals.
        name: String,
    },
}

/// Walks over the tags of a text. Comments, processing instructions and whatever stands before the first tag are passed
/// over.
pub(super) struct Tokens<'a> {
    text: &'a str,
    at: usize,
    lines: Lines<'a>,
}

impl<'a> Tokens<'a> {
    /// At the beginning of a text.
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            lines: Lines::new(text),
        }
    }

    /// The text up to the next tag. `<` before anything but a tag is text, as in a memo that says `a < b`.
    fn value(&mut self) -> String {
        let mut value = String::new();
        loop {
            let rest = &self.text[self.at..];
            if let Some(data) = rest.strip_prefix("<![CDATA[") {
                let length = data.find("]]>").unwrap_or(data.len());
                value.push_str(&data[..length]);
                self.at = self.text.len().min(self.at + 9 + length + 3);
            } else if rest.is_empty() || tag(rest).is_some() || rest.starts_with("<!") || rest.starts_with("<?") {
                return value.split_whitespace().collect::<Vec<_>>().join(" ");
            } else {
                let length = rest
                    .char_indices()
                    .skip(1)
                    .find(|(_, c)| *c == '<')
                    .map_or(rest.len(), |(place, _)| place);
                push_resolved(&mut value, &rest[..length]);
                self.at += length;
            }
        }
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        loop {
            self.at += self.text[self.at..].find('<')?;
            let rest = &self.text[self.at..];
            let Some((name, length)) = tag(rest) else {
                let is_comment = rest.starts_with("<!--");
                self.at += if is_comment {
                    rest.find("-->").map_or(rest.len(), |end| end + 3)
                } else {
                    1
                };
                continue;
            };
            let line = self.lines.at(self.at);
            self.at += length;
            let token = match name.strip_prefix('/') {
                Some(name) => Token::Close {
                    name: name.to_uppercase(),
                },
                None => Token::Open {
                    name: name.to_uppercase(),
                    value: self.value(),
                    line,
                },
            };
            return Some(token);
        }
    }
}

/// The name of the tag that begins a text (with its `/` when it closes), and the tag's length. Attributes and the slash
/// of an empty tag are passed over.
fn tag(text: &str) -> Option<(&str, usize)> {
    let inside = text.strip_prefix('<')?;
    let bare = inside.strip_prefix('/').unwrap_or(inside);
    if !bare.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let end = bare
        .bytes()
        .take(NAME_BYTES_MAX)
        .position(|b| !(b.is_ascii_alphanumeric() || b"._-".contains(&b)))?;
    let name_end = text.len() - bare.len() + end;
    let close = match text.as_bytes()[name_end] {
        b'>' => name_end,
        b' ' | b'/' | b'\t' | b'\r' | b'\n' => {
            name_end
                + text.as_bytes()[name_end..]
                    .iter()
                    .take(1_024)
                    .take_while(|b| **b != b'<')
                    .position(|b| *b == b'>')?
        }
        _ => return None,
    };
    Some((&text[1..name_end], close + 1))
}

/// Appends text with the entities of XML and a few of HTML resolved; any other ampersand is an ampersand.
fn push_resolved(value: &mut String, mut text: &str) {
    while let Some(place) = text.find('&') {
        value.push_str(&text[..place]);
        text = &text[place..];
        let end = text.bytes().take(ENTITY_BYTES_MAX).position(|b| b == b';');
        match end.and_then(|end| entity(&text[1..end]).map(|c| (c, end))) {
            Some((c, end)) => {
                value.push(c);
                text = &text[end + 1..];
            }
            None => {
                value.push('&');
                text = &text[1..];
            }
        }
    }
    value.push_str(text);
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "apos" => Some('\''),
        "gt" => Some('>'),
        "lt" => Some('<'),
        "nbsp" => Some(' '),
        "quot" => Some('"'),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        Tokens::new(text)
            .map(|token| match token {
                Token::Open { name, value, line } => format!("{line} {name}={value}"),
                Token::Close { name } => format!("/{name}"),
            })
            .collect()
    }

    #[test]
    fn sgml_and_xml_read_alike() {
        assert_eq!(told("x:1\n<a><b>1 2\n<c>\n</a>"), ["2 A=", "2 B=1 2", "3 C=", "/A"]);
        assert_eq!(
            told("<?xml?><A x=\"1\"><B>1</B><C/></A>"),
            ["1 A=", "1 B=1", "/B", "1 C=", "/A"]
        );
    }

    #[test]
    fn what_is_no_tag_is_text() {
        assert_eq!(
            told("<A>1 < 2 & 3 <4> &lt;&#65;&bogus;"),
            ["1 A=1 < 2 & 3 <4> <A&bogus;"]
        );
        assert_eq!(told("<A><![CDATA[<B>]]><!-- <C> --><D>"), ["1 A=<B>", "1 D="]);
        assert_eq!(told("<A"), Vec::<String>::new());
    }
}
