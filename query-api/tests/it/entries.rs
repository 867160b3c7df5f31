//! Entries: pages and filters.

use axum::http::StatusCode;

use crate::home::*;

#[tokio::test]
async fn pages_are_complete_and_stable_while_entries_come_in() {
    let home = Home::new().await;
    // A thousand entries on three days only, so that most pages end in the middle of a day.
    home.run(&format!(
        "insert into views.entries (family_id, entry_id, effective_on, recorded_at, family_seq, kind, amount, currency,
            payee, note, search, is_reversed, reversal_reason)
        select '{family}', gen_random_uuid(), date '2026-03-01' + n % 3, now(), n, 'expense', -n, 'EUR', '', '', ' ', false, ''
        from generate_series(1, 1000) n",
        family = uuid(FAMILY),
    )).await;
    for filter in ["", "&min_amount=1&max_amount=1000"] {
        let mut seen = Vec::new();
        let mut after = String::new();
        loop {
            let page = home.view(PARENT, &format!("entries?limit=73{filter}{after}")).await;
            seen.extend(page["entries"].as_array().expect("entries").iter().map(|entry| {
                (
                    entry["effective_on"].as_str().expect("a day").to_owned(),
                    entry["family_seq"].as_i64().expect("a number"),
                )
            }));
            // Newer entries belong to no page that follows.
            home.run(&format!(
                "insert into views.entries (family_id, entry_id, effective_on, recorded_at, family_seq, kind, amount, currency,
                    payee, note, search, is_reversed, reversal_reason)
                values ('{}', gen_random_uuid(), '2026-03-04', now(), {}, 'expense', -5, 'EUR', '', '', ' ', false, '')",
                uuid(FAMILY), 2_000 + seen.len(),
            )).await;
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        assert_eq!(seen.len(), 1_000);
        let mut sorted = seen.clone();
        sorted.sort_by(|a, b| b.cmp(a));
        sorted.dedup();
        assert_eq!(sorted, seen, "newest first, none twice");
        home.run("delete from views.entries where family_seq > 1000").await;
    }
    home.database.drop().await;
}

async fn lived() -> Home {
    let home = Home::new().await;
    home.entry(
        1,
        Seed {
            payee: "Green Grocer",
            ..spent("2026-10-01", "-12.30", BANK, GROCERIES)
        },
    )
    .await;
    home.entry(
        2,
        Seed {
            payee: "100%_Cinema",
            ..spent("2026-10-15", "-20.00", BANK, LEISURE)
        },
    )
    .await;
    home.entry(
        3,
        Seed {
            by: CHILD,
            payee: "Kiosk",
            ..spent("2026-11-01", "-1.20", CHILD_WALLET, LEISURE)
        },
    )
    .await;
    home.entry(
        4,
        Seed {
            kind: "transfer",
            to: To::Account(CHILD_WALLET),
            ..spent("2026-11-02", "5.00", BANK, 0)
        },
    )
    .await;
    home.entry(
        5,
        Seed {
            kind: "income",
            payee: "Employer",
            ..spent("2026-11-03", "2000.00", BANK, SALARY)
        },
    )
    .await;
    home
}

#[tokio::test]
async fn every_filter_keeps_what_it_says() {
    let home = lived().await;
    let cases = [
        ("".to_owned(), "5 4 3 2 1"),
        ("from=2026-10-15&to=2026-11-02".to_owned(), "4 3 2"),
        (format!("account_id=acc_{}", uuid(CHILD_WALLET)), "4 3"),
        (format!("account_id={}", uuid(BANK)), "5 4 2 1"),
        (format!("category_id=cat_{}", uuid(LEISURE)), "3 2"),
        (
            format!("category_id=cat_{}&account_id=acc_{}", uuid(LEISURE), uuid(BANK)),
            "2",
        ),
        (format!("member_id=mem_{}", uuid(CHILD)), "4 3"),
        ("min_amount=5&max_amount=12.30".to_owned(), "4 1"),
        ("text=gROCer".to_owned(), "1"),
        ("text=%25_c".to_owned(), "2"),
        ("text=%25".to_owned(), "2"),
        (format!("category_id=cat_{}", uuid(0xDEAD)), ""),
        (format!("account_id=acc_{}", uuid(0xDEAD)), ""),
        (
            format!(
                "account_id=acc_{}&from=2026-11-01&text=shop&min_amount=1&limit=1",
                uuid(CHILD_WALLET)
            ),
            "4",
        ),
    ];
    for (query, expected) in cases {
        let answer = home.view(PARENT, &format!("entries?{query}")).await;
        assert_eq!(pick(&answer["entries"], "family_seq").join(" "), expected, "{query}");
    }
    home.database.drop().await;
}

