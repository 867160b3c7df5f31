#!/usr/bin/env bash
# Fuzzes every target in fuzz/ for a bounded time: libFuzzer, with the stable compiler and no further tools.
#
#   scripts/fuzz.sh [SECONDS [TARGET...]]    seconds for each target, 10 by default; without names all of them
#   KINLEDGER_FUZZ_SEED=N                    the seed of every run; chosen at random and printed otherwise
#
# libFuzzer itself is compiled from its crate, so a C++ compiler is all it needs (as librdkafka does). Without -Zsanitizer
# nothing unstable is asked of rustc: what is looked for are panics, overflows, endless loops and broken promises, in code that
# has no `unsafe`. An input that fails is left in fuzz/artifacts/<target>/; mend the cause and move it to
# fuzz/regressions/<target>/, where an ordinary test replays it for ever.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/tools.sh"

seconds=${1:-10}
[ $# -eq 0 ] || shift
cd "$root/fuzz"
[ $# -gt 0 ] || set -- $(cd fuzz_targets && ls ./*.rs | sed 's|^\./||; s|\.rs$||')
# Those over code of services bring the clients of Postgres, Kafka and Redis into the build, minutes once; without them it is quick.
features=--no-default-features
case " $* " in *" chain_verify "* | *" query_cursor "*) features= ;; esac

# One input may take this long and this much memory.
INPUT_SECONDS_MAX=60
MEMORY_MB_MAX=1024
# Statements with some rows fit, and a pack of few events; short inputs are quick ones.
bytes_max() { case $1 in pack_verify) echo 16384 ;; *) echo 4096 ;; esac; }
have c++ || have g++ || have clang++ || fail "libFuzzer is compiled from C++: a C++ compiler is needed; scripts/setup.sh installs it or says how"

host=$(rustc -vV | sed -n 's/^host: //p')
jobs_max=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)

# What cargo-fuzz passes, without a sanitizer. With --target they reach neither build scripts nor macros.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares"
# shellcheck disable=SC2086 # Nothing when empty.
cargo build --release --target "$host" --bins $features
programs=$(cargo metadata --no-deps --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')/$host/release

seed=${KINLEDGER_FUZZ_SEED:-$((RANDOM * 32768 + RANDOM + 1))}
say "seed $seed, $seconds s a target"
work=$(mktemp -d "${TMPDIR:-/tmp}/kinledger-fuzz.XXXXXX")
trap 'rm -rf "$work"' EXIT

# fuzz TARGET: its own corpus grows in a folder that is thrown away; seeds and regressions are only read.
fuzz() {
    local target=$1
    local dictionary=()
    mkdir -p "$work/$target" "artifacts/$target" "regressions/$target"
    [ ! -f "dictionaries/$target" ] || dictionary=("-dict=dictionaries/$target")
    "$programs/$target" "$work/$target" "seeds/$target" "regressions/$target" \
        -max_total_time="$seconds" -seed="$seed" -max_len="$(bytes_max "$target")" -timeout="$INPUT_SECONDS_MAX" \
        -rss_limit_mb="$MEMORY_MB_MAX" -artifact_prefix="artifacts/$target/" -print_final_stats=1 -verbosity=0 \
        ${dictionary[@]+"${dictionary[@]}"} >"$work/$target.log" 2>&1
}

# As many at once as there are processors; every one is waited for, so that one run tells of all.
failed=
while [ $# -gt 0 ]; do
    running=
    for target in "$@"; do
        fuzz "$target" &
        running="$running $target:$!"
        shift
        [ "$(echo "$running" | wc -w)" -lt "$jobs_max" ] || break
    done
    for pair in $running; do
        target=${pair%%:*}
        if wait "${pair##*:}"; then
            runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$target.log")
            printf '%-16s ok      %9s runs\n' "$target" "${runs:-?}" >&2
        else
            failed="$failed $target"
            printf '%-16s FAILED  seed %s\n' "$target" "$seed" >&2
            log_tail "$work/$target.log"
        fi
    done
done
[ -z "$failed" ] || fail "found something:$failed; the inputs are in fuzz/artifacts"
