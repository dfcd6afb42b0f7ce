//! A replica on a real store that is closed and opened again: the test is the world and the deployment.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use automerge::{AutoCommit, ROOT, transaction::Transactable};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{Disk, DiskAnswer, DiskWork};
use crate::{
    CollectionIndex, DocumentId, DocumentKey,
    format::{self, Value},
    limits::COMPACT_CHUNKS,
    record::{FromBackend, ToBackend},
    replica::{
        Checkpoint, CollectionSchema, Edit, EditKind, Effect, Event, Lookup, Page, Position, PulledChunk, Push,
        PushAnswer, Refusal, Replica, Schema, StoreRequest, View,
    },
    store::{ChunkKind, DocumentWrite, Store, StoredChunk, Write},
    worker::FailureKind,
};

const TASKS: CollectionIndex = CollectionIndex(0);
const DEPLOYMENT: &str = "http://first";
const DEADLINE: Duration = Duration::from_secs(120);
const START: Position = Position { ts: 0, ordinal: 0 };

/// An app that knows of no fields.
struct Plain;

impl Schema for Plain {
    fn view(&self, document: &Value, _: u32) -> View {
        document.clone().into()
    }
}

/// One run of an app.
struct App {
    replica: Replica,
    disk: DiskWork,
    answers: UnboundedReceiver<DiskAnswer>,
    asked: Vec<Checkpoint>,
    pushes: Vec<Push>,
    failures: Vec<FailureKind>,
}

impl App {
    fn start(folder: &Path, run: u8, deployment: &'static str) -> Self {
        let (answer, answers) = unbounded_channel();
        let store = Store::open(&folder.join("store.sqlite3")).unwrap();
        let disk = DiskWork::new(store, vec!["tasks".into()], Some(deployment.into()), answer, Arc::default());
        disk.fill();
        let collection = CollectionSchema { name: "tasks".into(), schema: Arc::new(Plain) };
        let replica = Replica::new([run; 16], vec![collection], true);
        let mut app = Self { replica, disk, answers, asked: Vec::new(), pushes: Vec::new(), failures: Vec::new() };
        app.disk.take(StoreRequest::LookUp(Lookup::LastUsed));
        app.work();
        app.handle(Event::Connected);
        app
    }

    fn handle(&mut self, event: Event) {
        self.replica.handle(event, 0);
        self.work();
    }

    /// Works until nothing is left to do.
    fn work(&mut self) {
        loop {
            while let Some(effect) = self.replica.poll() {
                self.carry_out(effect);
            }
            assert!(self.disk.carry_out());
            let Ok(answer) = self.answers.try_recv() else { return };
            if let DiskAnswer::Event(event) = answer {
                self.replica.handle(event, 0);
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Backend(ToBackend::Subscribe { checkpoint, .. }) => self.asked.push(checkpoint),
            Effect::Backend(ToBackend::Push(push)) => self.pushes.push(push),
            Effect::Failed { kind, .. } => self.failures.push(kind),
            Effect::Deliver(_)
            | Effect::Edited(..)
            | Effect::Read(_)
            | Effect::Compared { .. }
            | Effect::Refused(..) => {}
            Effect::Store(request) => self.disk.take(request),
        }
    }

    fn put(&mut self, id: &str) {
        let value = Value::Map([("n".into(), Value::Int(1))].into());
        let document = DocumentKey { collection: TASKS, id: DocumentId::new(id) };
        let kind = EditKind::put((value, 1));
        self.handle(Event::Edit(1, Edit { document, generation: 0, seq: 1, kind }));
    }

    fn answer(&mut self, result: Result<(), Refusal>) {
        let push = self.pushes.last().expect("something was pushed");
        let results = push.documents.iter().map(|document| (document.id.clone(), result.clone())).collect();
        let answer = PushAnswer { number: push.number, collection: TASKS, epoch: "log".into(), results };
        self.handle(Event::Backend(FromBackend::Answered(answer)));
    }

    fn documents(&self) -> Vec<String> {
        let documents = self.disk.store().documents("tasks", None, usize::MAX).unwrap();
        documents.iter().map(|document| document.id.to_string()).collect()
    }
}

fn at(ts: i64) -> Position {
    Position { ts, ordinal: 0 }
}

/// A page with these documents, each in one change, of a log that was pruned up to `pruned`.
fn page(from: Position, documents: &[(&str, i64)], pruned: Option<i64>, has_more: bool) -> Page {
    let mut other =
        Replica::new([99; 16], vec![CollectionSchema { name: "tasks".into(), schema: Arc::new(Plain) }], true);
    let rows = documents.iter().map(|(id, ts)| {
        let document = DocumentKey { collection: TASKS, id: DocumentId::new(*id) };
        let kind = EditKind::put((Value::Map([("n".into(), Value::Int(*ts))].into()), 1));
        other.handle(Event::Edit(1, Edit { document: document.clone(), generation: 0, seq: 1, kind }), 0);
        let bytes = std::iter::from_fn(|| other.poll()).find_map(|effect| match effect {
            Effect::Store(StoreRequest::Write(_, crate::store::Write::Document(write))) => {
                Some(write.chunks[0].bytes.to_vec())
            }
            _ => None,
        });
        PulledChunk {
            id: document.id,
            position: at(*ts),
            bytes: bytes.expect("an edit is written"),
            part: None,
            author: None,
        }
    });
    let rows: Vec<_> = rows.collect();
    let to = rows.last().map_or(from, |row| row.position);
    Page { collection: TASKS, from, rows, to, has_more, epoch: "log".into(), pruned }
}

#[test]
fn an_app_that_ends_between_two_pages_of_a_pruned_log_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let pruned = Some(9);
    let mut app = App::start(folder.path(), 1, DEPLOYMENT);
    assert_eq!(app.asked, [Checkpoint::default()]);
    app.handle(Event::Backend(FromBackend::Page(page(START, &[("a", 3)], pruned, true))));
    drop(app);

