#!/usr/bin/env bash
# One Redis for tests: on loopback only, nothing written to disk.
#
#   scripts/redis.sh start DIR PORT   starts it with its log in DIR, waits until it answers, prints its pid
#   scripts/redis.sh stop DIR [PORT]  ends it by its pid and waits until it is gone
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/tools.sh"

START_SECONDS_MAX=20

main() {
    local action=${1:-}
    case "$action" in start | stop) ;; *) fail "usage: scripts/redis.sh start DIR PORT|stop DIR" ;; esac
    [ -n "${2:-}" ] || fail "usage: scripts/redis.sh $action DIR [PORT]"
    mkdir -p "$2"
    dir=$(cd "$2" && pwd)
    log="$dir/redis.log"
    case "$action" in
        start) start "${3:?the port to listen on}" ;;
        stop) stop_process "$(pid)" redis-server TERM && stop_process "$(pid)" valkey-server TERM && rm -f "$dir/redis.pid" ;;
    esac
}

pid() { cat "$dir/redis.pid" 2>/dev/null || true; }

running() { is_process "$(pid)" redis-server || is_process "$(pid)" valkey-server; }

start() {
    local port=$1 waited=0 redis
    if running; then
        pid
        return 0
    fi
    redis=$(find_redis) || fail "redis-server is missing; scripts/setup.sh test installs it or says how"
    if port_answers "$port"; then fail "port $port on 127.0.0.1 is taken"; fi
    cd "$dir"
    # Its own log would be lost if it refused its arguments; standard output catches both.
    LC_ALL=C nohup "$redis" --port "$port" --bind 127.0.0.1 --save '' --appendonly no --dir "$dir" \
        </dev/null >"$log" 2>&1 &
    echo $! >"$dir/redis.pid"
    until [ "$(ping "$port")" = +PONG ]; do
        if ! kill -0 "$(pid)" 2>/dev/null || [ "$waited" -ge $((START_SECONDS_MAX * 20)) ]; then
            say "Redis did not start; the end of $log:"
            log_tail "$log"
            stop_process "$(pid)" "${redis##*/}" KILL
            exit 1
        fi
        waited=$((waited + 1))
        sleep 0.05
    done
    pid
}

# redis-cli may not be there; the protocol's inline form needs no client.
ping() {
    local answer=
    {
        exec 3<>"/dev/tcp/127.0.0.1/$1" && printf 'PING\r\n' >&3 && IFS= read -r -t 2 answer <&3
    } 2>/dev/null || true
    exec 3>&- || true
    printf '%s' "${answer%$'\r'}"
}

main "$@"
