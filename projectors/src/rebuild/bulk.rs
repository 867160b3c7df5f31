//! The bulk of a rebuild: each lane read family by family, whole histories folded in memory, large tables filled by COPY.
//!
//! A page of the log holds whole families, so nothing that is folded together needs a row of an earlier page, and rows are
//! written once, in their last form. While a page is folded and written, the next one is read. Two kinds of families are left for afterwards, when the tables have their keys, and are
//! then folded page by page like any batch ([`take_up`]): those longer than [`Limits::whole_max`], and those with an event that
//! does not fold, so that exactly that event parks them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use domain::id::FamilyId;
use event_store::{
    Lane, Log, Record,
    by_family::{Place, read_lane_by_family},
    chain,
};
use sqlx::{Executor, PgConnection, PgPool};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{Progress, RebuildError, plan::Plan, workers::Workers};
use crate::{
    VERSION,
    apply::{Applier, ApplyError, Head, is_passing, save_heads, sequence::admit},
    copy::Copies,
    erasure,
    generation::{Live, Target, begin_live},
    parking::{Poison, Until, park, take_up},
    projection::Fact,
};

/// Bounds of memory and parallel work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Lanes folded at once.
    pub parallel: usize,
    /// Events read in one go.
    pub page: usize,
    /// Events of a family that is still folded whole.
    pub whole_max: usize,
}

impl Default for Limits {
    /// One lane a processor; two pages and their rows are some forty megabytes.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            parallel: processors.clamp(2, 8),
            page: 10_000,
            whole_max: 60_000,
        }
    }
}

impl Limits {
    /// Connections a rebuild uses: two a lane, the locks, the snapshot, the statistics.
    pub fn connections(self) -> u32 {
        u32::try_from(self.parallel * 2 + 4).unwrap_or(u32::MAX)
    }

    /// No more work at once than the pool has connections for.
    pub(super) fn within(self, pool: &PgPool) -> Self {
        let connections = usize::try_from(pool.options().get_max_connections()).unwrap_or(usize::MAX);
        Self {
            parallel: self.parallel.min(connections.saturating_sub(4) / 2).max(1),
            ..self
        }
    }
}

/// Which families of a lane are folded.
#[derive(Clone)]
enum Part {
    /// All that can be folded whole.
    Whole,
    /// Those that were left.
    Left(Arc<Vec<(Lane, FamilyId)>>),
}

/// A generation that is being filled.
#[derive(Clone)]
pub(super) struct Build {
    /// Folds into the new tables.
    pub(super) applier: Applier,
    /// The schema of the new tables.
    pub(super) schema: String,
    /// Where each lane's bulk ends: at the live rows' checkpoint, or at the end of the log when those are another version's.
    pub(super) until: Vec<(Lane, i64)>,
    /// Do the live rows go on under this release's eyes, so that the new ones follow them?
    pub(super) follows_live: bool,
    pub(super) limits: Limits,
    /// Of a rebuild of single views: where the live rows of parked families stop, and why.
    stops: Arc<BTreeMap<Uuid, Poison>>,
    folded: Arc<AtomicI64>,
}

impl Build {
    pub(super) async fn begin(
        pool: &PgPool,
        log: &Log,
        plan: &Plan,
        schema: &str,
        live: &Live,
        limits: Limits,
    ) -> Result<Self, RebuildError> {
        let mut applier = Applier::new(pool.clone(), log.clone());
        applier.projections = plan.folded().into();
        applier.target = Target::Beside {
            schema: schema.to_owned(),
        };
        let follows_live = live.version == VERSION;
        let mut stops = BTreeMap::new();
        if follows_live && !plan.is_whole() {
            let mut tx = begin_live(pool).await?;
            stops = parked_in(&mut tx).await?;
            tx.commit().await?;
        }
        let mut build = Self {
            applier,
            schema: schema.to_owned(),
            until: Vec::new(),
            follows_live,
            limits,
            stops: Arc::new(stops),
            folded: Arc::default(),
        };
        build.until = build.ends().await?;
        // What was erased up to there must not be opened with keys from before.
        log.forget_keys();
        Ok(build)
    }

