//! Reads the two journals of a pack and holds them against the events: every entry, in order, and every balance.
//!
//! Only what the export writes is understood. A line that could mean something to hledger or beancount and is not understood
//! here is a fault: nothing may hide in it.

use std::{collections::BTreeSet, io};

use crate::{
    pack::Content,
    postings::{Line, Postings, amount},
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

/// Compares; the last line has to begin with `end` after its semicolon.
pub(crate) fn compare(
    content: &mut Content<'_>,
    name: &str,
    kind: Kind,
    events: &Postings,
    end: &str,
) -> io::Result<Result<(), Fault>> {
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
            return Ok(Err(Fault::file(name, What::Journal)));
        };
        if let Err(fault) = reading.line(text) {
            return Ok(Err(fault));
        }
    }
    Ok(reading.end())
}

impl Reading<'_> {
    fn line(&mut self, line: &str) -> Result<(), Fault> {
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
                Err(Fault::file(self.name, What::End))
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

    fn hledger(&mut self, line: &str) -> Result<(), Fault> {
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

    fn beancount(&mut self, line: &str) -> Result<(), Fault> {
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
    fn inner(&mut self, line: &str) -> Result<(), Fault> {
        let bad = self.journal();
        if self.kind == Kind::Hledger && line.starts_with(';') {
            return Ok(());
        }
        let (first, rest) = line.split_once(' ').ok_or(bad.clone())?;
        if self.kind == Kind::Beancount && first.ends_with(':') && first.starts_with(|c: char| c.is_ascii_lowercase()) {
            if let (Some(open), "family-seq:") = (&mut self.open, first) {
                open.family_seq = Some(rest.parse().map_err(|_| bad)?);
            }
            return Ok(());
        }
        let open = self.open.as_mut().ok_or(bad.clone())?;
        let words: Vec<&str> = rest.split_whitespace().collect();
        match words[..] {
            [amount, currency] if !open.is_balances => {
                open.lines.push([first, amount, currency].map(str::to_owned));
            }
            ["0", currency, "=", amount, again] if open.is_balances && currency == again => {
                self.balances.push([first, amount, currency].map(str::to_owned));
            }
            _ => return Err(bad),
        }
        Ok(())
    }

    /// The transaction that was being read is over.
    fn close(&mut self) -> Result<(), Fault> {
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
        let index = self.mine.len();
        let bad = |seq: u64| Fault::at(self.name, seq, What::Journal);
        let wanted = self.events.nth(index);
        self.mine
            .entry(family_seq, &open.day, &lines)
            .ok_or_else(|| bad(family_seq))?;
        match (wanted, self.mine.nth(index)) {
            (Some(wanted), mine) if mine == Some(wanted) => Ok(()),
            (Some((wanted, _)), _) => Err(bad(wanted.min(family_seq))),
            (None, _) => Err(bad(family_seq)),
        }
    }

    fn end(self) -> Result<(), Fault> {
        if !self.ends {
            return Err(Fault::file(self.name, What::End));
        }
        if let Some((missing, _)) = self.events.nth(self.mine.len()) {
            return Err(Fault::at(self.name, missing, What::Journal));
        }
        let wrong = || Fault::file(self.name, What::Balance);
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

    fn journal(&self) -> Fault {
        match self.events.nth(self.mine.len()) {
            Some((family_seq, _)) => Fault::at(self.name, family_seq, What::Journal),
            None => Fault::file(self.name, What::Journal),
        }
    }
}

fn is_day(text: &str) -> bool {
    text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
}
