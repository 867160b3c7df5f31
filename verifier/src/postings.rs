//! Postings: what the events say about money, and what a journal says, in the same words.
//!
//! Both sides come down to one digest per entry: its day, and for each posting the account's number in order of first
//! mention, the amount and the currency. So the journals' account names need not be known beforehand, but each has to stand
//! for one account of the events throughout.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Entries whose digests are held at once; of those before them one digest a block is left, so that memory hardly grows.
pub(crate) const BLOCK: usize = 1_024;
/// Decimal places that amounts are brought to; no currency has more.
const PLACES: usize = 8;
/// Accounts, and sums, at most.
const ACCOUNTS_MAX: usize = 1 << 20;

/// What an event of an entry says; everything else in it is not about money.
#[derive(Deserialize)]
struct Payload {
    postings: Vec<Posting>,
}

#[derive(Deserialize)]
struct Posting {
    ledger_account: String,
    money: Money,
}

#[derive(Deserialize)]
struct Money {
    amount: String,
    currency: String,
}

/// An entry: the number of its event, and its digest.
pub(crate) type Entry = (u64, [u8; 8]);

/// Entries folded: digests in order, and a sum per account and currency.
#[derive(Debug, Default)]
pub(crate) struct Postings {
    accounts: HashMap<String, u32>,
    sums: BTreeMap<(u32, String), i128>,
    blocks: Vec<[u8; 16]>,
    block: Vec<Entry>,
}

/// One posting, in words.
pub(crate) struct Line<'a> {
    pub(crate) account: &'a str,
    pub(crate) amount: &'a str,
    pub(crate) currency: &'a str,
}

impl Postings {
    /// Folds the payload of an entry's event. None when it cannot be read or does not sum to zero in each currency.
    pub(crate) fn event(&mut self, family_seq: u64, day: &str, payload: &str) -> Option<()> {
        let entry: Payload = serde_json::from_str(payload).ok()?;
        let lines: Vec<Line<'_>> = entry
            .postings
            .iter()
            .map(|posting| Line {
                account: &posting.ledger_account,
                amount: &posting.money.amount,
                currency: &posting.money.currency,
            })
            .collect();
        self.entry(family_seq, day, &lines)
    }

    /// Folds an entry.
    pub(crate) fn entry(&mut self, family_seq: u64, day: &str, lines: &[Line<'_>]) -> Option<()> {
        let mut hash = Sha256::new();
        hash.update(day);
        let mut zero: BTreeMap<&str, i128> = BTreeMap::new();
        for line in lines {
            let amount = amount(line.amount)?;
            let account = self.number(line.account)?;
            let sum = zero.entry(line.currency).or_default();
            *sum = sum.checked_add(amount)?;
            let sum = self.sums.entry((account, line.currency.to_owned())).or_default();
            *sum = sum.checked_add(amount)?;
            hash.update(account.to_be_bytes());
            hash.update(amount.to_be_bytes());
            hash.update(line.currency);
            hash.update([0]);
        }
        let hash = hash.finalize();
        let digest = hash.first_chunk::<8>()?;
        if self.block.len() == BLOCK {
            self.blocks.push(digest_of(&self.block));
            self.block.clear();
        }
        self.block.push((family_seq, *digest));
        (self.sums.len() <= ACCOUNTS_MAX && zero.values().all(|sum| *sum == 0)).then_some(())
    }

    fn number(&mut self, account: &str) -> Option<u32> {
        if let Some(number) = self.accounts.get(account) {
            return Some(*number);
        }
        let next = u32::try_from(self.accounts.len()).ok()?;
        if self.accounts.len() >= ACCOUNTS_MAX {
            return None;
        }
        self.accounts.insert(account.to_owned(), next);
        Some(next)
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> u64 {
        (self.blocks.len() * BLOCK + self.block.len()) as u64
    }

    /// How many blocks come before the last one.
    pub(crate) fn blocks_before(&self) -> usize {
        self.blocks.len()
    }

    /// The last block, which may be full.
    pub(crate) fn last_block(&self) -> &[Entry] {
        &self.block
    }

    /// The digest of a block; none when it has no entry.
    pub(crate) fn block(&self, number: usize) -> Option<[u8; 16]> {
        let is_last = number == self.blocks.len() && !self.block.is_empty();
        let last = is_last.then(|| digest_of(&self.block));
        self.blocks.get(number).copied().or(last)
    }

    /// The sum of an account by its name, in a currency; none when it was never posted to.
    pub(crate) fn sum(&self, account: &str, currency: &str) -> Option<((u32, String), i128)> {
        let key = (*self.accounts.get(account)?, currency.to_owned());
        let sum = *self.sums.get(&key)?;
        Some((key, sum))
    }

    /// Every sum there is.
    pub(crate) fn sums(&self) -> &BTreeMap<(u32, String), i128> {
        &self.sums
    }
}

fn digest_of(block: &[Entry]) -> [u8; 16] {
    let mut hash = Sha256::new();
    for (family_seq, digest) in block {
        hash.update(family_seq.to_be_bytes());
        hash.update(digest);
    }
    let mut digest = [0; 16];
    digest.copy_from_slice(&hash.finalize()[..16]);
    digest
}

/// A decimal number in units of 10^-8.
pub(crate) fn amount(text: &str) -> Option<i128> {
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, places) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(places) || places.len() > PLACES {
        return None;
    }
    let number: i128 = format!("{whole}{places:0<PLACES$}").parse().ok()?;
    Some(if is_negative { -number } else { number })
}

#[cfg(test)]
mod tests {
    use super::amount;

    #[test]
    fn amounts_are_exact() {
        assert_eq!(amount("-12.30"), Some(-1_230_000_000));
        assert_eq!(amount("100"), Some(10_000_000_000));
        for bad in ["", "-", ".5", "1e3", "1.123456789", "+1", "1.2.3"] {
            assert_eq!(amount(bad), None, "{bad}");
        }
    }
}
