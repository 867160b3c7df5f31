//! The routes of identity as OpenAPI 3.1 paths, from the types the handlers use.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{
    account, api_keys, device_list, factors, invitations,
    join::Join,
    pairing, phone,
    profile::{NewProfile, Profile},
    providers,
    refresh::Refresh,
    register::Register,
    session_list,
    sessions::Tokens,
    sign_in::SignIn,
    sign_out::SignOut,
    step_up, trail,
};

/// Path to operations, to be merged into the whole document. Expects its `components` to hold the security scheme `bearer` and
/// the schema `Problem`.
pub fn openapi_paths() -> Value {
    let mut paths = Map::new();
    for route in routes() {
        let operations = paths.entry(route.path).or_insert_with(|| json!({}));
        operations[route.method] = route.operation();
    }
    Value::Object(paths)
}

/// Who may call a route.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    Anybody,
    SignedIn,
    Either,
}

/// One operation of identity, as the document tells it.
pub(super) struct Route {
    pub path: &'static str,
    pub method: &'static str,
    pub operation_id: &'static str,
    pub summary: &'static str,
    pub description: &'static str,
    pub caller: Caller,
    pub parameters: Value,
    pub body: Option<(Value, bool)>,
    pub success: (u16, &'static str, Option<Value>),
    /// Every other answer: problems, and perhaps a success without a body.
    pub problems: &'static [(u16, &'static str)],
}

impl Route {
    fn operation(&self) -> Value {
        let mut responses = Map::new();
        let (status, description, schema) = &self.success;
        let mut success = json!({ "description": description });
        if let Some(schema) = schema {
            success["content"] = json!({ "application/json": { "schema": schema } });
        }
        responses.insert(status.to_string(), success);
        for (status, description) in self.problems {
            let mut problem = json!({ "description": description });
            if *status >= 400 {
                problem["content"] =
                    json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } });
            }
            if *status == 429 {
                problem["headers"] = json!({
                    "Retry-After": { "description": "seconds", "schema": { "type": "integer", "minimum": 1 } },
                });
            }
            responses.insert(status.to_string(), problem);
        }
        let mut operation = json!({
            "operationId": self.operation_id,
            "tags": ["identity"],
            "summary": self.summary,
            "description": self.description,
            "parameters": self.parameters,
            "security": match self.caller {
                Caller::Anybody => json!([]),
                Caller::SignedIn => json!([{ "bearer": [] }]),
                Caller::Either => json!([{}, { "bearer": [] }]),
            },
            "responses": responses,
        });
        if let Some((schema, is_required)) = &self.body {
            operation["requestBody"] = json!({
                "required": is_required,
                "content": { "application/json": { "schema": schema } },
            });
        }
        operation
    }
}

pub(super) const MALFORMED: (u16, &str) = (400, "The body, a header or the content type cannot be read.");
pub(super) const TOO_LARGE: (u16, &str) = (413, "The body is longer than 16 KiB.");
pub(super) const NOT_SIGNED_IN: (u16, &str) = (401, "No access token, or one that is not valid any more.");
/// What is dangerous asks for a fresh proof.
/// The answer to who has an old proof, or an account that gets no more ways in.
pub(super) const NEW_WAY_IN: (u16, &str) = (
    403,
    "`step-up-required`: prove who you are once more, then ask again; `email-not-verified`: verify the address first; or the \
     account signs in by paired devices.",
);
pub(super) const STEP_UP: (u16, &str) = (403, "`step-up-required`: prove who you are once more, then ask again.");
pub(super) const TOO_FAST: (u16, &str) = (429, "Too many attempts, or too many at this moment.");

/// Every route. Subjects with a file of their own describe theirs there, one line each here.
fn routes() -> Vec<Route> {
    let mut routes = first_routes();
    routes.extend(api_keys::paths());
    routes.extend(factors::paths());
    routes.extend(invitations::paths());
    routes.extend(pairing::paths());
    routes.extend(account::paths());
    routes.extend(phone::paths());
    routes.extend(providers::paths());
    routes.extend(device_list::paths());
    routes.extend(session_list::paths());
    routes.extend(step_up::paths());
    routes.extend(trail::paths());
    routes
}

