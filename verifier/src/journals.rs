//! The journals of a pack have to say the same as its events.
//!
//! Memory holds one block of entries, and a digest of each block before it. Where a journal's block differs from that of the
//! events, these are read once more to say which entry it is.

use std::io;

use crate::{
    event::{End, Event},
    hash::hex,
    heads::Head,
    journal::{Bad, JOURNALS, compare},
    manifest::{EVENTS, Seen},
    pack::Pack,
    postings::{BLOCK, Entry, Postings},
    report::{Fault, Report, What},
};

/// Holds the journals of a pack against the postings of its events, which ended so.
///
/// # Errors
/// When the disk fails.
pub(crate) fn hold(
    pack: &mut Pack,
    seen: &mut Seen,
    events: &Postings,
    ended: &Head,
    report: &mut Report,
) -> io::Result<()> {
    let end = format!(
        "; end: {} transactions of {} events, family_seq {}, chain_hash {}",
        events.len(),
        ended.family_seq,
        ended.family_seq,
        hex(&ended.chain_hash)
    );
    for (name, kind) in JOURNALS {
        let Some(mut content) = pack.file(name)? else { continue };
        match compare(&mut content, name, *kind, events, &end) {
            Ok(Ok(())) => {
                report.journals += 1;
                match content.finish() {
                    Ok(found) => seen.hold(name, found, report),
                    Err(error) => report.blame(Fault::file(name, What::FileUnreadable(error.to_string()))),
                }
            }
            Ok(Err(Bad::Fault(fault))) => report.blame(fault),
            Ok(Err(Bad::Entries { first, mine })) => {
                drop(content);
                report.blame(first_difference(pack, name, first, &mine)?);
            }
            Err(error) => report.blame(Fault::file(name, What::FileUnreadable(error.to_string()))),
        }
    }
    Ok(())
}

/// The first entry that the journal does not have as the events have it.
fn first_difference(pack: &mut Pack, name: &str, first: usize, mine: &[Entry]) -> io::Result<Fault> {
    // One more than the block: a journal may read well to its end, and break off there.
    let theirs = entries(pack, first, BLOCK + 1)?;
    let same = mine
        .iter()
        .zip(&theirs)
        .take_while(|(mine, theirs)| mine == theirs)
        .count();
    let family_seq = match (mine.get(same), theirs.get(same)) {
        (Some((mine, _)), Some((theirs, _))) => Some(*mine.min(theirs)),
        (mine, theirs) => mine.or(theirs).map(|(family_seq, _)| *family_seq),
    };
    Ok(match family_seq {
        Some(family_seq) => Fault::at(name, family_seq, What::Journal),
        None => Fault::file(name, What::Journal),
    })
}

/// Entries of the events from the one with this index on, so many at most. The walk has verified every line before.
fn entries(pack: &mut Pack, first: usize, count: usize) -> io::Result<Vec<Entry>> {
    let mut found = Vec::new();
    let mut postings = Postings::default();
    let Some(mut content) = pack.file(EVENTS)? else {
        return Ok(found);
    };
    let mut line = Vec::new();
    while found.len() < count && content.next_line(&mut line)? && !End::is_meant(&line) {
        let Some(event) = Event::parse(&line).filter(|event| event.aggregate_type == "entry") else {
            continue;
        };
        if postings
            .event(event.family_seq, &event.effective_on, &event.payload)
            .is_none()
        {
            break;
        }
        if postings.len() > first as u64 {
            found.extend(postings.last_block().last());
        }
    }
    Ok(found)
}
