//! Members, chores, leaderboard, badges, notifications, bank connections and imports.

use serde_json::{Value, json};

use crate::home::*;

async fn chore(home: &Home, number: u128, status: &str, offered_to: Option<u128>, claimed_by: Option<u128>) {
    let of = |member: Option<u128>| member.map_or("null".to_owned(), |member| format!("'{}'", uuid(member)));
    home.run(&format!(
        "insert into views.chores (family_id, chore_id, family_seq, title, points, reward, reward_currency, offered_to, status,
            claimed_by, rejection_reason, offered_at, changed_at)
        values ('{}', '{}', {number}, 'Chore {number}', 5, 2, 'EUR', {}, '{status}', {}, '', now(), now())",
        uuid(FAMILY), uuid(0xD000 + number), of(offered_to), of(claimed_by),
    )).await;
}

#[tokio::test]
async fn a_child_sees_the_chores_for_anybody_and_its_own_and_not_what_others_earn() {
    let home = Home::new().await;
    chore(&home, 1, "offered", None, None).await;
    chore(&home, 2, "offered", Some(TEEN), None).await;
    chore(&home, 3, "claimed", None, Some(TEEN)).await;
    chore(&home, 4, "completed", Some(CHILD), Some(CHILD)).await;
    chore(&home, 5, "approved", None, Some(CHILD)).await;
    assert_eq!(
        pick(&home.view(PARENT, "chores").await["chores"], "title"),
        ["Chore 4", "Chore 3", "Chore 2", "Chore 1"]
    );
    let own = home.view(CHILD, "chores?status=all").await;
    assert_eq!(
        pick(&own["chores"], "title"),
        ["Chore 5", "Chore 4", "Chore 3", "Chore 1"]
    );
    assert_eq!(own["chores"][1]["reward"], json!({"amount": "2.00", "currency": "EUR"}));
    assert_eq!(own["chores"][2]["reward"], Value::Null);
    let page = home.view(PARENT, "chores?status=all&limit=2").await;
    let next = page["next"].as_str().expect("another page").to_owned();
    assert_eq!(
        pick(
            &home
                .view(PARENT, &format!("chores?status=all&limit=2&after={next}"))
                .await["chores"],
            "title"
        ),
        ["Chore 3", "Chore 2"]
    );
    home.database.drop().await;
}

/// As after an upgrade from a release that asked for no country: nothing is lost, and nothing is shown to who waits.
#[tokio::test]
async fn in_a_family_that_has_not_said_its_country_the_young_wait_for_consent() {
    let home = Home::new().await;
    home.run("delete from views.consent_rules").await;
    home.run("update views.consents set notice_version = null").await;
    for who in [TEEN, CHILD] {
        let path = format!("/api/v1/families/fam_{}/accounts", uuid(FAMILY));
        let (status, _, body) = home.ask(who, &path, None).await;
        assert_eq!(status, 403, "{body}");
        assert!(body.to_string().contains("consent-required"), "{body}");
    }
    let members = home.view(PARENT, "members").await;
    assert_eq!(
        pick(&members["members"], "awaits_consent"),
        ["false", "false", "true", "true", "false"]
    );
    let accounts = home.view(PARENT, "accounts").await;
    assert!(pick(&accounts["accounts"], "name").contains(&"Child's".to_owned()));
    // Of sixteen a young person needs nobody's consent, whichever the country.
    home.run("update views.consents set youngest = 16").await;
    assert_eq!(home.view(CHILD, "accounts").await["accounts"][0]["name"], "Child's");
    home.database.drop().await;
}

async fn points(home: &Home, member: u128, on: &str, points: i64) {
    home.run(&format!(
        "insert into views.point_days (family_id, earned_on, member_id, source, points) values ('{}', '{on}', '{}', 'chore', {points})",
        uuid(FAMILY), uuid(member),
    )).await;
    home.run(&format!(
        "insert into views.point_totals as t (family_id, member_id, points) values ('{}', '{}', {points})
        on conflict (family_id, member_id) do update set points = t.points + excluded.points",
        uuid(FAMILY),
        uuid(member),
    ))
    .await;
}

