//! More clients than the process can open files: they wait, and it goes on.

use std::{
    io::Read,
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::{Arc, RwLock},
    time::{Duration, Instant},
};

use service_kit::testing::TestDatabase;

use crate::support::{Client, program, signal, wait_until};

const READY_WITHIN: Duration = Duration::from_secs(60);
/// Files the process may open, all told.
const FILES: usize = 320;
/// Clients that connect and say nothing.
const SILENT: usize = 400;

#[test]
fn more_silent_clients_than_files_hold_up_an_answer_only_until_their_time_is_over() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let database = runtime.block_on(TestDatabase::create());
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let inner = program();
    let mut process = Command::new("sh")
        .args(["-c", &format!("ulimit -n {FILES} && exec \"$0\" \"$@\"")])
        .arg(inner.get_program())
        .args(["serve", "query-api", "--listen", &format!("127.0.0.1:{port}")])
        .args(["--connection-idle-seconds", "2"])
        .env("DATABASE_URL", runtime.block_on(database.service_url()))
        .env_remove("REDIS_URL")
        .env("RUST_LOG", "warn")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let client = Client::new(Arc::new(RwLock::new(format!("http://127.0.0.1:{port}"))));
    let is_well = || {
        client
            .try_send("GET", "/readyz", &[], None)
            .is_ok_and(|reply| reply.status == 200)
    };
    let mut has_ended = false;
    let is_ready = wait_until(READY_WITHIN, || {
        has_ended = process.try_wait().unwrap().is_some();
        has_ended || is_well()
    });
    assert!(is_ready && !has_ended, "it is ready");

    let silent: Vec<_> = (0..SILENT)
        .map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap())
        .collect();
    let open = std::fs::read_dir(format!("/proc/{}/fd", process.id())).unwrap().count();
    assert!(open < FILES, "{open} files are open");
    let began = Instant::now();
    assert!(wait_until(READY_WITHIN, is_well), "it answers again");
    println!("answered {:?} after {SILENT} silent clients had come", began.elapsed());
    for mut stream in silent {
        stream.set_read_timeout(Some(READY_WITHIN)).unwrap();
        assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)), "closed without a word");
    }
    assert!(process.try_wait().unwrap().is_none(), "it never ended");
    assert!(signal("-INT", process.id()));
    assert!(process.wait().unwrap().success());
    runtime.block_on(database.drop());
}
