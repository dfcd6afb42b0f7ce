//! The replica driven by hand: the test is the world, the store and the backend.

use std::{collections::BTreeMap, sync::Arc};

use automerge::{AutoCommit, ChangeHash, ReadDoc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::*;
use crate::{
    DocumentKey,
    format::{self, Counter, Value},
    store::RemoteId,
};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Task {
    text: String,
    done: bool,
    votes: Counter,
}

struct Typed<T>(std::marker::PhantomData<fn() -> T>);

impl<T: Serialize + DeserializeOwned + 'static> Schema for Typed<T> {
    fn view(&self, document: &Value, mask: u32) -> Value {
        assert_ne!(mask, PANICS, "as a component's own code may");
        format::from_value::<T>(document)
            .and_then(|value| format::to_value(&value))
            .unwrap_or(Value::Map(BTreeMap::new()))
    }
}

/// A component type whose code panics.
const PANICS: u32 = 1 << 7;

const TASKS: CollectionIndex = CollectionIndex(0);

/// A document's chunks as stored, each with whether it was made here.
type Chunks = Vec<(Arc<[u8]>, bool)>;

/// A replica and everything around it.
struct Peer {
    replica: Replica,
    chunks: BTreeMap<DocumentId, Chunks>,
    sent: Vec<ChangeHash>,
    checkpoint: Option<Checkpoint>,
    delivered: Vec<Delta>,
    pushes: Vec<Push>,
    subscribed: Vec<Checkpoint>,
    failures: Vec<FailureKind>,
    edited: Vec<EditNumber>,
    /// Writes are told to be durable only when this is set.
    durable: bool,
    /// What was read of the store is kept back while this is set.
    reads_wait: bool,
    reads: Vec<Event>,
    last_write: WriteId,
    captures: BTreeMap<DocumentId, Capture>,
}

impl Peer {
    fn new(number: u8) -> Self {
        let schema = Arc::new(Typed::<Task>(std::marker::PhantomData));
        let collections = vec![CollectionSchema { name: "tasks".into(), schema }];
        let mut peer = Self {
            replica: Replica::new([number; 16], collections, true),
            chunks: BTreeMap::new(),
            sent: Vec::new(),
            checkpoint: None,
            delivered: Vec::new(),
            pushes: Vec::new(),
            subscribed: Vec::new(),
            failures: Vec::new(),
            edited: Vec::new(),
            durable: true,
            reads_wait: false,
            reads: Vec::new(),
            last_write: 0,
            captures: BTreeMap::new(),
        };
        let state = RemoteState { remote: None, unsent: vec![Vec::new()], ..RemoteState::default() };
        peer.handle(Event::Remote { epoch: None, state });
        peer
    }

    fn connected(number: u8) -> Self {
        let mut peer = Self::new(number);
        peer.handle(Event::Connected);
        peer.handle(Event::Page(page(0, 0, &[])));
        peer
    }

