//! Opening the texts of events that were read.

use std::{collections::BTreeSet, sync::Arc};

use domain::aggregate::{DecodeError, LedgerEvent};
use sqlx::PgConnection;

use super::{
    Held, Keys, Known, Whose,
    envelope::{Envelope, Place, ValueKey, is_possible_in},
};
use crate::{LogError, Record, record::Opened};

/// Whose keys the texts of an event are sealed under.
pub(crate) fn subjects(event: &mut LedgerEvent, family: uuid::Uuid, wanted: &mut BTreeSet<Whose>) -> bool {
    let mut is_sealed = false;
    event.visit_personal(&mut |personal| {
        if let Some(envelope) = Envelope::parse(personal.text) {
            wanted.insert((family, envelope.subject));
            is_sealed = true;
        }
    });
    is_sealed
}

/// Opens the texts of an event, under keys that were looked up.
pub(crate) fn open_event(event: &mut LedgerEvent, place: &Place<'_>, held: &Held) -> Result<(), DecodeError> {
    let mut problem = None;
    event.visit_personal(&mut |personal| {
        let Some(envelope) = Envelope::parse(personal.text) else {
            return;
        };
        let known = held.get(&(place.family_id, envelope.subject)).map(Arc::as_ref);
        let keys = match known {
            Some(Known::Erased) => {
                *personal.text = personal.erased.to_owned();
                return;
            }
            Some(Known::Living(keys)) => keys,
            Some(Known::Damaged) => {
                problem = Some(format!("the key of {} does not unwrap", envelope.subject));
                return;
            }
            None => {
                problem = Some(format!("the key of {} is missing", envelope.subject));
                return;
            }
        };
        let key = keys.iter().find(|(generation, _)| *generation == envelope.generation);
        let Some((_, key)) = key else {
            problem = Some(format!(
                "the key {} of {} is missing",
                envelope.generation, envelope.subject
            ));
            return;
        };
        let value_key = ValueKey::of(key, place, personal.path);
        match value_key.open(&envelope) {
            Some(text) => *personal.text = text,
            None => problem = Some(format!("{} was not sealed here", personal.path)),
        }
    });
    match problem {
        None => Ok(()),
        Some(problem) => Err(DecodeError::Sealed {
            event_type: place.event_type.to_owned(),
            problem,
        }),
    }
}

impl Record {
    pub(crate) fn place(&self) -> Place<'_> {
        Place {
            family_id: self.family_id.uuid(),
            aggregate_type: &self.aggregate_type,
            aggregate_id: self.aggregate_id,
            sequence: self.sequence,
            event_type: &self.event_type,
        }
    }
}

impl Keys {
    /// Opens the texts of records, so that [`Record::decode`] gives them. Keys that are not in memory are read through
    /// `connection`, else one of the pool's. A record whose texts cannot be opened says so when it is decoded.
    ///
    /// # Errors
    /// When keys cannot be read just now.
    pub(crate) async fn open(
        &self,
        records: &mut [Record],
        connection: Option<&mut PgConnection>,
    ) -> Result<(), LogError> {
        let mut wanted = BTreeSet::new();
        let mut sealed = Vec::new();
        for (index, record) in records.iter().enumerate() {
            if record.opened.is_opened() || !is_possible_in(&record.payload) {
                continue;
            }
            // What does not read at all says so by itself.
            if let Ok(mut event) = record.decode_stored()
                && subjects(&mut event, record.family_id.uuid(), &mut wanted)
            {
                sealed.push((index, event));
            }
        }
        if sealed.is_empty() {
            return Ok(());
        }
        let held = self.held(&wanted, connection).await?;
        for (index, mut event) in sealed {
            let record = &mut records[index];
            let opened = open_event(&mut event, &record.place(), &held);
            record.opened = Opened::new(opened.map(|()| event));
        }
        Ok(())
    }
}
