//! The core without Bevy: a worker, its commands and its reports. A store that is reopened resumes exactly.

mod plain;

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use bevy_convex_replicate::{
    CollectionIndex, DocumentId, DocumentKey, FailureKind, FormatError, Origin, Value,
    client::{CollectionConfig, Command, Edit, EditKind, Encode, Report, Status, Worker, WorkerConfig},
};

use plain::{Plain, Put};

/// A front end that shows documents as they are.
struct Front {
    worker: Worker,
    shown: BTreeMap<DocumentId, (Value, Origin)>,
    status: Option<Status>,
    /// The last capture that the newest version of each includes.
    seen: BTreeMap<DocumentId, u64>,
    ready: bool,
    stopped: bool,
    failures: Vec<(FailureKind, String)>,
}

impl Front {
    fn open(store: &Path) -> Self {
        let worker = Worker::start(WorkerConfig::new(store).collection(CollectionConfig::new("notes", Plain)));
        Self {
            worker,
            shown: BTreeMap::new(),
            status: None,
            seen: BTreeMap::new(),
            ready: false,
            stopped: false,
            failures: Vec::new(),
        }
    }

    #[track_caller]
    fn until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !condition(self) {
            while let Some(report) = self.worker.try_recv() {
                self.take(report);
            }
            assert!(Instant::now() < deadline, "in vain: {what}; {:?} {:?}", self.status, self.failures);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn take(&mut self, report: Report) {
        match report {
            Report::Delta { document, content, origin, seen, .. } => {
                self.seen.insert(document.id.clone(), seen);
                match content.and_then(|content| content.downcast::<Value>().ok()) {
                    Some(value) => self.shown.insert(document.id, (*value, origin)),
                    None => self.shown.remove(&document.id),
                };
            }
            Report::Ready(_) => self.ready = true,
            Report::Read { .. } | Report::Compared { .. } | Report::Refused { .. } => {}
            Report::Failed(failure) => self.failures.push((failure.kind, failure.to_string())),
            Report::Stopped(failure) => {
                self.stopped = true;
                self.failures.push((failure.kind, failure.to_string()));
            }
            Report::Status(status) => self.status = Some(status),
            _ => {}
        }
    }

    fn edit(&self, id: &str, generation: u64, capture: u64, kind: EditKind<Box<dyn Encode>>) {
        let document = DocumentKey { collection: CollectionIndex(0), id: DocumentId::new(id) };
        self.worker.send(Command::Edit(Edit { document, generation, seq: capture, kind }));
    }

    fn saved(&self) -> u64 {
        self.status.as_ref().map_or(0, |status| status.saved)
    }
}

fn note(text: &str, stars: i64) -> EditKind<Box<dyn Encode>> {
    let fields = [("text".to_owned(), Value::Text(text.into())), ("stars".to_owned(), Value::Int(stars))];
    EditKind::put(Box::new(Put(Value::Map(fields.into()))))
}

#[test]
fn saved_documents_are_there_after_a_restart_and_deleted_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("notes.sqlite");
    let mut front = Front::open(&store);
    front.until("the empty store is read", |front| front.ready);
    front.edit("a", 0, 1, note("first", 1));
    front.edit("b", 0, 1, note("second", 2));
    front.edit("a", 0, 2, note("first, edited", 1));
    front.edit("b", 0, 2, EditKind::Delete);
    front.until("all edits are saved", |front| front.saved() == 4);
    drop(front);

    let mut front = Front::open(&store);
    front.until("the store is read", |front| front.ready);
    assert_eq!(front.shown.len(), 1);
    let (value, origin) = &front.shown[&DocumentId::new("a")];
    assert_eq!(value.get("text"), Some(&Value::Text("first, edited".into())));
    assert_eq!(*origin, Origin::Stored);

    // An edit at the version that was shown, and the restore of a deleted document.
    front.edit("a", 1, 1, note("first, edited again", 1));
    front.edit("b", 1, 1, EditKind::Restore);
    front.until("it is back", |front| front.shown.contains_key(&DocumentId::new("b")));
    assert_eq!(front.shown[&DocumentId::new("b")].0.get("stars"), Some(&Value::Int(2)));
    drop(front);

    let mut front = Front::open(&store);
    front.until("the store is read", |front| front.ready);
    assert_eq!(front.shown.len(), 2);
    assert_eq!(front.shown[&DocumentId::new("a")].0.get("text"), Some(&Value::Text("first, edited again".into())));
}