    fn handle(&mut self, event: Event) {
        self.replica.handle(event, 1_700_000_000_000);
        while let Some(effect) = self.replica.poll() {
            if let Some(event) = self.carry_out(effect) {
                self.replica.handle(event, 1_700_000_000_000);
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Deliver(delta) => self.delivered.push(delta),
            Effect::Edited(edit, _) => self.edited.push(edit),
            Effect::Failed { kind, .. } => self.failures.push(kind),
            Effect::Push(push) => self.pushes.push(push),
            Effect::Subscribe { checkpoint, .. } => self.subscribed.push(checkpoint),
            Effect::Load(document) => {
                let chunks = self.chunks.get(&document.id).into_iter().flatten().map(|(bytes, _)| bytes.clone());
                return Some(Event::Loaded { chunks: chunks.collect(), document });
            }
            Effect::Write(id, write) => {
                match write {
                    Write::Document(write) => {
                        let chunks = self.chunks.entry(write.id).or_default();
                        chunks.extend(write.chunks.into_iter().map(|chunk| (chunk.bytes, chunk.remote.is_none())));
                    }
                    Write::Sent { changes, .. } => self.sent.extend(changes),
                    Write::Checkpoint { checkpoint, .. } => self.checkpoint = Some(checkpoint),
                    Write::Forget { id, .. } => drop(self.chunks.remove(&id)),
                }
                self.last_write = id;
                return self.durable.then_some(Event::Written(id));
            }
            Effect::Identify { epoch } => {
                // As the store does: a log without a name yet is the one that gets it.
                let number = if epoch == "epoch" || epoch.is_empty() { 1 } else { 2 };
                let unsent = if number == 1 { self.unsent() } else { self.chunks.keys().cloned().collect() };
                let state = RemoteState {
                    remote: Some(RemoteId(number)),
                    checkpoints: vec![Checkpoint::default()],
                    unsent: vec![unsent],
                    unread: vec![!self.sent.is_empty()],
                };
                return Some(Event::Remote { epoch: Some(epoch), state });
            }
            Effect::Forget(_) => {
                self.sent.clear();
                let unsent = vec![self.chunks.keys().cloned().collect()];
                let state = RemoteState { remote: Some(RemoteId(1)), unsent, ..RemoteState::default() };
                return Some(Event::Remote { epoch: None, state });
            }
            Effect::ReadUnsent { collection, documents, read, .. } => {
                let documents = documents.into_iter().map(|id| self.read_unsent(id)).collect();
                let answer = Event::Unsent { collection, documents, read };
                if self.reads_wait {
                    self.reads.push(answer);
                    return None;
                }
                return Some(answer);
            }
        }
        None
    }

    fn unsent(&self) -> Vec<DocumentId> {
        let unsent = |chunks: &Chunks| {
            chunks.iter().any(|(bytes, local)| *local && !self.sent.contains(&change_hash(bytes).unwrap()))
        };
        self.chunks.iter().filter(|(_, chunks)| unsent(chunks)).map(|(id, _)| id.clone()).collect()
    }

    fn read_unsent(&self, id: DocumentId) -> UnsentDocument {
        let changes = self.chunks[&id].iter();
        let changes = changes
            .map(|(bytes, _)| (change_hash(bytes).unwrap(), bytes.clone()))
            .map(|(hash, bytes)| UnsentChange { hash, row: hash, bytes });
        UnsentDocument { changes: changes.collect(), id, fields: None }
    }

    /// The world edits a document that it shows as `generation`.
    fn edit(&mut self, id: &str, generation: Generation, change: Change) {
        let id = DocumentId::new(id);
        let capture = self.captures.entry(id.clone()).or_default();
        *capture += 1;
        let capture = *capture;
        let document = DocumentKey { collection: TASKS, id };
        self.handle(Event::Edit(Edit { number: 1, document, generation, capture, change }));
    }

    fn put(&mut self, id: &str, generation: Generation, task: &Task) {
        self.edit(id, generation, Change::Put { value: format::to_value(task).unwrap(), mask: 1 });
    }

    fn apply(&mut self, id: &str, generation: Generation) {
        let document = DocumentKey { collection: TASKS, id: DocumentId::new(id) };
        self.handle(Event::Applied(vec![(document, generation)]));
    }

    fn checkpoint_at(&self) -> Option<Position> {
        self.checkpoint.map(|checkpoint| checkpoint.position)
    }

    /// Everything the replica has made, as the log would have it.
    fn made(&self) -> Vec<Vec<u8>> {
        self.pushes.iter().flat_map(|push| &push.documents).flat_map(|d| &d.changes).map(|(_, b)| b.to_vec()).collect()
    }

    /// The document, from what is stored.
    fn stored(&self, id: &str) -> Option<Task> {
        let all: Vec<u8> = self.chunks[&DocumentId::new(id)].iter().flat_map(|(bytes, _)| bytes.to_vec()).collect();
        let mut document = AutoCommit::new();
        document.load_incremental(&all).unwrap();
        assert!(document.get_missing_deps(&[]).is_empty());
        let value = format::read(&document);
        (!value.is_deleted()).then(|| format::from_value(&value).unwrap())
    }

    fn last(&self) -> (Generation, Capture, Option<Task>) {
        let delta = self.delivered.last().expect("nothing was delivered");
        let task = delta.value.as_ref().map(|value| format::from_value(value).unwrap());
        (delta.generation, delta.seen, task)
    }

    fn accept(&mut self) {
        let push = self.pushes.last().expect("nothing was pushed").clone();
        let results = push.documents.iter().map(|document| (document.id.clone(), Ok(()))).collect();
        self.handle(Event::Answered(PushAnswer {
            number: push.number,
            collection: TASKS,
            epoch: "epoch".into(),
            results,
        }));
    }

    fn refuse(&mut self, code: &str) {
        let push = self.pushes.last().expect("nothing was pushed").clone();
        let refusal = Refusal { code: code.into(), message: "no".into() };
        let results = push.documents.iter().map(|document| (document.id.clone(), Err(refusal.clone()))).collect();
        self.handle(Event::Answered(PushAnswer {
            number: push.number,
            collection: TASKS,
            epoch: "epoch".into(),
            results,
        }));
    }
}

fn task(text: &str) -> Task {
    Task { text: text.into(), ..Task::default() }
}

fn at(ts: i64) -> Position {
    Position { ts, ordinal: 0 }
}

fn page(from: i64, to: i64, rows: &[(&str, &[u8])]) -> Page {
    let deltas = rows.iter().map(|(id, bytes)| PulledChunk {
        id: DocumentId::new(*id),
        position: at(to),
        bytes: bytes.to_vec(),
        part: None,
    });
    Page {
        collection: TASKS,
        from: at(from),
        deltas: deltas.collect(),
        checkpoint: at(to),
        has_more: false,
        epoch: "epoch".into(),
        pruned: None,
    }
}

/// Gives everything one peer has sent to another, as a page.
fn relay(from: &Peer, id: &str, to: &mut Peer, start: i64, end: i64) {
    let made = from.made();
    let rows: Vec<(&str, &[u8])> = made.iter().map(|bytes| (id, &bytes[..])).collect();
    to.handle(Event::Page(page(start, end, &rows)));
}

/// Two peers that both show the same document as generation 1.
fn pair() -> (Peer, Peer) {
    let mut first = Peer::connected(1);
    first.put("a", 0, &task("start"));
    first.accept();
    let mut second = Peer::connected(2);
    relay(&first, "a", &mut second, 0, 1);
    second.apply("a", 1);
    first.pushes.clear();
    (first, second)
}

#[test]
fn a_remote_change_between_capture_and_apply_is_merged_not_reverted() {
    let (mut first, mut second) = pair();
    first.put("a", 0, &Task { done: true, ..task("start") });
    relay(&first, "a", &mut second, 1, 2);
    // The world still shows generation 1, where it is not done.
    second.put("a", 1, &task("start again"));
    let (generation, seen, shown) = second.last();
    assert_eq!((generation, seen), (3, 1));
    assert_eq!(shown, Some(Task { done: true, ..task("start again") }));
    assert_eq!(second.stored("a"), shown);
}

#[test]
fn two_captures_before_the_first_comes_back_are_both_kept() {
    let (mut first, mut second) = pair();
    first.put("a", 0, &Task { done: true, ..task("start") });
    relay(&first, "a", &mut second, 1, 2);
    second.put("a", 1, &Task { votes: Counter(1), ..task("start, one") });
    second.put("a", 1, &Task { votes: Counter(3), ..task("start, one, two") });
    let (_, seen, shown) = second.last();
    assert_eq!(seen, 2);
    assert_eq!(shown, Some(Task { text: "start, one, two".into(), done: true, votes: Counter(3) }));
}

#[test]
fn concurrent_letters_and_counts_add_up() {
    let (mut first, mut second) = pair();
    first.put("a", 0, &Task { votes: Counter(2), ..task("a fresh start") });
    second.put("a", 1, &Task { votes: Counter(5), ..task("start now") });
    let back = second.made();
    relay(&first, "a", &mut second, 1, 2);
    let rows: Vec<(&str, &[u8])> = back.iter().map(|bytes| ("a", &bytes[..])).collect();
    first.handle(Event::Page(page(0, 3, &rows)));
    let expected = Task { text: "a fresh start now".into(), done: false, votes: Counter(7) };
    assert_eq!(first.last().2, Some(expected.clone()));
    assert_eq!(second.last().2, Some(expected));
}

#[test]
fn a_remote_change_is_not_pushed_back() {
    let (first, mut second) = pair();
    second.pushes.clear();
    second.put("a", 1, &task("start"));
    assert!(second.pushes.is_empty(), "{:?}", second.pushes);
    assert_eq!(second.replica.unsent(), 0);
    assert_eq!(first.replica.unsent(), 0);
}

#[test]
fn an_own_change_that_comes_back_is_neither_shown_nor_stored_again() {
    let mut peer = Peer::connected(1);
    peer.put("a", 0, &task("mine"));
    let made = peer.made();
    peer.accept();
    peer.handle(Event::Page(page(0, 5, &[("a", &made[0])])));
    assert!(peer.delivered.is_empty());
    assert_eq!(peer.chunks[&DocumentId::new("a")].len(), 1);
    assert_eq!(peer.checkpoint_at(), Some(at(5)));
}

#[test]
fn an_edit_is_sent_while_the_disk_is_still_at_work() {
    let mut peer = Peer::connected(1);
    peer.durable = false;
    peer.put("a", 0, &task("mine"));
    assert_eq!(peer.pushes.len(), 1);
    // What is marked as sent comes after what was made, in one order of writes.
    peer.accept();
    assert_eq!(peer.sent.len(), 1);
    assert_eq!(peer.chunks.len(), 1);
}

#[test]
fn one_push_is_in_flight_and_later_edits_go_together() {
    let mut peer = Peer::connected(1);
    peer.put("a", 0, &task("one"));
    peer.put("b", 0, &task("two"));
    peer.put("c", 0, &task("three"));
    assert_eq!(peer.pushes.len(), 1);
    peer.accept();
    assert_eq!(peer.pushes.len(), 2);
    assert_eq!(peer.pushes[1].documents.len(), 2);
    peer.accept();
    assert_eq!(peer.replica.unsent(), 0);
    assert_eq!(peer.sent.len(), 3);
}

#[test]
fn a_dropped_push_is_sent_again_after_reconnecting() {
    let mut peer = Peer::connected(1);
    peer.put("a", 0, &task("one"));
    let number = peer.pushes.last().unwrap().number;
    peer.handle(Event::PushDropped(number));
    peer.handle(Event::Disconnected);
    peer.put("a", 0, &task("one more"));
    let before = peer.pushes.len();
    peer.handle(Event::Connected);
    assert_eq!(peer.pushes.len(), before, "nothing is sent before the log is known");
    peer.handle(Event::Page(page(0, 0, &[])));
    assert_eq!(peer.pushes.last().unwrap().documents[0].changes.len(), 2);
}

#[test]
fn the_answer_to_a_push_that_was_given_up_is_not_taken_for_the_next_ones() {
    let mut peer = Peer::connected(1);
    peer.put("a", 0, &task("one"));
    let given_up = peer.pushes.last().unwrap().clone();
    peer.handle(Event::Disconnected);
    peer.put("a", 0, &task("one more"));
    peer.handle(Event::Connected);
    peer.handle(Event::Page(page(0, 0, &[])));
    assert_eq!(peer.pushes.len(), 2);
    let results = vec![(given_up.documents[0].id.clone(), Ok(()))];
    peer.handle(Event::Answered(PushAnswer {
        number: given_up.number,
        collection: TASKS,
        epoch: "epoch".into(),
        results,
    }));
    peer.handle(Event::PushDropped(given_up.number));
    assert_eq!((peer.replica.unsent(), peer.sent.len()), (1, 0));
    assert_eq!(peer.pushes.len(), 2, "the second is still on its way");
    peer.accept();
    assert_eq!((peer.replica.unsent(), peer.sent.len()), (0, 2));
}

#[test]
fn a_snapshot_is_sent_as_changes_and_marked_whole_with_the_last() {
    let mut author = Peer::connected(1);
    author.put("a", 0, &task("one"));
    author.put("a", 0, &task("two"));
    let all: Vec<u8> = author.chunks[&DocumentId::new("a")].iter().flat_map(|(bytes, _)| bytes.to_vec()).collect();
    let snapshot = AutoCommit::load(&all).unwrap().save();
    let row = chunk_hash(&snapshot);
    let changes = changes_of(row, &snapshot);
    assert_eq!(changes.len(), 2);
    let mut peer = Peer::connected(2);
    let id = DocumentId::new("a");
    peer.handle(Event::Remote {
        epoch: Some("epoch".into()),
        state: RemoteState { remote: Some(RemoteId(9)), unsent: vec![Vec::new()], ..RemoteState::default() },
    });
    let collection = peer.replica.collections.first_mut().unwrap();
    collection.outbox.reset(vec![id.clone()], false);
    let batch = collection.outbox.next_batch();
    assert_eq!(batch.read, [(id.clone(), false)]);
    collection.outbox.read(UnsentDocument { id: id.clone(), changes, fields: None }, batch.number);
    peer.handle(Event::Retry);
    assert_eq!(peer.pushes[0].documents[0].changes.len(), 2);
    peer.accept();
    assert!(peer.sent.contains(&row));
    assert_eq!(peer.replica.unsent(), 0);
}

#[test]
fn a_pushed_change_carries_only_the_fields_it_touches() {
    let mut peer = Peer::connected(1);
    peer.put("a", 0, &task("one"));
    peer.accept();
    peer.put("a", 0, &Task { done: true, ..task("one") });
    let fields = peer.pushes.last().unwrap().documents[0].fields.as_ref().unwrap();
    assert_eq!(fields.keys().collect::<Vec<_>>(), ["done"]);
}

#[test]
fn what_an_unanswered_push_set_is_not_set_again_over_what_others_made_of_it() {
    let mut first = Peer::connected(1);
    first.put("a", 0, &task("start"));
    first.accept();
    // The log takes this one, and the answer is lost.
    first.put("a", 0, &task("start one"));
    let mut second = Peer::connected(2);
    relay(&first, "a", &mut second, 0, 2);
    second.apply("a", 1);
    second.put("a", 1, &task("start one two"));
    first.handle(Event::Disconnected);
    first.handle(Event::Connected);
    let others = second.made();
    first.handle(Event::Page(page(0, 3, &[("a", &others[0])])));
    let (generation, _, shown) = first.last();
    assert_eq!(shown, Some(task("start one two")));
    first.apply("a", generation);
    first.put("a", generation, &Task { done: true, ..task("start one two") });
    let stale = "start one";
    let text = |push: &Push| push.documents[0].fields.as_ref().and_then(|fields| fields.get("text").cloned());
    let last = first.pushes.last().unwrap();
    if last.documents[0].changes.len() == 1 {
        // It was sent again before the page came; now both are, for this is not answered either.
        first.handle(Event::Disconnected);
        first.handle(Event::Connected);
        first.handle(Event::Page(page(0, 3, &[])));
    }
    let last = first.pushes.last().unwrap();
    assert_eq!(last.documents[0].changes.len(), 2);
    assert_ne!(text(last), Some(Value::Text(stale.into())));
    assert_eq!(last.documents[0].fields, None, "the backend merges");
}

#[test]
fn a_refused_document_holds_back_itself_alone() {
    let mut peer = Peer::connected(1);
    peer.put("bad", 0, &task("one"));
    peer.refuse("rowRefused");
    assert_eq!(peer.failures, [FailureKind::Refused]);
    peer.put("bad", 0, &task("one more"));
    peer.put("good", 0, &task("two"));
    let last = peer.pushes.last().unwrap();
    assert_eq!(last.documents.len(), 1);
    assert_eq!(last.documents[0].id.as_str(), "good");
    peer.accept();
    assert_eq!(peer.replica.unsent(), 1, "the edit is kept");
    peer.handle(Event::Retry);
    assert_eq!(peer.pushes.last().unwrap().documents[0].changes.len(), 2);
}

#[test]
fn what_is_too_large_only_with_others_is_sent_again_and_the_first_of_a_push_is_told_of() {
    let mut peer = Peer::connected(1);
    peer.put("small", 0, &task("zero"));
    peer.put("large", 0, &task("one"));
    peer.put("larger", 0, &task("two"));
    peer.accept();
    let names = |peer: &Peer| -> Vec<String> {
        peer.pushes.last().unwrap().documents.iter().map(|document| document.id.to_string()).collect()
    };
    assert_eq!(names(&peer), ["large", "larger"]);
    peer.refuse("tooLarge");
    assert_eq!(peer.failures, [FailureKind::Refused]);
    assert_eq!(names(&peer), ["larger"], "it may go in without the other");
    peer.accept();
    assert_eq!((peer.failures.len(), peer.replica.unsent()), (1, 1));
}

#[test]
fn a_log_that_lacks_dependencies_is_offered_everything_once() {
    let mut peer = Peer::connected(1);
    peer.put("a", 0, &task("one"));
    peer.accept();
    peer.put("a", 0, &task("two"));
    peer.refuse("missingDependencies");
    assert_eq!(peer.pushes.last().unwrap().documents[0].changes.len(), 2);
    assert!(peer.failures.is_empty());
    peer.refuse("missingDependencies");
    assert_eq!(peer.failures, [FailureKind::Refused]);
}

#[test]
fn another_log_is_pulled_from_the_start_and_offered_everything() {
    let mut peer = Peer::connected(1);
    peer.put("a", 0, &task("one"));
    peer.accept();
    peer.handle(Event::Page(page(0, 9, &[])));
    peer.handle(Event::Disconnected);
    peer.handle(Event::Connected);
    peer.subscribed.clear();
    peer.handle(Event::Page(Page { epoch: "wiped".into(), ..page(9, 9, &[]) }));
    assert_eq!(peer.subscribed, [Checkpoint::default()]);
    assert_eq!(peer.pushes.last().unwrap().documents[0].id.as_str(), "a");
    assert_eq!(peer.pushes.len(), 2);
}

#[test]
fn a_log_that_gets_its_name_with_the_first_push_is_the_same_log() {
    let mut peer = Peer::new(1);
    peer.handle(Event::Connected);
    peer.handle(Event::Page(Page { epoch: String::new(), ..page(0, 0, &[]) }));
    peer.put("a", 0, &task("one"));
    peer.subscribed.clear();
    peer.accept();
    assert_eq!(peer.sent.len(), 1);
    peer.handle(Event::Page(page(0, 9, &[("a", &peer.made()[0])])));
    assert_eq!((peer.pushes.len(), &*peer.subscribed), (1, &[][..]), "nothing is offered or asked for again");
    peer.put("b", 0, &task("two"));
    peer.accept();
    assert_eq!((peer.pushes.len(), peer.sent.len()), (2, 2));
    assert_eq!(peer.checkpoint_at(), Some(at(9)));
}

#[test]
fn a_log_that_another_gives_its_name_is_the_same_log() {
    let mut peer = Peer::new(1);
    peer.handle(Event::Connected);
    peer.handle(Event::Page(Page { epoch: String::new(), ..page(0, 0, &[]) }));
    peer.put("a", 0, &task("one"));
    peer.subscribed.clear();
    peer.handle(Event::Page(page(0, 9, &[])));
    assert!(peer.subscribed.is_empty());
    peer.accept();
    assert_eq!((peer.pushes.len(), peer.sent.len()), (1, 1));
}

#[test]
fn a_log_that_went_back_is_pulled_from_the_start_and_offered_everything() {
    let mut peer = Peer::connected(1);
    peer.put("a", 0, &task("one"));
    peer.accept();
    peer.handle(Event::Page(page(0, 9, &[])));
    peer.subscribed.clear();
    let refusal = Refusal { code: "checkpointUnknown".into(), message: "ahead of the log".into() };
    peer.handle(Event::PullRefused { collection: TASKS, refusal });
    assert_eq!(peer.subscribed, [Checkpoint::default()]);
    peer.handle(Event::Page(page(0, 0, &[])));
    assert_eq!(peer.pushes.len(), 2);
}

#[test]
fn a_page_that_does_not_continue_what_was_taken_in_is_left_alone() {
    let (first, _) = pair();
    let mut peer = Peer::connected(3);
    peer.handle(Event::Page(page(7, 9, &[])));
    assert_ne!(peer.checkpoint_at(), Some(at(9)));
    drop(first);
}

#[test]
fn the_checkpoint_waits_for_the_last_part_of_a_chunk() {
    let mut author = Peer::connected(1);
    author.put("a", 0, &task("in two parts"));
    author.put("b", 0, &task("whole"));
    author.accept();
    let made = author.made();
    let (left, right) = made[0].split_at(40);
    let part = |index| Some(Part { hash: chunk_hash(&made[0]).0, index, count: 2 });
    let row = |id: &str, ts, bytes: &[u8], part| PulledChunk {
        id: DocumentId::new(id),
        position: at(ts),
        bytes: bytes.to_vec(),
        part,
    };
    let mut peer = Peer::connected(2);
    let deltas = vec![row("a", 4, left, part(0)), row("b", 5, &made[1], None)];
    peer.handle(Event::Page(Page { deltas, ..page(0, 5, &[]) }));
    assert_eq!(peer.last().2, Some(task("whole")));
    assert_eq!(peer.checkpoint_at(), Some(at(0)));
    peer.handle(Event::Page(Page { deltas: vec![row("a", 6, right, part(1))], ..page(5, 6, &[]) }));
    assert_eq!(peer.last().2, Some(task("in two parts")));
    assert_eq!(peer.checkpoint_at(), Some(at(6)));
}

#[test]
fn a_document_that_was_not_loaded_is_loaded_to_be_edited() {
    let (first, mut second) = pair();
    let chunks = first.chunks.clone();
    let mut peer = Peer::connected(3);
    peer.chunks = chunks;
    let id = DocumentId::new("a");
    let value = second.delivered[0].value.clone().unwrap();
    let heads = vec![automerge::ChangeHash([1; 32])];
    peer.handle(Event::Opened { collection: TASKS, documents: vec![StoredDocument { id, heads, value }] });
    assert_eq!(peer.last(), (1, 0, Some(task("start"))));
    peer.put("a", 1, &task("start over"));
    assert_eq!(peer.stored("a"), Some(task("start over")));
    assert_eq!(peer.delivered.len(), 1, "nothing new for the world");
    relay(&peer, "a", &mut second, 1, 2);
    assert_eq!(second.last().2, Some(task("start over")));
}

#[test]
fn an_edit_that_waits_behind_one_that_fails_is_taken_in() {
    let (first, second) = pair();
    let mut peer = Peer::connected(3);
    peer.chunks = first.chunks.clone();
    let id = DocumentId::new("a");
    let document = DocumentKey { collection: TASKS, id: id.clone() };
    let value = second.delivered[0].value.clone().unwrap();
    let heads = vec![automerge::ChangeHash([1; 32])];
    peer.handle(Event::Opened { collection: TASKS, documents: vec![StoredDocument { id, heads, value }] });
    for (number, mask, text) in [(1, PANICS, "lost"), (2, 1, "start over")] {
        let change = Change::Put { value: format::to_value(&task(text)).unwrap(), mask };
        let edit = Edit { number, document: document.clone(), generation: 1, capture: number, change };
        // Both come before the document is read.
        peer.replica.handle(Event::Edit(edit), 0);
    }
    peer.handle(Event::Applied(Vec::new()));
    assert_eq!(peer.failures, [FailureKind::Unwritable]);
    assert_eq!(peer.edited, [1, 2]);
    assert_eq!(peer.stored("a"), Some(task("start over")));
}

#[test]
fn a_document_put_before_the_stored_one_was_seen_shows_the_stored_one() {
    let (_, mut second) = pair();
    second.put("a", 0, &task("default"));
    // The world had generation 0: it had not seen what is there.
    let (_, seen, shown) = second.last();
    assert_eq!((seen, shown), (1, Some(task("start"))));
    assert_eq!(second.stored("a"), Some(task("start")));
}

#[test]
fn a_deleted_document_is_gone_everywhere_until_it_is_restored() {
    let (mut first, mut second) = pair();
    second.put("a", 1, &task("edited meanwhile"));
    let concurrent = second.made();
    first.edit("a", 0, Change::Delete);
    relay(&first, "a", &mut second, 1, 2);
    assert_eq!(second.last().2, None);
    first.handle(Event::Page(page(0, 3, &[("a", &concurrent[0])])));
    assert_eq!(first.last().2, None, "an edit does not resurrect");
    first.edit("a", 1, Change::Restore);
    assert_eq!(first.last().2, Some(task("edited meanwhile")));
}

#[test]
fn putting_a_document_that_was_deleted_brings_it_back() {
    let mut peer = Peer::connected(1);
    peer.put("a", 0, &task("one"));
    peer.edit("a", 0, Change::Delete);
    assert_eq!(peer.stored("a"), None);
    peer.put("a", 0, &task("two"));
    assert_eq!(peer.stored("a"), Some(task("two")));
}

#[test]
fn a_damaged_change_is_reported_and_the_others_go_on() {
    let (first, _) = pair();
    let good = first.chunks[&DocumentId::new("a")][0].0.to_vec();
    let mut bad = good.clone();
    let last = bad.len() - 1;
    bad[last] ^= 1;
    let mut peer = Peer::connected(2);
    peer.handle(Event::Page(page(0, 1, &[("b", &bad), ("a", &good)])));
    assert_eq!(peer.failures, [FailureKind::Damaged]);
    assert_eq!(peer.last().2, Some(task("start")));
}

#[test]
fn a_long_time_offline_is_kept_in_the_store_and_sent_whole() {
    let mut peer = Peer::new(1);
    for count in 0..400 {
        peer.put("a", 0, &task(&format!("edit {count}")));
    }
    assert_eq!(peer.replica.unsent(), 1);
    peer.handle(Event::Connected);
    peer.handle(Event::Page(page(0, 0, &[])));
    assert_eq!(peer.made().len(), 400);
    peer.accept();
    assert_eq!(peer.replica.unsent(), 0);
}

#[test]
fn a_document_made_here_takes_edits_after_it_was_let_go() {
    let mut peer = Peer::connected(1);
    peer.put("first", 0, &task("start"));
    // More than are kept in memory.
    for number in 0..2_100 {
        peer.put(&format!("{number}"), 0, &task("other"));
    }
    peer.put("first", 0, &task("start again"));
    assert_eq!(peer.stored("first"), Some(task("start again")));
}

#[test]
fn a_page_that_waits_when_the_connection_ends_is_asked_for_again() {
    let mut first = Peer::connected(1);
    first.put("a", 0, &task("start"));
    let made = first.made();
    let mut second = Peer::new(2);
    second.handle(Event::Connected);
    second.replica.handle(Event::Page(page(0, 1, &[("a", &made[0])])), 0);
    // The store has not told what it knows of this log yet.
    second.replica.handle(Event::Disconnected, 0);
    let effects: Vec<Effect> = std::iter::from_fn(|| second.replica.poll()).collect();
    let again = effects
        .iter()
        .any(|effect| matches!(effect, Effect::Subscribe { checkpoint, .. } if checkpoint.position == at(0)));
    assert!(again, "{effects:?}");
}

#[test]
fn an_edit_made_while_the_unsent_are_read_is_sent_after_a_reconnect() {
    let mut peer = Peer::connected(1);
    peer.put("a", 0, &task("one"));
    // More unsent changes than are kept in memory: they are read from the store.
    for number in 0..300 {
        peer.put("a", 0, &task(&format!("{number}")));
    }
    peer.reads_wait = true;
    peer.accept();
    peer.put("a", 0, &task("while it is read"));
    peer.handle(Event::Disconnected);
    peer.handle(Event::Connected);
    peer.handle(Event::Page(page(0, 0, &[])));
    peer.reads_wait = false;
    for answer in std::mem::take(&mut peer.reads) {
        peer.handle(answer);
    }
    let pushed: Vec<ChangeHash> =
        peer.pushes.iter().flat_map(|push| &push.documents).flat_map(|d| &d.changes).map(|(hash, _)| *hash).collect();
    for (bytes, _) in &peer.chunks[&DocumentId::new("a")] {
        assert!(pushed.contains(&change_hash(bytes).unwrap()), "an edit was never sent");
    }
}

#[test]
fn what_only_was_pushed_to_a_log_that_was_pruned_since_is_offered_again() {
    let mut peer = Peer::connected(1);
    peer.put("a", 0, &task("one"));
    peer.accept();
    peer.handle(Event::Disconnected);
    peer.handle(Event::Connected);
    // Deleted by others and pruned, before a page told of it: its checkpoint is still the beginning, which no log refuses.
    peer.subscribed.clear();
    let begins = Page { pruned: Some(7), ..page(0, 0, &[]) };
    peer.handle(Event::Page(begins.clone()));
    assert_eq!(peer.subscribed, [Checkpoint::default()]);
    peer.handle(Event::Page(begins.clone()));
    assert_eq!(peer.pushes.len(), 2, "offered again");
    peer.refuse("pruned");
    assert!(peer.last().2.is_none(), "it is gone");
    assert!(peer.chunks.is_empty(), "from the store as well");
    assert!(peer.failures.is_empty(), "it had no edits that were not sent: {:?}", peer.failures);

    // Once for each pruning.
    peer.put("b", 0, &task("two"));
    peer.accept();
    peer.handle(Event::Disconnected);
    peer.handle(Event::Connected);
    peer.subscribed.clear();
    peer.handle(Event::Page(begins));
    assert!(peer.subscribed.is_empty(), "{:?}", peer.subscribed);
    assert_eq!(peer.replica.unsent(), 0);
}

/// The refusal of a checkpoint from before what was pruned.
fn starts_over() -> Event {
    let refusal = Refusal { code: "checkpointUnknown".into(), message: "what was deleted since is gone".into() };
    Event::PullRefused { collection: TASKS, refusal }
}

#[test]
fn a_page_that_waits_for_a_document_while_all_starts_over_is_not_believed() {
    let mut other = Peer::connected(1);
    other.put("new", 0, &task("one"));
    let mut peer = Peer::connected(2);
    peer.handle(Event::Page(page(0, 1, &[])));
    let id = DocumentId::new("cold");
    peer.chunks.insert(id.clone(), Vec::new());
    let (heads, value) = (vec![ChangeHash([1; 32])], Value::Map(BTreeMap::new()));
    peer.handle(Event::Opened { collection: TASKS, documents: vec![StoredDocument { id: id.clone(), heads, value }] });
    // It has news of one that is being read from the store, and a new document.
    let made = other.made();
    let rows: [(&str, &[u8]); 2] = [("cold", &made[0]), ("new", &made[0])];
    peer.replica.handle(Event::Page(page(1, 3, &rows)), 0);
    peer.replica.handle(starts_over(), 0);
    let key = DocumentKey { collection: TASKS, id };
    peer.replica.handle(Event::Loaded { document: key, chunks: Vec::new() }, 0);
    let writes: Vec<_> =
        std::iter::from_fn(|| peer.replica.poll()).filter(|effect| matches!(effect, Effect::Write(..))).collect();
    assert!(writes.is_empty(), "what the log has pruned meanwhile would stay for ever: {writes:?}");
}

#[test]
fn the_answer_to_a_push_that_comes_while_all_starts_over_counts_for_nothing() {
    let mut peer = Peer::connected(1);
    peer.handle(Event::Page(page(0, 3, &[])));
    peer.put("a", 0, &task("one"));
    let push = peer.pushes.pop().unwrap();
    peer.replica.handle(starts_over(), 0);
    let forget: Vec<_> = std::iter::from_fn(|| peer.replica.poll()).collect();
    let results = vec![(DocumentId::new("a"), Ok(()))];
    peer.handle(Event::Answered(PushAnswer { number: push.number, collection: TASKS, epoch: "epoch".into(), results }));
    assert!(peer.sent.is_empty(), "it may have been pruned since");
    assert!(matches!(&forget[..], [Effect::Forget(_)]), "{forget:?}");
    for effect in forget {
        let event = peer.carry_out(effect).unwrap();
        peer.handle(event);
    }
    peer.handle(Event::Page(page(0, 0, &[])));
    assert_eq!(peer.pushes.len(), 1, "it is offered again");
}

#[test]
fn one_who_is_told_again_before_it_has_begun_anew_starts_over_once() {
    let mut peer = Peer::connected(1);
    peer.handle(Event::Page(page(0, 3, &[])));
    let forgets = |peer: &mut Peer| {
        peer.replica.handle(starts_over(), 0);
        let effects: Vec<_> = std::iter::from_fn(|| peer.replica.poll()).collect();
        let forgets = effects.iter().filter(|effect| matches!(effect, Effect::Forget(_))).count();
        for effect in effects {
            if let Some(event) = peer.carry_out(effect) {
                peer.replica.handle(event, 0);
            }
        }
        forgets
    };
    // Also after it was forgotten: the connection may have ended in between, and the next have asked from the old place.
    assert_eq!((forgets(&mut peer), forgets(&mut peer)), (1, 0));
    peer.handle(Event::Page(page(0, 5, &[])));
    assert_eq!(forgets(&mut peer), 1);
    peer.handle(Event::Page(page(0, 7, &[])));
    peer.replica.handle(starts_over(), 0);
    peer.replica.handle(starts_over(), 0);
    let effects = std::iter::from_fn(|| peer.replica.poll());
    assert_eq!(effects.filter(|effect| matches!(effect, Effect::Forget(_))).count(), 1, "of two collections");
}

#[test]
fn only_the_document_that_was_pruned_is_dropped_and_its_unsent_edits_are_reported() {
    let mut peer = Peer::connected(1);
    peer.put("a", 0, &task("one"));
    peer.put("b", 0, &task("two"));
    peer.put("c", 0, &task("three"));
    let ids: Vec<_> = peer.pushes[0].documents.iter().map(|document| document.id.to_string()).collect();
    assert_eq!(ids, ["a"]);
    peer.refuse("pruned");
    assert_eq!(peer.failures, [FailureKind::Pruned]);
    assert!(peer.last().2.is_none());
    assert_eq!(peer.chunks.keys().map(|id| id.to_string()).collect::<Vec<_>>(), ["b", "c"]);
    peer.accept();
    assert_eq!((peer.replica.unsent(), peer.failures.len()), (0, 1));
    assert_eq!(peer.sent.len(), 2);
}

#[test]
fn a_page_that_waits_for_its_logs_name_while_that_is_forgotten_is_not_lost() {
    let mut peer = Peer::connected(1);
    peer.put("a", 0, &task("one"));
    peer.accept();
    peer.handle(Event::Page(page(0, 9, &[])));
    let refusal = Refusal { code: "checkpointUnknown".into(), message: "ahead of the log".into() };
    peer.replica.handle(Event::PullRefused { collection: TASKS, refusal }, 1_700_000_000_000);
    // The disk takes its time: a page from the beginning comes first, as after a subscription that others have asked for.
    let mut other = Peer::connected(2);
    other.put("b", 0, &task("two"));
    peer.replica.handle(Event::Page(page(0, 5, &[("b", &other.made()[0])])), 1_700_000_000_000);
    let effects: Vec<_> = std::iter::from_fn(|| peer.replica.poll()).collect();
    peer.subscribed.clear();
    for effect in effects {
        if let Some(event) = peer.carry_out(effect) {
            peer.handle(event);
        }
    }
    let is_taken_in = peer.chunks.contains_key(&DocumentId::new("b"));
    assert!(is_taken_in || peer.subscribed == [Checkpoint::default()], "taken in, or asked for again");
}
