//! Is a history of one family linearizable, and does the log hold exactly what it says?
//!
//! A family's log is a list to which accepted commands append; the order of the list is known afterwards. So no search is
//! needed: the history is linearizable if and only if the order of the list agrees with every pair of operations that did not
//! overlap in time. Checked are, for each command: accepted means in the log exactly once with the numbers of its receipt;
//! refused means absent; unknown means absent or once. For each pair: what was answered before the other was sent has the
//! lower numbers. For each read: it holds what it insisted on, and nothing that was sent only after its answer.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use uuid::Uuid;

use crate::history::{Entry, Operation, Outcome, What};

/// What the comparison came to. Every fault is a sentence.
#[derive(Debug, Default)]
pub struct Report {
    /// Commands that were answered as accepted.
    pub acknowledged: usize,
    /// Events in the log.
    pub stored: usize,
    /// Commands declined.
    pub refused: usize,
    /// Commands whose outcome the client never learned, and how many of them are in the log.
    pub unknown: (usize, usize),
    /// Reads.
    pub reads: usize,
    /// Accepted commands that are not in the log, or not whole.
    pub lost: Vec<String>,
    /// Commands that are in the log twice, or refused and there.
    pub doubled: Vec<String>,
    /// Orders that real time contradicts.
    pub reordered: Vec<String>,
    /// Reads that held less than they insisted on, or more than there was.
    pub stale: Vec<String>,
    /// Numbers that are missing in the log or there twice.
    pub holes: Vec<String>,
}

impl Report {
    /// Every fault.
    pub fn faults(&self) -> Vec<&String> {
        [&self.lost, &self.doubled, &self.reordered, &self.stale, &self.holes]
            .into_iter()
            .flatten()
            .collect()
    }

    /// The sum of two families' reports.
    pub fn and(mut self, other: Self) -> Self {
        self.acknowledged += other.acknowledged;
        self.stored += other.stored;
        self.refused += other.refused;
        self.unknown = (self.unknown.0 + other.unknown.0, self.unknown.1 + other.unknown.1);
        self.reads += other.reads;
        self.lost.extend(other.lost);
        self.doubled.extend(other.doubled);
        self.reordered.extend(other.reordered);
        self.stale.extend(other.stale);
        self.holes.extend(other.holes);
        self
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "acked={} stored={} refused={} unknown={}({} stored) reads={} lost={} doubled={} reordered={} stale={} holes={}",
            self.acknowledged,
            self.stored,
            self.refused,
            self.unknown.0,
            self.unknown.1,
            self.reads,
            self.lost.len(),
            self.doubled.len(),
            self.reordered.len(),
            self.stale.len(),
            self.holes.len()
        )
    }
}

/// Compares a family's history with its log.
pub fn check(history: &[Operation], log: &[Entry]) -> Report {
    let mut report = Report {
        stored: log.len(),
        ..Report::default()
    };
    check_numbers(log, &mut report);
    let mut stored: HashMap<Uuid, Vec<i64>> = HashMap::new();
    for entry in log {
        stored.entry(entry.command_id).or_default().push(entry.family_seq);
    }
    // What is in the log, with the time of its operation: (invoked, completed if it was answered, first, last).
    let mut placed = Vec::new();
    for operation in history {
        let What::Command { id, outcome } = &operation.what else {
            report.reads += 1;
            continue;
        };
        let mut there = stored.remove(id).unwrap_or_default();
        there.sort_unstable();
        check_command(*id, outcome, &there, &mut report);
        if let (Some(first), Some(last)) = (there.first(), there.last()) {
            let completed = (*outcome != Outcome::Unknown).then_some(operation.completed_us);
            placed.push((operation.invoked_us, completed, *first, *last));
        }
    }
    check_order(&mut placed, &mut report);
    check_reads(history, &placed, &mut report);
    report
}

fn check_numbers(log: &[Entry], report: &mut Report) {
    let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
    for entry in log {
        *counts.entry(entry.family_seq).or_default() += 1;
    }
    let mut next = 1;
    for (seq, count) in counts {
        if seq != next {
            report.holes.push(format!("no event {next}, but {seq}"));
        }
        if count > 1 {
            report.holes.push(format!("{count} events {seq}"));
        }
        next = seq + 1;
    }
}

