//! Accounts, spending, trend, budgets and the dashboard: sums, exact and in the right stretch.

use serde_json::json;

use crate::home::*;

async fn lived() -> Home {
    let home = Home::new().await;
    home.run(&format!(
        "update views.accounts set balance = 1976.50 where account_id = '{}'",
        uuid(BANK)
    ))
    .await;
    home.run(&format!(
        "update views.accounts set balance = 3.80 where account_id = '{}'",
        uuid(CHILD_WALLET)
    ))
    .await;
    home.run(&format!(
        "insert into views.account_days (family_id, ledger_account, currency, effective_on, amount)
        values ('{family}', 'acc_{bank}', 'EUR', '2026-11-03', 2000), ('{family}', 'acc_{bank}', 'EUR', '2026-11-02', -23.50)",
        family = uuid(FAMILY), bank = uuid(BANK),
    )).await;
    home.entry(1, spent("2026-10-31", "-10.00", BANK, GROCERIES)).await;
    home.entry(2, spent("2026-11-01", "-12.30", BANK, GROCERIES)).await;
    home.entry(3, spent("2026-11-16", "-7.70", BANK, GROCERIES)).await;
    home.entry(4, spent("2026-11-20", "-1.20", CHILD_WALLET, LEISURE)).await;
    home.entry(5, spent("2026-11-22", "-99.00", BANK, LEISURE)).await;
    home.entry(
        6,
        Seed {
            kind: "income",
            ..spent("2026-11-03", "2000.00", BANK, SALARY)
        },
    )
    .await;
    home.entry(
        7,
        Seed {
            currency: "JPY",
            ..spent("2026-11-05", "-1500", BANK, LEISURE)
        },
    )
    .await;
    home
}

fn money(amount: &str, currency: &str) -> serde_json::Value {
    json!({"amount": amount, "currency": currency})
}

#[tokio::test]
async fn balances_are_todays_or_an_earlier_days() {
    let home = lived().await;
    let now = home.view(PARENT, "accounts").await;
    assert_eq!(now["totals"], json!([money("1980.30", "EUR")]));
    let earlier = home.view(PARTNER, "accounts?on=2026-11-02").await;
    assert_eq!(earlier["totals"], json!([money("-19.70", "EUR")]));
    let own = home.view(CHILD, "accounts").await;
    assert_eq!(
        pick(&own["accounts"], "account_id"),
        [format!("acc_{}", uuid(CHILD_WALLET))]
    );
    assert_eq!(own["accounts"][0]["balance"], money("3.80", "EUR"));
    home.database.drop().await;
}

#[tokio::test]
async fn spending_is_net_by_category_and_currency() {
    let home = lived().await;
    let november = home.view(PARENT, "spending?from=2026-11-01&to=2026-11-30").await;
    assert_eq!(
        pick(&november["categories"], "category"),
        ["Leisure", "Groceries", "Leisure"]
    );
    assert_eq!(november["categories"][0]["spent"], money("100.20", "EUR"));
    assert_eq!(
        november["totals"],
        json!([money("120.20", "EUR"), money("1500", "JPY")])
    );
    // The same days, read as a whole month and as days at the edges.
    let so_far = home.view(PARENT, "spending").await;
    assert_eq!(
        (&so_far["from"], &so_far["to"]),
        (&json!("2026-11-01"), &json!("2026-11-21"))
    );
    assert_eq!(so_far["totals"], json!([money("21.20", "EUR"), money("1500", "JPY")]));
    let across = home.view(PARENT, "spending?from=2026-10-15&to=2026-12-15").await;
    assert_eq!(across["totals"], json!([money("130.20", "EUR"), money("1500", "JPY")]));
    assert_eq!(
        home.view(CHILD, "spending").await["totals"],
        json!([money("1.20", "EUR")])
    );
    assert_eq!(home.view(TEEN, "spending").await["totals"], json!([]));
    home.database.drop().await;
}

#[tokio::test]
async fn the_trend_has_every_month_and_currency() {
    let home = lived().await;
    let trend = home.view(PARENT, "trend?months=3").await;
    assert_eq!(
        pick(&trend["months"], "month"),
        [
            "2026-09-01",
            "2026-09-01",
            "2026-10-01",
            "2026-10-01",
            "2026-11-01",
            "2026-11-01"
        ]
    );
    assert_eq!(trend["months"][0]["net"], money("0.00", "EUR"));
    assert_eq!(trend["months"][2]["spending"], money("10.00", "EUR"));
    assert_eq!(trend["months"][4]["income"], money("2000.00", "EUR"));
    assert_eq!(trend["months"][4]["net"], money("1879.80", "EUR"));
    assert_eq!(trend["months"][5]["spending"], money("1500", "JPY"));
    let own = home.view(CHILD, "trend?months=1").await;
    assert_eq!(
        own["months"],
        json!([{"month": "2026-11-01", "currency": "EUR", "income": money("0.00", "EUR"),
        "spending": money("1.20", "EUR"), "net": money("-1.20", "EUR")}])
    );
    home.database.drop().await;
}

