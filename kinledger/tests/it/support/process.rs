//! The process: started, stopped and killed as an operator or a power cut would.

use std::{
    fs::{self, OpenOptions},
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex, PoisonError, RwLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{Client, wait_until};

const READY_WITHIN: Duration = Duration::from_secs(90);
const STOPPED_WITHIN: Duration = Duration::from_secs(60);

/// A data folder and the process that runs on it. Dropped, both are gone.
pub struct Kinledger {
    folder: TempDir,
    process: Option<Process>,
    base: Arc<RwLock<String>>,
    variables: Vec<(String, String)>,
}

struct Process {
    child: Child,
    printed: Arc<Mutex<Vec<String>>>,
}

impl Kinledger {
    /// A new data folder with a process on it, ready.
    pub fn start() -> Self {
        let mut kinledger = Self::prepared();
        kinledger.start_again();
        kinledger
    }

    /// The same with variables in the environment of every start.
    #[allow(dead_code, reason = "the drills share this file")]
    pub fn start_with(variables: &[(&str, String)]) -> Self {
        let mut kinledger = Self::prepared();
        kinledger.variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        kinledger.start_again();
        kinledger
    }

    /// The same with a secret that is known, so that what the log holds can be read beside it.
    #[allow(dead_code, reason = "the drills use it, which share this file")]
    pub fn start_with_secret(secret: &str) -> Self {
        let mut kinledger = Self::prepared();
        let data_dir = kinledger.data_dir();
        fs::create_dir(&data_dir).unwrap();
        fs::set_permissions(&data_dir, fs::Permissions::from_mode(0o711)).unwrap();
        fs::write(data_dir.join("secret"), secret).unwrap();
        fs::set_permissions(data_dir.join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
        kinledger.start_again();
        kinledger
    }

    fn prepared() -> Self {
        let folder = tempfile::Builder::new().prefix("kinledger-it-").tempdir().unwrap();
        // The database server runs as another user when the tests run as root, and has to get through.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
        Self {
            folder,
            process: None,
            base: Arc::default(),
            variables: Vec::new(),
        }
    }

    /// Starts on the same folder, and says how long it took to be ready.
    pub fn start_again(&mut self) -> Duration {
        assert!(self.process.is_none(), "it is running already");
        let began = Instant::now();
        let mut command = self.up();
        let log = OpenOptions::new().create(true).append(true).open(self.log()).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let printed = Arc::new(Mutex::new(Vec::new()));
        let (ready, address) = mpsc::channel();
        let (lines, kept) = (BufReader::new(child.stdout.take().unwrap()), Arc::clone(&printed));
        thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                if let Some((_, address)) = line.split_once("open http://") {
                    drop(ready.send(format!("http://{address}")));
                }
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        self.process = Some(Process { child, printed });
        match address.recv_timeout(READY_WITHIN) {
            Ok(address) => *self.base.write().unwrap() = address,
            Err(_) => panic!("it was not ready in time; its log:\n{}", self.logged()),
        }
        let health = self.client().get("/readyz");
        assert_eq!(health.status, 200, "{}", health.text());
        began.elapsed()
    }

    /// The command line of another `up` on the same folder, at a port of the system's choice.
    pub fn up(&self) -> Command {
        let mut command = program();
        command
            .arg("up")
            .arg("--data-dir")
            .arg(self.data_dir())
            .args(["--listen", "127.0.0.1:0"])
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs another command of the binary on this data folder to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, &[])
    }

    /// The same, with variables in its environment.
    pub fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = program();
        command
            .args(arguments)
            .arg("--data-dir")
            .arg(self.data_dir())
            .envs(variables.iter().copied());
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// Somebody who is not signed in. Clients find the process again after a restart.
    pub fn client(&self) -> Client {
        Client::new(self.base.clone())
    }

    /// The folder that `--data-dir` names.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A folder for files of the test's own.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the process said on standard error, over all its lives.
    pub fn logged(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// What the process printed in its present life.
    pub fn printed(&self) -> Vec<String> {
        let printed = self
            .process
            .as_ref()
            .map(|process| Arc::clone(&process.printed))
            .unwrap_or_default();
        printed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ctrl-C, and how it ended.
    pub fn interrupt(&mut self) -> ExitStatus {
        let mut process = self.process.take().unwrap();
        signal("-INT", process.child.id());
        if wait_until(STOPPED_WITHIN, || process.child.try_wait().unwrap().is_some()) {
            return process.child.wait().unwrap();
        }
        drop(process.child.kill());
        panic!("it did not stop in time; its log:\n{}", self.logged());
    }

    /// kill -9.
    pub fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.child.kill().unwrap();
        process.child.wait().unwrap();
    }

    /// kill -9 of the process and of its database server, as when the power fails.
    pub fn kill_with_its_database(&mut self) {
        let database = self.database_pid();
        self.kill();
        signal("-KILL", database.unwrap());
    }

    /// kill -9 of the database server alone, as when memory runs out.
    pub fn kill_its_database(&self) {
        signal("-KILL", self.database_pid().unwrap());
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Where the private database server lives; its folder may be a link.
    fn cluster_home(&self) -> PathBuf {
        let home = self.data_dir().join("postgres");
        fs::read_link(&home).unwrap_or(home)
    }

    fn database_pid_file(&self) -> PathBuf {
        self.cluster_home().join("cluster/postmaster.pid")
    }

    fn database_pid(&self) -> Option<u32> {
        let text = fs::read_to_string(self.database_pid_file()).ok()?;
        text.lines().next()?.trim().parse().ok()
    }
}

impl Drop for Kinledger {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.child.kill());
            drop(process.child.wait());
        }
        let home = self.cluster_home();
        if let Some(pid) = self.database_pid() {
            signal("-QUIT", pid);
            wait_until(STOPPED_WITHIN, || {
                !self.database_pid_file().exists() || !signal("-0", pid)
            });
        }
        if !home.starts_with(self.folder.path()) {
            drop(fs::remove_dir_all(home));
        }
        if thread::panicking() {
            eprintln!("what the process logged:\n{}", self.logged());
        }
    }
}

/// The binary under test, with nothing of the surrounding environment that would point it elsewhere.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kinledger"));
    for name in [
        "COMMAND_API_URL",
        "DATABASE_URL",
        "KAFKA_BROKERS",
        "KINLEDGER_CORS_ORIGINS",
        "KINLEDGER_DATA_DIR",
        "KINLEDGER_ERASURES_FILE",
        "KINLEDGER_KEY",
        "KINLEDGER_KEY_FILE",
        "KINLEDGER_LISTEN",
        "KINLEDGER_LOG_FORMAT",
        "KINLEDGER_OLD_KEY_FILE",
        "KINLEDGER_RATE_LIMITS",
        "KINLEDGER_SECRET",
        "KINLEDGER_TRUSTED_PROXIES",
        "KINLEDGER_TOKEN",
        "KINLEDGER_TOPIC",
        "KINLEDGER_URL",
        "REDIS_URL",
    ] {
        command.env_remove(name);
    }
    command.env("RUST_LOG", "warn");
    command
}

/// Sends a signal to one process, by its id; says whether there is one.
pub fn signal(name: &str, pid: u32) -> bool {
    let sent = Command::new("kill")
        .arg(name)
        .arg(pid.to_string())
        .stderr(Stdio::null())
        .status();
    sent.is_ok_and(|status| status.success())
}
