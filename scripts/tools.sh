# What the other scripts share: messages, finding programs, processes and ports. Sourced, never run.
# shellcheck shell=bash
# Kept to what bash 3.2 understands, because that is the bash of macOS.

# A fresh rustup leaves cargo off the PATH of shells that were open before it.
PATH="$PATH:${HOME:-}/.cargo/bin"

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

fail() {
    say "$*"
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# version_at_least 1.95.0 1.90: compares the first two numbers.
version_at_least() {
    local major minor wanted_major wanted_minor rest
    IFS=. read -r major minor rest <<<"$1.0"
    IFS=. read -r wanted_major wanted_minor rest <<<"$2.0"
    [ "$major" -gt "$wanted_major" ] || { [ "$major" -eq "$wanted_major" ] && [ "$minor" -ge "$wanted_minor" ]; }
}

# Prints the folder that holds initdb, postgres and pg_ctl. The binary itself looks in the same places.
find_postgres_bin() {
    local candidate on_path
    on_path=$(command -v postgres 2>/dev/null) || on_path=
    for candidate in \
        "${on_path%/postgres}" \
        $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -t/ -k5,5nr) \
        /opt/homebrew/opt/postgresql*/bin \
        /usr/local/opt/postgresql*/bin; do
        if [ -x "$candidate/initdb" ] && [ -x "$candidate/postgres" ] && [ -x "$candidate/pg_ctl" ]; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
    return 1
}

# Prints a Java runtime of at least version 17, which Kafka 4 needs. The first on the PATH may well be older.
find_java() {
    local candidate version
    for candidate in \
        "${JAVA_HOME:-}/bin/java" \
        "$(command -v java 2>/dev/null)" \
        /usr/lib/jvm/*/bin/java \
        /opt/homebrew/opt/openjdk*/bin/java \
        /usr/local/opt/openjdk*/bin/java; do
        [ -x "$candidate" ] || continue
        version=$("$candidate" -version 2>&1 | sed -n 's/.*version "\([0-9][0-9.]*\).*/\1/p' | head -n 1)
        if [ -n "$version" ] && version_at_least "$version" 17; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
    return 1
}

# Prints a Python that can make virtual environments (Debian splits that off into python3-venv).
find_python() {
    local candidate
    for candidate in python3 /usr/bin/python3; do
        if "$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 8))' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
    return 1
}

find_redis() { command -v redis-server 2>/dev/null || command -v valkey-server 2>/dev/null; }

port_answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Prints a loopback port nobody listens on, below the range that systems hand to outgoing connections.
free_port() {
    local port tries
    for tries in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        port=$((15000 + RANDOM % 15000))
        if ! port_answers "$port"; then
            printf '%s\n' "$port"
            return 0
        fi
    done
    fail "no free port found on 127.0.0.1 after $tries tries"
}

# is_process PID TEXT: does this process live, and does its command line hold the text?
# The text keeps us from ending a stranger that got a recycled pid. A zombie has no command line, so it counts as gone.
is_process() {
    [ -n "$1" ] || return 1
    if [ -r "/proc/$1/cmdline" ]; then
        tr '\0' ' ' 2>/dev/null <"/proc/$1/cmdline" | grep -qF -- "$2"
    else
        ps -o args= -p "$1" 2>/dev/null | grep -qF -- "$2"
    fi
}

# stop_process PID TEXT SIGNAL: ends the process politely, after ten seconds by force.
stop_process() {
    local waited=0
    is_process "$1" "$2" || return 0
    kill "-$3" "$1" 2>/dev/null || return 0
    while is_process "$1" "$2"; do
        if [ "$waited" -eq 200 ]; then
            say "process $1 did not end within 10 s of SIG$3; killing it"
            kill -KILL "$1" 2>/dev/null || true
        fi
        [ "$waited" -lt 300 ] || fail "process $1 cannot be ended"
        waited=$((waited + 1))
        sleep 0.05
    done
}

# log_tail FILE: the last lines of a server's log, indented, for a message about why it did not start.
log_tail() { tail -n 30 "$1" 2>/dev/null | sed 's/^/    /' >&2 || true; }

# Runs a command as a process group of its own and waits for it, so that a signal to the script is handled at once
# and `end_group` can end everything the command started. Bash would otherwise wait for the command first.
group=
run_in_group() {
    local status=0
    set -m
    "$@" </dev/null &
    group=$!
    set +m
    wait "$group" || status=$?
    group=
    return "$status"
}

end_group() {
    local waited=0
    [ -n "$group" ] || return 0
    kill -TERM -- "-$group" 2>/dev/null || true
    while kill -0 "$group" 2>/dev/null && [ "$waited" -lt 300 ]; do
        waited=$((waited + 1))
        sleep 0.1
    done
    kill -KILL -- "-$group" 2>/dev/null || true
    wait "$group" 2>/dev/null || true
    group=
}
