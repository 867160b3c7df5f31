-- Rows of the release before answer until those of this one are built, so the tables that hold them know the column that views ask for
-- now. Nothing is in it there: a word from before this was kept counts as the owner's.
do $$
declare
    v_schema text;
begin
    for v_schema in
        select b.schema_name
        from generations.built b
        where to_regclass(format('%I.account_shares', b.schema_name)) is not null
        order by b.number
    loop
        execute format('alter table %I.account_shares add column if not exists said_by uuid', v_schema);
    end loop;
end
$$;
