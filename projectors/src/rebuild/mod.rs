//! Rebuild: every row made again from the log, beside the rows that answer, and switched to in one step.
//!
//! 1. **Alone.** One rebuild at a time: a session's advisory lock, which the kernel gives back however the process ends. What an
//!    earlier one left is dropped first ([`leftovers`]).
//! 2. **Build.** A schema with the tables of the definition. Each lane is read family by family up to where the live rows are,
//!    and folded by the very same projections; large tables are filled by COPY ([`bulk`]) and get their keys and indexes
//!    afterwards, several at once ([`indexes`]). Families that are too long to be held whole, or whose events do not fold, follow one by one.
//! 3. **Catch up.** The live rows went on meanwhile. The new ones follow them, batch by batch, until few are missing.
//! 4. **Compare.** For a moment no batch is folded into the live rows, the new ones are brought to the very same checkpoints,
//!    and a snapshot is taken in which both can be read. Then the live rows go on, and both are compared in that snapshot,
//!    table by table ([`compare`]). A member who is erased meanwhile makes them differ until both have folded that: the keys are gone
//!    with the append, so the new rows have read texts as erased that the live ones still hold. Then they are compared once more.
//! 5. **Switch.** Once more the new rows catch up; for a moment batches wait; the rest is folded; where every family stands is
//!    compared; the live path points at the new rows. One commit: before it the old rows answer, after it the new ones.
//! 6. **Clear away.** The old rows go when no reader is left that began before the switch.
//!
//! A crash anywhere leaves the live rows as they were: until the commit of step 5 nobody but the rebuild looks at the new ones.
//! The new rows follow the *live* checkpoints, not the log's end, so that both are of the same moment when they are compared.
//! Only rows of an older release's version are not followed and not compared: they are not meant to be equal.
//!
//! A rebuild writes rows and nothing else. It must never send a message or a command: see [`crate::generation`].

mod bulk;
mod catch_up;
pub mod compare;
mod indexes;
mod leftovers;
mod plan;
mod workers;

use std::time::{Duration, Instant};

use domain::id::FamilyId;
use event_store::{
    Log, LogError,
    keys::{KeysError, erase},
};
use sqlx::{Connection, PgConnection, PgPool};
use tokio::task::JoinSet;

use crate::{
    VERSION,
    apply::ApplyError,
    generation::{self, Live, REBUILD_LOCK},
};
use compare::TableReport;
use plan::Plan;

pub use bulk::Limits;

/// What to build again.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Read models by name; none stands for all.
    pub views: Vec<String>,
    /// Switch even when the new rows differ from the live ones.
    pub replaces_different: bool,
    /// Keep the old rows on disk.
    pub keeps_old: bool,
    /// Bounds of memory and parallel work.
    pub limits: Limits,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// What earlier rebuilds left was dropped.
    Cleared {
        /// How many generations.
        generations: usize,
    },
    /// The schema that is filled.
    Begun {
        /// Its name.
        schema: String,
        /// Events to fold.
        events: i64,
    },
    /// Events folded.
    Folded {
        /// So far.
        events: i64,
    },
    /// Keys and indexes are made.
    Indexing,
    /// The new rows follow the live ones.
    CatchingUp {
        /// Events still missing.
        lag: i64,
    },
    /// A table is compared.
    Comparing {
        /// Which.
        table: &'static str,
    },
    /// The new rows answer.
    Switched {
        /// For how long batches had to wait, in milliseconds.
        paused_ms: u64,
    },
    /// Old rows are dropped.
    ClearingAway,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The read models built.
    pub views: Vec<&'static str>,
    /// Events folded before the rows were compared.
    pub events: i64,
    /// How long folding and indexing them took.
    pub built_in: Duration,
    /// For how long batches had to wait, comparison and switch together.
    pub paused: Duration,
    /// Every table, compared; empty when the live rows were of another version.
    pub tables: Vec<TableReport>,
    /// Families that are parked in the live rows and not in the new ones.
    pub freed: Vec<FamilyId>,
    /// Families that are parked in the new rows and not in the live ones, or at another event.
    pub parked: Vec<FamilyId>,
    /// The version of the rows that were replaced, when it was another.
    pub replaced_version: Option<i32>,
    /// Did old rows stay on disk for now, because somebody still reads them?
    pub left_over: bool,
}

impl Report {
    /// Do the new rows say the same as the live ones?
    pub fn is_same(&self) -> bool {
        self.parked.is_empty() && self.tables.iter().all(TableReport::is_same)
    }
}

