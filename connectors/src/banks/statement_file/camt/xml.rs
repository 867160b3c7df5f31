//! XML as a stream of small trees: one account, balance or entry at a time, never the whole file.
//!
//! Names are local names, so that namespaces and versions do not matter. Document type declarations are refused and no
//! entity but the five of XML is resolved, so nothing expands. Depth and the size of one tree are bounded.

use quick_xml::{
    Reader,
    escape::resolve_predefined_entity,
    events::{BytesRef, BytesStart, Event},
};

use super::{super::text::Lines, StatementError};

/// Deepest nesting. Source: ours; CAMT.053 nests about fifteen deep.
const DEPTH_MAX: usize = 64;
/// Most elements of one tree. Source: ours; a batch entry of ten thousand payments fits.
const TREE_ELEMENTS_MAX: usize = 500_000;

/// An element with its text and its children.
#[derive(Debug, Default)]
pub(super) struct Element {
    /// The name without its prefix.
    pub(super) name: String,
    /// Where it opens, counted from 1.
    pub(super) line: usize,
    /// Its own text, trimmed.
    pub(super) text: String,
    /// The value of its `Ccy` attribute; CAMT has no other that matters.
    pub(super) currency: String,
    /// The elements within, in order.
    pub(super) children: Vec<Element>,
}

impl Element {
    /// The first child of that name.
    pub(super) fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// Every child of that name.
    pub(super) fn children_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The element at the end of a path of first children.
    pub(super) fn at(&self, path: &[&str]) -> Option<&Element> {
        path.iter().try_fold(self, |element, name| element.child(name))
    }

    /// The text at the end of a path of first children; empty when there is none.
    pub(super) fn text_at(&self, path: &[&str]) -> &str {
        self.at(path).map_or("", |element| element.text.as_str())
    }
}

/// What a stream gives next.
pub(super) enum Piece {
    /// An element opens. Its contents follow, unless [`Stream::tree`] takes them.
    Open {
        /// The name without its prefix.
        name: String,
        /// Counted from 1.
        line: usize,
    },
    /// The element that was opened last and not yet closed, closes.
    Close {
        /// The name without its prefix.
        name: String,
    },
    /// Nothing follows.
    End,
}

/// A well-formed document, read forward.
pub(super) struct Stream<'a> {
    reader: Reader<&'a [u8]>,
    lines: Lines<'a>,
    depth: usize,
    opened: Element,
}

impl<'a> Stream<'a> {
    /// At the beginning of a document.
    pub(super) fn new(text: &'a str) -> Self {
        let mut reader = Reader::from_str(text);
        let config = reader.config_mut();
        config.expand_empty_elements = true;
        config.allow_dangling_amp = true;
        Self {
            reader,
            lines: Lines::new(text),
            depth: 0,
            opened: Element::default(),
        }
    }

    /// The next opening or closing, texts passed over.
    ///
    /// # Errors
    /// [`StatementError::Malformed`] with its line.
    pub(super) fn next(&mut self) -> Result<Piece, StatementError> {
        loop {
            match self.event()? {
                Event::Start(start) => {
                    let opened = self.enter(&start)?;
                    let (name, line) = (opened.name.clone(), opened.line);
                    self.opened = opened;
                    return Ok(Piece::Open { name, line });
                }
                Event::End(end) => {
                    self.depth = self.depth.saturating_sub(1);
                    return Ok(Piece::Close {
                        name: String::from_utf8_lossy(end.local_name().into_inner()).into_owned(),
                    });
                }
                Event::Eof => return self.end(),
                _ => {}
            }
        }
    }

    /// The element that was just opened, with everything in it.
    ///
    /// # Errors
    /// [`StatementError::Malformed`] with its line.
    pub(super) fn tree(&mut self) -> Result<Element, StatementError> {
        let mut open = vec![std::mem::take(&mut self.opened)];
        let mut elements = 1;
        loop {
            match self.event()? {
                Event::Start(start) => {
                    elements += 1;
                    if elements > TREE_ELEMENTS_MAX {
                        return Err(self.malformed(format!("more than {TREE_ELEMENTS_MAX} elements within one")));
                    }
                    open.push(self.enter(&start)?);
                }
                Event::End(_) => {
                    self.depth = self.depth.saturating_sub(1);
                    let Some(mut closed) = open.pop() else {
                        return Err(self.malformed("an element closes twice".into()));
                    };
                    closed.text = closed.text.trim().to_owned();
                    match open.last_mut() {
                        Some(parent) => parent.children.push(closed),
                        None => return Ok(closed),
                    }
                }
                Event::Eof => return Err(self.malformed("the file ends within an element".into())),
                other => {
                    if let Some(element) = open.last_mut() {
                        push_text(&mut element.text, &other);
                    }
                }
            }
        }
    }

