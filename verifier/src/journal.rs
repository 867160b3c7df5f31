//! Reads a journal of a pack and holds it against the events: every entry, in order, and every balance.
//!
//! Only what the export writes is understood. A line that could mean something to hledger or beancount and is not understood
//! here is a fault: nothing may hide in it.
//! Entries are compared block by block.

use std::{collections::BTreeSet, io};

use crate::{
    pack::Content,
    postings::{BLOCK, Entry, Line, Postings, amount},
    report::{Fault, What},
};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Hledger,
    Beancount,
}

/// The files, and what they are.
pub(crate) const JOURNALS: &[(&str, Kind)] =
    &[("ledger.beancount", Kind::Beancount), ("ledger.journal", Kind::Hledger)];

/// A transaction being read.
#[derive(Default)]
struct Transaction {
    day: String,
    family_seq: Option<u64>,
    is_balances: bool,
    lines: Vec<[String; 3]>,
}

struct Reading<'a> {
    kind: Kind,
    name: &'a str,
    events: &'a Postings,
    mine: Postings,
    open: Option<Transaction>,
    balances: Vec<[String; 3]>,
    ends: bool,
    end_line: &'a str,
}

/// What is wrong with a journal.
pub(crate) enum Bad {
    /// This.
    Fault(Fault),
    /// It differs from the events in its entries, from `first` on: these are the ones it has there.
    Entries { first: usize, mine: Vec<Entry> },
}

impl From<Fault> for Bad {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Compares; the last line has to begin with `end` after its semicolon.
pub(crate) fn compare(
    content: &mut Content<'_>,
    name: &str,
    kind: Kind,
    events: &Postings,
    end: &str,
) -> io::Result<Result<(), Bad>> {
    let mut reading = Reading {
        kind,
        name,
        events,
        mine: Postings::default(),
        open: None,
        balances: Vec::new(),
        ends: false,
        end_line: end,
    };
    let mut line = Vec::new();
    while content.next_line(&mut line)? {
        let Ok(text) = std::str::from_utf8(&line) else {
            return Ok(Err(reading.journal()));
        };
        if let Err(bad) = reading.line(text) {
            return Ok(Err(bad));
        }
    }
    Ok(reading.end())
}

impl Reading<'_> {
    fn line(&mut self, line: &str) -> Result<(), Bad> {
        if self.ends {
            return Err(self.journal());
        }
        if line.is_empty() {
            return self.close();
        }
        if line.starts_with("; end: ") {
            self.close()?;
            self.ends = line == self.end_line;
            return if self.ends {
                Ok(())
            } else {
                Err(Fault::file(self.name, What::End).into())
            };
        }
        if line.starts_with(' ') {
            return self.inner(line.trim_start());
        }
        self.close()?;
        match self.kind {
            Kind::Hledger => self.hledger(line),
            Kind::Beancount => self.beancount(line),
        }
    }

    fn hledger(&mut self, line: &str) -> Result<(), Bad> {
        if [";", "account ", "commodity ", "decimal-mark "]
            .iter()
            .any(|start| line.starts_with(start))
        {
            return Ok(());
        }
        let (day, rest) = line.split_once(" * ").ok_or_else(|| self.journal())?;
        let number = rest.strip_prefix('(').and_then(|rest| rest.split_once(')'));
        let family_seq = number.and_then(|(number, _)| number.parse().ok());
        let is_balances = family_seq.is_none() && rest == "Balances by Kinledger's own count";
        if !is_day(day) || (family_seq.is_none() && !is_balances) {
            return Err(self.journal());
        }
        self.open = Some(Transaction {
            day: day.to_owned(),
            family_seq,
            is_balances,
            lines: Vec::new(),
        });
        Ok(())
    }

