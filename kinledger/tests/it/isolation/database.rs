//! What each role of the database may do, from the catalogue: exactly what is committed in `schemas/database-rights.txt`.
//!
//! A migration that gives or takes a right changes that file in the same commit, so that somebody reads it:
//! `KINLEDGER_WRITE_RIGHTS=1 scripts/with-servers.sh cargo test -p kinledger --test it isolation::database::rights`.

mod tried;

use std::{collections::BTreeSet, fs, path::PathBuf};

use service_kit::{database::DatabaseRole, testing::TestDatabase};
use sqlx::{Connection, PgConnection, PgPool};

/// Schemas of ours.
const SCHEMAS: &str = "select oid, nspname from pg_catalog.pg_namespace
    where nspname not in ('pg_catalog', 'information_schema', 'pg_toast') and nspname !~ '^pg_(temp|toast_temp)_'";

/// Every right that is not its owner's, a line each: who, what, on which kind of thing.
const RIGHTS: &str = "
    with schemas as (SCHEMAS), roles(oid, name) as (
        select oid, rolname::text from pg_catalog.pg_roles where rolname = any($1) union all select 0, 'everybody'
    ), given(kind, thing, owner, acl) as (
        select 'schema', nspname::text, nspowner, coalesce(nspacl, acldefault('n', nspowner))
        from pg_catalog.pg_namespace where oid in (select oid from schemas)
        union all
        select case c.relkind when 'v' then 'view' when 'S' then 'sequence' else 'table' end,
            format('%I.%I', s.nspname, c.relname), c.relowner,
            coalesce(c.relacl, acldefault(case c.relkind when 'S' then 's' else 'r' end::\"char\", c.relowner))
        from pg_catalog.pg_class c join schemas s on s.oid = c.relnamespace where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
        union all
        select 'column', format('%I.%I.%I', s.nspname, c.relname, a.attname), c.relowner, a.attacl
        from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = a.attrelid join schemas s on s.oid = c.relnamespace
        where a.attacl is not null and not a.attisdropped
        union all
        select 'function', format('%I.%I', s.nspname, p.proname), p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))
        from pg_catalog.pg_proc p join schemas s on s.oid = p.pronamespace
        union all
        select 'database', 'kinledger', datdba, coalesce(datacl, acldefault('d', datdba))
        from pg_catalog.pg_database where datname = current_database()
    )
    select format('%s: %s %s: %s', roles.name, kind, thing, string_agg(distinct lower(one.privilege_type), ', '))
    from given, aclexplode(given.acl) one join roles on roles.oid = one.grantee
    where one.grantee <> given.owner
    group by roles.name, kind, thing";

/// Whose policies the functions of the log pass: nobody's role but the owner's.
const LOG: &str = "kinledger_log";

/// Every role that there is something for.
fn role_names() -> Vec<String> {
    let of_pools = DatabaseRole::ALL.iter().map(|role| role.as_str());
    of_pools.chain([LOG]).map(str::to_owned).collect()
}

