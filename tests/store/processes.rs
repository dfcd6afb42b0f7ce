use std::{
    env,
    io::{BufRead, BufReader, Read, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use bevy_convex_replicate::store::{Store, StoreError, Write};

use crate::author::{Author, commit, load};

/// Names the store to the process that a test starts, which runs the same program.
const STORE: &str = "REPLICATE_TEST_STORE";
/// The number of its first write.
const START: &str = "REPLICATE_TEST_START";
/// The prefix of the lines that the process reports.
const REPORT: &str = "reported: ";
/// Far longer than any step of these tests takes.
const DEADLINE: Duration = Duration::from_secs(120);

fn is_child() -> Option<PathBuf> {
    env::var_os(STORE).map(PathBuf::from)
}

fn tell(what: impl std::fmt::Display) {
    // A pipe takes a line at once.
    let line = format!("\n{REPORT}{what}\n");
    let mut out = std::io::stdout();
    out.write_all(line.as_bytes()).unwrap();
    out.flush().unwrap();
}

/// A test that runs in another process. The process is killed when this is dropped.
struct Process {
    child: Child,
    reported: Receiver<String>,
}

impl Process {
    fn start(test: &str, store: &Path) -> Self {
        Self::start_at(test, store, 0)
    }

    fn start_at(test: &str, store: &Path, number: i64) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture"])
            .env(STORE, store)
            .env(START, number.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (send, reported) = channel();
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if let Some(line) = line.strip_prefix(REPORT) {
                    let _ = send.send(line.to_owned());
                }
            }
        });
        Self { child, reported }
    }

    fn next(&self) -> String {
        self.reported.recv_timeout(DEADLINE).expect("the other process reports a line")
    }

    /// Kills the process (on Unix with SIGKILL) and returns the remaining lines that it reported.
    fn kill(&mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let mut rest = Vec::new();
        // The channel closes with the pipe.
        while let Ok(line) = self.reported.recv_timeout(DEADLINE) {
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

#[test]
fn a_store_belongs_to_one_process_until_that_ends() {
    if let Some(path) = is_child() {
        let _store = Store::open(&path).unwrap();
        tell("open");
        // Ends at the latest when the process that started it ends.
        let _ = std::io::stdin().read(&mut [0]);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite3");
    let mut owner = Process::start("processes::a_store_belongs_to_one_process_until_that_ends", &path);
    assert_eq!(owner.next(), "open");
    let error = Store::open(&path).map(drop).unwrap_err();
    let StoreError::InUse { owner: Some(named), .. } = &error else { panic!("{error}") };
    assert_eq!(named.pid, owner.child.id());
    let program = env::current_exe().unwrap();
    assert_eq!(named.program, program.file_name().unwrap().to_str().unwrap());
    let message = error.to_string();
    assert!(message.contains(&format!("process {}", owner.child.id())), "{message}");
    assert!(message.contains(path.to_str().unwrap()), "{message}");

    owner.kill();
    let store = Store::open(&path).unwrap();
    // This process now owns the lock, and its errors say so.
    let error = Store::open(&path).map(drop).unwrap_err();
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    drop(store);
    Store::open(&path).unwrap();
}

#[cfg(unix)]
#[test]
fn a_store_has_one_lock_for_all_paths_that_lead_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite3");
    let _store = Store::open(&path).unwrap();
    let (file, link) = (folder.path().join("link.sqlite3"), folder.path().join("link"));
    std::os::unix::fs::symlink(&path, &file).unwrap();
    std::os::unix::fs::symlink(folder.path(), &link).unwrap();
    for other in [file, link.join("store.sqlite3")] {
        let error = Store::open(&other).map(drop).unwrap_err();
        assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    }
}

/// The two documents of every batch. A reader must find both or neither.
const PAIR: [&str; 2] = ["left", "right"];

fn commit_forever(path: &Path, started: i64) {
    let mut store = Store::open(path).unwrap();
    let mut pair = PAIR.map(|name| {
        let mut author = Author::new("tasks", name);
        author.document = load(&store, "tasks", &author.id);
        author
    });
    tell("open");
    for number in started.. {
        let batch = pair.each_mut().map(|author| Write::Document(author.edit("number", number)));
        store.commit(&batch).unwrap();
        tell(number);
    }
}

#[test]
fn committed_writes_survive_a_killed_process() {
    if let Some(path) = is_child() {
        commit_forever(&path, env::var(START).unwrap().parse().unwrap());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite3");
    let mut stored = -1_i64;
    for wait_for in [1, 40, 3, 150, 17] {
        // Each round continues with the state that the last one left.
        let mut writer = Process::start_at("processes::committed_writes_survive_a_killed_process", &path, stored + 1);
        assert_eq!(writer.next(), "open");
        let mut reported: Vec<String> = (0..wait_for).map(|_| writer.next()).collect();
        reported.extend(writer.kill());
        let last: i64 = reported.last().unwrap().parse().unwrap();

        let mut store = Store::open(&path).unwrap();
        let numbers = PAIR.map(|name| {
            let mut author = Author::new("tasks", name);
            author.document = load(&store, "tasks", &author.id);
            author.assert_stored(&store);
            let chunks = store.chunks("tasks", &author.id).unwrap();
            i64::try_from(chunks.len()).unwrap() - 1
        });
        assert_eq!(numbers[0], numbers[1], "a batch was torn");
        // One more batch may have been committed but not reported.
        assert!(numbers[0] == last || numbers[0] == last + 1, "reported {last}, stored {}", numbers[0]);
        assert_eq!(store.unsent_count("tasks", None).unwrap(), 2);
        stored = numbers[0];
        // The store can be used as before.
        let mut other = Author::new("notes", "a");
        commit(&mut store, &other.edit("title", stored));
    }
}
