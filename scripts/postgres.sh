#!/usr/bin/env bash
# One Postgres for tests: a cluster of its own, on loopback only, made for speed and thrown away.
#
#   scripts/postgres.sh start DIR PORT   makes the cluster in DIR, starts it, waits until it answers, prints its pid
#   scripts/postgres.sh stop DIR [PORT]  ends it by its pid and waits until it is gone
#
# Anyone on this machine may connect as superuser `postgres` while it runs: it holds test data only.
# Postgres refuses to run as root; started by root it runs as an unprivileged user, who must be able to reach DIR.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/tools.sh"

main() {
    local action=${1:-}
    case "$action" in start | stop) ;; *) fail "usage: scripts/postgres.sh start DIR PORT|stop DIR" ;; esac
    [ -n "${2:-}" ] || fail "usage: scripts/postgres.sh $action DIR [PORT]"
    mkdir -p "$2"
    dir=$(cd "$2" && pwd)
    # Two files: the server writes its own as the unprivileged user, this script what initdb and pg_ctl say.
    log="$dir/postgres.log"
    setup_log="$dir/setup.log"
    case "$action" in
        start) start "${3:?the port to listen on}" ;;
        # SIGQUIT: no checkpoint, for nobody will read this cluster again.
        stop) stop_process "$(pid)" "$dir/data" QUIT ;;
    esac
}

pid() { head -n 1 "$dir/data/postmaster.pid" 2>/dev/null || true; }

start() {
    local port=$1 bin
    if is_process "$(pid)" "$dir/data"; then
        pid
        return 0
    fi
    bin=$(find_postgres_bin) || fail "Postgres is missing; scripts/setup.sh test installs it or says how"
    if port_answers "$port"; then fail "port $port on 127.0.0.1 is taken"; fi
    choose_owner
    # A folder its owner can enter: initdb and the server complain about a working directory that is closed to them.
    cd "$dir"
    if [ ! -f "$dir/data/PG_VERSION" ]; then
        as_owner "$bin/initdb" --pgdata "$dir/data" --username postgres --auth trust \
            --encoding UTF8 --locale C --no-sync ${KINLEDGER_INITDB_OPTIONS:-} >"$setup_log" 2>&1 || give_up "initdb failed"
        # 300 connections: every test binary has its own pools. fsync off: a crash loses nothing anyone wants.
        # Locks: each test's database has many partitions, dropped in one transaction.
        as_owner tee -a "$dir/data/postgresql.conf" >/dev/null <<CONF
listen_addresses = '127.0.0.1'
unix_socket_directories = '$dir'
max_connections = 300
max_locks_per_transaction = 256
shared_buffers = '256MB'
max_wal_size = '2GB'
fsync = off
full_page_writes = off
CONF
    fi
    as_owner "$bin/pg_ctl" start --pgdata "$dir/data" --log "$log" --options "-p $port" --wait --timeout 60 --silent \
        </dev/null >>"$setup_log" 2>&1 || give_up "Postgres did not start"
    pid
}

give_up() {
    say "$1; the end of its logs in $dir:"
    log_tail "$setup_log"
    log_tail "$log"
    exit 1
}

# Sets `owner` when this is root: an existing user if there is one, a new system user if not.
choose_owner() {
    local user
    owner=
    [ "$(id -u)" -eq 0 ] || return 0
    for user in kinledger postgres; do
        if id "$user" >/dev/null 2>&1; then owner=$user && break; fi
    done
    if [ -z "$owner" ]; then
        useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin kinledger 2>/dev/null \
            && owner=kinledger || owner=nobody
    fi
    chown "$owner" "$dir"
    as_owner test -x "$dir" || fail "user $owner cannot reach $dir: set TMPDIR to a folder open to other users, such as /tmp"
}

as_owner() {
    if [ -z "$owner" ]; then
        LC_ALL=C "$@"
    elif have setpriv; then
        LC_ALL=C setpriv --reuid "$owner" --regid "$(id -g "$owner")" --clear-groups -- "$@"
    elif have runuser; then
        LC_ALL=C runuser -u "$owner" -- "$@"
    else
        LC_ALL=C sudo -n -u "$owner" -- "$@"
    fi
}

main "$@"
