//! The statement-file provider as its callers meet it: bytes in, statements out.

mod household;
mod no_panic;
mod round_trips;
mod samples;
