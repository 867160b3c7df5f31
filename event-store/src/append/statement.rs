//! The one statement: several shares in, verdicts out.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Row, postgres::PgRow};

use super::{
    Appended, Verdict,
    columns::{Array, BYTES, COLUMNS, Column, DATE, INT8, JSON, Of, Share, TEXT, UUID},
};
use crate::{LogError, StoredCommand};

/// What became of one share: a verdict per command, or none because another held the lane.
pub(super) type Outcome = Option<Vec<Verdict>>;

/// Appends shares of different lanes in one transaction. Unless it `waits`, a lane that another holds is left out.
pub(super) async fn append(
    connection: &mut PgConnection,
    shares: &[Share],
    waits: bool,
) -> Result<Vec<Outcome>, LogError> {
    // By lane, as the function wants them; outcomes go back in the order they came in.
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_unstable_by_key(|index| shares[*index].lane);
    let sorted: Vec<&Share> = order.iter().map(|index| &shares[*index]).collect();
    let row = send(connection, &sorted, waits).await?;
    let mut verdicts = Verdicts::read(&row)?;
    let mut outcomes: Vec<Outcome> = shares.iter().map(|_| None).collect();
    for index in order {
        outcomes[index] = verdicts.of_share(&shares[index])?;
    }
    Ok(outcomes)
}

async fn send(connection: &mut PgConnection, shares: &[&Share], waits: bool) -> Result<PgRow, LogError> {
    let mut columns: [Column; COLUMNS] = Default::default();
    let (mut lanes, mut lane, mut events) = (Vec::new(), Vec::new(), Vec::new());
    let (mut same_as, mut creates) = (Vec::<i32>::new(), Vec::<bool>::new());
    let (mut event_command, mut claim_command) = (Vec::new(), Vec::new());
    let mut before = 0_i32;
    for (of, column) in columns.iter_mut().enumerate() {
        column.reserve(shares.iter().map(|share| share.columns[of].len()).sum());
    }
    for share in shares {
        let shifted = |number: &i32| number + before;
        lanes.push(share.lane.0);
        lane.extend(share.commands.iter().map(|_| share.lane.0));
        events.extend(share.commands.iter().map(|(_, events)| *events));
        same_as.extend(
            share
                .same_as
                .iter()
                .map(|same| if *same > 0 { same + before } else { 0 }),
        );
        creates.extend(&share.creates);
        event_command.extend(share.event_command.iter().map(shifted));
        claim_command.extend(share.claim_command.iter().map(shifted));
        for (column, part) in columns.iter_mut().zip(&share.columns) {
            column.append(part);
        }
        before += i32::try_from(share.commands.len()).expect("batches are bounded");
    }
    // Empty when there is nothing of the sort: the function then asks less of each command.
    if same_as.iter().all(|same| *same == 0) {
        same_as.clear();
    }
    if creates.iter().all(|creates| !creates) {
        creates.clear();
    }
    let mut take = |of: Of, (element, array): (u32, u32)| Array {
        column: std::mem::take(&mut columns[of as usize]),
        element,
        array,
    };
    let statement = "select appended_at, verdicts, end_positions, head_chains, first_seqs, last_seqs, stored_requests, stored_ats, \
         taken_scopes from log.append_lanes($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, \
         $20, $21, $22, $23, $24, $25)";
    let row = sqlx::query(statement)
        .bind(waits)
        .bind(lanes)
        .bind(lane)
        .bind(take(Of::Family, UUID))
        .bind(take(Of::Command, UUID))
        .bind(same_as)
        .bind(take(Of::RequestHash, BYTES))
        .bind(take(Of::Expected, INT8))
        .bind(creates)
        .bind(events)
        .bind(take(Of::Metadata, JSON))
        .bind(event_command)
        .bind(take(Of::FamilySeq, INT8))
        .bind(take(Of::AggregateType, TEXT))
        .bind(take(Of::AggregateId, TEXT))
        .bind(take(Of::Sequence, INT8))
        .bind(take(Of::EventType, TEXT))
        .bind(take(Of::EventVersion, TEXT))
        .bind(take(Of::Payload, JSON))
        .bind(take(Of::EffectiveOn, DATE))
        .bind(take(Of::Leaf, BYTES))
        .bind(claim_command)
        .bind(take(Of::ClaimScope, TEXT))
        .bind(take(Of::ClaimHash, BYTES))
        .bind(take(Of::ExpectedChain, BYTES))
        .fetch_one(connection)
        .await?;
    Ok(row)
}

