//! The routes of commands: one dispatcher for all of them, by name.
//!
//! Who may call: a signed-in person. Membership and role are taken from the family's own state when the command is decided;
//! a person outside the family gets the same 404 as for a family that does not exist.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Body,
    extract::{FromRef, Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use domain::{
    access::{Cell, Row},
    commands::{AnyCommand, CommandKind, find},
    id::{CommandId, FamilyId},
    parsing::{is_name, without_values},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};
use service_kit::{
    access,
    auth::{SignedIn, TokenVerifier},
    bodies::{Bodies, SMALL_BYTES_MAX},
    json::within_depth,
    problem::Problem,
};
use uuid::Uuid;

use crate::{CommandApi, receipt::Receipt, sharing::sees_all_accounts};

/// Who may ask what came of a command.
const RECEIPT: &Row = domain::access::route("receipt");
/// Most commands in one batch.
const BATCH_MAX: usize = 1_000;
/// Largest body of `sync-bank` and of a batch, in bytes.
const LARGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Large bodies that are in memory at once.
const LARGE_AT_ONCE: usize = 8;
/// How long a client may take to send its body.
const READ_WITHIN: Duration = Duration::from_secs(30);

/// What the routes of commands need.
#[derive(Clone, FromRef)]
struct Routes {
    api: CommandApi,
    verifier: Arc<TokenVerifier>,
    bodies: Bodies,
}

/// The routes of commands.
pub fn router(api: CommandApi, verifier: Arc<TokenVerifier>) -> Router {
    Router::new()
        .route("/api/v1/families", post(create_family))
        .route("/api/v1/families/{family_id}/commands", post(batch))
        .route(
            "/api/v1/families/{family_id}/commands/{name}",
            post(command).get(outcome).fallback(neither),
        )
        .route("/api/v1/commands", get(list))
        .with_state(Routes {
            api,
            verifier,
            bodies: Bodies::new(LARGE_AT_ONCE, READ_WITHIN),
        })
}

/// The commands there are, with their schemas. Open to everybody: it is documentation.
async fn list() -> Json<Value> {
    let commands: Vec<Value> = domain::commands::COMMANDS
        .iter()
        .map(|command| {
            let access = command.access;
            json!({
                "name": command.name,
                "summary": command.summary,
                "allowed": access.roles().collect::<Vec<_>>(),
                "roles": roles(access),
                "step_up": access.step_up,
                "note": access.note,
                "body": (command.schema)(),
            })
        })
        .collect();
    Json(json!({"commands": commands}))
}

/// What everybody may do of an operation, by the words of the role matrix.
fn roles(access: &Row) -> Value {
    access
        .words()
        .map(|(asker, word)| (asker.to_owned(), json!(word)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

async fn create_family(
    State(api): State<CommandApi>,
    State(bodies): State<Bodies>,
    signed_in: SignedIn,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let key = idempotency_key(&headers)?;
    let body = bodies.read(&headers, body, SMALL_BYTES_MAX).await?;
    let family_id = FamilyId::from_uuid(Uuid::new_v5(&signed_in.user_id.uuid(), key.uuid().as_bytes()));
    let command = parse(named("create-family")?, text(&body)?)?;
    let request = request(family_id, key, signed_in, command, &headers, body.len())?;
    let receipt = api.execute(request).await?;
    Ok((StatusCode::CREATED, Json(receipt)).into_response())
}

async fn command(
    State(api): State<CommandApi>,
    State(bodies): State<Bodies>,
    State(verifier): State<Arc<TokenVerifier>>,
    Path((family_id, name)): Path<(String, String)>,
    signed_in: SignedIn,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Receipt>, Problem> {
    let family_id = family(&family_id)?;
    // Before anything the request may lack: a key would not make this a command.
    let kind = named(&name)?;
    let key = idempotency_key(&headers)?;
    let bytes_max = if name == "sync-bank" {
        LARGE_BYTES_MAX
    } else {
        SMALL_BYTES_MAX
    };
    let body = bodies.read(&headers, body, bytes_max).await?;
    let command = parse(kind, text(&body)?)?;
    require_proof(&*command, signed_in, &verifier)?;
    let request = request(family_id, key, signed_in, command, &headers, body.len())?;
    Ok(Json(api.execute(request).await?))
}

/// One path is two: a command's name takes commands, and a command's id tells what became of it.
async fn neither(Path((_, name)): Path<(String, String)>) -> Response {
    let allowed = if find(&name).is_some() { "POST" } else { "GET,HEAD" };
    let problem = Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "this path does not take this method",
    );
    ([(header::ALLOW, HeaderValue::from_static(allowed))], problem).into_response()
}

/// What became of a command, by its key; for a client whose connection broke before the answer.
async fn outcome(
    State(api): State<CommandApi>,
    Path((family_id, command_id)): Path<(String, String)>,
    signed_in: SignedIn,
) -> Result<Json<Receipt>, Problem> {
    let family_id = family(&family_id)?;
    let command_id: CommandId = command_id
        .parse()
        .map_err(|_| Problem::malformed("the command's id is a UUID"))?;
    let (member_id, role) = api
        .member_role(family_id, signed_in.user_id)
        .await?
        .ok_or_else(Problem::unknown_family)?;
    // A receipt repeats what was recorded, amounts included, so the young see those of their own commands only, and so does whom
    // an account is hidden from.
    let lane = api.lane_of(family_id).await?.ok_or_else(Problem::unknown_family)?;
    let sees_all =
        access::check(RECEIPT, role)? == Cell::Yes && sees_all_accounts(api.log(), lane, family_id, member_id).await?;
    let receipt = api
        .receipt(family_id, command_id, (!sees_all).then_some(signed_in.user_id))
        .await?;
    receipt
        .map(Json)
        .ok_or_else(|| Problem::unknown("unknown-command", "no accepted command has this id"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    commands: Vec<BatchItem>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchItem {
    name: String,
    idempotency_key: Uuid,
    // Left as it came: it is read once, as the command it names.
    body: Box<RawValue>,
}

/// One command's verdict.
#[derive(Serialize)]
struct BatchResult {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Receipt>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Value>,
}

/// Verdicts, in the order of the commands.
#[derive(Serialize)]
struct BatchResults {
    results: Vec<BatchResult>,
}

/// A list of commands, or an object that holds one.
fn batch_items(body: &[u8]) -> Result<Vec<BatchItem>, Problem> {
    let is_list = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let items = if is_list {
        serde_json::from_slice(body)
    } else {
        serde_json::from_slice(body).map(|batch: Batch| batch.commands)
    };
    items.map_err(|error| Problem::malformed(without_values(&error.to_string())))
}

/// Several commands, a verdict each, in order. They are not one transaction: each is accepted or declined on its own.
async fn batch(
    State(api): State<CommandApi>,
    State(bodies): State<Bodies>,
    State(verifier): State<Arc<TokenVerifier>>,
    Path(family_id): Path<String>,
    signed_in: SignedIn,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<BatchResults>, Problem> {
    let family_id = family(&family_id)?;
    let body = bodies.read(&headers, body, LARGE_BYTES_MAX).await?;
    within_depth(&body)?;
    let items = batch_items(&body)?;
    if items.is_empty() || items.len() > BATCH_MAX {
        return Err(Problem::malformed(format!("a batch has 1 to {BATCH_MAX} commands")));
    }
    let mut waiting = Vec::with_capacity(items.len());
    for item in items {
        let parsed = named(&item.name)
            .and_then(|kind| parse(kind, item.body.get()))
            .and_then(|command| require_proof(&*command, signed_in, &verifier).map(|()| command));
        let submitted = match parsed {
            Ok(command) => {
                let key = CommandId::from_uuid(item.idempotency_key);
                let request = request(family_id, key, signed_in, command, &headers, item.body.get().len())?;
                api.submit(request.without_precondition()).await
            }
            Err(problem) => Err(problem),
        };
        waiting.push(submitted);
    }
    let mut results = Vec::with_capacity(waiting.len());
    for submitted in waiting {
        let verdict = match submitted {
            Ok(answer) => answer.receive().await,
            Err(problem) => Err(problem),
        };
        results.push(match verdict {
            Ok(receipt) => BatchResult {
                status: 200,
                receipt: Some(receipt),
                problem: None,
            },
            Err(problem) => BatchResult {
                status: problem.status().as_u16(),
                receipt: None,
                problem: Some(problem.body()),
            },
        });
    }
    Ok(Json(BatchResults { results }))
}

/// A command on its way to its lane.
pub struct Request {
    /// The family it is for.
    pub family_id: FamilyId,
    /// Its `Idempotency-Key`.
    pub command_id: CommandId,
    /// Who asks.
    pub signed_in: SignedIn,
    /// What is asked.
    pub command: Arc<dyn AnyCommand>,
    /// The head the client insists on.
    pub if_match: Option<i64>,
    /// W3C trace context.
    pub traceparent: String,
    /// How large it was, in bytes: what it takes up of its lane's queue.
    pub bytes: usize,
}

impl Request {
    fn without_precondition(mut self) -> Self {
        self.if_match = None;
        self
    }
}

fn request(
    family_id: FamilyId,
    command_id: CommandId,
    signed_in: SignedIn,
    command: Arc<dyn AnyCommand>,
    headers: &HeaderMap,
    bytes: usize,
) -> Result<Request, Problem> {
    let if_match = match headers
        .get("if-match")
        .map(|value| value.to_str().unwrap_or("?").trim_matches('"'))
    {
        None | Some("*") => None,
        Some(head) => Some(
            head.parse()
                .map_err(|_| Problem::malformed("If-Match is a family_seq in quotes"))?,
        ),
    };
    Ok(Request {
        family_id,
        command_id,
        signed_in,
        command,
        if_match,
        traceparent: traceparent(headers),
        bytes,
    })
}

/// The request's W3C trace context; a fresh one when it has none or a broken one.
pub fn traceparent(headers: &HeaderMap) -> String {
    let given = headers.get("traceparent").and_then(|value| value.to_str().ok());
    match given {
        Some(given) if is_traceparent(given) => given.to_owned(),
        _ => {
            // The thread's own generator: the system's would be two calls into the kernel for every command.
            let (trace, span): (u128, u64) = rand::random();
            format!("00-{:032x}-{:016x}-01", trace | 1, span | 1)
        }
    }
}

fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let is_hex = |part: &&str| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    lengths == [2, 32, 16, 2] && parts.iter().all(is_hex) && parts[0] == "00"
}

fn family(text: &str) -> Result<FamilyId, Problem> {
    // What is no id at all names no family either; strangers see the same.
    text.parse().map_err(|_| Problem::unknown_family())
}

fn idempotency_key(headers: &HeaderMap) -> Result<CommandId, Problem> {
    let missing = || Problem::malformed("send a fresh UUID as Idempotency-Key; repeat it when you repeat the request");
    let key = headers.get("idempotency-key").ok_or_else(missing)?;
    let key = key
        .to_str()
        .ok()
        .and_then(|text| Uuid::try_parse(text.trim_matches('"')).ok())
        .ok_or_else(missing)?;
    Ok(CommandId::from_uuid(key))
}

fn text(body: &[u8]) -> Result<&str, Problem> {
    within_depth(body)?;
    std::str::from_utf8(body).map_err(|_| Problem::malformed("the body is not UTF-8"))
}

fn parse(kind: &CommandKind, body: &str) -> Result<Arc<dyn AnyCommand>, Problem> {
    let body = if body.trim().is_empty() { "{}" } else { body };
    (kind.parse)(body)
        .map(Arc::from)
        .map_err(|error| Problem::malformed(error.to_string()))
}

/// A dangerous command asks for a fresh proof of who asks, whatever family it names.
fn require_proof(command: &dyn AnyCommand, signed_in: SignedIn, verifier: &TokenVerifier) -> Result<(), Problem> {
    if command.needs_step_up() {
        signed_in.require_step_up(verifier.now())?;
    }
    Ok(())
}

fn named(name: &str) -> Result<&'static CommandKind, Problem> {
    find(name).ok_or_else(|| {
        // What does not read like a command may be anything that somebody has pasted there.
        let is_like_one = is_name(&name.replace('-', "_"));
        let named = if is_like_one {
            format!(" '{name}'")
        } else {
            String::new()
        };
        Problem::unknown(
            "unknown-command",
            format!("there is no command{named}; GET /api/v1/commands lists them"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_well_formed_trace_context_is_kept() {
        let mut headers = HeaderMap::new();
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        headers.insert("traceparent", good.parse().expect("a header"));
        assert_eq!(traceparent(&headers), good);
        headers.insert("traceparent", "00-xyz".parse().expect("a header"));
        assert!(is_traceparent(&traceparent(&headers)));
    }
}