    fn beancount(&mut self, line: &str) -> Result<(), Bad> {
        if line.starts_with(';') || line.starts_with("option ") {
            return Ok(());
        }
        let (day, rest) = line.split_once(' ').ok_or_else(|| self.journal())?;
        let (word, rest) = rest.split_once(' ').ok_or_else(|| self.journal())?;
        if !is_day(day) {
            return Err(self.journal());
        }
        match word {
            "*" => {
                self.open = Some(Transaction {
                    day: day.to_owned(),
                    ..Transaction::default()
                });
            }
            "balance" => {
                let words: Vec<&str> = rest.split_whitespace().collect();
                let [account, amount, "~", "0", currency] = words[..] else {
                    return Err(self.journal());
                };
                self.balances.push([account, amount, currency].map(str::to_owned));
            }
            "open" | "close" | "commodity" => {}
            _ => return Err(self.journal()),
        }
        Ok(())
    }

    /// A line within a transaction or a directive.
    fn inner(&mut self, line: &str) -> Result<(), Bad> {
        if self.kind == Kind::Hledger && line.starts_with(';') {
            return Ok(());
        }
        let (first, rest) = line.split_once(' ').ok_or_else(|| self.journal())?;
        if self.kind == Kind::Beancount && first.ends_with(':') && first.starts_with(|c: char| c.is_ascii_lowercase()) {
            if first == "family-seq:" {
                let family_seq = rest.parse().map_err(|_| self.journal())?;
                if let Some(open) = &mut self.open {
                    open.family_seq = Some(family_seq);
                }
            }
            return Ok(());
        }
        let Some(open) = &mut self.open else {
            return Err(self.journal());
        };
        let words: Vec<&str> = rest.split_whitespace().collect();
        match words[..] {
            [amount, currency] if !open.is_balances => {
                open.lines.push([first, amount, currency].map(str::to_owned));
            }
            ["0", currency, "=", amount, again] if open.is_balances && currency == again => {
                self.balances.push([first, amount, currency].map(str::to_owned));
            }
            _ => return Err(self.journal()),
        }
        Ok(())
    }

    /// The transaction that was being read is over.
    fn close(&mut self) -> Result<(), Bad> {
        let Some(open) = self.open.take().filter(|open| !open.is_balances) else {
            return Ok(());
        };
        let family_seq = open.family_seq.ok_or_else(|| self.journal())?;
        let lines: Vec<Line<'_>> = open
            .lines
            .iter()
            .map(|[account, amount, currency]| Line {
                account,
                amount,
                currency,
            })
            .collect();
        if self.mine.entry(family_seq, &open.day, &lines).is_none() {
            return Err(self.journal());
        }
        if self.mine.last_block().len() == BLOCK {
            self.same_block()
        } else {
            Ok(())
        }
    }

    /// The last block has to be that of the events.
    fn same_block(&self) -> Result<(), Bad> {
        let number = self.mine.blocks_before();
        if self.mine.block(number) == self.events.block(number) {
            Ok(())
        } else {
            Err(self.journal())
        }
    }

    fn end(self) -> Result<(), Bad> {
        if !self.ends {
            return Err(Fault::file(self.name, What::End).into());
        }
        self.same_block()?;
        if self.mine.len() != self.events.len() {
            return Err(self.journal());
        }
        let wrong = || Fault::file(self.name, What::Balance).into();
        let mut asserted = BTreeSet::new();
        for [account, text, currency] in &self.balances {
            // An account that nothing was posted to has the balance zero.
            let (key, sum) = match self.mine.sum(account, currency) {
                Some((key, sum)) => (Some(key), sum),
                None => (None, 0),
            };
            if amount(text) != Some(sum) {
                return Err(wrong());
            }
            asserted.extend(key);
        }
        let mut sums = self.mine.sums().iter();
        if sums.any(|(key, sum)| *sum != 0 && !asserted.contains(key)) {
            return Err(wrong());
        }
        Ok(())
    }

    /// Something is wrong here, or was before in this block.
    fn journal(&self) -> Bad {
        Bad::Entries {
            first: self.mine.blocks_before() * BLOCK,
            mine: self.mine.last_block().to_vec(),
        }
    }
}

fn is_day(text: &str) -> bool {
    text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
}
