//! The write side as a client meets it: HTTP in, HTTP out, each test on a database of its own.

mod identity;
