//! The bound by day: what counts for a later day is in no answer, and what has no day refuses the bound.

use axum::http::StatusCode;
use query_api::views::VIEWS;
use serde_json::{Value, json};

use crate::home::*;

fn eur(amount: &str) -> Value {
    json!({"amount": amount, "currency": "EUR"})
}

/// October, a leap day, today and tomorrow; a budget that changes, and an import whose rows straddle a month's end.
async fn lived() -> Home {
    let home = Home::new().await;
    home.entry(1, spent("2024-02-29", "-5.00", BANK, GROCERIES)).await;
    home.entry(2, spent("2026-10-31", "-10.00", BANK, GROCERIES)).await;
    home.entry(3, spent("2026-11-01", "-12.30", BANK, GROCERIES)).await;
    home.entry(4, spent("2026-11-20", "-1.20", CHILD_WALLET, LEISURE)).await;
    home.entry(5, spent("2026-11-22", "-99.00", BANK, GROCERIES)).await;
    for (account, balance) in [(BANK, "-126.30"), (CHILD_WALLET, "-1.20")] {
        home.run(&format!(
            "update views.accounts set balance = {balance} where account_id = '{}'",
            uuid(account)
        ))
        .await;
    }
    home.run(
        "insert into views.account_days (family_id, ledger_account, currency, effective_on, amount)
        select family_id, ledger_account, currency, effective_on, sum(amount)
        from views.entry_postings group by family_id, ledger_account, currency, effective_on",
    )
    .await;
    for (seq, on, amount) in [(11, "2026-11-01", "20"), (12, "2026-11-15", "40")] {
        home.run(&format!(
            "insert into views.budgets (family_id, budget_id, family_seq, category_id, period, effective_on, amount, currency)
            values ('{}', '{}', {seq}, '{}', 'month', '{on}', {amount}, 'EUR')",
            uuid(FAMILY),
            uuid(0xB1),
            uuid(GROCERIES),
        ))
        .await;
    }
    home
}

#[tokio::test]
async fn balances_spending_and_trend_end_with_the_day() {
    let home = lived().await;
    for (day, total) in [
        ("2024-02-28", "0.00"),
        ("2024-02-29", "-5.00"),
        ("2026-10-31", "-15.00"),
        ("2026-11-01", "-27.30"),
        ("2026-11-21", "-28.50"),
        ("2026-11-22", "-127.50"),
        ("9999-12-31", "-127.50"),
    ] {
        let accounts = home.view(PARENT, &format!("accounts?effective_on={day}")).await;
        assert_eq!(accounts["totals"], json!([eur(total)]), "{day}");
    }
    // The earlier of two days counts, whichever way round.
    let both = home
        .view(PARENT, "accounts?on=2026-11-22&effective_on=2026-10-31")
        .await;
    assert_eq!(both["totals"], json!([eur("-15.00")]));
    let both = home
        .view(PARENT, "accounts?on=2026-10-31&effective_on=2026-11-22")
        .await;
    assert_eq!(both["totals"], json!([eur("-15.00")]));

    let whole = "spending?from=2024-01-01&to=2026-11-30";
    for (day, total) in [("2026-10-30", "5.00"), ("2026-10-31", "15.00"), ("2026-11-19", "27.30")] {
        let spending = home.view(PARENT, &format!("{whole}&effective_on={day}")).await;
        assert_eq!(spending["totals"], json!([eur(total)]), "{day}");
    }
    let before = home
        .view(PARENT, "spending?from=2026-11-01&to=2026-11-30&effective_on=2026-10-31")
        .await;
    assert_eq!((&before["totals"], &before["to"]), (&json!([]), &json!("2026-11-30")));
    let month = home.view(PARENT, "spending?effective_on=2026-10-31").await;
    assert_eq!(
        (&month["from"], &month["to"]),
        (&json!("2026-10-01"), &json!("2026-10-31"))
    );

    let trend = home
        .view(PARENT, "trend?months=2&to=2026-11-30&effective_on=2026-11-19")
        .await;
    assert_eq!(pick(&trend["months"], "month"), ["2026-10-01", "2026-11-01"]);
    assert_eq!(trend["months"][0]["spending"], eur("10.00"));
    assert_eq!(
        trend["months"][1]["spending"],
        eur("12.30"),
        "the bound cuts November in two"
    );
    let october = home
        .view(PARENT, "trend?months=2&to=2026-11-30&effective_on=2026-10-30")
        .await;
    assert_eq!(
        pick(&october["months"], "spending"),
        [eur("0.00").to_string(), eur("0.00").to_string()]
    );
    let leap = home.view(PARENT, "trend?months=1&effective_on=2024-02-29").await;
    assert_eq!(
        (&leap["months"][0]["month"], &leap["months"][0]["spending"]),
        (&json!("2024-02-01"), &eur("5.00"))
    );
    home.database.drop().await;
}

