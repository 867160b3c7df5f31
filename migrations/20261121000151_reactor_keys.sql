-- Who brings statements folds the account they are for, and the account's name is sealed like every other text.
grant usage on schema keys to kinledger_reactor;
grant select on keys.member_keys, keys.changes to kinledger_reactor;
create policy member_keys_reactor on keys.member_keys for select to kinledger_reactor using (true);
