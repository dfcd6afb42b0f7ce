//! The processes that are killed.

use std::{
    env,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Instant,
};

use crate::{
    DEADLINE,
    writer::{NAME, SEED, STORE, URL},
};

/// A process and the lines that it prints. The process is killed when this is dropped.
struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = channel();
        thread::spawn(move || {
            let mut line = String::new();
            // A line without an end was cut off by the kill.
            while out.read_line(&mut line).is_ok_and(|bytes| bytes > 0) && line.ends_with('\n') {
                let _ = send.send(line.trim_end().to_owned());
                line.clear();
            }
        });
        Self { child, lines }
    }

    /// Kills the process (on Unix with SIGKILL) and returns all lines that were not taken yet.
    fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let mut rest = Vec::new();
        // The channel closes with the pipe.
        while let Ok(line) = self.lines.recv_timeout(DEADLINE) {
            rest.push(line);
        }
        rest
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An app: this test program, started again as the [`writer`](crate::writer).
pub struct AppProcess {
    name: &'static str,
    store: PathBuf,
    process: Option<Process>,
    said: Vec<String>,
}

/// The prefixes of the lines about edits. The test harness prints other lines.
const EDITS: [&str; 2] = ["try ", "saved "];

fn is_about_an_edit(line: &str) -> bool {
    EDITS.iter().any(|start| line.starts_with(start))
}

impl AppProcess {
    pub fn new(name: &'static str, store: &Path) -> Self {
        Self { name, store: store.to_owned(), process: None, said: Vec::new() }
    }

    pub fn name(&self) -> &str {
        self.name
    }

    pub fn store(&self) -> &Path {
        &self.store
    }

    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Starts the app unless it is running. `run` is part of the names of its edits.
    pub fn start(&mut self, url: &str, run: &str, seed: u64) {
        if self.process.is_none() {
            let mut command = Command::new(env::current_exe().unwrap());
            command
                .args(["writer::is_a_process", "--exact", "--nocapture"])
                .env(STORE, &self.store)
                .env(URL, url)
                .env(NAME, run)
                .env(SEED, seed.to_string());
            self.process = Some(Process::start(&mut command));
        }
    }

    /// Waits until the app has saved something since the last call.
    pub fn wait_for_an_edit(&mut self) {
        let Some(process) = &self.process else { return };
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = process.lines.recv_timeout(left).expect("the app saves something");
            let is_saved = line.starts_with("saved ");
            self.said.extend(Some(line).filter(|line| is_about_an_edit(line)));
            if is_saved {
                return;
            }
        }
    }

    /// Kills the app and returns its lines about edits.
    pub fn kill(&mut self) -> Vec<String> {
        let rest = self.process.take().map(Process::kill).unwrap_or_default();
        self.said.extend(rest.into_iter().filter(|line| is_about_an_edit(line)));
        std::mem::take(&mut self.said)
    }
}

/// `replicate-backend`, which keeps its address after the first start.
pub struct BackendProcess {
    folder: PathBuf,
    url: Option<String>,
    process: Option<Process>,
}

impl BackendProcess {
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), url: None, process: None }
    }

    pub fn url(&self) -> &str {
        self.url.as_deref().expect("it was started")
    }

    /// Starts the backend unless it is running.
    pub fn start(&mut self) {
        let deadline = Instant::now() + DEADLINE;
        while self.process.is_none() {
            assert!(Instant::now() < deadline, "the backend does not start");
            let address = self.url.as_deref().and_then(|url| url.strip_prefix("http://")).unwrap_or("127.0.0.1:0");
            let mut command = Command::new(env!("CARGO_BIN_EXE_replicate-backend"));
            let process = Process::start(command.args(["--listen", address, "--data"]).arg(&self.folder));
            // It ended without printing a line: another program may be using its port for the moment.
            if let Ok(line) = process.lines.recv_timeout(DEADLINE) {
                let url = line.strip_prefix("listening on ").expect("where it listens");
                self.url = Some(url.to_owned());
                self.process = Some(process);
            } else {
                thread::sleep(std::time::Duration::from_millis(10));
            }
        }
    }

    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }
}