    // Its position is before the newest pruned row: the log goes on from there only for a client that names the
    // pruning.
    let mut app = App::start(folder.path(), 2, DEPLOYMENT);
    assert_eq!(app.asked, [Checkpoint { position: at(3), pruned }]);
    app.handle(Event::Backend(FromBackend::Page(page(at(3), &[("b", 5)], pruned, true))));
    drop(app);
    let mut app = App::start(folder.path(), 3, DEPLOYMENT);
    assert_eq!(app.asked, [Checkpoint { position: at(5), pruned }]);
    app.handle(Event::Backend(FromBackend::Page(page(at(5), &[("c", 12)], pruned, false))));
    assert_eq!((app.documents(), app.pushes.len()), (vec!["a".to_owned(), "b".into(), "c".into()], 0));
    drop(app);

    // Another log has a checkpoint of its own.
    let mut app = App::start(folder.path(), 4, "http://second");
    assert_eq!(app.asked, [Checkpoint::default()]);
    drop(app);
    app = App::start(folder.path(), 5, DEPLOYMENT);
    app.asked.clear();
    app.handle(Event::Backend(FromBackend::Page(Page { epoch: "wiped".into(), ..page(at(12), &[], None, false) })));
    assert_eq!(app.asked, [Checkpoint::default()]);
}

#[test]
fn a_pruning_first_seen_in_mid_pull_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let mut app = App::start(folder.path(), 1, DEPLOYMENT);
    app.handle(Event::Backend(FromBackend::Page(page(START, &[("a", 3)], None, true))));
    // Rows that it has read may have been pruned since.
    app.handle(Event::Backend(FromBackend::Page(page(at(3), &[("b", 5)], Some(2), true))));
    drop(app);
    let app = App::start(folder.path(), 2, DEPLOYMENT);
    assert_eq!(app.asked, [Checkpoint { position: at(5), pruned: None }]);
}

#[test]
fn an_app_that_pushed_to_a_log_read_as_empty_starts_over_once_the_log_is_pruned() {
    let folder = tempfile::tempdir().unwrap();
    let mut app = App::start(folder.path(), 1, DEPLOYMENT);
    app.handle(Event::Backend(FromBackend::Page(page(START, &[], None, false))));
    app.put("a");
    app.answer(Ok(()));
    drop(app);

    // Others deleted the document meanwhile, and it was pruned.
    let mut app = App::start(folder.path(), 2, DEPLOYMENT);
    assert_eq!((app.documents(), app.replica.unsent()), (vec!["a".to_owned()], 0));
    let begins = || page(START, &[("b", 12)], Some(9), true);
    app.handle(Event::Backend(FromBackend::Page(begins())));
    assert_eq!(app.asked, [Checkpoint::default(), Checkpoint::default()]);
    app.handle(Event::Backend(FromBackend::Page(begins())));
    app.answer(Err(Refusal::new("pruned", "gone")));
    assert_eq!(app.documents(), ["b"]);
    assert_eq!(app.failures, [], "it had no edits that were not sent");
}

