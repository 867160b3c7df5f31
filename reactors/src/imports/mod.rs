//! Importing a statement file: a bank's file in, `connect-bank` (once) and `sync-bank` out, a report back.
//!
//! The file is read whole before anything is booked. What does not add up is refused whole, with the reason; a row that
//! cannot be read is named by line and field. Rows the ledger has already are found by the command itself, so the same file
//! twice adds nothing.

mod file;
mod openapi;
mod report;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, FromRef, Path, Request, State},
    http::{HeaderMap, header},
    routing::post,
};
use connectors::banks::{proof::Proof, reading::StatementReading, statement_file::Format};
use domain::{
    Currency,
    access::Row,
    aggregate::Stored,
    decide::Streams,
    family::Family,
    id::{AccountId, CommandId, ConnectionId, FamilyId},
    ledger_account::{LedgerAccount, LedgerAccountRefusal, ShareLevel},
    stream::StreamId,
};
use event_store::Log;
use serde_json::{Value, json};
use service_kit::{
    access,
    auth::{SignedIn, TokenVerifier},
    bodies::Bodies,
    problem::Problem,
};
use uuid::Uuid;

pub use openapi::openapi_paths;
pub use report::{ImportReport, StatementReport};

/// Who may import.
const IMPORT: &Row = domain::access::route("import");
/// Files above 64 KiB that are in memory at once; the largest takes some hundred MiB while it is read.
const FILES_AT_ONCE: usize = 4;
/// How long a client may take to send its file: the largest over a slow line.
const READ_WITHIN: Duration = Duration::from_secs(120);

/// Who asks, as a command needs to know it.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The signed-in person.
    pub signed_in: SignedIn,
    /// The request's `Authorization` header, for a command side in another process.
    pub authorization: String,
    /// W3C trace context, when the request had one.
    pub traceparent: Option<String>,
}

/// The command side, in this process or another.
#[async_trait]
pub trait Commands: Send + Sync {
    /// Posts a command and waits for its receipt.
    ///
    /// # Errors
    /// The problem it ended in.
    async fn execute(
        &self,
        caller: &Caller,
        family_id: FamilyId,
        command_id: CommandId,
        name: &str,
        body: Value,
    ) -> Result<Value, Problem>;
}

/// What the import route needs; cheap to clone.
#[derive(Clone)]
pub struct ImportState {
    /// The log, to know the account's currency and who may ask.
    pub log: Log,
    /// The command side.
    pub commands: Arc<dyn Commands>,
    /// Verifies access tokens.
    pub verifier: Arc<TokenVerifier>,
}

/// What the route needs besides.
#[derive(Clone, FromRef)]
struct Routes {
    imports: ImportState,
    bodies: Bodies,
}

impl FromRef<Routes> for Arc<TokenVerifier> {
    fn from_ref(routes: &Routes) -> Self {
        Arc::clone(&routes.imports.verifier)
    }
}

/// The import route.
///
/// Who may call: see `import` in the role matrix.
pub fn router(state: ImportState) -> Router {
    Router::new()
        .route("/api/v1/families/{family_id}/imports", post(import))
        // The body has been read, within its own limits, when a form is looked into.
        .layer(DefaultBodyLimit::disable())
        .with_state(Routes {
            imports: state,
            bodies: Bodies::new(FILES_AT_ONCE, READ_WITHIN),
        })
}

