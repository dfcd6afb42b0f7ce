//! The data that a backend keeps, and its ownership of the directory.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use bevy_convex_replicate::backend::{Backend, BackendConfig, BackendError};
use convex::{FunctionResult, Value};

use crate::support::*;

fn open(directory: &Path) -> Result<Backend, BackendError> {
    Backend::start(BackendConfig::new().data(directory))
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let directory = tempfile::tempdir().unwrap();
    let mut writers: Vec<_> = (0..5).map(|index| Writer::new(&format!("t{index}"))).collect();
    let backend = open(directory.path()).unwrap();
    let epoch = backend.epoch().to_owned();
    let mut before = client(&backend).await;
    for round in 0..4 {
        let documents = writers.iter_mut().map(|writer| writer.put("round", round).document(None)).collect();
        accepted(&push(&mut before, "tasks", documents).await);
    }
    writers[4].put("deleted", true);
    accepted(&push(&mut before, "tasks", vec![writers[4].document(None)]).await);
    let (log, rows) = (pull_all(&mut before, "tasks", 3.0).await, backend.rows("tasks"));
    assert_eq!(log.len(), 21);
    backend.stop();

    let backend = open(directory.path()).unwrap();
    let mut after = client(&backend).await;
    assert_eq!(backend.epoch(), epoch);
    assert_eq!(pull_all(&mut after, "tasks", 4.0).await, log);
    assert_eq!(backend.rows("tasks"), rows);
    let last = field(log.last().unwrap(), "ts").clone();
    writers[0].put("round", 9);
    accepted(&push(&mut after, "tasks", vec![writers[0].document(None)]).await);
    let newest = pull_all(&mut after, "tasks", 100.0).await.pop().unwrap();
    assert!(int(field(&newest, "ts")) > int(&last));
    assert_eq!(number(field(&backend.rows("tasks")[0].1, "round")), 9.0);
}

/// Runs the program with this directory and any free port.
struct Program {
    process: Child,
    url: String,
}

impl Program {
    fn start(directory: &Path, options: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_replicate-backend"))
            .args(["--listen", "127.0.0.1:0", "--data"])
            .arg(directory)
            .args(options)
            .env_remove("REPLICATE_TOKEN")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let url = first.trim().strip_prefix("listening on ").unwrap().to_owned();
        Self { process, url }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[tokio::test]
async fn the_program_gives_a_log_a_new_name_on_request_and_keeps_its_data() {
    let directory = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    let mut task = Writer::new("t1");
    task.put("n", 1);
    for options in [&[][..], &["--new-epoch"], &[]] {
        let program = Program::start(directory.path(), options);
        let mut client = client_of(&program.url).await;
        accepted(&push(&mut client, "tasks", vec![task.document(None)]).await);
        let page = ok(query(&mut client, "tasks:pullDeltas", [("checkpoint", start())]).await);
        assert_eq!(array(field(&page, "deltas")).len(), 1);
        seen.push(text(field(&page, "epoch")).to_owned());
    }
    assert_ne!(seen[0], seen[1]);
    assert_eq!(seen[1], seen[2]);
}

#[tokio::test]
async fn a_full_log_refuses_new_changes_and_accepts_them_with_a_higher_limit() {
    const MOST: u64 = 256 * 1024;
    let directory = tempfile::tempdir().unwrap();
    let limited = |data: bool, most| {
        let config = BackendConfig::new().max_log_bytes(most);
        Backend::start(if data { config.data(directory.path()) } else { config }).unwrap()
    };
    for data in [true, false] {
        let backend = limited(data, MOST);
        let mut client = client(&backend).await;
        let mut documents = 0;
        let refusal = loop {
            let mut task = Writer::new(&format!("t{documents}"));
            task.put("text", "x".repeat(10_000));
            let args = [("documents", Value::Array(vec![task.document(None)]))];
            match mutate(&mut client, "tasks:pushChanges", args).await {
                FunctionResult::Value(_) => documents += 1,
                refusal => break refused(refusal),
            }
            assert!(documents < 100, "it has no end");
        };
        assert_eq!((text(field(&refusal, "code")), number(field(&refusal, "limit"))), ("logFull", MOST as f64));
        assert!(documents > 2);
        assert_eq!(pull_all(&mut client, "tasks", 100.0).await.len(), documents);
        backend.stop();
    }
    let backend = limited(true, 2 * MOST);
    let mut client = client(&backend).await;
    let there = pull_all(&mut client, "tasks", 100.0).await.len();
    accepted(&push(&mut client, "tasks", vec![Writer::new("more").put("n", 1).document(None)]).await);
    assert_eq!(pull_all(&mut client, "tasks", 100.0).await.len(), there + 1);
}

#[test]
fn a_log_in_memory_cannot_be_given_a_new_name() {
    let output = Command::new(env!("CARGO_BIN_EXE_replicate-backend")).arg("--new-epoch").output().unwrap();
    assert!(!output.status.success());
    let reported = String::from_utf8_lossy(&output.stderr);
    assert!(reported.contains("--data"), "{reported}");
}

#[test]
fn a_directory_has_one_owner() {
    let directory = tempfile::tempdir().unwrap();
    let backend = open(directory.path()).unwrap();
    let error = open(directory.path()).err().unwrap();
    assert!(matches!(error, BackendError::InUse { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains(&directory.path().display().to_string()), "{message}");
    assert!(message.contains(&std::process::id().to_string()), "{message}");
    backend.stop();
    open(directory.path()).unwrap();
}

#[test]
fn a_file_of_another_program_is_not_changed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("log.sqlite");
    open(directory.path()).unwrap().stop();

    let newer = rusqlite::Connection::open(&file).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    let bytes = fs::read(&file).unwrap();
    let error = open(directory.path()).err().unwrap();
    assert!(matches!(error, BackendError::Newer { found: 99, .. }), "{error}");
    assert!(error.to_string().contains("log.sqlite"), "{error}");
    assert!(fs::read(&file).unwrap() == bytes);

    fs::write(&file, b"this was never a database, whatever its name says").unwrap();
    let error = open(directory.path()).err().unwrap();
    assert!(matches!(error, BackendError::Damaged { .. }), "{error}");
    assert_eq!(fs::read(&file).unwrap(), b"this was never a database, whatever its name says");

    fs::remove_file(&file).unwrap();
    let other = rusqlite::Connection::open(&file).unwrap();
    other.execute_batch("CREATE TABLE mine (a); INSERT INTO mine VALUES (1)").unwrap();
    drop(other);
    let bytes = fs::read(&file).unwrap();
    let error = open(directory.path()).err().unwrap();
    assert!(matches!(error, BackendError::Damaged { .. }), "{error}");
    assert!(fs::read(&file).unwrap() == bytes);
}

#[tokio::test]
async fn a_log_with_a_damaged_change_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let backend = open(directory.path()).unwrap();
    let mut writer = client(&backend).await;
    let mut task = Writer::new("t1");
    task.put("n", 1);
    accepted(&push(&mut writer, "tasks", vec![task.document(None)]).await);
    backend.stop();
    let file = rusqlite::Connection::open(directory.path().join("log.sqlite")).unwrap();
    file.execute("UPDATE chunk SET bytes = x'00'", []).unwrap();
    drop(file);
    let error = open(directory.path()).err().unwrap();
    assert!(matches!(error, BackendError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("t1"), "{error}");
}
