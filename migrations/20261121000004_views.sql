-- Read models. Everything here can be dropped and built again from the log; nothing else may live here.
--
-- Sums are kept in buckets (a day, a month) to which events only ever add, so their order does not matter and no answer has
-- to walk a family's history. Amounts are exact numerics with four decimal places, the most that a currency of ISO 4217 has,
-- so that equal sums are equal rows; positive is a debit, as in the journal.

-- How far a group of projections has folded each lane. Moved by compare-and-set in the transaction that writes the rows.
create table views.checkpoints (
    group_name text not null,
    version integer not null,
    lane smallint not null,
    position bigint not null,
    constraint checkpoints_pkey primary key (group_name, version, lane),
    constraint checkpoints_position_check check (position >= 0)
);

-- The last event of each family that the rows below contain.
create table views.family_heads (
    family_id uuid not null,
    lane smallint not null,
    family_seq bigint not null,
    chain_hash bytea not null,
    recorded_at timestamptz not null,
    constraint family_heads_pkey primary key (family_id)
);

-- Families whose next event could not be folded. Their later events wait in the log; other families go on.
create table views.parked_families (
    family_id uuid not null,
    lane smallint not null,
    family_seq bigint not null,
    event_type text not null,
    event_version text not null,
    error text not null,
    payload text not null,
    parked_at timestamptz not null default now(),
    constraint parked_families_pkey primary key (family_id)
);

create table views.families (
    family_id uuid not null,
    name text not null,
    currency text not null,
    zone text not null,
    week_start text not null,
    created_at timestamptz not null,
    constraint families_pkey primary key (family_id)
);

create table views.members (
    family_id uuid not null,
    member_id uuid not null,
    display_name text not null,
    role text not null,
    on_leaderboard boolean not null,
    user_id uuid,
    added_at timestamptz not null,
    constraint members_pkey primary key (family_id, member_id)
);
create index members_by_user on views.members (user_id, family_id) where user_id is not null;

create table views.accounts (
    family_id uuid not null,
    account_id uuid not null,
    name text not null,
    kind text not null,
    currency text not null,
    owner_id uuid,
    is_closed boolean not null,
    opened_on date not null,
    balance numeric(34, 4) not null,
    constraint accounts_pkey primary key (family_id, account_id)
);

-- What was posted to a ledger account (own account, category or equity account) per day it counts for.
create table views.account_days (
    family_id uuid not null,
    ledger_account text not null,
    currency text not null,
    effective_on date not null,
    amount numeric(34, 4) not null,
    constraint account_days_pkey primary key (family_id, ledger_account, currency, effective_on)
);

create table views.categories (
    family_id uuid not null,
    category_id uuid not null,
    name text not null,
    kind text not null,
    constraint categories_pkey primary key (family_id, category_id)
);

-- What was posted to a category from an account, per day and per month.
create table views.spending_days (
    family_id uuid not null,
    effective_on date not null,
    category_id uuid not null,
    account_id uuid not null,
    currency text not null,
    amount numeric(34, 4) not null,
    constraint spending_days_pkey primary key (family_id, effective_on, category_id, account_id, currency)
);
create table views.spending_months (
    family_id uuid not null,
    month_on date not null,
    category_id uuid not null,
    account_id uuid not null,
    currency text not null,
    amount numeric(34, 4) not null,
    constraint spending_months_pkey primary key (family_id, month_on, category_id, account_id, currency)
);

create table views.entries (
    family_id uuid not null,
    entry_id uuid not null,
    effective_on date not null,
    recorded_at timestamptz not null,
    family_seq bigint not null,
    kind text not null,
    amount numeric(34, 4) not null,
    currency text not null,
    payee text not null,
    note text not null,
    search text not null,
    entered_by uuid,
    import_id uuid,
    chore_id uuid,
    is_reversed boolean not null,
    reversal_reason text not null,
    constraint entries_pkey primary key (family_id, entry_id)
);
create index entries_newest on views.entries (family_id, effective_on desc, family_seq desc);
create index entries_by_member on views.entries (family_id, entered_by, effective_on desc, family_seq desc)
    where entered_by is not null;

-- The lines of an entry as they stand: recategorised ones moved, reversed ones kept to be shown.
create table views.entry_postings (
    family_id uuid not null,
    entry_id uuid not null,
    line smallint not null,
    ledger_account text not null,
    amount numeric(34, 4) not null,
    currency text not null,
    effective_on date not null,
    family_seq bigint not null,
    constraint entry_postings_pkey primary key (family_id, entry_id, line)
);
create index entry_postings_by_account
    on views.entry_postings (family_id, ledger_account, effective_on desc, family_seq desc);

-- Every amount a budget was ever given, with the day from whose period on it holds.
create table views.budgets (
    family_id uuid not null,
    budget_id uuid not null,
    family_seq bigint not null,
    category_id uuid not null,
    period text not null,
    effective_on date not null,
    amount numeric(34, 4) not null,
    currency text not null,
    constraint budgets_pkey primary key (family_id, budget_id, family_seq)
);