#[tokio::test]
async fn a_child_sees_its_own_side_only() {
    let home = lived().await;
    let answer = home.view(CHILD, "entries").await;
    assert_eq!(pick(&answer["entries"], "family_seq"), ["4", "3"]);
    let transfer = &answer["entries"][0];
    assert_eq!(transfer["amount"]["amount"], "5.00");
    assert_eq!(
        pick(&transfer["postings"], "ledger_account"),
        [format!("acc_{}", uuid(CHILD_WALLET))]
    );
    let of_bank = home
        .view(CHILD, &format!("entries?account_id=acc_{}", uuid(BANK)))
        .await;
    assert_eq!(of_bank["entries"].as_array().map(Vec::len), Some(0));
    assert_eq!(
        pick(
            &home
                .view(CHILD, &format!("entries?category_id=cat_{}", uuid(LEISURE)))
                .await["entries"],
            "family_seq"
        ),
        ["3"]
    );
    assert_eq!(
        home.view(TEEN, "entries").await["entries"].as_array().map(Vec::len),
        Some(0)
    );
    assert_eq!(
        home.view(AUDITOR, "entries").await["entries"].as_array().map(Vec::len),
        Some(5)
    );
    home.database.drop().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_a_400_and_never_a_500() {
    let home = lived().await;
    for query in [
        "limit=0",
        "limit=201",
        "limit=-1",
        "limit=x",
        "limit=99999999999999999999",
        "after=",
        "after=zz",
        "after=00",
        "after=7fffffff7fffffffffffffff",
        "from=2026-13-01",
        "from=1900-01-01",
        "to=%2B99999-01-01",
        "to=10000-01-01",
        "min_amount=-1",
        "min_amount=1e9",
        "max_amount=NaN",
        "min_amount=99999999999999999999999999999999",
        "text=%00",
        "text=a%0Ab",
        "text=%ff%00",
        "account_id=cat_00000000-0000-0000-0000-000000000001",
        "account_id=1",
        "member_id=",
        "froM=2026-01-01",
        "from=2026-01-01&from=2026-01-02",
        "min_family_seq=-1",
        "min_family_seq=9223372036854775808",
        "min_family_seq=x",
    ] {
        let (status, body) = home.try_view(PARENT, &format!("entries?{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}: {body}");
        assert_eq!(body["type"], "/problems/malformed", "{query}");
    }
    let long = format!("entries?text={}", "a".repeat(101));
    assert_eq!(home.try_view(PARENT, &long).await.0, StatusCode::BAD_REQUEST);
    for view in [
        "chores?status=x",
        "leaderboard?period=year",
        "trend?months=0",
        "trend?months=121",
        "spending?from=2026-02-01&to=2026-01-01",
        "notifications?unread=maybe",
        "accounts?on=0001-01-01",
        "budgets?on=x",
        "members?x=1",
        "imports?limit=0",
        "badges?after=x",
    ] {
        assert_eq!(home.try_view(PARENT, view).await.0, StatusCode::BAD_REQUEST, "{view}");
    }
    // Odd but readable.
    for query in [
        "limit=200",
        "text=",
        "text=%F0%9F%8D%8E",
        "min_amount=0",
        "from=1970-01-01&to=9999-12-31",
        "text=%ff",
        "min_amount=5&max_amount=1",
    ] {
        assert_eq!(
            home.try_view(PARENT, &format!("entries?{query}")).await.0,
            StatusCode::OK,
            "{query}"
        );
    }
    home.database.drop().await;
}
