//! Rows built again beside the live ones: the same rows, compared before they answer, and switched to whole.

use std::sync::Mutex;

use projectors::{
    generation,
    rebuild::{Limits, Progress, RebuildError, Report, Request, rebuild},
};
use sqlx::PgPool;

use crate::{given::*, ledger::*, sameness::lived};

/// Every way through the bulk: whole histories in few and in many pages, long families, and one by one.
const LIMITS: &[Limits] = &[
    Limits {
        parallel: 2,
        page: 20_000,
        whole_max: 60_000,
    },
    Limits {
        parallel: 3,
        page: 7,
        whole_max: 1_000,
    },
    Limits {
        parallel: 1,
        page: 50,
        whole_max: 60,
    },
    Limits {
        parallel: 1,
        page: 100,
        whole_max: 0,
    },
];

async fn again(ledger: &Ledger, request: &Request) -> Result<(Report, Vec<Progress>), RebuildError> {
    let said = Mutex::new(Vec::new());
    let report = rebuild(&ledger.views, &ledger.applier.log, request, &|progress| {
        said.lock().expect("no panic before").push(progress);
    })
    .await?;
    Ok((report, said.into_inner().expect("no panic before")))
}

async fn path(pool: &PgPool) -> String {
    generation::live(pool).await.expect("a live generation").search_path
}

async fn schemas(ledger: &Ledger) -> Vec<String> {
    sqlx::query_scalar("select schema_name from generations.built order by number")
        .fetch_all(&ledger.views)
        .await
        .expect("generations")
}

#[tokio::test]
async fn rows_built_again_are_the_rows_that_were_there_however_they_are_folded() {
    let mut ledger = Ledger::new().await;
    lived(&mut ledger).await;
    ledger.project(5_000).await;
    let before = ledger.dump().await;
    assert!(before.len() > 500, "{}", before.len());
    for (round, limits) in (1..).zip(LIMITS) {
        let request = Request {
            limits: *limits,
            ..Request::default()
        };
        let (report, said) = again(&ledger, &request).await.expect("a rebuild");
        assert!(report.is_same(), "{report:?}");
        let records = ledger.records().await.len() as i64;
        assert_eq!(report.events, records, "{limits:?}");
        assert!(
            said.contains(&Progress::Folded { events: records }),
            "{limits:?} {said:?}"
        );
        assert_eq!(
            report.tables.iter().map(|table| table.rows_live).sum::<i64>(),
            before.len() as i64 - 2
        );
        assert_eq!(path(&ledger.views).await, format!("views_g{round}, views"));
        assert_eq!(
            schemas(&ledger).await,
            [format!("views_g{round}")],
            "the old one is gone"
        );
        assert_eq!(ledger.dump().await, before, "{limits:?}");
        // The live rows go on in the new tables.
        ledger.project(5_000).await;
        assert_eq!(ledger.dump().await, before);
    }
    let f = family(1);
    ledger.append(f, vec![income(f, 900, "1.00", day(1, 1))]).await;
    ledger.project(5_000).await;
    assert!(ledger.dump().await.len() >= before.len() + 3);
    ledger.database.drop().await;
}