/// Why nothing was switched.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// Another one is under way.
    #[error("another rebuild is under way")]
    Busy,
    /// There is no such read model.
    #[error("there is no view {name}; there are {there_are}")]
    UnknownView {
        /// What was asked for.
        name: String,
        /// What there is.
        there_are: String,
    },
    /// The live rows are those of a newer release.
    #[error("the live rows are of version {live}, which is newer than this release's {VERSION}")]
    Newer {
        /// Their version.
        live: i32,
    },
    /// The live rows are those of an older release, so all have to be built.
    #[error("the live rows are of version {live}, this release's is {VERSION}: build all views, not single ones")]
    AllNeeded {
        /// Their version.
        live: i32,
    },
    /// The new rows differ, and that was not allowed for.
    #[error("the new rows differ from the live ones; the live ones stay")]
    Different(Box<Report>),
    /// Which families are parked changed while single views were built; they must stop where the others stop.
    #[error("families were parked or freed meanwhile: try again, or build all views")]
    ParkedChanged,
    /// Events come faster than they are folded.
    #[error("the new rows do not catch up: {lag} events are missing; try again at a quieter time")]
    Behind {
        /// Events missing.
        lag: i64,
    },
    /// Events could not be folded, or the database failed.
    #[error("the rows cannot be built")]
    Apply(#[from] ApplyError),
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Log(#[from] LogError),
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// Whether somebody was erased meanwhile cannot be told.
    #[error("erasures cannot be read")]
    Keys(#[from] KeysError),
    /// A part of the work ended without an answer.
    #[error("a part of the work broke off")]
    Broken(#[from] tokio::task::JoinError),
}

/// Comparisons of which each was disturbed by an erasure.
const COMPARISONS_MAX: u32 = 20;

/// Builds rows again beside the live ones, and switches to them. The pool acts in the projector's role and has at least
/// [`Limits::connections`] connections.
///
/// # Errors
/// [`RebuildError`]; the live rows are as they were then.
pub async fn rebuild(
    pool: &PgPool,
    log: &Log,
    request: &Request,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Report, RebuildError> {
    let alone = Alone::take(pool).await?;
    let done = rebuild_alone(pool, log, request, progress).await;
    alone.give_back().await;
    done
}

async fn rebuild_alone(
    pool: &PgPool,
    log: &Log,
    request: &Request,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Report, RebuildError> {
    let cleared = leftovers::drop_unfinished(pool).await?;
    if cleared > 0 {
        progress(Progress::Cleared { generations: cleared });
    }
    let live = generation::live(pool).await?;
    if live.version > VERSION {
        return Err(RebuildError::Newer { live: live.version });
    }
    if live.version < VERSION && !request.views.is_empty() {
        return Err(RebuildError::AllNeeded { live: live.version });
    }
    let plan = Plan::of(&request.views)?;
    let request = &Request {
        limits: request.limits.within(pool),
        ..request.clone()
    };
    let schema = begin_build(pool, &plan).await?;
    let built = build_and_switch(pool, log, request, &plan, &schema, &live, progress).await;
    let built = match built {
        Ok(report) => report,
        Err(error) => {
            // Best effort: the next rebuild drops what is left here.
            if let Err(left) = leftovers::drop_build(pool, &schema).await {
                tracing::warn!(schema, error = %left, "a generation that was not finished stays until the next rebuild");
            }
            return Err(error);
        }
    };
    progress(Progress::ClearingAway);
    // The new rows answer; that the old ones stay for now is no failure.
    let left_over = !request.keeps_old
        && !leftovers::clear_away(pool).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "old rows stay until the next rebuild");
            false
        });
    Ok(Report { left_over, ..built })
}

/// Drops what a rebuild that was broken off in this process has left.
///
/// # Errors
/// [`RebuildError::Busy`] when another has begun meanwhile; then it does this itself.
pub async fn tidy(pool: &PgPool) -> Result<usize, RebuildError> {
    let alone = Alone::take(pool).await?;
    let dropped = leftovers::drop_unfinished(pool).await;
    alone.give_back().await;
    Ok(dropped?)
}

/// Drops rows that do not answer any more: what earlier rebuilds left or kept. False when somebody still reads them.
///
/// # Errors
/// [`RebuildError`].
pub(crate) async fn forget_old(pool: &PgPool) -> Result<bool, RebuildError> {
    let is_there = "select exists (select from generations.built)";
    if !sqlx::query_scalar::<_, bool>(is_there).fetch_one(pool).await? {
        return Ok(true);
    }
    let alone = match Alone::take(pool).await {
        Ok(alone) => alone,
        // A rebuild is under way: its rows meet the same event, and it drops the old ones itself.
        Err(RebuildError::Busy) => return Ok(true),
        Err(error) => return Err(error),
    };
    let dropped = leftovers::drop_unfinished(pool).await;
    let cleared = leftovers::clear_away(pool).await;
    alone.give_back().await;
    dropped?;
    Ok(cleared?)
}

async fn build_and_switch(
    pool: &PgPool,
    log: &Log,
    request: &Request,
    plan: &Plan,
    schema: &str,
    live: &Live,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Report, RebuildError> {
    let began = Instant::now();
    let erasures = erase::epoch(pool).await?;
    let build = bulk::Build::begin(pool, log, plan, schema, live, request.limits).await?;
    let erasures = (!build.has_erasures_to_fold().await?).then_some(erasures);
    let mut report = Report {
        views: plan.names(),
        events: build.events(),
        replaced_version: (live.version != VERSION).then_some(live.version),
        ..Report::default()
    };
    progress(Progress::Begun {
        schema: schema.to_owned(),
        events: report.events,
    });
    build.fold(progress).await?;
    report.built_in = began.elapsed();

    let follower = catch_up::Follower::new(&build, plan);
    // The set has one task; should this end before it, it does too.
    let mut analyzing = JoinSet::new();
    let analyzed = build.clone();
    analyzing.spawn(async move { analyzed.analyze().await });
    compare_with_live(pool, request, &follower, (&mut report, erasures), progress).await?;
    if let Some(analyzed) = analyzing.join_next().await {
        analyzed??;
    }
    let paused = follower.switch(request, &report).await?;
    report.paused += paused;
    let paused_ms = u64::try_from(report.paused.as_millis()).unwrap_or(u64::MAX);
    progress(Progress::Switched { paused_ms });
    Ok(report)
}

/// Lets the new rows follow the live ones until little is missing, and compares them when they are to be equal. `erasures` counts
/// those before the first event was read; none when the live rows had not folded all of them then.
async fn compare_with_live(
    pool: &PgPool,
    request: &Request,
    follower: &catch_up::Follower<'_>,
    (report, mut erasures): (&mut Report, Option<i64>),
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<(), RebuildError> {
    follower.catch_up(progress).await?;
    if report.replaced_version.is_some() {
        return Ok(());
    }
    let (plan, build) = (follower.plan, follower.build);
    for comparison in 1..=COMPARISONS_MAX {
        let (mut snapshot, paused) = follower.same_moment().await?;
        report.paused += paused;
        let parallel = request.limits.parallel;
        compare::all(pool, &mut snapshot, plan, &build.schema, parallel, report, progress).await?;
        snapshot.rollback().await?;
        // Their heads are shared with the views that are not built: a family that was parked or freed meanwhile stands elsewhere in
        // the new rows than those say, and what is folded again from there would count twice or be missing.
        let is_as_parked = report.parked.is_empty() && report.freed.is_empty();
        if !plan.is_whole() && !is_as_parked {
            return Err(RebuildError::ParkedChanged);
        }
        if report.is_same() || request.replaces_different {
            break;
        }
        let erasures_now = Some(erase::epoch(pool).await?);
        if erasures_now == erasures || comparison == COMPARISONS_MAX {
            return Err(RebuildError::Different(Box::new(report.clone())));
        }
        erasures = erasures_now;
        follower.live_rows_catch_up().await?;
        follower.catch_up(progress).await?;
    }
    follower.catch_up(progress).await
}

async fn begin_build(pool: &PgPool, plan: &Plan) -> Result<String, sqlx::Error> {
    let mut tx = pool.begin().await?;
    let schema: String = sqlx::query_scalar("select generations.begin_build($1, $2, $3)")
        .bind(VERSION)
        .bind(plan.tables())
        .bind(plan.helper_tables())
        .fetch_one(&mut *tx)
        .await?;
    sqlx::query("select generations.add_keys_of($1, $2)")
        .bind(&schema)
        .bind(plan.keyed_first())
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(schema)
}

/// The lock of the one rebuild there may be. Its connection is no pool's: however this ends, the connection does too, and the
/// lock with it.
struct Alone {
    connection: PgConnection,
}

/// How long the server may take to notice that a rebuild was killed.
const NOTICED_WITHIN: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl Alone {
    async fn take(pool: &PgPool) -> Result<Self, RebuildError> {
        let mut connection = pool.acquire().await?.detach();
        let began = Instant::now();
        loop {
            let is_alone: bool = sqlx::query_scalar("select pg_try_advisory_lock($1, 0)")
                .bind(REBUILD_LOCK)
                .fetch_one(&mut connection)
                .await?;
            if is_alone {
                return Ok(Self { connection });
            }
            if began.elapsed() > NOTICED_WITHIN {
                connection.close().await?;
                return Err(RebuildError::Busy);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Gives the lock back now, and not when the server notices that the connection is gone.
    async fn give_back(mut self) {
        let unlocked = sqlx::query("select pg_advisory_unlock($1, 0)")
            .bind(REBUILD_LOCK)
            .execute(&mut self.connection)
            .await;
        if unlocked.is_ok() {
            drop(self.connection.close().await);
        }
    }
}
