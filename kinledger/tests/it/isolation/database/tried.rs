//! Every column, function and sequence, tried by every role that was not given it: the server itself refuses.

use service_kit::{database::DatabaseRole, testing::TestDatabase};
use sqlx::{Connection, PgConnection, PgPool};

use super::SCHEMAS;

/// What the server answers who may not (PostgreSQL, appendix A).
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// A statement for each column of each table and view, and each right to it that the role has not. Columns that the server fills are
/// for nobody to write, and views are only read.
const COLUMNS: &str = "
    with schemas as (SCHEMAS)
    select format(case tried.wanted
            when 'select' then 'select %2$I from %1$s where false'
            when 'insert' then 'insert into %1$s (%2$I) select null where false'
            else 'update %1$s set %2$I = null where false'
        end, c.oid::regclass, a.attname)
    from pg_catalog.pg_class c
    join schemas s on s.oid = c.relnamespace
    join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    cross join unnest(array['select', 'insert', 'update']) as tried(wanted)
    where c.relkind in ('r', 'p', 'v')
        and (tried.wanted = 'select' or c.relkind <> 'v' and a.attgenerated = '' and a.attidentity = '')
        and not has_column_privilege($1, c.oid, a.attnum, tried.wanted)";

/// A call of each function that the role may not execute. Of a strict one with a constant null the planner knows the answer without
/// asking whether it may be called, so the nulls are none it can foresee.
const FUNCTIONS: &str = "
    with schemas as (SCHEMAS)
    select format('select %I.%I(%s)', s.nspname, p.proname, (
        select string_agg(format('case when random() >= 0 then null::%s end', format_type(argument, null)), ', ')
        from unnest(p.proargtypes::oid[]) as argument
    ))
    from pg_catalog.pg_proc p
    join schemas s on s.oid = p.pronamespace
    where p.prokind = 'f' and not has_function_privilege($1, p.oid, 'execute')";

/// What a sequence can be asked and told.
const SEQUENCES: &str = "
    with schemas as (SCHEMAS)
    select format(tried.statement, c.oid::regclass)
    from pg_catalog.pg_class c
    join schemas s on s.oid = c.relnamespace
    cross join (values
        ('usage, update', 'select nextval(''%s'')'),
        ('update', 'select setval(''%s'', 1)'),
        ('select', 'select last_value from %s')
    ) as tried(rights, statement)
    where c.relkind = 'S' and not has_sequence_privilege($1, c.oid, tried.rights)";

/// Tables that a key of another table could refer to by this role, and so learn what is in them.
const REFERRED_TO: &str = "
    with schemas as (SCHEMAS)
    select c.oid::regclass::text from pg_catalog.pg_class c join schemas s on s.oid = c.relnamespace
    where c.relkind in ('r', 'p') and has_any_column_privilege($1, c.oid, 'references')";

async fn texts(owner: &PgPool, query: &str, role: &str) -> Vec<String> {
    let query = query.replace("SCHEMAS", SCHEMAS);
    sqlx::query_scalar(&query).bind(role).fetch_all(owner).await.unwrap()
}

#[tokio::test]
async fn every_column_function_and_sequence_is_refused_to_who_was_not_given_it() {
    let database = TestDatabase::create().await;
    let owner = database.superuser().await;
    let service_url = database.service_url().await;
    let mut tried = [0; 3];
    for role in DatabaseRole::ALL.map(DatabaseRole::as_str) {
        let mut connection = PgConnection::connect(&service_url).await.unwrap();
        sqlx::raw_sql(&format!("set role {role}"))
            .execute(&mut connection)
            .await
            .unwrap();
        for (kind, query) in [COLUMNS, FUNCTIONS, SEQUENCES].into_iter().enumerate() {
            for statement in texts(&owner, query, role).await {
                let answer = sqlx::raw_sql(&statement).execute(&mut connection).await;
                let code = answer
                    .err()
                    .and_then(|error| Some(error.as_database_error()?.code()?.into_owned()));
                assert_eq!(code.as_deref(), Some(INSUFFICIENT_PRIVILEGE), "{role}: {statement}");
                tried[kind] += 1;
            }
        }
        let referred = texts(&owner, REFERRED_TO, role).await;
        assert!(referred.is_empty(), "{role}: {referred:?}");
        connection.close().await.unwrap();
    }
    let [columns, functions, sequences] = tried;
    println!("{columns} statements about columns, {functions} calls and {sequences} about sequences, all refused");
    assert!(columns > 5_000 && functions > 100 && sequences > 10, "{tried:?}");
    owner.close().await;
    database.drop().await;
}
