-- What teens and children may spend by themselves, what they have spent of it, and what they have asked for (ADR 0041).

create table views.spending_limits (
    family_id uuid not null,
    member_id uuid not null,
    currency text not null,
    per_entry numeric(34, 4),
    per_day numeric(34, 4),
    per_week numeric(34, 4),
    per_month numeric(34, 4),
    constraint spending_limits_pkey primary key (family_id, member_id),
    constraint spending_limits_says_something check (coalesce(per_entry, per_day, per_week, per_month) is not null)
);

-- What counts for a limit, by the day it counts on; what was given back is taken off again.
create table views.spending_limit_days (
    family_id uuid not null,
    member_id uuid not null,
    currency text not null,
    spent_on date not null,
    amount numeric(34, 4) not null,
    constraint spending_limit_days_pkey primary key (family_id, member_id, currency, spent_on)
);

create table views.spending_requests (
    family_id uuid not null,
    request_id uuid not null,
    member_id uuid not null,
    family_seq bigint not null,
    account_id uuid not null,
    amount numeric(34, 4) not null,
    currency text not null,
    category_id uuid not null,
    payee text not null,
    note text not null,
    until_on date not null,
    asked_at timestamptz not null,
    status text not null,
    decided_seq bigint,
    decided_at timestamptz,
    decided_by uuid,
    reason text not null,
    entry_id uuid,
    constraint spending_requests_pkey primary key (family_id, request_id),
    constraint spending_requests_status check (status in ('waiting', 'approved', 'declined', 'cancelled', 'ended')),
    constraint spending_requests_decided check ((status = 'waiting') = (decided_seq is null))
);
comment on column views.spending_requests.reason is 'why it was declined, in words; why it ended, as a word of the event';
create index spending_requests_newest on views.spending_requests (family_id, family_seq desc);
create index spending_requests_by_status on views.spending_requests (family_id, status, family_seq desc);
-- A notification about a request is found by the event that caused it.
create index spending_requests_decided_by_seq on views.spending_requests (family_id, decided_seq);

do $$
declare
    v_table text;
begin
    foreach v_table in array array['spending_limits', 'spending_limit_days', 'spending_requests'] loop
        execute format('alter table views.%I enable row level security', v_table);
        execute format('alter table views.%I force row level security', v_table);
        execute format('create policy %I on views.%I to kinledger_projector using (true) with check (true)', v_table || '_projector', v_table);
        execute format(
            'create policy %I on views.%I for select to kinledger_reader '
            'using (family_id = nullif(current_setting(''kinledger.family_id'', true), '''')::uuid)',
            v_table || '_reader', v_table);
        execute format('grant select, insert, update, delete, truncate on views.%I to kinledger_projector', v_table);
        execute format('grant select on views.%I to kinledger_reader, kinledger_replayer', v_table);
    end loop;
end
$$;
