#!/usr/bin/env bash
# Runs a command with a Postgres, a Redis and a Kafka of its own, and stops all three afterwards, whatever happens.
#
#   scripts/with-servers.sh cargo test -p event-store
#
# The command finds them by
#   KINLEDGER_TEST_DATABASE_URL   superuser of the cluster, database postgres
#   KINLEDGER_TEST_REDIS_URL
#   KINLEDGER_TEST_KAFKA_BROKERS
#   KINLEDGER_BEAN_CHECK          beancount's checker, when scripts/setup.sh test has fetched it
#   KINLEDGER_AUTHENTICATOR       Python with soft-webauthn, when scripts/setup.sh test has fetched it
#   KINLEDGER_OPENID_PROVIDER     folder of an OpenID provider, when scripts/setup.sh test has fetched it
# and hledger on the PATH. Its exit code is this script's. KINLEDGER_KEEP_LOGS=DIR keeps the servers' logs there.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/tools.sh"

[ $# -gt 0 ] || fail "usage: scripts/with-servers.sh COMMAND [ARGUMENT...]"

work=
cleanup() {
    local status=$?
    # A second Ctrl-C must not leave servers behind.
    trap '' INT TERM HUP
    end_group
    if [ -n "$work" ]; then
        "$root/scripts/kafka.sh" stop "$work/kafka" || true
        "$root/scripts/redis.sh" stop "$work/redis" || true
        "$root/scripts/postgres.sh" stop "$work/postgres" || true
        if [ -n "${KINLEDGER_KEEP_LOGS:-}" ]; then
            mkdir -p "$KINLEDGER_KEEP_LOGS" && cp "$work"/*/*.log "$KINLEDGER_KEEP_LOGS" 2>/dev/null || true
        fi
        rm -rf "$work"
    fi
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

work=$(mktemp -d "${TMPDIR:-/tmp}/kinledger-test.XXXXXX")
# Postgres may run as another user, who has to get through to its folder; the names in it are no secret.
chmod 711 "$work"

postgres_port=$(free_port)
redis_port=$(free_port)
kafka_port=$(free_port)

started=$SECONDS
# Kafka takes longest, so the others start meanwhile.
"$root/scripts/kafka.sh" start "$work/kafka" "$kafka_port" >/dev/null &
kafka=$!
"$root/scripts/postgres.sh" start "$work/postgres" "$postgres_port" >/dev/null || { wait "$kafka" || true; exit 1; }
"$root/scripts/redis.sh" start "$work/redis" "$redis_port" >/dev/null || { wait "$kafka" || true; exit 1; }
wait "$kafka" || exit 1
say "Postgres on $postgres_port, Redis on $redis_port, Kafka on $kafka_port, ready after $((SECONDS - started)) s"

export KINLEDGER_TEST_DATABASE_URL="postgres://postgres@127.0.0.1:$postgres_port/postgres"
export KINLEDGER_TEST_REDIS_URL="redis://127.0.0.1:$redis_port"
export KINLEDGER_TEST_KAFKA_BROKERS="127.0.0.1:$kafka_port"
bean_check="$root/.cache/beancount-venv/bin/bean-check"
if [ -z "${KINLEDGER_BEAN_CHECK:-}" ] && [ -x "$bean_check" ]; then export KINLEDGER_BEAN_CHECK="$bean_check"; fi
authenticator="$root/.cache/authenticator-venv/bin/python"
if [ -z "${KINLEDGER_AUTHENTICATOR:-}" ] && [ -x "$authenticator" ]; then export KINLEDGER_AUTHENTICATOR="$authenticator"; fi
openid_provider="$root/.cache/openid-provider"
if [ -z "${KINLEDGER_OPENID_PROVIDER:-}" ] && [ -d "$openid_provider/node_modules/oidc-provider" ]; then
    export KINLEDGER_OPENID_PROVIDER="$openid_provider"
fi

run_in_group "$@"
