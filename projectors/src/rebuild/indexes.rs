//! What a generation needs beside its rows: keys, indexes and statistics, made when the rows are there.

use super::{RebuildError, bulk::Build, workers::Workers};

impl Build {
    /// Keys of the tables that were filled by COPY, several at once.
    pub(super) async fn add_keys(&self) -> Result<(), RebuildError> {
        let copied: Vec<&'static str> = self
            .applier
            .projections
            .iter()
            .flat_map(|projection| projection.copied())
            .copied()
            .collect();
        let build = self.clone();
        let workers = Workers::start(self.limits.parallel, copied, move |table| {
            let build = build.clone();
            async move {
                let statement = "select generations.add_keys_of($1, array[$2])";
                build.call_about(statement, table.to_owned()).await
            }
        });
        workers.all_done().await
    }

    /// Every index that is missing, several at once, whichever tables they belong to.
    pub(super) async fn add_indexes(&self) -> Result<(), RebuildError> {
        let missing: Vec<String> = sqlx::query_scalar("select generations.missing_indexes($1)")
            .bind(&self.schema)
            .fetch_all(&self.applier.pool)
            .await?;
        let build = self.clone();
        let workers = Workers::start(self.limits.parallel, missing, move |index| {
            let build = build.clone();
            async move { build.call_about("select generations.add_index($1, $2)", index).await }
        });
        workers.all_done().await
    }

    async fn call_about(&self, statement: &'static str, what: String) -> Result<(), RebuildError> {
        let mut tx = self.begin_long().await?;
        sqlx::query(statement)
            .bind(&self.schema)
            .bind(what)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// Statistics, so that the first answers after the switch are planned for full tables. Only the switch has to wait for
    /// them.
    pub(super) async fn analyze(&self) -> Result<(), RebuildError> {
        self.call("select generations.analyze_build($1)").await
    }

    /// A transaction that may take long, and has room to sort in. Helpers of one would take the processors from another.
    async fn begin_long(&self) -> Result<sqlx::Transaction<'static, sqlx::Postgres>, sqlx::Error> {
        let begin = "begin; set local statement_timeout = 0; set local maintenance_work_mem = '128MB'; \
            set local max_parallel_maintenance_workers = 0; set local synchronous_commit = off";
        self.applier.pool.begin_with(begin).await
    }

    /// One of the functions that work on a generation as a whole, however long it takes.
    pub(super) async fn call(&self, statement: &'static str) -> Result<(), RebuildError> {
        let mut tx = self.begin_long().await?;
        sqlx::query(statement).bind(&self.schema).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }
}