fn first_routes() -> Vec<Route> {
    vec![
        Route {
            path: "/api/v1/auth/register",
            method: "post",
            operation_id: "register",
            summary: "Make an account",
            description: "Who may call: anybody. Signs the new person in at once; a taken e-mail address answers 409. Where \
                addresses have to be verified first, the answer is 202 for any address, and a mail tells the rest.",
            caller: Caller::Anybody,
            parameters: json!([]),
            body: Some((schema::<Register>(), true)),
            success: (201, "The account and its first session.", Some(schema::<Tokens>())),
            problems: &[
                (202, "A mail to the address tells how to go on."),
                MALFORMED,
                (409, "There is an account with this e-mail address."),
                TOO_LARGE,
                (
                    422,
                    "The password is too short, too long, common, or only the person's own name or address.",
                ),
                TOO_FAST,
            ],
        },
        Route {
            path: "/api/v1/auth/login",
            method: "post",
            operation_id: "login",
            summary: "Sign in with a password",
            description: "Who may call: anybody. After wrong passwords the next attempt waits up to ten seconds. Whoever has a \
                second factor is answered 401 `factor-required` with a `challenge` to go on with at /api/v1/auth/login/factor.",
            caller: Caller::Anybody,
            parameters: json!([]),
            body: Some((schema::<SignIn>(), true)),
            success: (200, "A session.", Some(schema::<Tokens>())),
            problems: &[
                MALFORMED,
                (
                    401,
                    "The e-mail address or the password is wrong; or it is right and a second factor is asked for.",
                ),
                (
                    403,
                    "`email-not-verified`: the password is right, but the address has to be verified first; a mail is sent.",
                ),
                TOO_LARGE,
                TOO_FAST,
            ],
        },
        Route {
            path: "/api/v1/auth/refresh",
            method: "post",
            operation_id: "refresh",
            summary: "Exchange a refresh token for fresh tokens",
            description: "Who may call: whoever holds the token. Each refresh token is good for one use; a second use \
                ends the session, and a mail tells its owner. Within ten seconds it may be repeated by the same request, named by its Idempotency-Key, \
                or by the session's own device, shown by its token; the answer has the same refresh token then.",
            caller: Caller::Anybody,
            parameters: json!([{
                "name": "Idempotency-Key",
                "in": "header",
                "required": false,
                "description": "names this request, so that it can be sent again when the reply was lost",
                "schema": { "type": "string", "format": "uuid" },
            }]),
            body: Some((schema::<Refresh>(), true)),
            success: (200, "Fresh tokens of the same session.", Some(schema::<Tokens>())),
            problems: &[
                MALFORMED,
                (401, "The token is unknown, over or was used before."),
                (
                    403,
                    "`consent-required`: the token is of a child's paired device, and a parent has to consent first.",
                ),
                TOO_LARGE,
                TOO_FAST,
                (503, "The ledger cannot be reached just now; ask again."),
            ],
        },
        Route {
            path: "/api/v1/auth/logout",
            method: "post",
            operation_id: "logout",
            summary: "Sign out, here or everywhere",
            description: "Who may call: whoever holds an access token, or a refresh token of the session in the body; with one of a \
                paired device, its own session ends, and all of them only with the device's signature. Everywhere ends every \
                session and API key, changes of the address, invitations and pairings under way; devices that were signed in on before \
                are forgotten, too, when the session that asks has a proof of the last ten minutes, and stay known otherwise. \
                Signing out here leaves the device known; `DELETE /api/v1/auth/devices/{device_id}` forgets it. \
                Access tokens of the ended session are refused at once here, and within five seconds by every other \
                process.",
            caller: Caller::Either,
            parameters: json!([]),
            body: Some((schema::<SignOut>(), false)),
            success: (204, "The session has ended.", None),
            problems: &[MALFORMED, NOT_SIGNED_IN, TOO_LARGE],
        },
        Route {
            path: "/api/v1/auth/profile",
            method: "get",
            operation_id: "profile",
            summary: "The signed-in person",
            description: "Who may call: any signed-in person, about themself.",
            caller: Caller::SignedIn,
            parameters: json!([]),
            body: None,
            success: (200, "The account.", Some(schema::<Profile>())),
            problems: &[NOT_SIGNED_IN],
        },
        Route {
            path: "/api/v1/auth/profile",
            method: "put",
            operation_id: "change-profile",
            summary: "Change name and language of the signed-in person",
            description: "Who may call: any signed-in person, about themself.",
            caller: Caller::SignedIn,
            parameters: json!([]),
            body: Some((schema::<NewProfile>(), true)),
            success: (200, "The account as it is now.", Some(schema::<Profile>())),
            problems: &[
                MALFORMED,
                NOT_SIGNED_IN,
                (
                    403,
                    "The account signs in by paired devices: its name is the family's to give.",
                ),
                TOO_LARGE,
            ],
        },
        Route {
            path: "/api/v1/auth/join",
            method: "post",
            operation_id: "join",
            summary: "Take the place an invitation opens",
            description: "Who may call: any signed-in person with a code, unless by a paired device. Of two people with one code, one \
                joins; the same person may repeat the request. A code that was sent by mail is for whoever has verified that address. \
                Who names the `role` they expect takes no other place; a parent alone ends a teen's or child's.",
            caller: Caller::SignedIn,
            parameters: json!([]),
            body: Some((schema::<Join>(), true)),
            success: (
                200,
                "The join, as recorded, with the `role` of the place and the member who invited to it, `invited_by`.",
                Some(json!({ "type": "object" })),
            ),
            problems: &[
                MALFORMED,
                NOT_SIGNED_IN,
                (
                    403,
                    "`email-not-verified`: the code was sent to the person's address, which they have not verified; \
                     `paired-account`: they signed in by a paired device; or a parent has to consent first.",
                ),
                (404, "The code is unknown, over, or for somebody else."),
                (
                    409,
                    "`another-role`: the place is of the `role` that is named, not of the one that was expected. Or something else \
                     changed the family at that moment; ask again.",
                ),
                TOO_LARGE,
                (
                    422,
                    "The family's rules refuse it: the place is taken, the person has another one, or it is an auditor's whose last day is \
                     over.",
                ),
                TOO_FAST,
                (
                    503,
                    "It is not known whether the join was recorded; ask again with the same code.",
                ),
            ],
        },
        Route {
            path: "/.well-known/jwks.json",
            method: "get",
            operation_id: "jwks",
            summary: "The public keys of access tokens",
            description: "Who may call: anybody. A new key appears here ten minutes before it signs.",
            caller: Caller::Anybody,
            parameters: json!([]),
            body: None,
            success: (
                200,
                "A JSON Web Key Set (RFC 7517).",
                Some(json!({
                    "type": "object",
                    "properties": { "keys": { "type": "array", "items": { "type": "object" } } },
                    "required": ["keys"],
                })),
            ),
            problems: &[],
        },
    ]
}

pub(super) fn id_parameter(name: &str, prefix: &str) -> Value {
    json!({
        "name": name,
        "in": "path",
        "required": true,
        "description": format!("`{prefix}_…` or a bare UUID"),
        "schema": { "type": "string" },
    })
}

pub(super) fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_says_who_may_call_it_and_takes_no_unknown_field() {
        let paths = openapi_paths();
        assert!(paths.as_object().unwrap().len() >= 9);
        for route in routes() {
            assert!(route.description.contains("Who may call"), "{}", route.path);
            if let Some((schema, _)) = &route.body {
                assert_eq!(schema["additionalProperties"], json!(false), "{}", route.path);
            }
        }
    }
}