create table views.chores (
    family_id uuid not null,
    chore_id uuid not null,
    family_seq bigint not null,
    title text not null,
    points bigint not null,
    reward numeric(34, 4),
    reward_currency text,
    offered_to uuid,
    due_on date,
    status text not null,
    claimed_by uuid,
    rejection_reason text not null,
    entry_id uuid,
    offered_at timestamptz not null,
    changed_at timestamptz not null,
    constraint chores_pkey primary key (family_id, chore_id)
);
create index chores_newest on views.chores (family_id, family_seq desc);
create index chores_by_status on views.chores (family_id, status, family_seq desc);

-- Points a member earned per day; kept for ever, summed for the weeks and months that are asked for.
create table views.point_days (
    family_id uuid not null,
    earned_on date not null,
    member_id uuid not null,
    source text not null,
    points bigint not null,
    constraint point_days_pkey primary key (family_id, earned_on, member_id, source)
);
create table views.point_totals (
    family_id uuid not null,
    member_id uuid not null,
    points bigint not null,
    constraint point_totals_pkey primary key (family_id, member_id)
);

create table views.badges (
    family_id uuid not null,
    award_id uuid not null,
    family_seq bigint not null,
    member_id uuid not null,
    badge text not null,
    reason text not null,
    points bigint not null,
    awarded_at timestamptz not null,
    constraint badges_pkey primary key (family_id, award_id)
);
create index badges_newest on views.badges (family_id, family_seq desc);
create index badges_by_member on views.badges (family_id, member_id, family_seq desc);

-- Who is in the family in which role, as the notifications see it while they are folded; not read by any view.
create table views.notification_recipients (
    family_id uuid not null,
    member_id uuid not null,
    role text not null,
    constraint notification_recipients_pkey primary key (family_id, member_id)
);

create table views.notifications (
    family_id uuid not null,
    member_id uuid not null,
    family_seq bigint not null,
    kind text not null,
    about_member_id uuid,
    chore_id uuid,
    entry_id uuid,
    import_id uuid,
    subject text not null,
    reason text not null,
    amount numeric(34, 4),
    currency text,
    count bigint,
    recorded_at timestamptz not null,
    constraint notifications_pkey primary key (family_id, member_id, family_seq)
);

create table views.inbox_marks (
    family_id uuid not null,
    member_id uuid not null,
    read_up_to bigint not null,
    constraint inbox_marks_pkey primary key (family_id, member_id)
);

create table views.bank_connections (
    family_id uuid not null,
    connection_id uuid not null,
    account_id uuid not null,
    provider text not null,
    institution text not null,
    connected_at timestamptz not null,
    synced_at timestamptz,
    bank_balance numeric(34, 4),
    currency text,
    first_on date,
    last_on date,
    is_proved boolean not null,
    constraint bank_connections_pkey primary key (family_id, connection_id)
);

create table views.imports (
    family_id uuid not null,
    import_id uuid not null,
    family_seq bigint not null,
    connection_id uuid not null,
    account_id uuid,
    source text not null,
    file_sha256 text not null,
    rows bigint not null,
    rows_booked bigint not null,
    rows_known bigint not null,
    rows_categorised bigint not null,
    rows_zero bigint not null,
    booked numeric(34, 4),
    currency text,
    imported_at timestamptz not null,
    is_undone boolean not null,
    entries_reversed bigint not null,
    constraint imports_pkey primary key (family_id, import_id)
);
create index imports_newest on views.imports (family_id, family_seq desc);

-- Who may touch what. The second wall behind the checks in the code: the reader sees one family at a time, named by a
-- setting of its transaction, and the lane book-keeping not at all.
grant usage on schema views to kinledger_projector, kinledger_reader;
grant select, insert, update, delete, truncate on all tables in schema views to kinledger_projector;
do $$
declare
    family_table text;
begin
    foreach family_table in array array[
        'account_days', 'accounts', 'badges', 'bank_connections', 'budgets', 'categories', 'chores', 'entries',
        'entry_postings', 'families', 'family_heads', 'imports', 'inbox_marks', 'members', 'notification_recipients',
        'notifications', 'parked_families', 'point_days', 'point_totals', 'spending_days', 'spending_months'
    ] loop
        execute format('alter table views.%I enable row level security', family_table);
        execute format('alter table views.%I force row level security', family_table);
        execute format(
            'create policy %I on views.%I to kinledger_projector using (true) with check (true)',
            family_table || '_projector', family_table
        );
        if family_table not in ('notification_recipients', 'parked_families') then
            execute format('grant select on views.%I to kinledger_reader', family_table);
            execute format(
                'create policy %I on views.%I for select to kinledger_reader '
                'using (family_id = nullif(current_setting(''kinledger.family_id'', true), '''')::uuid)',
                family_table || '_reader', family_table
            );
        end if;
    end loop;
end
$$;

-- The list of one's own families is the only question across families: it sees the places that this person has taken.
create policy members_own on views.members for select to kinledger_reader
    using (user_id = nullif(current_setting('kinledger.user_id', true), '')::uuid);
create policy families_own on views.families for select to kinledger_reader
    using (exists (
        select 1
        from views.members
        where members.family_id = families.family_id
            and members.user_id = nullif(current_setting('kinledger.user_id', true), '')::uuid
    ));
create policy family_heads_own on views.family_heads for select to kinledger_reader
    using (exists (
        select 1
        from views.members
        where members.family_id = family_heads.family_id
            and members.user_id = nullif(current_setting('kinledger.user_id', true), '')::uuid
    ));
