//! Is a stream of lines whole? The reader's side of the end mark.
//!
//! A stream that broke off may end after any byte, and what arrived reads well as far as it goes. So nothing but the end mark
//! says that a stream is whole: `{"end":true, …}` as its last line, with how many lines came before it, the last event and that
//! event's chain hash. Memory holds one line.

use std::io::{self, BufRead, Read};

use serde::{Deserialize, de::Error as _};

/// No line is longer, in bytes: an event or a page of rows, and far more.
pub const LINE_BYTES_MAX: u64 = 64 << 20;

/// What the last line of a whole stream says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct EndMark {
    end: bool,
    /// Events: those written, or where [`EndMark::lines`] is given, those folded.
    pub events: i64,
    /// Lines before the mark, where a line is not an event.
    #[serde(default)]
    pub lines: Option<i64>,
    /// The last event of the prefix.
    pub family_seq: i64,
    /// Its chain hash, hex; none when there is no event.
    pub chain_hash: Option<String>,
}

/// Why a stream is not whole.
#[derive(Debug, thiserror::Error)]
pub enum NotWhole {
    /// It cannot be read.
    #[error("the stream cannot be read")]
    Io(#[from] io::Error),
    /// The last line breaks off, or there is none that marks the end.
    #[error("the stream breaks off after {lines} whole lines: there is no end mark")]
    BreaksOff {
        /// Lines that arrived whole.
        lines: i64,
    },
    /// A line is no JSON object.
    #[error("line {line} does not read")]
    Line {
        /// Which, from 1.
        line: i64,
        /// Why.
        #[source]
        cause: serde_json::Error,
    },
    /// Something follows the end mark.
    #[error("line {line} follows the end mark")]
    AfterEnd {
        /// Which, from 1.
        line: i64,
    },
    /// Lines were lost, or added.
    #[error("the end mark counts {marked} lines, and {lines} arrived")]
    Count {
        /// As marked.
        marked: i64,
        /// As counted.
        lines: i64,
    },
    /// The events are out of order, or not those of the mark.
    #[error("line {line} is not the event that belongs there")]
    Order {
        /// Which, from 1.
        line: i64,
    },
}

/// What is looked at of a line.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    end: bool,
    #[serde(default)]
    family_seq: Option<i64>,
    #[serde(default)]
    chain_hash: Option<String>,
    #[serde(default)]
    event_type: Option<String>,
}

/// Reads a stream to its end and says what its mark says.
///
/// # Errors
/// [`NotWhole`].
pub fn check(mut stream: impl BufRead) -> Result<EndMark, NotWhole> {
    let mut text = String::new();
    let mut lines = 0;
    let mut last: Option<(i64, Option<String>)> = None;
    let mut mark: Option<EndMark> = None;
    loop {
        text.clear();
        if stream.by_ref().take(LINE_BYTES_MAX).read_line(&mut text)? == 0 {
            break;
        }
        let number = lines + 1;
        if mark.is_some() {
            return Err(NotWhole::AfterEnd { line: number + 1 });
        }
        if !text.ends_with('\n') {
            return Err(NotWhole::BreaksOff { lines });
        }
        let unreadable = |cause| NotWhole::Line { line: number, cause };
        if !text.starts_with('{') {
            return Err(unreadable(serde_json::Error::custom("expected an object")));
        }
        let line: Line = serde_json::from_str(&text).map_err(unreadable)?;
        if line.end {
            mark = Some(serde_json::from_str(&text).map_err(unreadable)?);
            continue;
        }
        lines = number;
        if let (Some(family_seq), Some(_)) = (line.family_seq, line.event_type) {
            if last.as_ref().is_some_and(|(before, _)| family_seq <= *before) {
                return Err(NotWhole::Order { line: number });
            }
            last = Some((family_seq, line.chain_hash));
        }
    }
    let mark = mark.ok_or(NotWhole::BreaksOff { lines })?;
    let marked = mark.lines.unwrap_or(mark.events);
    if marked != lines {
        return Err(NotWhole::Count { marked, lines });
    }
    // With a bound by day the last event of the prefix may have been left out.
    let is_other = last.is_some_and(|(family_seq, chain_hash)| {
        family_seq > mark.family_seq || (family_seq == mark.family_seq && chain_hash != mark.chain_hash)
    });
    if is_other {
        return Err(NotWhole::Order { line: lines });
    }
    Ok(mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = concat!(
        r#"{"family_seq":1,"event_type":"FamilyCreated","chain_hash":"aa","payload":{}}"#,
        "\n",
        r#"{"family_seq":2,"event_type":"MemberAdded","chain_hash":"bb","payload":{}}"#,
        "\n",
        r#"{"end":true,"events":2,"family_seq":2,"chain_hash":"bb"}"#,
        "\n",
    );

    #[test]
    fn a_whole_stream_says_what_its_mark_says() {
        let mark = check(WHOLE.as_bytes()).expect("whole");
        assert_eq!(
            (mark.events, mark.family_seq, mark.chain_hash.as_deref()),
            (2, 2, Some("bb"))
        );
    }

    #[test]
    fn no_part_of_a_stream_passes_for_the_whole() {
        for cut in 0..WHOLE.len() {
            let refused = check(&WHOLE.as_bytes()[..cut]);
            assert!(matches!(refused, Err(NotWhole::BreaksOff { .. })), "{cut}: {refused:?}");
        }
    }

    #[test]
    fn lost_added_and_exchanged_lines_are_found() {
        let lines: Vec<&str> = WHOLE.lines().collect();
        let of = |picked: &[usize]| {
            let text: String = picked.iter().map(|index| format!("{}\n", lines[*index])).collect();
            check(text.as_bytes())
        };
        assert!(matches!(of(&[0, 2]), Err(NotWhole::Count { marked: 2, lines: 1 })));
        assert!(matches!(of(&[0, 0, 2]), Err(NotWhole::Order { line: 2 })));
        assert!(matches!(of(&[1, 0, 2]), Err(NotWhole::Order { line: 2 })));
        assert!(matches!(of(&[0, 1, 2, 2]), Err(NotWhole::AfterEnd { line: 4 })));
        let other_end = WHOLE.replace(
            r#""family_seq":2,"chain_hash":"bb"}"#,
            r#""family_seq":2,"chain_hash":"cc"}"#,
        );
        assert!(matches!(check(other_end.as_bytes()), Err(NotWhole::Order { line: 2 })));
        assert!(matches!(check("[]\n".as_bytes()), Err(NotWhole::Line { line: 1, .. })));
    }
}