async fn budget(home: &Home, number: u128, seq: i64, category: u128, period: &str, on: &str, amount: &str) {
    home.run(&format!(
        "insert into views.budgets (family_id, budget_id, family_seq, category_id, period, effective_on, amount, currency)
        values ('{}', '{}', {seq}, '{}', '{period}', '{on}', {amount}, 'EUR')",
        uuid(FAMILY), uuid(number), uuid(category),
    )).await;
}

#[tokio::test]
async fn a_budget_holds_from_its_period_on_and_counts_that_period_only() {
    let home = lived().await;
    budget(&home, 0xB1, 11, GROCERIES, "month", "2026-10-10", "15.00").await;
    budget(&home, 0xB1, 12, GROCERIES, "month", "2026-11-20", "30.00").await;
    budget(&home, 0xB1, 13, GROCERIES, "month", "2026-11-02", "25.00").await;
    budget(&home, 0xB2, 14, GROCERIES, "week", "2026-11-18", "7.00").await;
    budget(&home, 0xB3, 15, LEISURE, "month", "2026-11-01", "50.00").await;
    let now = home.view(PARENT, "budgets").await;
    let rows = now["budgets"].as_array().expect("budgets").clone();
    assert_eq!(pick(&now["budgets"], "budget_id").len(), 3);
    // Said last for the period, whatever day of it was named.
    assert_eq!(rows[0]["amount"], money("25.00", "EUR"));
    assert_eq!(
        (&rows[0]["spent"], &rows[0]["left"], &rows[0]["percent"]),
        (&money("20.00", "EUR"), &money("5.00", "EUR"), &json!(80))
    );
    assert_eq!(
        (&rows[1]["first_on"], &rows[1]["last_on"]),
        (&json!("2026-11-16"), &json!("2026-11-22"))
    );
    assert_eq!(
        (&rows[1]["spent"], &rows[1]["left"], &rows[1]["percent"]),
        (&money("7.70", "EUR"), &money("-0.70", "EUR"), &json!(110))
    );
    assert_eq!(rows[2]["spent_in_other_currencies"], json!([money("1500", "JPY")]));
    let october = home.view(AUDITOR, "budgets?on=2026-10-05").await;
    assert_eq!(october["budgets"][0]["amount"], money("15.00", "EUR"));
    assert_eq!(october["budgets"][0]["percent"], 66);
    assert_eq!(home.view(PARENT, "budgets?on=2026-09-30").await["budgets"], json!([]));
    budget(&home, 0xB3, 16, LEISURE, "month", "2026-11-21", "0").await;
    assert_eq!(
        home.view(PARENT, "budgets").await["budgets"].as_array().map(Vec::len),
        Some(2)
    );
    for young in [TEEN, CHILD] {
        assert_eq!(home.try_view(young, "budgets").await.0, 403);
    }
    home.database.drop().await;
}

#[tokio::test]
async fn the_dashboard_sums_up_what_the_member_may_see() {
    let home = lived().await;
    budget(&home, 0xB1, 11, GROCERIES, "month", "2026-10-10", "15.00").await;
    let adult = home.view(PARENT, "dashboard").await;
    assert_eq!(adult["today"], "2026-11-21");
    assert_eq!(adult["totals"], json!([money("1980.30", "EUR")]));
    assert_eq!(
        adult["month"]["spending"],
        json!([money("21.20", "EUR"), money("1500", "JPY")])
    );
    assert_eq!(
        adult["month"]["income"],
        json!([money("2000.00", "EUR"), money("0", "JPY")])
    );
    assert_eq!(adult["recent_entries"].as_array().map(Vec::len), Some(7));
    assert_eq!(adult["budgets"].as_array().map(Vec::len), Some(1));
    let child = home.view(CHILD, "dashboard").await;
    assert_eq!(child["totals"], json!([money("3.80", "EUR")]));
    assert_eq!(child["month"]["spending"], json!([money("1.20", "EUR")]));
    assert_eq!(pick(&child["recent_entries"], "family_seq"), ["4"]);
    assert!(child.get("budgets").is_none());
    home.database.drop().await;
}
