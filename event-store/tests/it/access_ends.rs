//! The one number by which a process knows that something changed about who belongs to a family or who sees which account.

use domain::{
    Currency, Money,
    id::{AccountId, EntryId, FamilyId, MemberId},
    ledger_account::{
        AccountClosed, AccountKind, AccountOpened, AccountShared, LedgerAccountEvent, ShareLevel, WalletBalanceChanged,
    },
    stream::StreamId,
};
use event_store::{AppendCommand, AppendEvent, Lane};
use uuid::Uuid;

use crate::support::{Fixture, LANE, command, day, family};

/// Events of one account, the first of them with this place in its stream.
fn about_account(family_id: FamilyId, head: i64, first: i64, events: Vec<LedgerAccountEvent>) -> AppendCommand {
    let stream = StreamId {
        kind: "ledger-account",
        id: account().uuid(),
    };
    let events = (first..).zip(events).map(|(sequence, event)| AppendEvent {
        stream,
        sequence,
        event: event.into(),
        effective_on: day(),
    });
    AppendCommand {
        events: events.collect(),
        ..command(family_id, head, 0)
    }
}

fn account() -> AccountId {
    AccountId::from_uuid(Uuid::from_u128(0xACC0))
}

#[tokio::test]
async fn it_moves_with_who_belongs_and_who_sees_and_with_nothing_else() {
    let fixture = Fixture::new().await;
    let (one, other) = (fixture.family_of(1, 2).await, fixture.family_of(2, 1).await);
    let (account_id, member_id) = (account(), MemberId::from_uuid(Uuid::from_u128(1)));
    let euros: Currency = "EUR".parse().unwrap();
    let told = async |families: &[FamilyId]| {
        let families: Vec<(Lane, FamilyId)> = families.iter().map(|family| (LANE, *family)).collect();
        let mut ends = fixture.log.access_ends(&families).await.unwrap();
        ends.sort_unstable();
        ends
    };
    // Both of them, and one that was never founded.
    assert_eq!(
        told(&[one, other, family(3)]).await,
        [(one, 2), (other, 1), (family(3), 0)]
    );
    assert_eq!(told(&[]).await, []);

    let opened = AccountOpened {
        account_id,
        name: "Pocket".to_owned(),
        kind: AccountKind::Wallet,
        currency: euros,
        owner: Some(member_id),
        opening_balance: None,
    };
    let spent = WalletBalanceChanged {
        account_id,
        entry_id: EntryId::from_uuid(Uuid::from_u128(2)),
        change: Money::parse("-1", euros).unwrap(),
        balance: Money::zero(euros),
    };
    let shared = AccountShared {
        account_id,
        member_id,
        level: ShareLevel::None,
        by: None,
    };
    fixture.append(about_account(one, 2, 1, vec![opened.into()])).await;
    assert_eq!(told(&[one]).await, [(one, 3)], "an account that was opened");
    fixture.append(about_account(one, 3, 2, vec![spent.into()])).await;
    assert_eq!(told(&[one]).await, [(one, 3)], "money that was moved");
    fixture.append(about_account(one, 4, 3, vec![shared.into()])).await;
    assert_eq!(told(&[one]).await, [(one, 5)], "an account that was hidden");
    let closed = AccountClosed { account_id };
    fixture.append(about_account(one, 5, 4, vec![closed.into()])).await;
    assert_eq!(told(&[one]).await, [(one, 5)], "an account that was closed");
    let mut joined = command(one, 6, 1);
    joined.events[0].sequence = 3;
    fixture.append(joined).await;
    assert_eq!(told(&[one, other]).await, [(one, 7), (other, 1)], "somebody who joined");
    fixture.end().await;
}
