-- A paired device opens only while somebody who may pair devices answers for it; whoever unlocks it does from then on.

comment on column identity.paired_devices.paired_by is
    'who answers for it: who paired it, or who unlocked it since; null when that account is gone';

grant update (paired_by) on identity.paired_devices to kinledger_writer;

comment on table identity.device_challenges is
    'challenges that a device has answered, so that none is answered twice; those that are open are kept nowhere';