fn check_command(id: Uuid, outcome: &Outcome, there: &[i64], report: &mut Report) {
    let is_one_block = there.windows(2).all(|pair| pair[1] == pair[0] + 1);
    if !is_one_block {
        report
            .doubled
            .push(format!("command {id} is in several places: {there:?}"));
    }
    match outcome {
        Outcome::Accepted { first, last } => {
            report.acknowledged += 1;
            let told: Vec<i64> = (*first..=*last).collect();
            if told.iter().any(|seq| !there.contains(seq)) {
                report.lost.push(format!(
                    "command {id} was accepted as {first} to {last}; the log has {there:?}"
                ));
            } else if there.len() > told.len() {
                report.doubled.push(format!(
                    "command {id} was accepted as {first} to {last}; the log has {there:?}"
                ));
            }
        }
        Outcome::Refused => {
            report.refused += 1;
            if !there.is_empty() {
                report
                    .doubled
                    .push(format!("command {id} was refused; the log has {there:?}"));
            }
        }
        Outcome::Unknown => {
            report.unknown.0 += 1;
            report.unknown.1 += usize::from(!there.is_empty());
        }
    }
}

/// Whatever was answered before a command was sent has lower numbers than it.
fn check_order(placed: &mut [(u64, Option<u64>, i64, i64)], report: &mut Report) {
    placed.sort_unstable();
    let mut answered: Vec<(u64, i64)> = placed
        .iter()
        .filter_map(|(_, completed, _, last)| Some(((*completed)?, *last)))
        .collect();
    answered.sort_unstable();
    let mut before = answered.into_iter().peekable();
    let mut highest = 0;
    for (invoked, _, first, _) in placed.iter() {
        while let Some((_, last)) = before.next_if(|(completed, _)| completed < invoked) {
            highest = highest.max(last);
        }
        if *first <= highest {
            report.reordered.push(format!(
                "event {first} was asked for at {invoked} us, when {highest} had been answered"
            ));
        }
    }
}

