-- Whether a member waits for consent is asked by whoever reads the rows; a projector reads them too, to compare them with a fold.
grant execute on function generations.awaits_consent(text, smallint, bigint, smallint, bigint, boolean) to kinledger_projector;
