-- Temporary tables are for who folds a ledger beside the rows that answer: the replayer, who has the right already, and the
-- projector. Postgres gives it to everybody unless it is taken away.
do $$
begin
    execute format('revoke temporary on database %I from public', current_database());
    execute format('grant temporary on database %I to kinledger_projector', current_database());
end
$$;