#[tokio::test]
async fn the_leaderboard_shows_those_opted_in_by_the_familys_own_weeks() {
    let home = Home::new().await;
    points(&home, TEEN, "2026-11-15", 50).await;
    points(&home, TEEN, "2026-11-16", 3).await;
    points(&home, PARENT, "2026-11-22", 3).await;
    points(&home, CHILD, "2026-11-20", 100).await;
    points(&home, PARTNER, "2026-10-20", 7).await;
    let week = home.view(CHILD, "leaderboard").await;
    assert_eq!(
        (&week["first_on"], &week["last_on"]),
        (&json!("2026-11-16"), &json!("2026-11-22"))
    );
    let ranks = |board: &Value| {
        let places = board["places"].as_array().expect("places").iter();
        places
            .map(|p| {
                format!(
                    "{}:{}:{}",
                    p["rank"],
                    p["display_name"].as_str().expect("a name"),
                    p["points"]
                )
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(ranks(&week), ["1:Member 1:3", "1:Member 3:3", "3:Member 2:0"]);
    assert_eq!(week["not_shown"], 1);
    assert_eq!(
        ranks(&home.view(PARENT, "leaderboard?period=month").await),
        ["1:Member 3:53", "2:Member 1:3", "3:Member 2:0"]
    );
    assert_eq!(
        ranks(&home.view(PARENT, "leaderboard?period=all").await),
        ["1:Member 3:53", "2:Member 2:7", "3:Member 1:3"]
    );
    assert_eq!(
        ranks(&home.view(PARENT, "leaderboard?period=month&on=2026-10-01").await)[0],
        "1:Member 2:7"
    );
    home.database.drop().await;
}

#[tokio::test]
async fn notifications_are_ones_own_read_and_unread() {
    let home = Home::new().await;
    chore(&home, 1, "completed", None, Some(CHILD)).await;
    for (member, seq, kind) in [
        (PARENT, 10, "chore-completed"),
        (PARENT, 20, "expense-added"),
        (PARENT, 30, "bank-synced"),
        (CHILD, 11, "chore-offered"),
    ] {
        home.run(&format!(
            "insert into views.notifications (family_id, member_id, family_seq, kind, about_member_id, chore_id, subject, reason,
                amount, currency, count, recorded_at)
            values ('{}', '{}', {seq}, '{kind}', '{}', '{}', 'Kiosk', '', 1.2, 'EUR', 4, now())",
            uuid(FAMILY), uuid(member), uuid(CHILD), uuid(0xD001),
        )).await;
    }
    home.run(&format!(
        "insert into views.inbox_marks (family_id, member_id, read_up_to) values ('{}', '{}', 20)",
        uuid(FAMILY),
        uuid(PARENT)
    ))
    .await;
    let all = home.view(PARENT, "notifications").await;
    assert_eq!(
        pick(&all["notifications"], "text"),
        [
            "A bank statement brought 4 new entries over 1.20 EUR",
            "Member 4 spent 1.20 EUR (Kiosk)",
            "Member 4 has completed 'Chore 1'; please approve or reject it",
        ]
    );
    assert_eq!(pick(&all["notifications"], "is_read"), ["false", "true", "true"]);
    assert_eq!(all["unread"], 1);
    assert_eq!(
        pick(
            &home.view(PARENT, "notifications?unread=true").await["notifications"],
            "family_seq"
        ),
        ["30"]
    );
    assert_eq!(
        pick(
            &home.view(PARENT, "notifications?unread=false").await["notifications"],
            "family_seq"
        ),
        ["20", "10"]
    );
    assert_eq!(home.view(CHILD, "notifications").await["unread"], 1);
    assert_eq!(home.view(AUDITOR, "notifications").await["notifications"], json!([]));
    assert_eq!(home.view(PARENT, "dashboard").await["unread"], 1);
    home.database.drop().await;
}

#[tokio::test]
async fn members_badges_connections_and_imports_answer() {
    let home = Home::new().await;
    let members = home.view(CHILD, "members").await;
    assert_eq!(
        pick(&members["members"], "role"),
        ["parent", "partner", "teen", "child", "auditor"]
    );
    assert_eq!(members["members"][3]["is_me"], true);
    assert!(members["members"][0].get("on_leaderboard").is_none());
    assert!(home.view(PARENT, "members").await["members"][0]["on_leaderboard"].is_boolean());
    for (number, member) in [(1, TEEN), (2, CHILD)] {
        home.run(&format!(
            "insert into views.badges (family_id, award_id, family_seq, member_id, badge, reason, points, awarded_at)
            values ('{}', '{}', {number}, '{}', 'Helper', '', 3, now())",
            uuid(FAMILY),
            uuid(0xBA00 + number),
            uuid(member),
        ))
        .await;
    }
    assert_eq!(
        home.view(PARENT, "badges").await["badges"].as_array().map(Vec::len),
        Some(2)
    );
    assert_eq!(
        pick(&home.view(CHILD, "badges").await["badges"], "member_id"),
        [format!("mem_{}", uuid(CHILD))]
    );
    home.run(&format!(
        "insert into views.bank_connections (family_id, connection_id, account_id, provider, institution, connected_at, is_proved)
        values ('{}', '{}', '{}', 'statement-file', 'Bank', now(), false)",
        uuid(FAMILY), uuid(0x71), uuid(BANK),
    )).await;
    home.run(&format!(
        "insert into views.imports (family_id, import_id, family_seq, connection_id, account_id, source, file_sha256, rows, rows_booked,
            rows_known, rows_categorised, rows_zero, booked, currency, imported_at, is_undone, entries_reversed)
        values ('{}', '{}', 7, '{}', '{}', 'ofx', 'ab', 3, 2, 1, 0, 0, -5, 'EUR', now(), false, 0)",
        uuid(FAMILY), uuid(0x81), uuid(0x71), uuid(BANK),
    )).await;
    assert_eq!(
        pick(
            &home.view(PARENT, "bank-connections").await["bank_connections"],
            "provider"
        ),
        ["statement-file"]
    );
    assert_eq!(
        home.view(AUDITOR, "imports").await["imports"][0]["booked"],
        json!({"amount": "-5.00", "currency": "EUR"})
    );
    assert_eq!(
        home.view(CHILD, "categories").await["categories"]
            .as_array()
            .map(Vec::len),
        Some(3)
    );
    home.database.drop().await;
}