#[test]
fn an_app_that_ends_before_its_first_page_is_taken_in_starts_over_once_for_each_pruning() {
    let folder = tempfile::tempdir().unwrap();
    let mut app = App::start(folder.path(), 1, DEPLOYMENT);
    let begins = |pruned| page(START, &[], Some(pruned), false);
    app.handle(Event::Backend(FromBackend::Page(begins(9))));
    app.put("a");
    app.answer(Ok(()));
    for (run, pruned, times) in [(2, 9, 1), (3, 9, 1), (4, 20, 2), (5, 20, 1)] {
        drop(app);
        app = App::start(folder.path(), run, DEPLOYMENT);
        app.handle(Event::Backend(FromBackend::Page(begins(pruned))));
        let begun: Vec<_> = app.asked.iter().map(|checkpoint| checkpoint.position).collect();
        assert_eq!(begun, vec![START; times], "run {run}");
        if times == 2 {
            app.handle(Event::Backend(FromBackend::Page(begins(pruned))));
            app.answer(Ok(()));
        }
    }
}

#[test]
fn a_log_whose_name_a_full_disk_refused_is_asked_for_again() {
    let folder = tempfile::tempdir().unwrap();
    let shell = |sql: &str| {
        let store = rusqlite::Connection::open(folder.path().join("store.sqlite3")).unwrap();
        store.execute_batch(sql).unwrap();
    };
    let mut app = App::start(folder.path(), 1, DEPLOYMENT);
    shell("CREATE TRIGGER full BEFORE INSERT ON remote BEGIN SELECT RAISE(ABORT, 'full'); END");
    app.handle(Event::Backend(FromBackend::Page(page(START, &[("a", 3)], None, false))));
    app.put("b");
    assert_eq!((app.documents(), app.pushes.len()), (vec!["b".to_owned()], 0));
    shell("DROP TRIGGER full");
    app.work();
    assert_eq!((app.documents(), app.pushes.len()), (vec!["a".to_owned(), "b".into()], 1));
}

#[test]
fn a_log_that_a_full_disk_kept_from_being_forgotten_is_forgotten_later() {
    let folder = tempfile::tempdir().unwrap();
    let shell = |sql: &str| {
        let store = rusqlite::Connection::open(folder.path().join("store.sqlite3")).unwrap();
        store.execute_batch(sql).unwrap();
    };
    let mut app = App::start(folder.path(), 1, DEPLOYMENT);
    app.handle(Event::Backend(FromBackend::Page(page(START, &[("a", 3)], None, false))));
    shell(
        "CREATE TRIGGER full BEFORE DELETE ON checkpoint BEGIN SELECT RAISE(ABORT, 'full'); END;
         CREATE TRIGGER also BEFORE INSERT ON remote BEGIN SELECT RAISE(ABORT, 'full'); END",
    );
    let refuse = |app: &mut App| {
        let refusal = Refusal::new("checkpointUnknown", "restored");
        app.handle(Event::Backend(FromBackend::PullRefused { collection: TASKS, refusal }));
    };
    refuse(&mut app);
    // The log was restored under another name: a second question that the store cannot answer.
    app.handle(Event::Backend(FromBackend::Page(Page {
        epoch: "restored".into(),
        ..page(START, &[("b", 5)], None, false)
    })));
    shell("DROP TRIGGER full; DROP TRIGGER also");
    app.work();
    assert_eq!(app.documents(), ["a", "b"]);
    // The app can start over again.
    app.asked.clear();
    refuse(&mut app);
    assert_eq!(app.asked, [Checkpoint::default()]);
}