    fn event(&mut self) -> Result<Event<'a>, StatementError> {
        let event = self.reader.read_event();
        match event {
            Ok(Event::DocType(_)) => Err(self.malformed("a document type declaration is not allowed".into())),
            Ok(event) => Ok(event),
            Err(error) => {
                let line = self
                    .lines
                    .at(usize::try_from(self.reader.error_position()).unwrap_or(usize::MAX));
                Err(StatementError::Malformed {
                    line,
                    problem: error.to_string(),
                })
            }
        }
    }

    fn enter(&mut self, start: &BytesStart<'_>) -> Result<Element, StatementError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.malformed(format!("elements nest deeper than {DEPTH_MAX}")));
        }
        let name = String::from_utf8_lossy(start.local_name().into_inner()).into_owned();
        let currency = start.try_get_attribute("Ccy").ok().flatten();
        let currency = currency
            .map(|attribute| String::from_utf8_lossy(&attribute.value).trim().to_owned())
            .unwrap_or_default();
        Ok(Element {
            name,
            line: self.line(),
            text: String::new(),
            currency,
            children: Vec::new(),
        })
    }

    fn end(&self) -> Result<Piece, StatementError> {
        if self.depth == 0 {
            return Ok(Piece::End);
        }
        Err(StatementError::Malformed {
            line: self.lines.clone().last(),
            problem: "the file ends within an element".into(),
        })
    }

    fn malformed(&mut self, problem: String) -> StatementError {
        StatementError::Malformed {
            line: self.line(),
            problem,
        }
    }

    fn line(&mut self) -> usize {
        self.lines
            .at(usize::try_from(self.reader.buffer_position()).unwrap_or(usize::MAX))
    }
}

fn push_text(text: &mut String, event: &Event<'_>) {
    match event {
        Event::Text(part) => text.push_str(&part.decode().unwrap_or_default()),
        Event::CData(part) => text.push_str(&part.decode().unwrap_or_default()),
        Event::GeneralRef(reference) => text.push_str(&resolved(reference)),
        _ => {}
    }
}

/// A character reference or one of XML's five entities; any other stands as written.
fn resolved(reference: &BytesRef<'_>) -> String {
    if let Ok(Some(c)) = reference.resolve_char_ref() {
        return c.to_string();
    }
    let name = reference.decode().unwrap_or_default();
    resolve_predefined_entity(&name).map_or_else(|| format!("&{name};"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_tree(text: &str) -> Result<Element, StatementError> {
        let mut stream = Stream::new(text);
        stream.next()?;
        stream.tree()
    }

    #[test]
    fn names_texts_and_lines_are_read() {
        let tree = first_tree(
            "<?xml version=\"1.0\"?>\n<p:A xmlns:p='x'>\n <Amt Ccy='EUR'> 1 </Amt><B/>\n<C>a &amp; b&#233;<![CDATA[<]]>&x;</C></p:A>",
        );
        let tree = tree.expect("well formed");
        assert_eq!((tree.name.as_str(), tree.line), ("A", 2));
        assert_eq!(
            tree.child("Amt")
                .map(|amt| (amt.currency.as_str(), amt.text.as_str(), amt.line)),
            Some(("EUR", "1", 3))
        );
        assert_eq!(
            (tree.text_at(&["C"]), tree.text_at(&["B"]), tree.text_at(&["D", "E"])),
            ("a & bé<&x;", "", "")
        );
    }

    #[test]
    fn a_document_type_is_refused_before_it_expands_anything() {
        let bomb = "<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><A>&b;</A>";
        assert!(matches!(first_tree(bomb), Err(StatementError::Malformed { .. })));
    }

    #[test]
    fn deep_nesting_is_refused() {
        let deep = "<a>".repeat(100_000);
        assert!(
            matches!(first_tree(&deep), Err(StatementError::Malformed { problem, .. }) if problem.contains("deeper"))
        );
    }

    #[test]
    fn a_cut_off_file_is_refused() {
        assert!(first_tree("<A><B>1</B>").is_err());
        let mut stream = Stream::new("<A>\n<B>");
        let pieces: Vec<_> = std::iter::repeat_with(|| stream.next().map(|_| ())).take(3).collect();
        let cut = StatementError::Malformed {
            line: 2,
            problem: "the file ends within an element".into(),
        };
        assert_eq!(pieces, [Ok(()), Ok(()), Err(cut)]);
    }
}