async fn import(
    State(state): State<ImportState>,
    State(bodies): State<Bodies>,
    Path(family_id): Path<String>,
    signed_in: SignedIn,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<ImportReport>, Problem> {
    let family_id: FamilyId = family_id.parse().map_err(|_| Problem::unknown_family())?;
    let query = file::Query::parse(request.uri().query().unwrap_or_default())?;
    let key = idempotency_key(&headers)?;
    let text = |name: header::HeaderName| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let caller = Caller {
        signed_in,
        authorization: text(header::AUTHORIZATION).unwrap_or_default(),
        traceparent: text(header::HeaderName::from_static("traceparent")),
    };
    let currency = account_currency(&state.log, &caller, family_id, query.account_id).await?;
    // It counts as one of the files in memory until the import is over: what is read from it is larger than itself.
    let (body, bytes) = file::bytes(&bodies, request).await?;
    let sha256 = file::sha256(&bytes);
    let mut options = query.options.clone();
    options.currency = options.currency.or(Some(currency));
    // Reading is work of the processor; it must not hold up other requests.
    let reading = tokio::task::spawn_blocking(move || file::read(&bytes, &options))
        .await
        .map_err(|error| Problem::ours(&error))??;
    let chosen = choose(
        reading.statements,
        query.statement_account.as_deref(),
        query.skip_broken,
        reading.format,
    )?;
    let source = reading.format.to_string().to_lowercase();
    let account_id = query.account_id;
    let sync = json!({
        "connection_id": ConnectionId::of_account(account_id),
        "statement": chosen.statement,
        "source": source,
        "file_sha256": sha256,
    });
    let receipt = sync_bank(&state, &caller, family_id, account_id, key, sync).await?;
    metrics::counter!("kinledger_imports_total", "format" => source.clone()).increment(1);
    drop(body);
    ImportReport::of(account_id, source, sha256, chosen, reading.refused, &receipt).map(Json)
}

/// Syncs, connecting the account first when it is not yet.
async fn sync_bank(
    state: &ImportState,
    caller: &Caller,
    family_id: FamilyId,
    account_id: AccountId,
    key: Uuid,
    sync: Value,
) -> Result<Value, Problem> {
    let command_id = |step: &str| CommandId::from_uuid(Uuid::new_v5(&key, step.as_bytes()));
    let first = state
        .commands
        .execute(caller, family_id, command_id("sync-bank"), "sync-bank", sync.clone())
        .await;
    match first {
        Err(problem) if problem.code() == "unknown-connection" => {}
        answered => return answered,
    }
    let connect = json!({"account_id": account_id, "provider": "statement-file"});
    match state
        .commands
        .execute(caller, family_id, command_id("connect-bank"), "connect-bank", connect)
        .await
    {
        // Somebody connected it in the same moment: as good as our own.
        Err(problem) if problem.code() != "already-connected" => return Err(problem),
        _ => {}
    }
    state
        .commands
        .execute(caller, family_id, command_id("sync-bank"), "sync-bank", sync)
        .await
}

/// The account's currency, once it is clear that the person belongs to the family and may import.
async fn account_currency(
    log: &Log,
    caller: &Caller,
    family_id: FamilyId,
    account_id: AccountId,
) -> Result<Currency, Problem> {
    let failed = |error: event_store::LogError| {
        if error.is_unavailable() {
            Problem::unavailable(1, "the ledger cannot be reached just now")
        } else {
            Problem::ours(&error)
        }
    };
    let lane = log
        .lane_of(family_id)
        .await
        .map_err(failed)?
        .ok_or_else(Problem::unknown_family)?;
    let family_stream = StreamId {
        kind: <Family as cqrs_es::Aggregate>::TYPE,
        id: family_id.uuid(),
    };
    let account_stream = StreamId {
        kind: <LedgerAccount as cqrs_es::Aggregate>::TYPE,
        id: account_id.uuid(),
    };
    let loaded = log
        .load(lane, family_id, &[family_stream, account_stream])
        .await
        .map_err(failed)?;
    let mut streams = Streams::default();
    for (stream, state, sequence) in loaded.streams {
        streams.insert(stream, state, sequence);
    }
    let family = streams
        .get(&family_stream)
        .and_then(|(state, _)| Family::from_state(state));
    let member = family
        .and_then(|family| family.member_of_user(caller.signed_in.user_id, chrono::Utc::now()))
        .ok_or_else(Problem::unknown_family)?;
    access::check(IMPORT, member.role)?;
    let account = streams
        .get(&account_stream)
        .and_then(|(state, _)| LedgerAccount::from_state(state));
    let account = account.ok_or_else(Problem::unknown_family)?;
    // Of an account that is hidden from them, not even the currency is told, by what a file is refused for.
    let level = family.map(|family| account.level_for(family, member));
    let currency = match level {
        Some(ShareLevel::None) | None => Err(LedgerAccountRefusal::UnknownAccount),
        Some(_) => account.open_currency(account_id),
    };
    currency.map_err(|refusal| domain::refusal::Refusal::from(refusal).into())
}

/// The one statement to be booked: statements of one account follow one another; of several accounts one must be named.
fn choose(
    statements: Vec<StatementReading>,
    wanted: Option<&str>,
    skip_broken: bool,
    format: Format,
) -> Result<StatementReading, Problem> {
    let mut joined = connectors::banks::proof::join_by_account(statements);
    let known: Vec<String> = joined
        .iter()
        .map(|reading| reading.statement.bank_account.clone())
        .collect();
    if let Some(wanted) = wanted {
        joined.retain(|reading| reading.statement.bank_account == wanted);
    }
    let several = || {
        let detail =
            "the file holds several accounts: name one of them as statement_account, and import it once for each";
        Problem::new(axum::http::StatusCode::UNPROCESSABLE_ENTITY, "several-accounts", detail)
            .with("accounts", known.clone())
    };
    if joined.len() > 1 {
        return Err(several());
    }
    let mut chosen = joined.pop().ok_or_else(several)?;
    let refused = |code: &'static str, detail: String, chosen: &StatementReading| {
        Problem::new(axum::http::StatusCode::UNPROCESSABLE_ENTITY, code, detail)
            .with("broken_rows", json!(chosen.broken))
    };
    // The format always ends in a closing balance: one that begins and does not end was cut off on its way.
    if format == Format::Mt940 && chosen.statement.opening.is_some() && chosen.statement.closing.is_none() {
        let detail =
            "nothing was booked: the file states an opening balance but no closing one (:62F:), as if it were cut off";
        return Err(refused("statement-not-proved", detail.to_owned(), &chosen));
    }
    match &chosen.proof {
        Proof::Failed(error) => {
            return Err(refused(
                "statement-not-proved",
                format!("nothing was booked: {error}"),
                &chosen,
            ));
        }
        Proof::BrokenRows { .. } if !skip_broken => {
            let detail = "nothing was booked: some rows cannot be read, and without them the statement does not add up; \
                          say skip_broken=true to book the others";
            return Err(refused("broken-rows", detail.to_owned(), &chosen));
        }
        Proof::BrokenRows { .. } | Proof::NotStated if !chosen.broken.is_empty() => {
            // Balances that include rows we leave out prove nothing of the rest.
            chosen.statement.opening = None;
            chosen.statement.closing = None;
        }
        _ => {}
    }
    Ok(chosen)
}

fn idempotency_key(headers: &HeaderMap) -> Result<Uuid, Problem> {
    let key = headers.get("idempotency-key").and_then(|value| value.to_str().ok());
    key.and_then(|text| Uuid::try_parse(text.trim_matches('"')).ok())
        .ok_or_else(|| {
            Problem::malformed("send a fresh UUID as Idempotency-Key; repeat it when you repeat the request")
        })
}
