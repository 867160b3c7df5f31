-- Who said how an account is shared. What a parent said of a teen's or child's is not the owner's word, and hides it from nobody
-- else once the owner has grown up. Null is a word from before this was kept, which counts as the owner's.
alter table views.account_shares add column said_by uuid;