async fn texts(pool: &PgPool, query: &str) -> Vec<String> {
    let query = query.replace("SCHEMAS", SCHEMAS);
    sqlx::query_scalar(&query)
        .bind(role_names())
        .fetch_all(pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn rights_are_those_that_are_committed() {
    let database = TestDatabase::create().await;
    let owner = database.superuser().await;
    let mut found = texts(&owner, RIGHTS).await;
    found.sort();
    assert!(found.len() > 100, "the catalogue was not read: {found:?}");
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../schemas/database-rights.txt");
    if std::env::var_os("KINLEDGER_WRITE_RIGHTS").is_some() {
        fs::write(&path, found.join("\n") + "\n").unwrap();
    }
    let text = fs::read_to_string(&path).unwrap();
    let committed: BTreeSet<&str> = text.lines().collect();
    let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
    let added: Vec<_> = found.difference(&committed).collect();
    let gone: Vec<_> = committed.difference(&found).collect();
    assert!(
        added.is_empty() && gone.is_empty(),
        "rights differ from schemas/database-rights.txt; read them, then write it anew as the head of this test says\n\
         added: {added:#?}\ngone: {gone:#?}"
    );
    owner.close().await;
    database.drop().await;
}

#[tokio::test]
async fn whatever_a_role_was_not_given_it_is_refused() {
    let database = TestDatabase::create().await;
    let owner = database.superuser().await;
    let tables: Vec<(String, String, bool)> = sqlx::query_as(&format!(
        "with schemas as ({SCHEMAS}) select format('%I.%I', s.nspname, c.relname),
            (select quote_ident(attname) from pg_catalog.pg_attribute a
             where a.attrelid = c.oid and attnum > 0 and not attisdropped and attgenerated = '' and attidentity = ''
             order by attnum limit 1), c.relkind = 'v'
         from pg_catalog.pg_class c join schemas s on s.oid = c.relnamespace where c.relkind in ('r', 'p', 'v')"
    ))
    .fetch_all(&owner)
    .await
    .unwrap();
    assert!(tables.len() > 50, "{tables:?}");
    let (mut tried, mut refused) = (0, 0);
    let service_url = database.service_url().await;
    for role in DatabaseRole::ALL.map(DatabaseRole::as_str) {
        let mut connection = PgConnection::connect(&service_url).await.unwrap();
        sqlx::raw_sql(&format!("set role {role}"))
            .execute(&mut connection)
            .await
            .unwrap();
        for (table, column, is_view) in &tables {
            // Each needs the right on the whole table, or, for the last two, on this column alone.
            let attempts = [
                ("delete", format!("delete from {table} where false")),
                ("truncate", format!("truncate {table}")),
                (
                    "trigger",
                    format!("create trigger mine before insert on {table} execute function pg_catalog.now()"),
                ),
                ("select", format!("select {column} from {table} where false")),
                ("update", format!("update {table} set {column} = {column} where false")),
            ];
            for (right, statement) in attempts {
                // A view is not written to at all, which is found out before anybody's rights are.
                if *is_view && right != "select" {
                    continue;
                }
                let is_column = ["select", "update"].contains(&right);
                let question = if is_column {
                    format!(
                        "select has_column_privilege('{role}', '{table}', '{}', '{right}')",
                        column.trim_matches('"')
                    )
                } else {
                    format!("select has_table_privilege('{role}', '{table}', '{right}')")
                };
                let may: bool = sqlx::query_scalar(&question).fetch_one(&owner).await.unwrap();
                if may {
                    continue;
                }
                tried += 1;
                let answer = sqlx::raw_sql(&statement).execute(&mut connection).await;
                let code = answer
                    .err()
                    .and_then(|error| Some(error.as_database_error()?.code()?.into_owned()));
                assert_eq!(code.as_deref(), Some("42501"), "{role}: {statement}");
                refused += 1;
            }
        }
        for statement in [
            "create table public.mine (a int)",
            "create schema mine",
            "create role mine",
            "alter system set work_mem = '1GB'",
            "copy (select 1) to program 'true'",
            "select pg_read_file('/etc/passwd')",
            "select rolpassword from pg_authid",
            "set session authorization postgres",
            "set row_security = off; select * from identity.users",
            "set role kinledger_log",
        ] {
            tried += 1;
            let answer = sqlx::raw_sql(statement).execute(&mut connection).await;
            refused += usize::from(answer.is_err());
        }
        connection.close().await.unwrap();
    }
    println!("{tried} attempts, {refused} refused");
    assert!(tried > 1_000, "{tried}");
    assert_eq!(tried, refused);
    owner.close().await;
    database.drop().await;
}

/// Tables that hold nothing of a family or a person: places in the log, hashes, who works on what.
const OF_NOBODY: [&str; 16] = [
    "generations.built",
    "generations.live",
    "keys.changes",
    "leases.lanes",
    "leases.processes",
    "log.checkpoint_exports",
    "log.checkpoint_signatures",
    "log.checkpoints",
    "log.head_buckets",
    "log.installation",
    "log.lanes",
    "log.relay_checkpoints",
    "log.sealing_keys",
    "log.tree_nodes",
    "public._sqlx_migrations",
    "views.checkpoints",
];

#[tokio::test]
async fn every_table_is_behind_a_forced_policy_and_nothing_goes_around_it() {
    let database = TestDatabase::create().await;
    let owner = database.superuser().await;
    let none = async |what: &str, query: &str| {
        let found = texts(&owner, query).await;
        let found: Vec<_> = found
            .iter()
            .filter(|name| !OF_NOBODY.contains(&name.as_str()))
            .collect();
        assert!(found.is_empty(), "{what}: {found:?}");
    };
    none(
        "tables without forced row-level security",
        "with schemas as (SCHEMAS) select format('%I.%I', s.nspname, c.relname) from pg_class c join schemas s on s.oid = c.relnamespace
         where c.relkind in ('r', 'p', 'f') and not (c.relrowsecurity and c.relforcerowsecurity) and $1 is not null",
    )
    .await;
    none(
        "policies of those who read one family at a time that let them read more",
        "select format('%s on %s', polname, polrelid::regclass) from pg_policy
         where exists (select from pg_roles r where r.oid = any(polroles)
               and r.rolname in ('kinledger_reader', 'kinledger_replayer', 'kinledger_writer'))
           -- Texts of many families are sealed at once, and keys rotated and destroyed.
           and polrelid <> 'keys.member_keys'::regclass
           and $1 is not null
           and coalesce(pg_get_expr(polqual, polrelid), '') not like all(
               array['%current_setting(''kinledger.family_id''%', '%current_setting(''kinledger.user_id''%',
                   '%generations.own_families()%'])",
    )
    .await;
    none(
        "policies for everybody",
        "select polname::text from pg_policy where 0 = any(polroles) and $1 is not null",
    )
    .await;
    none(
        "roles that could go past policies, or sign in",
        "select rolname::text from pg_roles where rolname = any($1)
         and (rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication or rolcanlogin)",
    )
    .await;
    none(
        "roles that are members of another",
        "select m.member::regrole::text from pg_auth_members m join pg_roles r on r.oid = m.member where r.rolname = any($1)",
    )
    .await;
    none(
        "owners among the roles",
        "select c.relname::text from pg_class c join pg_roles r on r.oid = c.relowner where r.rolname = any($1)",
    )
    .await;
    none(
        "views that look past the asker's policies without a barrier",
        "with schemas as (SCHEMAS) select format('%I.%I', s.nspname, c.relname) from pg_class c join schemas s on s.oid = c.relnamespace
         where c.relkind = 'v' and $1 is not null
           and not coalesce(c.reloptions && array['security_barrier=true', 'security_invoker=true'], false)",
    )
    .await;
    none(
        "materialised views, which have no policies",
        "select relname::text from pg_class where relkind = 'm' and $1 is not null",
    )
    .await;
    none(
        "functions with their owner's rights and a search path of the caller's choice",
        "with schemas as (SCHEMAS) select p.proname::text from pg_proc p join schemas s on s.oid = p.pronamespace
         where p.prosecdef and $1 is not null
           and not exists (select from unnest(p.proconfig) set_to where set_to like 'search_path=%pg_catalog%')",
    )
    .await;
    none(
        "functions of identity, keys and log with their owner's rights, beside those that have to",
        "with schemas as (SCHEMAS) select format('%I.%I', s.nspname, p.proname) from pg_proc p join schemas s on s.oid = p.pronamespace
         where p.prosecdef and $1 is not null and s.nspname <> 'generations' and format('%I.%I', s.nspname, p.proname) not in (
             'identity.close_account', 'identity.forget_closed_accounts', 'identity.forget_old_security_events',
             'identity.use_api_key', 'log.access_ends', 'log.append_lanes', 'log.families_of', 'log.known_families')",
    )
    .await;
    none(
        "functions that everybody may call",
        "with schemas as (SCHEMAS) select p.proname::text from pg_proc p join schemas s on s.oid = p.pronamespace
         where $1 is not null and exists (
             select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) one where one.grantee = 0)",
    )
    .await;
    owner.close().await;
    database.drop().await;
}

/// A setting that outlives its transaction would be the next request's, on the same connection of the pool.
#[test]
fn no_code_sets_anything_for_longer_than_a_transaction() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let (mut looked_at, mut wrong) = (0, Vec::new());
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                if !["target", "tests", ".git", ".cache", "data", "node_modules", "fuzz"].contains(&name.as_str()) {
                    folders.push(path);
                }
                continue;
            }
            if !(name.ends_with(".rs") || name.ends_with(".sql")) {
                continue;
            }
            looked_at += 1;
            let text = fs::read_to_string(&path).unwrap().to_lowercase();
            for (at, _) in text.match_indices("set_config(") {
                let call: String = text[at..].chars().take(300).collect();
                if !call
                    .split_once(';')
                    .map_or(&*call, |(call, _)| call)
                    .contains(", true)")
                {
                    wrong.push(format!("{}: {}", path.display(), &call[..call.len().min(60)]));
                }
            }
            for forbidden in ["set kinledger.", "set session kinledger.", "set session authorization"] {
                if text.contains(forbidden) {
                    wrong.push(format!("{}: {forbidden}", path.display()));
                }
            }
        }
    }
    assert!(looked_at > 200, "{looked_at} files");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