#[tokio::test]
async fn the_dashboard_and_budgets_are_those_of_the_day() {
    let home = lived().await;
    let then = home.view(PARENT, "dashboard?effective_on=2026-11-01").await;
    assert_eq!(
        (&then["today"], &then["totals"]),
        (&json!("2026-11-01"), &json!([eur("-27.30")]))
    );
    assert_eq!(then["month"]["spending"], json!([eur("12.30")]));
    assert_eq!(then["recent_entries"].as_array().map(Vec::len), Some(3));
    assert_eq!(
        (&then["budgets"][0]["amount"], &then["budgets"][0]["spent"]),
        (&eur("20.00"), &eur("12.30"))
    );

    let sum = |budgets: &Value| {
        (
            budgets["budgets"][0]["amount"].clone(),
            budgets["budgets"][0]["spent"].clone(),
        )
    };
    let on = "budgets?on=2026-11-30&effective_on";
    assert_eq!(
        sum(&home.view(PARENT, &format!("{on}=2026-11-14")).await),
        (eur("20.00"), eur("12.30"))
    );
    assert_eq!(
        sum(&home.view(PARENT, &format!("{on}=2026-11-15")).await),
        (eur("40.00"), eur("12.30"))
    );
    assert_eq!(
        sum(&home.view(PARENT, &format!("{on}=2026-11-22")).await),
        (eur("40.00"), eur("111.30"))
    );
    let before = home.view(PARENT, &format!("{on}=2026-10-31")).await;
    assert_eq!(before["budgets"], json!([]), "the budget was not set for any day yet");
    home.database.drop().await;
}

#[tokio::test]
async fn an_entry_stands_until_the_day_its_reversal_counts_for() {
    let home = lived().await;
    home.run("update views.entries set is_reversed = true, reversal_reason = 'twice', reversed_on = '2026-11-10' where family_seq = 3")
        .await;
    home.run("update views.entries set is_reversed = true, reversal_reason = 'wrong' where family_seq = 2")
        .await;
    let entries = home.view(PARENT, "entries?effective_on=2026-11-09").await;
    assert_eq!(pick(&entries["entries"], "family_seq"), ["3", "2", "1"]);
    assert_eq!(pick(&entries["entries"], "is_reversed"), ["false", "true", "false"]);
    assert_eq!(pick(&entries["entries"], "reversal_reason"), ["", "wrong", ""]);
    let day_after = home
        .view(PARENT, "entries?effective_on=2026-11-10&from=2026-11-01")
        .await;
    assert_eq!(pick(&day_after["entries"], "reversal_reason"), ["twice"]);
    let narrower = home
        .view(PARENT, "entries?effective_on=2026-11-22&to=2026-10-31&limit=1")
        .await;
    assert_eq!(pick(&narrower["entries"], "family_seq"), ["2"]);
    let own = home.view(CHILD, "entries?effective_on=2026-11-19").await;
    assert_eq!(
        own["entries"],
        json!([]),
        "a child's own entry counts for the day after"
    );
    home.database.drop().await;
}

#[tokio::test]
async fn imports_and_the_banks_balance_end_with_the_day() {
    let home = lived().await;
    let (family, import, connection) = (uuid(FAMILY), uuid(0x11), uuid(0x12));
    home.run(&format!(
        "update views.entries set import_id = '{import}', kind = 'bank' where family_seq in (2, 3)"
    ))
    .await;
    home.run(&format!(
        "insert into views.imports (family_id, import_id, family_seq, connection_id, account_id, source, file_sha256, rows,
            rows_booked, rows_known, rows_categorised, rows_zero, booked, currency, imported_at, is_undone, entries_reversed)
        values ('{family}', '{import}', 20, '{connection}', '{bank}', 'csv', '', 2, 2, 0, 0, 0, -22.30, 'EUR', now(), false, 0)",
        bank = uuid(BANK),
    ))
    .await;
    home.run(&format!(
        "insert into views.bank_connections (family_id, connection_id, account_id, provider, institution, connected_at, synced_at,
            bank_balance, currency, first_on, last_on, is_proved)
        values ('{family}', '{connection}', '{bank}', 'statement-file', 'Bank', now(), now(), 77.70, 'EUR', '2026-10-31', '2026-11-01', true)",
        bank = uuid(BANK),
    ))
    .await;
    for (day, booked, balance, last_on) in [
        ("2026-10-30", eur("0.00"), Value::Null, Value::Null),
        ("2026-10-31", eur("-10.00"), eur("90.00"), json!("2026-10-31")),
        ("2026-11-01", eur("-22.30"), eur("77.70"), json!("2026-11-01")),
        ("2026-12-24", eur("-22.30"), eur("77.70"), json!("2026-11-01")),
    ] {
        let imports = home.view(PARENT, &format!("imports?effective_on={day}")).await;
        assert_eq!(imports["imports"][0]["booked"], booked, "{day}");
        let banks = home.view(PARENT, &format!("bank-connections?effective_on={day}")).await;
        let bank = &banks["bank_connections"][0];
        assert_eq!((&bank["bank_balance"], &bank["last_on"]), (&balance, &last_on), "{day}");
    }
    home.database.drop().await;
}

