#!/usr/bin/env bash
# Marks the version in Cargo.toml as released: from now on, what it promises is kept.
#
#   scripts/release.sh
#
# 1. `schemas/reader` becomes a copy of the code that reads this release's events: tests put it before the events of the next.
# 2. `kinledger contracts --mark-release` writes `schemas/released/<version>` and prints a line for RELEASES.
# What is left to a person: that line, the next version in Cargo.toml, and the commit. docs/adr/0022 says why it is done so.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/tools.sh"
cd "$root"

# What an event is made of; it knows nothing else of the domain (domain/src/event.rs says so).
VALUES="actor calendar event id money posting upcasters"
reader=schemas/reader/src
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

[ ! -e "schemas/released/$version" ] || fail "$version is marked already; raise the version in Cargo.toml first"

# copy FROM TO: without its tests, which stand last and need the rest of the domain.
copy() { sed '/^#\[cfg(test)\]/,$d' "$1" >"$2"; }

rm -f "$reader"/*.rs
modules=
for value in $VALUES; do
    copy "domain/src/$value.rs" "$reader/$value.rs"
    modules="$modules $value"
done
for events in domain/src/*/events.rs; do
    aggregate=$(basename "$(dirname "$events")")
    copy "$events" "$reader/$aggregate.rs"
    modules="$modules $aggregate"
done
{
    printf '//! How release %s reads events: a copy of its own code, made by scripts/release.sh and never edited.\n\n' "$version"
    printf '#![allow(dead_code, unused_imports)]\n\n'
    for module in $(printf '%s\n' $modules | sort); do printf 'pub mod %s;\n' "$module"; done
    printf '\npub use money::{Currency, Money, MoneyError};\n'
    printf '\n/// The release.\npub const RELEASE: &str = "%s";\n' "$version"
} >"$reader/lib.rs"
cargo fmt -p previous-release
cargo check -q -p previous-release
cargo run -q -p kinledger -- contracts --mark-release schemas
