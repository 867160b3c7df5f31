//! The append-only log in Postgres: append, load, feed, verify, replay, and the relay to Kafka.