#[test]
fn edits_sent_before_the_end_are_written_by_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("notes.sqlite");
    let front = Front::open(&store);
    for number in 0..500 {
        front.edit(&format!("note {number:03}"), 0, 1, note("in a hurry", number));
    }
    drop(front);
    let mut front = Front::open(&store);
    front.until("the store is read", |front| front.ready);
    assert_eq!(front.shown.len(), 500);
}

#[test]
fn a_store_in_use_is_waited_for_and_the_reason_told() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("notes.sqlite");
    let mut first = Front::open(&store);
    first.until("the store is read", |front| front.ready);
    let mut second = Front::open(&store);
    second.edit("a", 0, 1, note("patient", 1));
    second.until("the reason is told", |front| !front.failures.is_empty());
    let (kind, message) = &second.failures[0];
    assert_eq!(*kind, FailureKind::Store);
    assert!(message.contains(&std::process::id().to_string()), "{message}");
    drop(first);
    second.until("the edit is saved", |front| front.saved() == 1);
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("notes.sqlite");
    let letter = "Dear diary, this is not a database, and it is longer than the header of one would be. ".repeat(20);
    std::fs::write(&store, &letter).unwrap();
    let mut front = Front::open(&store);
    front.until("the reason is told", |front| !front.failures.is_empty());
    assert!(front.failures[0].1.contains("notes.sqlite"), "{:?}", front.failures);
    drop(front);
    assert_eq!(std::fs::read_to_string(&store).unwrap(), letter);
}

/// A value that serde refuses.
struct Unwritable;

impl Encode for Unwritable {
    fn encode(&self) -> Result<(Value, u32), FormatError> {
        Err(FormatError::at("grid", "keys are no text"))
    }
}

#[test]
fn an_edit_that_cannot_be_written_keeps_no_later_version_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let mut front = Front::open(&folder.path().join("notes.sqlite"));
    front.until("the store is read", |front| front.ready);
    front.edit("a", 0, 1, note("written", 1));
    front.edit("a", 0, 2, EditKind::put(Box::new(Unwritable)));
    front.until("it is told", |front| !front.failures.is_empty());
    assert_eq!(front.failures[0].0, FailureKind::Unwritable);
    let document = DocumentKey { collection: CollectionIndex(0), id: DocumentId::new("a") };
    front.worker.send(Command::Show(document));
    // A front end lets a version wait until it includes all that it has captured.
    front.until("a version includes both", |front| front.seen.get(&DocumentId::new("a")) == Some(&2));
    front.until("both count as saved", |front| front.saved() == 2);
}

/// A front end's own code may panic on the worker's thread: when it writes a value, or when the value is dropped.
struct Panics {
    dropped: bool,
}

impl Encode for Panics {
    fn encode(&self) -> Result<(Value, u32), FormatError> {
        assert!(self.dropped, "this type cannot be written");
        Ok((Value::Map(BTreeMap::new()), 1))
    }
}

impl Drop for Panics {
    fn drop(&mut self) {
        assert!(!self.dropped, "this type cannot be dropped");
    }
}

#[test]
fn a_panic_of_what_is_written_is_told_of_its_document_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut front = Front::open(&folder.path().join("notes.sqlite"));
    front.until("the store is read", |front| front.ready);
    front.edit("a", 0, 1, EditKind::put(Box::new(Panics { dropped: false })));
    front.edit("b", 0, 1, note("written", 1));
    front.edit("a", 0, 2, note("after all", 1));
    front.until("all is saved", |front| front.saved() == 3);
    let [(kind, message)] = &front.failures[..] else { panic!("{:?}", front.failures) };
    assert_eq!(*kind, FailureKind::Unwritable);
    assert!(message.starts_with("notes/a: ") && message.contains("this type cannot be written"), "{message}");
    assert!(!front.stopped);
}

#[test]
fn a_panic_of_the_worker_is_told_and_what_was_saved_stays() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("notes.sqlite");
    let mut front = Front::open(&store);
    front.until("the store is read", |front| front.ready);
    front.edit("a", 0, 1, note("before", 1));
    front.until("it is saved", |front| front.saved() == 1);
    front.edit("b", 0, 1, EditKind::put(Box::new(Panics { dropped: true })));
    front.until("the end is told", |front| front.stopped);
    let (kind, message) = &front.failures[0];
    assert_eq!(*kind, FailureKind::Store);
    assert!(message.contains("this type cannot be dropped") && message.contains("nothing is saved"), "{message}");
    drop(front);
    let mut front = Front::open(&store);
    front.until("the store is read", |front| front.ready);
    assert_eq!(front.shown[&DocumentId::new("a")].0.get("text"), Some(&Value::Text("before".into())));
}
