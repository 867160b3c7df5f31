-- Signatures that a checkpoint got after it was made: when the sealing key changes, the new key signs each lane's last
-- checkpoint too, so that who knows only the new key need not wait for the lane's next event.
create table log.checkpoint_signatures (
    lane smallint not null,
    size bigint not null,
    verifier_key text not null,
    signature text not null,
    signed_at timestamptz not null default clock_timestamp(),
    constraint checkpoint_signatures_pkey primary key (lane, size, verifier_key),
    constraint checkpoint_signatures_lane_size_fkey foreign key (lane, size) references log.checkpoints (lane, size),
    constraint checkpoint_signatures_verifier_key_fkey foreign key (verifier_key) references log.sealing_keys (verifier_key),
    constraint checkpoint_signatures_signature_line check (signature like '— % %' || chr(10))
);

select log.make_append_only('log.checkpoint_signatures');

-- Checkpoints with all their signatures.
create view log.signed_checkpoints with (security_invoker) as
select c.lane, c.size, c.root, c.sealed_at,
    c.note || coalesce(
        (select string_agg(s.signature, '' order by s.signed_at, s.verifier_key)
            from log.checkpoint_signatures s where s.lane = c.lane and s.size = c.size),
        ''
    ) as note
from log.checkpoints c;

grant select, insert on log.checkpoint_signatures to kinledger_sealer;
grant select on log.signed_checkpoints to kinledger_sealer;
grant select on log.checkpoint_signatures, log.signed_checkpoints to kinledger_writer;