#[tokio::test]
async fn points_of_later_days_do_not_count() {
    let home = lived().await;
    for (day, points) in [("2026-11-02", 3), ("2026-11-20", 4)] {
        home.run(&format!(
            "insert into views.point_days (family_id, earned_on, member_id, source, points) values ('{}', '{day}', '{}', 'chore', {points})",
            uuid(FAMILY),
            uuid(TEEN),
        ))
        .await;
    }
    home.run(&format!(
        "insert into views.point_totals (family_id, member_id, points) values ('{}', '{}', 7)",
        uuid(FAMILY),
        uuid(TEEN)
    ))
    .await;
    for (query, points) in [
        ("period=all", 7),
        ("period=all&effective_on=2026-11-19", 3),
        ("period=all&effective_on=2026-11-01", 0),
        ("period=month&on=2026-11-30&effective_on=2026-11-20", 7),
        ("period=month&on=2026-11-30&effective_on=2026-11-19", 3),
        ("period=month&effective_on=2026-11-02", 3),
    ] {
        let board = home.view(PARENT, &format!("leaderboard?{query}")).await;
        let teen = board["places"]
            .as_array()
            .expect("places")
            .iter()
            .find(|place| place["member_id"] == json!(format!("mem_{}", uuid(TEEN))));
        assert_eq!(teen.expect("the teen")["points"], points, "{query}");
    }
    home.database.drop().await;
}

#[tokio::test]
async fn every_view_takes_the_bound_or_says_why_not() {
    let home = lived().await;
    let mut bounded = Vec::new();
    for view in VIEWS {
        let (status, body) = home
            .try_view(PARENT, &format!("{}?effective_on=2026-11-01", view.name))
            .await;
        match view.by_day {
            Some(_) => {
                assert_eq!(status, StatusCode::OK, "{}: {body}", view.name);
                bounded.push(view.name);
            }
            None => {
                assert_eq!(status, StatusCode::BAD_REQUEST, "{}: {body}", view.name);
                assert!(
                    body["detail"]
                        .as_str()
                        .is_some_and(|detail| detail.contains("recorded")),
                    "{body}"
                );
            }
        }
        for odd in ["2023-02-29", "1969-12-31", "yesterday", ""] {
            let (status, body) = home
                .try_view(PARENT, &format!("{}?effective_on={odd}", view.name))
                .await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{} {odd}: {body}", view.name);
        }
    }
    let wanted = [
        "accounts",
        "bank-connections",
        "budgets",
        "dashboard",
        "entries",
        "imports",
        "leaderboard",
        "spending",
        "spending-limits",
        "trend",
    ];
    assert_eq!(bounded, wanted, "every view of booked money, and the points");
    home.database.drop().await;
}

#[tokio::test]
async fn another_day_is_another_tag() {
    let home = lived().await;
    let path = |day: &str| format!("/api/v1/families/fam_{}/accounts?effective_on={day}", uuid(FAMILY));
    let (_, headers, _) = home.ask(PARENT, &path("2026-11-01"), None).await;
    let etag = headers["etag"].to_str().expect("a tag").to_owned();
    let (status, ..) = home.ask(PARENT, &path("2026-11-01"), Some(&etag)).await;
    assert_eq!(status, StatusCode::NOT_MODIFIED);
    let (status, ..) = home.ask(PARENT, &path("2026-11-02"), Some(&etag)).await;
    assert_eq!(status, StatusCode::OK);
    let (status, _, body) = home
        .ask(TEEN, &path("2026-11-02").replace("accounts", "budgets"), None)
        .await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
    home.database.drop().await;
}
