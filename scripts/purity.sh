#!/usr/bin/env bash
# Shows that domain/clippy.toml bites: compiles one offence for each thing that the rules may not do, as if it stood in `domain`,
# and asks clippy. Crates that are not of the standard library are stood in for by the one function that is called.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/tools.sh"

driver=$(command -v clippy-driver) || driver=$(rustc --print sysroot)/bin/clippy-driver
[ -x "$driver" ] || fail "clippy is not installed (rustup component add clippy)"
work=$(mktemp -d "${TMPDIR:-/tmp}/kinledger-purity.XXXXXX")
trap 'rm -rf "$work"' EXIT
sysroot=$(rustc --print sysroot)

# stand_in CRATE SOURCE
stand_in() { printf '%s\n' "$2" >"$work/$1.rs" && rustc --edition 2024 --crate-type rlib --crate-name "$1" -o "$work/lib$1.rlib" "$work/$1.rs"; }
stand_in chrono 'pub struct Utc; impl Utc { pub fn now() {} } pub struct Local; impl Local { pub fn now() {} }'
stand_in uuid 'pub struct Uuid; impl Uuid { pub fn new_v4() {} pub fn now_v7() {} }'

# found OFFENCE: is it refused? The last lines are what clippy says.
found() {
    printf 'pub fn rule(map: &mut std::collections::HashMap<u8, u8>) {\n    map.clear();\n    let _ = { %s };\n}\n' "$1" >"$work/offence.rs"
    CLIPPY_CONF_DIR="$root/domain" "$driver" --sysroot "$sysroot" --edition 2024 --crate-type lib --emit metadata --out-dir "$work" \
        --extern "chrono=$work/libchrono.rlib" --extern "uuid=$work/libuuid.rlib" \
        -A warnings -D clippy::disallowed_methods -D clippy::disallowed_types -D clippy::disallowed_macros \
        "$work/offence.rs" >"$work/said" 2>&1 && return 1
    grep -q 'use of a disallowed' "$work/said" || { cat "$work/said" >&2; fail "clippy stumbled over: $1"; }
}

! found 'map.len()' || fail "clippy refuses what is allowed"
count=0
while IFS= read -r offence; do
    found "$offence" || fail "clippy does not find it in domain: $offence"
    count=$((count + 1))
done <<'OFFENCES'
chrono::Utc::now()
chrono::Local::now()
std::time::Instant::now()
std::time::SystemTime::now()
std::time::SystemTime::UNIX_EPOCH
std::hash::RandomState::new()
map.iter().count()
map.keys().count()
map.values().count()
map.drain().count()
uuid::Uuid::new_v4()
uuid::Uuid::now_v7()
std::env::args().count()
std::env::current_dir()
std::env::var("TZ")
std::env::var_os("TZ")
std::env::vars().count()
std::fs::create_dir_all("x")
std::fs::metadata("x")
std::fs::read("x")
std::fs::read_dir("x")
std::fs::read_to_string("x")
std::fs::remove_file("x")
std::fs::write("x", "y")
std::fs::File::open("x")
std::io::stdin().lines().count()
std::io::stdout()
std::io::stderr()
std::net::TcpListener::bind("127.0.0.1:0")
std::net::TcpStream::connect("127.0.0.1:1")
std::net::UdpSocket::bind("127.0.0.1:0")
std::process::Command::new("x").status()
std::process::exit(1)
std::sync::Mutex::new(1)
std::sync::RwLock::new(1)
std::thread::sleep(std::time::Duration::ZERO)
std::thread::spawn(|| ())
dbg!(1)
eprintln!("x")
print!("x")
println!("x")
OFFENCES
say "$count things that rules may not do are found"
