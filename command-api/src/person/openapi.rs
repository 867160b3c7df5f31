//! The routes of exports as OpenAPI paths.

use domain::access;
use serde_json::{Value, json};

use super::{account::SECTIONS, json::FORMAT};

/// Path to operations, to be merged into the whole document.
pub fn openapi_paths() -> Value {
    let own = "Who may call: a signed-in person, about themself, with a sign-in or step-up of the last ten minutes; otherwise it is \
               answered 403 `step-up-required`.";
    let family = json!({"name": "family_id", "in": "path", "required": true, "description": "`fam_…` or a bare UUID", "schema": {"type": "string"}});
    let member = json!({"name": "member_id", "in": "path", "required": true, "description": "`mem_…` or a bare UUID", "schema": {"type": "string"}});
    let mut of_member = operation(
        "member-export",
        "What a family keeps about a member: every event by or about them",
        &access::route("member-export").who(),
        vec![family, member],
    );
    let also =
        "Of a teen or child who signs in by paired devices only, a parent is given what is kept of their account, too.";
    let description = of_member["description"].as_str().map(|text| format!("{text} {also}"));
    of_member["description"] = json!(description);
    of_member["responses"]["404"] = problem("There is no such family for this person, or no such member in it.");
    of_member["responses"]["422"] = problem("The member has left the family.");
    json!({
        "/api/v1/auth/export": {"get": operation("own-export", "Everything that is kept about the signed-in person", own, Vec::new())},
        "/api/v1/families/{family_id}/members/{member_id}/export": {"get": of_member},
    })
}

fn operation(id: &str, summary: &str, who: &str, mut parameters: Vec<Value>) -> Value {
    parameters.push(json!({
        "name": "format",
        "in": "query",
        "required": false,
        "description": "For programs, or a page for people that needs nothing else",
        "schema": {"type": "string", "enum": ["json", "html"], "default": "json"},
    }));
    json!({
        "tags": ["identity"],
        "operationId": id,
        "summary": summary,
        "description": format!(
            "{who} Streamed; one that broke off has no end: `complete`, or the last line of the page. Nothing of accounts that are \
             hidden from the person, or from whoever asks."
        ),
        "parameters": parameters,
        "security": [{"bearer": []}],
        "responses": {
            "200": {"description": "The file", "content": {
                "application/json": {"schema": schema()},
                "text/html": {"schema": {"type": "string"}},
            }},
            "400": problem("A parameter cannot be read."),
            "401": problem("No access token, or one that is not valid any more."),
            "403": problem("`step-up-required`: prove who you are once more, then ask again. Or the role may not, or a parent has to consent first."),
            "429": problem("Several exports are being written just now."),
        }
    })
}

fn schema() -> Value {
    let list = |description: &str| json!({"type": "array", "description": description, "items": {"type": "object"}});
    let mut properties = json!({
        "format": {"const": FORMAT},
        "made_at": {"type": "string", "format": "date-time"},
        "memberships": list("Your families"),
        "events": {
            "type": "array",
            "description": "Events of the families' logs by or about the person, family by family in the order of the log",
            "items": {
                "type": "object",
                "required": ["family_id", "family_seq", "recorded_at", "effective_on", "event", "version", "is_by_them", "details"],
                "properties": {
                    "family_id": {"type": "string"},
                    "family_seq": {"type": "integer"},
                    "recorded_at": {"type": "string", "format": "date-time"},
                    "effective_on": {"type": "string", "format": "date"},
                    "event": {"type": "string"},
                    "version": {"type": "string"},
                    "is_by_them": {"type": "boolean"},
                    "details": {"type": "object"}
                }
            }
        },
        "complete": {"const": true},
    });
    for account in SECTIONS {
        properties[account.section.name] = list(account.section.heading);
    }
    json!({
        "type": "object",
        "required": ["format", "made_at", "memberships", "events", "complete"],
        "properties": properties,
    })
}

fn problem(description: &str) -> Value {
    json!({
        "description": description,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    })
}
