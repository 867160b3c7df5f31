//! The simulation as a test: many seeds, the same seed twice, and faults that it must find.

mod conformance;
mod controls;
mod seeds;