    /// Events of the bulk.
    pub(super) fn events(&self) -> i64 {
        self.until.iter().map(|(_, until)| until).sum()
    }

    /// Up to which position each lane is to be folded by now.
    pub(super) async fn ends(&self) -> Result<Vec<(Lane, i64)>, RebuildError> {
        let lanes = self.applier.log.lanes().await?;
        if !self.follows_live {
            return self
                .within_the_log((0..lanes).map(|lane| (Lane(lane), i64::MAX)).collect())
                .await;
        }
        let mut tx = begin_live(&self.applier.pool).await?;
        let ends = live_checkpoints(&mut tx, lanes).await?;
        tx.commit().await?;
        self.within_the_log(ends).await
    }

    /// Is somebody erased in the log, and not yet in the live rows?
    pub(super) async fn has_erasures_to_fold(&self) -> Result<bool, RebuildError> {
        for (lane, end) in self.ends().await? {
            let is_there = "select exists (
                select
                from log.events
                where lane = $1
                    and position > $2
                    and event_type = any($3)
            )";
            let is_there: bool = sqlx::query_scalar(is_there)
                .bind(lane.0)
                .bind(end)
                .bind(&erasure::ERASES[..])
                .fetch_one(&self.applier.pool)
                .await?;
            if is_there {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Not beyond what the log holds: rows may be ahead of a log that was restored to an earlier moment, and new ones must not
    /// claim to hold what it has lost.
    pub(super) async fn within_the_log(&self, mut ends: Vec<(Lane, i64)>) -> Result<Vec<(Lane, i64)>, RebuildError> {
        for (lane, end) in &mut ends {
            *end = self.applier.log.lane_head(*lane).await?.min(*end);
        }
        Ok(ends)
    }

    /// Folds the bulk, and makes the generation one that can answer.
    pub(super) async fn fold(&self, progress: &(dyn Fn(Progress) + Sync)) -> Result<(), RebuildError> {
        let later = self.each_lane(progress, &Part::Whole).await?;
        progress(Progress::Indexing);
        if !later.is_empty() {
            // Statements need the keys, and are quicker without the other indexes.
            self.add_keys().await?;
            self.each_lane(progress, &Part::Left(Arc::new(later))).await?;
        }
        self.keep_checkpoints().await?;
        self.add_indexes().await?;
        self.call("select generations.complete($1)").await
    }

    /// Folds a part of every lane, several at once, and says how far it is meanwhile. Returns the families that are left.
    async fn each_lane(
        &self,
        progress: &(dyn Fn(Progress) + Sync),
        part: &Part,
    ) -> Result<Vec<(Lane, FamilyId)>, RebuildError> {
        // The longest first, so that the last to end is a short one.
        let mut lanes = self.until.clone();
        lanes.sort_by_key(|(_, until)| std::cmp::Reverse(*until));
        let (build, part) = (self.clone(), part.clone());
        let mut workers = Workers::start(self.limits.parallel, lanes, move |(lane, until)| {
            let (build, part) = (build.clone(), part.clone());
            async move {
                match part {
                    Part::Whole => build.fold_lane(lane, until).await,
                    Part::Left(left) => build.fold_left(lane, until, &left).await,
                }
            }
        });
        let mut found = Vec::new();
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(200));
        loop {
            tokio::select! {
                done = workers.next() => match done {
                    Some(done) => found.extend(done?.into_iter().flatten()),
                    None => return Ok(found),
                },
                _ = tick.tick() => {}
            }
            progress(Progress::Folded {
                events: self.folded.load(Ordering::Relaxed),
            });
        }
    }

    /// Folds a lane's families; returns those that are left for later.
    async fn fold_lane(&self, lane: Lane, until: i64) -> Result<Vec<(Lane, FamilyId)>, RebuildError> {
        let mut later = Vec::new();
        let mut held: Vec<Record> = Vec::new();
        // The set has one task at most: reading goes on while a page is folded, and ends with this.
        let mut reading = JoinSet::new();
        self.read_ahead(&mut reading, lane, Place::default(), until);
        while let Some(page) = reading.join_next().await {
            let page = page??;
            let is_last = page.len() < self.limits.page;
            let mut place = page.last().map_or(Place::default(), Place::after);
            held.extend(page);
            let mut whole = std::mem::take(&mut held);
            // The last family of a page may go on in the next.
            if let (false, Some(last)) = (is_last, whole.last().map(|record| record.family_id)) {
                let begins = whole.partition_point(|record| record.family_id < last);
                held = whole.split_off(begins);
                if held.len() > self.limits.whole_max {
                    later.push((lane, last));
                    place = Place::after_family(last);
                    held.clear();
                }
            }
            if !is_last {
                self.read_ahead(&mut reading, lane, place, until);
            }
            self.fold_whole(lane, whole, &mut later).await?;
        }
        Ok(later)
    }

    fn read_ahead(
        &self,
        reading: &mut JoinSet<Result<Vec<Record>, RebuildError>>,
        lane: Lane,
        place: Place,
        until: i64,
    ) {
        let build = self.clone();
        reading.spawn(async move { build.read(lane, place, until).await });
    }

    async fn read(&self, lane: Lane, place: Place, until: i64) -> Result<Vec<Record>, RebuildError> {
        let mut tx = self.applier.pool.begin().await?;
        let limit = i64::try_from(self.limits.page).unwrap_or(i64::MAX);
        let mut page = read_lane_by_family(&mut tx, lane, place, until, limit).await?;
        tx.commit().await?;
        self.applier.log.open(&mut page).await?;
        Ok(page)
    }

    /// Folds families whose whole history this is.
    async fn fold_whole(
        &self,
        lane: Lane,
        records: Vec<Record>,
        later: &mut Vec<(Lane, FamilyId)>,
    ) -> Result<(), RebuildError> {
        let (facts, unfit) = self.admitted(records);
        let families: Vec<FamilyId> = families_of(&facts);
        later.extend(unfit.into_iter().map(|family| (lane, family)));
        if facts.is_empty() {
            return Ok(());
        }
        match self.write_whole(&facts).await {
            Ok(()) => {
                self.folded.fetch_add(count(&facts), Ordering::Relaxed);
                Ok(())
            }
            // One of them has an event that does not fold, or a row that its table does not take; which, is found out one by one.
            Err(error) if error.is_about_events() || is_refused(&error) => {
                later.extend(families.into_iter().map(|family| (lane, family)));
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the families of which every event follows and decodes, and names the others.
    fn admitted(&self, records: Vec<Record>) -> (Vec<Fact>, Vec<FamilyId>) {
        let mut facts: Vec<Fact> = Vec::with_capacity(records.len());
        let mut unfit: Vec<FamilyId> = Vec::new();
        let mut current: Option<(FamilyId, Head, usize)> = None;
        for record in records {
            let family = record.family_id;
            if unfit.last() == Some(&family) {
                continue;
            }
            let (_, head, begins) = match &mut current {
                Some(current) if current.0 == family => current,
                _ => current.insert((family, genesis(), facts.len())),
            };
            let is_held = self.stops.contains_key(&family.uuid()) || self.limits.whole_max == 0;
            match (is_held, admit(record, head)) {
                (false, Ok(fact)) => facts.push(fact),
                _ => {
                    facts.truncate(*begins);
                    unfit.push(family);
                }
            }
        }
        (facts, unfit)
    }

    async fn write_whole(&self, facts: &[Fact]) -> Result<(), ApplyError> {
        let mut tx = self.begin_tx().await?;
        let mut copies = Copies::default();
        let living = erasure::of_living(facts);
        for projection in self.applier.projections.iter() {
            let done = projection.project_whole(&living, &mut copies, &mut tx).await;
            done.map_err(|cause| ApplyError::Projection {
                name: projection.name(),
                cause,
            })?;
        }
        copies.send(&mut tx).await?;
        save_heads(facts, &mut tx).await?;
        Ok(tx.commit().await?)
    }

    /// Folds the families of a lane that were left, each in transactions of its own.
    async fn fold_left(
        &self,
        lane: Lane,
        until: i64,
        later: &[(Lane, FamilyId)],
    ) -> Result<Vec<(Lane, FamilyId)>, RebuildError> {
        let due: Vec<FamilyId> = later
            .iter()
            .filter(|(of, _)| *of == lane)
            .map(|(_, family)| *family)
            .collect();
        for family in due {
            let stop = self.stops.get(&family.uuid()).cloned();
            let bounds = Until {
                position: until,
                family_seq: stop.as_ref().map_or(i64::MAX, |poison| poison.family_seq - 1),
            };
            let mut tx = self.begin_tx().await?;
            let taken = take_up(&self.applier, lane, family, bounds, &mut tx).await?;
            if let Some(poison) = taken.poison.or(stop) {
                park(&[poison], &mut tx).await?;
            }
            tx.commit().await?;
            self.folded
                .fetch_add(i64::try_from(taken.events).unwrap_or(0), Ordering::Relaxed);
        }
        Ok(Vec::new())
    }

    /// The new rows hold the bulk; from here on they move like any others.
    async fn keep_checkpoints(&self) -> Result<(), RebuildError> {
        let mut tx = self.begin_tx().await?;
        sqlx::query(
            "insert into checkpoints (group_name, version, lane, position, chain_hash)
            select $1, $2, c.lane, c.position, e.chain_hash
            from unnest($3::smallint[], $4::bigint[]) as c (lane, position)
            left join log.events e on e.lane = c.lane and e.position = c.position",
        )
        .bind(crate::GROUP)
        .bind(VERSION)
        .bind(self.until.iter().map(|(lane, _)| lane.0).collect::<Vec<_>>())
        .bind(self.until.iter().map(|(_, until)| *until).collect::<Vec<_>>())
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// A transaction over the new tables. Nobody relies on them before the switch, whose own commit waits for the disk and
    /// with that for everything before it.
    async fn begin_tx(&self) -> Result<sqlx::Transaction<'static, sqlx::Postgres>, ApplyError> {
        let mut tx = self.applier.target.begin(&self.applier.pool).await?;
        tx.execute("set local synchronous_commit = off; set local statement_timeout = 0")
            .await?;
        Ok(tx)
    }
}

/// The live rows' checkpoint of every lane; the transaction is turned to them.
pub(super) async fn live_checkpoints(tx: &mut PgConnection, lanes: i16) -> Result<Vec<(Lane, i64)>, sqlx::Error> {
    let rows: Vec<(i16, i64)> = sqlx::query_as(
        "select l.lane::smallint, coalesce(c.position, 0)
        from generate_series(0, $3 - 1) as l (lane)
        left join checkpoints c on c.lane = l.lane and c.group_name = $1 and c.version = $2
        order by l.lane",
    )
    .bind(crate::GROUP)
    .bind(VERSION)
    .bind(i32::from(lanes))
    .fetch_all(tx)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(lane, position)| (Lane(lane), position))
        .collect())
}

/// Families parked in the rows that the transaction finds.
async fn parked_in(tx: &mut PgConnection) -> Result<BTreeMap<Uuid, Poison>, sqlx::Error> {
    let rows: Vec<Poison> = sqlx::query_as(
        "select family_id, lane, family_seq, event_type, event_version, error, payload
        from parked_families",
    )
    .fetch_all(tx)
    .await?;
    Ok(rows.into_iter().map(|poison| (poison.family_id, poison)).collect())
}

/// Does the database refuse what COPY brought, and would again?
fn is_refused(error: &ApplyError) -> bool {
    matches!(error, ApplyError::Database(error) if !is_passing(error))
}

fn genesis() -> Head {
    Head {
        family_seq: 0,
        chain_hash: chain::GENESIS,
    }
}

/// Records come family by family.
fn families_of(facts: &[Fact]) -> Vec<FamilyId> {
    let mut families: Vec<FamilyId> = facts.iter().map(|fact| fact.record.family_id).collect();
    families.dedup();
    families
}

fn count(facts: &[Fact]) -> i64 {
    i64::try_from(facts.len()).unwrap_or(i64::MAX)
}
