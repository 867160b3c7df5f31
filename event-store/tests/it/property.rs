//! Any event we can make comes back from the log byte by byte.

use chrono::NaiveDate;
use domain::{
    Currency, Money,
    aggregate::LedgerEvent,
    entry::{EntryEvent, ExpenseAdded},
    family::FamilyEvent,
    id::{AccountId, CategoryId, EntryId, MemberId},
    journal::Posting,
    ledger_account::{AccountKind, AccountOpened, LedgerAccountEvent},
    stream::StreamId,
};
use event_store::{AppendCommand, AppendEvent, verify::verify_family};
use futures::TryStreamExt;
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestRunner},
};
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::support::{Fixture, LANE, command, family, member_added};

fn money() -> impl Strategy<Value = Money> {
    (
        -100_000_000_000i64..100_000_000_000,
        prop_oneof![Just("EUR"), Just("JPY"), Just("KWD")],
    )
        .prop_map(|(units, code)| {
            let currency: Currency = code.parse().unwrap();
            let scale = match code {
                "JPY" => 0,
                "KWD" => 3,
                _ => 2,
            };
            Money::parse(&Decimal::new(units, scale).to_string(), currency).unwrap()
        })
}

fn uuid() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

/// Any text, whatever JSON has to do to hold it: quotes, control characters, zero bytes, the far planes of Unicode.
fn text() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..40).prop_map(String::from_iter)
}

fn date() -> impl Strategy<Value = NaiveDate> {
    (0..25_000u64).prop_map(|days| NaiveDate::from_ymd_opt(1970, 1, 1).unwrap() + chrono::Days::new(days))
}

fn event() -> impl Strategy<Value = LedgerEvent> {
    let expense = (uuid(), uuid(), uuid(), money(), text(), text(), date()).prop_map(
        |(entry, account, category, money, payee, note, effective_on)| {
            let postings = vec![
                Posting::account(AccountId::from_uuid(account), money.negated()),
                Posting::category(CategoryId::from_uuid(category), money),
            ];
            let entry_id = EntryId::from_uuid(entry);
            EntryEvent::from(ExpenseAdded {
                entry_id,
                effective_on,
                postings,
                payee,
                note,
                entered_by: None,
            })
            .into()
        },
    );
    let opened = (uuid(), text(), money(), proptest::option::of(uuid())).prop_map(|(account, name, money, owner)| {
        LedgerAccountEvent::from(AccountOpened {
            account_id: AccountId::from_uuid(account),
            name,
            kind: AccountKind::Wallet,
            currency: money.currency(),
            owner: owner.map(MemberId::from_uuid),
            opening_balance: Some(money),
        })
        .into()
    });
    let member = text().prop_map(|name| FamilyEvent::into(member_added(&name)));
    prop_oneof![expense, opened, member]
}

#[test]
fn random_events_read_back_byte_by_byte() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let fixture = runtime.block_on(Fixture::new());
    let mut runner = TestRunner::new(Config {
        cases: 48,
        failure_persistence: None,
        ..Config::default()
    });
    let batches = vec((event(), date(), text()), 1..20);
    let result = runner.run(&batches, |events| {
        let id = family(Uuid::new_v4().as_u128() >> 1);
        let new: Vec<AppendEvent> = events
            .iter()
            .map(|(event, effective_on, _)| AppendEvent {
                stream: StreamId {
                    kind: event.aggregate_type(),
                    id: Uuid::new_v4(),
                },
                sequence: 1,
                event: event.clone(),
                effective_on: *effective_on,
            })
            .collect();
        let metadata = serde_json::json!({ "note": events[0].2 }).to_string();
        let append = AppendCommand {
            metadata: metadata.clone(),
            events: new.clone(),
            ..command(id, 0, 0)
        };
        let records = runtime.block_on(async {
            fixture.append(append).await;
            verify_family(&fixture.log, LANE, id, |_| ()).await.unwrap();
            for new in &new {
                let loaded = fixture.log.load(LANE, id, &[new.stream]).await.unwrap();
                assert_eq!(loaded.streams[0].2, 1);
            }
            fixture.log.read_family(LANE, id, 0, 100).await.unwrap()
        });
        prop_assert_eq!(records.len(), new.len());
        for (record, new) in records.iter().zip(&new) {
            prop_assert_eq!(record.opened_payload().unwrap(), new.event.encode());
            prop_assert_eq!(&record.metadata, &metadata);
            prop_assert_eq!(record.effective_on, new.effective_on);
            let decoded = record.decode().unwrap();
            prop_assert_eq!(decoded.encode(), new.event.encode());
            prop_assert_eq!(&decoded, &new.event);
        }
        Ok(())
    });
    runtime.block_on(fixture.end());
    result.unwrap();
}

#[tokio::test]
async fn a_family_is_read_page_by_page_to_its_end() {
    let fixture = Fixture::new().await;
    let id = fixture.family_of(1, 2_000).await;
    let all: Vec<_> = fixture.log.read_family_stream(LANE, id, 0).try_collect().await.unwrap();
    assert!(all.iter().map(|record| record.family_seq).eq(1..=2_000));
    let rest: Vec<_> = fixture
        .log
        .read_family_stream(LANE, id, 1_990)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(rest.len(), 10);
    fixture.end().await;
}