#[test]
fn a_document_that_cannot_be_read_keeps_no_other_from_being_sent() {
    let folder = tempfile::tempdir().unwrap();
    let mut app = App::start(folder.path(), 1, DEPLOYMENT);
    app.put("a");
    app.put("b");
    drop(app);
    let store = rusqlite::Connection::open(folder.path().join("store.sqlite3")).unwrap();
    let damage =
        "UPDATE chunk SET bytes = zeroblob(length(bytes)) WHERE document = (SELECT id FROM document WHERE name = 'a')";
    assert_eq!(store.execute(damage, []).unwrap(), 1);
    drop(store);
    let mut app = App::start(folder.path(), 2, DEPLOYMENT);
    app.handle(Event::Backend(FromBackend::Page(page(START, &[], None, false))));
    let sent: Vec<_> =
        app.pushes.iter().flat_map(|push| &push.documents).map(|document| document.id.as_str()).collect();
    assert_eq!(sent, ["b"]);
}

/// How many transactions a store's log has in it: each ends with a frame that tells how large the file is by then, in
/// the four bytes from the fourth on. <https://www.sqlite.org/fileformat2.html#the_write_ahead_log>
fn transactions(folder: &Path) -> usize {
    let log = std::fs::read(folder.join("store.sqlite3-wal")).unwrap();
    let page = u32::from_be_bytes(log[8..12].try_into().unwrap()) as usize;
    let salts = &log[16..24];
    // Frames with other salts are from before the log was last restarted.
    let frames = log[32..].chunks_exact(24 + page).take_while(|frame| frame[8..16] == *salts);
    frames.filter(|frame| frame[4..8] != [0; 4]).count()
}

#[test]
fn writes_that_wait_for_the_disk_become_one_transaction() {
    let folder = tempfile::tempdir().unwrap();
    let mut app = App::start(folder.path(), 1, DEPLOYMENT);
    app.put("first");
    let before = transactions(folder.path());
    for number in 0..1_000 {
        let document = DocumentKey { collection: TASKS, id: DocumentId::new(format!("{number}")) };
        let kind = EditKind::put((Value::Map([("n".into(), Value::Int(number))].into()), 1));
        let number = number as u64 + 2;
        app.replica.handle(Event::Edit(number, Edit { document, generation: 0, seq: 1, kind }), 0);
    }
    app.work();
    assert_eq!(app.documents().len(), 1_001);
    assert_eq!(transactions(folder.path()) - before, 1);
    app.put("last");
    assert_eq!(transactions(folder.path()) - before, 2);
}

#[test]
fn an_app_that_is_never_idle_compacts_what_it_edits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite3");
    let mut store = Store::open(&path).unwrap();
    let remote = store.remote(DEPLOYMENT, "log").unwrap();
    let mut document = AutoCommit::new();
    for number in 0..2 * COMPACT_CHUNKS as i64 {
        document.put(ROOT, "n", number).unwrap();
        document.commit();
    }
    let chunk = |change: automerge::Change| StoredChunk {
        hash: change.hash(),
        kind: ChunkKind::Change,
        bytes: change.raw_bytes().into(),
        remote: Some(remote),
        fields: Vec::new(),
    };
    let id = DocumentId::new("a");
    let write = DocumentWrite {
        collection: "tasks".into(),
        id: id.clone(),
        chunks: document.get_changes(&[]).into_iter().map(chunk).collect(),
        heads: document.get_heads(),
        value: format::read(&document),
    };
    store.commit(&[Write::Document(write)]).unwrap();
    drop(store);

    let (requests, taken) = crossbeam_channel::unbounded();
    let (_open, open_while) = crossbeam_channel::bounded(0);
    let (answer, mut answers) = unbounded_channel();
    let collections = vec!["tasks".to_owned()];
    let disk = Disk {
        path,
        collections,
        deployment: Some(DEPLOYMENT.into()),
        requests: taken,
        answers: answer,
        open_while,
        rebuild: Arc::default(),
        compact_every: Duration::from_millis(100),
    };
    let thread = std::thread::spawn(move || disk.run());
    requests.send(StoreRequest::LookUp(Lookup::Epoch("log".into()))).unwrap();
    let document = DocumentKey { collection: TASKS, id };
    let deadline = Instant::now() + DEADLINE;
    // Requests come without a pause until it is compacted.
    loop {
        requests.send(StoreRequest::Load(document.clone())).unwrap();
        let chunks = loop {
            if let DiskAnswer::Event(Event::Loaded { chunks, .. }) = answers.blocking_recv().unwrap() {
                break chunks.len();
            }
        };
        if chunks == 1 {
            break;
        }
        assert!(Instant::now() < deadline, "it still has {chunks} chunks");
    }
    drop(requests);
    thread.join().unwrap();
}
