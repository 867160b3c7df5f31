//! A name is corrected, everywhere it is shown, and the past keeps what was said then.

use serde_json::{Value, json};

use crate::support::{Household, Kinledger, Person};

fn name_of(members: &Value, member_id: &str) -> String {
    let all = members["members"].as_array().unwrap();
    let found = all.iter().find(|member| member["member_id"] == member_id).unwrap();
    found["display_name"].as_str().unwrap().to_owned()
}

fn rename(person: &Person, name: &str) -> Value {
    json!({"member_id": person.member_id, "display_name": name})
}

#[test]
fn a_corrected_name_is_shown_everywhere_and_the_past_has_the_old_one() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Renamed", "EUR");
    let (parent, partner, child) = (&family.parent, &family.partner, &family.child);
    // A leaderboard and a notice that show the child.
    let chore = family.accepted(
        parent,
        "offer-chore",
        &json!({"title": "Dishes", "offered_to": child.member_id}),
    );
    let chore = json!({"chore_id": chore["events"][0]["aggregate_id"]});
    family.accepted(child, "claim-chore", &chore);
    family.accepted(child, "complete-chore", &chore);
    let before = family.accepted(parent, "approve-chore", &chore)["family_seq"].clone();

    family.accepted(parent, "rename-member", &rename(child, "Byron"));
    family.accepted(partner, "rename-member", &rename(partner, "Grace"));
    assert_eq!(
        family.refused(parent, "rename-member", &rename(partner, "Mallory")).1,
        "not-yours-to-rename"
    );
    assert_eq!(
        family.refused(child, "rename-member", &rename(parent, "Mallory")).1,
        "not-yours-to-rename"
    );

    let members = family.view(parent, "members");
    assert_eq!(name_of(&members, &child.member_id), "Byron");
    assert_eq!(name_of(&members, &partner.member_id), "Grace");
    for view in ["leaderboard?period=all", "notifications"] {
        let shown = family.view(parent, view).to_string();
        assert!(shown.contains("Byron") && !shown.contains("Child"), "{view}: {shown}");
    }
    let then = parent
        .client
        .get(&format!("{}/as-of/members?family_seq={before}", family.path()))
        .accepted();
    assert_eq!(name_of(&then, &child.member_id), "Child");
    assert_eq!(name_of(&then, &partner.member_id), "Partner");

    // The trail tells that it was done.
    let told = parent
        .client
        .get(&format!("{}/security-events", family.path()))
        .accepted();
    assert_eq!(told["events"][0]["kind"], "member-renamed");
}
