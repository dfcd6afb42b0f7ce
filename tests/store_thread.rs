//! Tests that a panic of the store's thread is reported, so that no app believes that its edits are saved. This is a
//! program of its own, because the program's logger causes the panic.

mod plain;

use std::{
    io,
    time::{Duration, Instant},
};

use bevy_convex_replicate::{
    CollectionIndex, DocumentId, DocumentKey,
    format::Value,
    replica::{Edit, EditKind},
    store::Store,
    worker::{CollectionConfig, Command, Encode, FailureKind, Report, Worker, WorkerConfig},
};

use plain::{Plain, Put};

const DEADLINE: Duration = Duration::from_secs(120);

/// The destination of the program's log. It drops the log, except that it panics on the store's thread.
struct Broken;

impl io::Write for Broken {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert_ne!(std::thread::current().name(), Some("replicate-store"), "planted: the log cannot be written");
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn start(store: &std::path::Path) -> Worker {
    Worker::start(WorkerConfig::new(store).collection(CollectionConfig::new("tasks", Plain)))
}

fn put(worker: &Worker, id: &str) {
    let document = DocumentKey { collection: CollectionIndex(0), id: DocumentId::new(id) };
    let kind: EditKind<Box<dyn Encode>> =
        EditKind::put(Box::new(Put(Value::Map([("n".to_owned(), Value::Int(1))].into()))));
    worker.send(Command::Edit(Edit { document, generation: 0, seq: 1, kind }));
}

/// The first report for which this is true. All reports before it go to `seen`.
#[track_caller]
fn until(worker: &Worker, what: &str, seen: &mut Vec<String>, wanted: impl Fn(&Report) -> bool) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match worker.try_recv() {
            Some(report) if wanted(&report) => return,
            Some(Report::Failed(failure)) => seen.push(failure.message),
            Some(_) => {}
            None => std::thread::sleep(Duration::from_millis(1)),
        }
        assert!(Instant::now() < deadline, "in vain: {what}; {seen:?}");
    }
}

#[test]
fn a_panic_of_the_stores_thread_is_told_and_costs_nothing_that_was_saved() {
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_writer(|| Broken)
        .init();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    let mut seen = Vec::new();
    let worker = start(&path);
    put(&worker, "first");
    until(
        &worker,
        "the first edit is saved",
        &mut seen,
        |report| matches!(report, Report::Status(status) if status.saved == 1),
    );
    drop(worker);
    // When a value must be computed anew, the store's thread logs it.
    let connection = rusqlite::Connection::open(&path).unwrap();
    assert_eq!(connection.execute("UPDATE document SET value_heads = NULL", []).unwrap(), 1);
    drop(connection);

    let worker = start(&path);
    until(&worker, "the panic is told", &mut seen, |report| {
        matches!(report, Report::Stopped(failure)
            if failure.kind == FailureKind::Store && failure.message.contains("thread has ended"))
    });
    put(&worker, "second");
    // Dropping the worker does not wait for answers that cannot come any more.
    drop(worker);
    let store = Store::open(&path).unwrap();
    let first = store.document("tasks", &DocumentId::new("first")).unwrap().expect("what was saved is there");
    assert_eq!(first.value.get("n"), Some(&Value::Int(1)));
    assert!(store.document("tasks", &DocumentId::new("second")).unwrap().is_none(), "and nothing that was not");
    assert!(seen.is_empty(), "{seen:?}");
}