/// The answer, read from the front.
struct Verdicts {
    next: usize,
    appended_at: DateTime<Utc>,
    verdicts: Vec<i16>,
    end_positions: Vec<Option<i64>>,
    head_chains: Vec<Option<[u8; 32]>>,
    first_seqs: Vec<Option<i64>>,
    last_seqs: Vec<Option<i64>>,
    stored_requests: Vec<Option<[u8; 32]>>,
    stored_ats: Vec<Option<DateTime<Utc>>>,
    taken_scopes: Vec<Option<String>>,
}

impl Verdicts {
    fn read(row: &PgRow) -> Result<Self, LogError> {
        // Null when no command needs it, shorter than the batch when the last ones do not.
        fn some<'r, T>(row: &'r PgRow, column: usize) -> Result<Vec<Option<T>>, sqlx::Error>
        where
            Option<Vec<Option<T>>>: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
        {
            Ok(row.try_get::<Option<Vec<Option<T>>>, _>(column)?.unwrap_or_default())
        }
        Ok(Self {
            next: 0,
            appended_at: row.try_get(0)?,
            verdicts: row.try_get(1)?,
            end_positions: row.try_get(2)?,
            head_chains: row.try_get(3)?,
            first_seqs: some(row, 4)?,
            last_seqs: some(row, 5)?,
            stored_requests: some(row, 6)?,
            stored_ats: some(row, 7)?,
            taken_scopes: some(row, 8)?,
        })
    }

    fn of_share(&mut self, share: &Share) -> Result<Outcome, LogError> {
        let first = self.next;
        self.next += share.commands.len();
        if self.verdicts.len() < self.next {
            let count = self.verdicts.len();
            return Err(LogError::Inconsistent(format!(
                "{count} verdicts are fewer than commands"
            )));
        }
        if self.verdicts[first] == 4 {
            return Ok(None);
        }
        let mut judged = Vec::with_capacity(share.commands.len());
        for (index, command) in (first..).zip(&share.commands) {
            judged.push(self.verdict(index, *command)?);
        }
        Ok(Some(judged))
    }

    fn verdict(&mut self, index: usize, (expected, events): (i64, i32)) -> Result<Verdict, LogError> {
        fn at<T: Copy>(values: &[Option<T>], index: usize, name: &str) -> Result<T, LogError> {
            let value = values.get(index).copied().flatten();
            value.ok_or_else(|| LogError::Inconsistent(format!("a verdict without {name}")))
        }
        match self.verdicts[index] {
            0 => Ok(Verdict::Ok(Appended {
                first_family_seq: expected + 1,
                last_family_seq: expected + i64::from(events),
                last_position: at(&self.end_positions, index, "position")?,
                chain_hash: at(&self.head_chains, index, "chain hash")?,
                recorded_at: self.appended_at,
            })),
            1 => Ok(Verdict::Duplicate(StoredCommand {
                request_hash: at(&self.stored_requests, index, "request")?,
                first_family_seq: at(&self.first_seqs, index, "first event")?,
                last_family_seq: at(&self.last_seqs, index, "last event")?,
                last_position: at(&self.end_positions, index, "position")?,
                recorded_at: at(&self.stored_ats, index, "time")?,
            })),
            2 => Ok(Verdict::Conflict),
            3 => {
                let scope = self.taken_scopes.get_mut(index).and_then(Option::take);
                let scope = scope.ok_or_else(|| LogError::Inconsistent("a claim without a scope".to_owned()))?;
                Ok(Verdict::ClaimTaken { scope })
            }
            other => Err(LogError::Inconsistent(format!("verdict {other}"))),
        }
    }
}
