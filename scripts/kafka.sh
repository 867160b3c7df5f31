#!/usr/bin/env bash
# One Apache Kafka broker for tests: KRaft, broker and controller in one process, on loopback only, a small heap.
#
#   scripts/kafka.sh fetch              gets the jars through Maven into .cache/kafka/libs, once per version
#   scripts/kafka.sh is-fetched         exits 0 when they are there
#   scripts/kafka.sh start DIR PORT     starts it with its data and log in DIR, waits until it answers, prints its pid
#   scripts/kafka.sh start DIR PORT PEER_DIR   starts a second broker, which joins the one in PEER_DIR
#   scripts/kafka.sh status DIR [PORT]  prints its pid, or exits 1
#   scripts/kafka.sh stop DIR [PORT]    ends it by its pid and waits until it is gone
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/tools.sh"

START_SECONDS_MAX=90
pom="$root/deploy/kafka/pom.xml"
libs="$root/.cache/kafka/libs"
# The stamp carries the pom's checksum: another version or another jar in it means another fetch.
stamp="$libs/fetched-$(cksum <"$pom" | cut -d' ' -f1)"

main() {
    case "${1:-}" in
        fetch) fetch ;;
        is-fetched) [ -f "$stamp" ] ;;
        start) place "$@" && start "${3:?the port to listen on}" "${4:-}" ;;
        status) place "$@" && running && pid ;;
        stop) place "$@" && stop_process "$(pid)" "$config" TERM && rm -f "$dir/kafka.pid" ;;
        *) fail "usage: scripts/kafka.sh fetch|is-fetched|start DIR PORT [PEER_DIR]|status DIR|stop DIR" ;;
    esac
}

# place ACTION DIR: where this broker keeps its files.
place() {
    [ -n "${2:-}" ] || fail "usage: scripts/kafka.sh $1 DIR [PORT]"
    mkdir -p "$2"
    dir=$(cd "$2" && pwd)
    config="$dir/server.properties"
    log="$dir/kafka.log"
}

pid() { cat "$dir/kafka.pid" 2>/dev/null || true; }

running() { is_process "$(pid)" "$config"; }

fetch() {
    local partial="$libs.partial"
    if [ -f "$stamp" ]; then return 0; fi
    have mvn || fail "Maven (mvn) is needed to fetch Kafka; scripts/setup.sh test installs it or says how"
    say "fetching Apache Kafka into .cache (about 45 MB, once)"
    rm -rf "$partial"
    mkdir -p "$partial"
    mvn -B -q --no-transfer-progress -f "$pom" -Dlibs.directory="$partial" package >"$partial/maven.log" 2>&1 || {
        say "Maven could not fetch Kafka:"
        log_tail "$partial/maven.log"
        exit 1
    }
    touch "$partial/${stamp##*/}"
    rm -rf "$libs"
    mv "$partial" "$libs"
}

start() {
    local port=$1 peer=$2 cluster_id
    if running; then
        pid
        return 0
    fi
    java=$(find_java) || fail "a Java runtime of version 17 or newer is needed; scripts/setup.sh test installs it or says how"
    fetch
    if port_answers "$port"; then fail "port $port on 127.0.0.1 is taken"; fi
    mkdir -p "$dir/data" "$dir/tmp"
    # Started again, it keeps its ports: others have written them down.
    if [ ! -f "$dir/data/meta.properties" ]; then
        if [ -n "$peer" ]; then
            write_config "$port"
            join_config "$peer"
            cluster_id=$(sed -n 's/^cluster.id=//p' "$peer/data/meta.properties")
        else
            write_config "$port" "$(free_port)"
            # A KRaft broker refuses a storage folder without a cluster id: 16 random bytes in URL-safe base64, of which letters and
            # digits alone are taken: what begins with a hyphen would be read as an option.
            cluster_id=$(head -c 16 /dev/urandom | base64 | tr '+/' 'Mk' | cut -c 1-22)
        fi
        format "$cluster_id"
    fi

    cd "$dir"
    # The quick compiler only: a broker for tests lives for minutes and never repays the slow one.
    nohup "$java" -Xms128m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
        -Djava.net.preferIPv4Stack=true -Djava.io.tmpdir="$dir/tmp" \
        -Dorg.slf4j.simpleLogger.showDateTime=true '-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS' \
        -cp "$libs/*" kafka.Kafka "$config" </dev/null >"$log" 2>&1 &
    echo $! >"$dir/kafka.pid"
    await_answer "$port"
    pid
}

write_config() {
    local port=$1 controller_port=${2:-0}
    cat >"$config" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller_port
controller.listener.names=CONTROLLER
listeners=BROKER://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller_port
advertised.listeners=BROKER://127.0.0.1:$port
inter.broker.listener.name=BROKER
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$dir/data
# A topic is made by who owns it, never by a typing error.
auto.create.topics.enable=false
# One broker: every internal topic has one replica, and few partitions so that they are ready sooner.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# Who is gone is missed soon.
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=500
# Tests join groups often and end without saying goodbye.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
# Sized for a small heap.
log.cleaner.dedupe.buffer.size=8388608
num.network.threads=2
num.io.threads=2
PROPERTIES
}

# A broker beside another one: no controller of its own.
join_config() {
    local voters
    voters=$(sed -n 's/^controller.quorum.voters=//p' "$1/server.properties")
    [ -n "$voters" ] || fail "there is no broker in $1"
    sed -e 's/^process.roles=.*/process.roles=broker/' -e 's/^node.id=.*/node.id=2/' \
        -e "s/^controller.quorum.voters=.*/controller.quorum.voters=$voters/" \
        -e 's/^listeners=\(BROKER:[^,]*\).*/listeners=\1/' "$config" >"$config.partial"
    mv "$config.partial" "$config"
}

format() {
    "$java" -Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
        -cp "$libs/*" kafka.tools.StorageTool format --cluster-id "$1" --config "$config" >"$log" 2>&1 || {
        say "Kafka's storage could not be formatted:"
        log_tail "$log"
        exit 1
    }
}

await_answer() {
    local port=$1 waited=0
    until grep -q 'Kafka Server started' "$log" && port_answers "$port"; do
        # A busy machine needs a moment until the new process has become java and can be told by its command line.
        if { [ "$waited" -ge 50 ] && ! running; } || [ "$waited" -ge $((START_SECONDS_MAX * 10)) ]; then
            say "Kafka did not start; the end of $log:"
            log_tail "$log"
            stop_process "$(pid)" "$config" KILL
            exit 1
        fi
        waited=$((waited + 1))
        sleep 0.1
    done
}

main "$@"