/// A read holds what it insisted on, and nothing that was sent only after its answer. `placed` is sorted by the time it was sent.
fn check_reads(history: &[Operation], placed: &[(u64, Option<u64>, i64, i64)], report: &mut Report) {
    // The lowest number among what was sent at or after each place.
    let mut lowest_from = vec![i64::MAX; placed.len() + 1];
    for (at, (_, _, first, _)) in placed.iter().enumerate().rev() {
        lowest_from[at] = lowest_from[at + 1].min(*first);
    }
    for operation in history {
        let What::Read {
            family_seq,
            min_family_seq,
        } = operation.what
        else {
            continue;
        };
        if let Some(wanted) = min_family_seq.filter(|wanted| family_seq < *wanted) {
            report
                .stale
                .push(format!("a read that insisted on {wanted} got {family_seq}"));
        }
        let later = placed.partition_point(|(invoked, ..)| *invoked <= operation.completed_us);
        if family_seq >= lowest_from[later] {
            report.stale.push(format!(
                "a read got {family_seq} before {} was even asked for",
                lowest_from[later]
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn command(number: u128, (invoked_us, completed_us): (u64, u64), outcome: Outcome) -> Operation {
        let what = What::Command {
            id: id(number),
            outcome,
        };
        Operation {
            invoked_us,
            completed_us,
            what,
        }
    }

    fn accepted(number: u128, times: (u64, u64), first: i64, last: i64) -> Operation {
        command(number, times, Outcome::Accepted { first, last })
    }

    fn read(times: (u64, u64), family_seq: i64, min_family_seq: Option<i64>) -> Operation {
        let what = What::Read {
            family_seq,
            min_family_seq,
        };
        Operation {
            invoked_us: times.0,
            completed_us: times.1,
            what,
        }
    }

    fn log(commands: &[u128]) -> Vec<Entry> {
        let entry = |(family_seq, number): (i64, &u128)| Entry {
            family_seq,
            command_id: id(*number),
        };
        (1..).zip(commands).map(entry).collect()
    }

    /// Three commands, the second and third of which overlap, and two reads.
    fn good() -> (Vec<Operation>, Vec<Entry>) {
        let history = vec![
            accepted(1, (0, 10), 1, 1),
            accepted(2, (20, 50), 4, 5),
            accepted(3, (30, 40), 2, 3),
            command(4, (60, 70), Outcome::Refused),
            command(5, (60, 90), Outcome::Unknown),
            command(6, (60, 90), Outcome::Unknown),
            read((55, 58), 5, Some(5)),
            read((25, 45), 1, None),
        ];
        (history, log(&[1, 3, 3, 2, 2, 6]))
    }

    #[test]
    fn a_good_history_has_no_fault() {
        let (history, log) = good();
        let report = check(&history, &log);
        assert!(report.faults().is_empty(), "{report:?}");
        assert_eq!(
            (report.acknowledged, report.refused, report.unknown, report.reads),
            (3, 1, (2, 1), 2)
        );
    }

    #[test]
    fn a_lost_command_is_seen_even_when_the_log_has_no_hole() {
        let (history, _) = good();
        let report = check(&history, &log(&[1, 3, 3]));
        assert_eq!(report.lost.len(), 1, "{report:?}");
        assert!(report.holes.is_empty());
    }

    #[test]
    fn a_command_of_which_a_part_is_lost_is_lost() {
        let report = check(&[accepted(1, (0, 1), 1, 3)], &log(&[1, 1]));
        assert_eq!(report.lost.len(), 1, "{report:?}");
    }

    #[test]
    fn a_doubled_command_is_seen() {
        let report = check(
            &[accepted(1, (0, 1), 1, 1), accepted(2, (0, 1), 2, 2)],
            &log(&[1, 2, 1]),
        );
        assert_eq!(
            report.doubled.len(),
            2,
            "it is in two places and longer than told: {report:?}"
        );
        let report = check(&[accepted(1, (0, 1), 1, 1)], &log(&[1, 1]));
        assert_eq!(report.doubled.len(), 1, "{report:?}");
    }

    #[test]
    fn a_refused_command_that_is_in_the_log_is_seen() {
        let report = check(&[command(1, (0, 1), Outcome::Refused)], &log(&[1]));
        assert_eq!(report.doubled.len(), 1, "{report:?}");
    }

    #[test]
    fn an_order_against_real_time_is_seen() {
        // The second was sent after the first was answered, and stands before it.
        let history = [accepted(1, (0, 10), 2, 2), accepted(2, (11, 20), 1, 1)];
        let report = check(&history, &log(&[2, 1]));
        assert_eq!(report.reordered.len(), 1, "{report:?}");
        // Sent a moment earlier it may.
        let history = [accepted(1, (0, 10), 2, 2), accepted(2, (9, 20), 1, 1)];
        assert!(check(&history, &log(&[2, 1])).faults().is_empty());
    }

    #[test]
    fn a_command_of_unknown_outcome_cannot_come_before_what_was_answered_earlier() {
        let history = [accepted(1, (0, 10), 2, 2), command(2, (11, 20), Outcome::Unknown)];
        assert_eq!(check(&history, &log(&[2, 1])).reordered.len(), 1);
        // But whatever was sent while nobody knew of it may stand before it.
        let history = [command(1, (0, 10), Outcome::Unknown), accepted(2, (11, 20), 1, 1)];
        assert!(check(&history, &log(&[2, 1])).faults().is_empty());
    }

    #[test]
    fn a_stale_read_and_one_of_the_future_are_seen() {
        let history = [accepted(1, (0, 10), 1, 1), read((11, 12), 0, Some(1))];
        assert_eq!(check(&history, &log(&[1])).stale.len(), 1);
        let history = [read((0, 5), 1, None), accepted(1, (6, 10), 1, 1)];
        assert_eq!(check(&history, &log(&[1])).stale.len(), 1);
    }

    #[test]
    fn a_hole_and_a_number_given_twice_are_seen() {
        let mut entries = log(&[1, 2, 3]);
        entries.remove(1);
        assert_eq!(check(&[], &entries).holes, ["no event 2, but 3"]);
        entries.push(entries[1]);
        assert_eq!(check(&[], &entries).holes.len(), 2);
    }
}
