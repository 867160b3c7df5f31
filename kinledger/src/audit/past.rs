//! `kinledger audit replay --view` and `--dump`: what the views said, made again from the log.

use std::io::{self, BufWriter, Write};

use anyhow::{Context, Result, anyhow};
use chrono::Utc;
use domain::{
    actor::Role,
    book::Book,
    id::{FamilyId, MemberId},
};
use event_store::replay::{AsOf, Last, ReplayError, fold};
use query_api::{answer::Onlooker, view::Viewer, views::VIEWS};
use replay_api::{
    dump::Dump,
    past::{Past, PastError, moment},
};
use service_kit::database::{self, DatabaseRole};
use uuid::Uuid;

use super::{ReplayOptions, advance, progress_bar, replay_error, told::tell_family};
use crate::keys::Ledger;

pub(super) async fn run(options: ReplayOptions, ledger: &Ledger) -> Result<()> {
    let pool = database::connect(&ledger.url, DatabaseRole::Replayer, 1)
        .await
        .context("cannot open the ledger")?;
    let mut connection = pool.acquire().await.context("cannot open the ledger")?;
    let past = Past::begin(&ledger.log(pool.clone()), &mut connection, options.family).await?;
    let mut past = past.ok_or_else(|| anyhow!("there is no family {}", options.family))?;
    tell_family(ledger, options.family, "replay").await?;
    let as_of = options.as_of.bounds();
    let mut book = as_of.effective_on.map_or_else(Book::new, Book::effective_until);
    let last = replayed(&mut past, &as_of, options.family, options.dump.then_some(&mut book)).await?;
    let viewer = viewer(&mut past, &options, &as_of, last).await?;
    let mut out = BufWriter::new(io::stdout().lock());
    let view = options
        .view
        .as_deref()
        .and_then(|name| VIEWS.iter().find(|view| view.name == name));
    match view {
        Some(view) => {
            let viewer = viewer.context("at that moment there was nothing to see")?;
            let query = query(options.query.as_deref(), &as_of);
            let answer = view.answer_to(past.rows(), &viewer, Some(&query)).await;
            let answer = answer.map_err(|problem| anyhow!("{}", problem.detail().to_owned()))?;
            out.write_all(&answer)
                .and_then(|()| out.write_all(b"\n"))
                .context("cannot write")?;
            out.flush().context("cannot write")
        }
        None => {
            let mut dump = Dump::new(out);
            if let Some(viewer) = viewer {
                dump.views(past.rows(), &viewer, &as_of).await?;
            }
            dump.book(&book.rows().context("the trial balance cannot be held")?)?;
            dump.end(options.family, &as_of, last)?;
            Ok(())
        }
    }
}

async fn replayed(
    past: &mut Past<'_>,
    as_of: &AsOf,
    family: FamilyId,
    mut book: Option<&mut Book>,
) -> Result<Option<Last>> {
    let bar = progress_bar("replaying", None);
    let folded = past
        .replay(*as_of, i64::MAX, |records| {
            if let Some(book) = &mut book {
                for record in records {
                    fold(book, record)?;
                }
            }
            advance(&bar, records.last().map_or(0, |last| last.family_seq));
            Ok(())
        })
        .await;
    bar.finish_and_clear();
    folded.map_err(|error| match error {
        PastError::Replay(error @ ReplayError::Altered { .. }) => replay_error(family, error),
        PastError::Replay(error) => error.into(),
        error => error.into(),
    })
}

/// The member who was named, in the role the rows have; else a parent of no place, who sees everything.
async fn viewer(
    past: &mut Past<'_>,
    options: &ReplayOptions,
    as_of: &AsOf,
    last: Option<Last>,
) -> Result<Option<Viewer>> {
    let role = match options.member {
        Some(member) => Some(
            past.role_of(member)
                .await?
                .with_context(|| format!("there was no member {member}"))?,
        ),
        None => None,
    };
    let onlooker = Onlooker {
        family_id: options.family,
        member_id: options.member.unwrap_or(MemberId::from_uuid(Uuid::nil())),
        role: role.unwrap_or(Role::Parent),
        // As shares were then: this is the operator's tool, who has the database.
        hidden_now: Vec::new(),
        not_ranked_now: Vec::new(),
        now: moment(as_of, last, Utc::now()),
    };
    past.viewer(&onlooker)
        .await
        .map_err(|problem| anyhow!("{}", problem.detail().to_owned()))
}

/// The view's own parameters and the bound by day; where a view has no use for that, it says so in its own words.
fn query(own: Option<&str>, as_of: &AsOf) -> String {
    let day = as_of.effective_on.map(|day| format!("effective_on={day}"));
    let own = own.filter(|own| !own.is_empty()).map(str::to_owned);
    own.into_iter().chain(day).collect::<Vec<_>>().join("&")
}
