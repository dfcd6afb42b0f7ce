//! Hostile chunks to the replica: after any input, the document is unchanged or correct, and other documents continue
//! to work.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use automerge::{AutoCommit, Automerge, ROOT, ReadDoc, transaction::Transactable};
use bevy_convex_replicate::{
    CollectionIndex, DocumentId, DocumentKey,
    format::Value,
    limits::CHUNK_BYTES,
    replica::{
        Checkpoint, CollectionSchema, Delta, Edit, EditKind, Effect, Event, FromBackend, Lookup, Page, Part, Position,
        PulledChunk, RemoteState, Replica, StoreRequest,
    },
    store::{ChunkKind, RemoteId, Write},
    worker::FailureKind,
};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use crate::{chunks, corpus, memory, mutate, panics, plain::Plain};

/// The memory that a case may use in addition to its input. Automerge keeps some hundred bytes for an operation, and a
/// mutated run may claim `CHANGE_OPERATIONS` of them.
const PEAK: usize = 1024 * 1024 * 1024;

type Chunk = (ChunkKind, Arc<[u8]>);

/// A replica, its store, and its reports.
pub struct Machine {
    replica: Replica,
    stored: HashMap<DocumentId, Vec<Chunk>>,
    pub deltas: Vec<Delta>,
    pub failures: Vec<(FailureKind, Option<DocumentId>, String)>,
    pub checkpoint: Option<Position>,
    last: Position,
}

const TASKS: CollectionIndex = CollectionIndex(0);

impl Machine {
    pub fn new() -> Self {
        let schema = CollectionSchema { name: "tasks".into(), schema: Arc::new(Plain) };
        let mut machine = Self {
            replica: Replica::new([9; 16], vec![schema], true),
            stored: HashMap::new(),
            deltas: Vec::new(),
            failures: Vec::new(),
            checkpoint: None,
            last: Position::default(),
        };
        machine.handle(Event::Opened { collection: TASKS, documents: Vec::new() });
        machine.handle(Event::Remote { epoch: None, state: RemoteState::default() });
        machine.handle(Event::Connected);
        machine
    }

    pub fn handle(&mut self, event: Event) {
        self.replica.handle(event, 1_700_000_000_000);
        while let Some(effect) = self.replica.poll() {
            let answer = match effect {
                Effect::Deliver(delta) => {
                    self.deltas.push(delta);
                    None
                }
                Effect::Store(StoreRequest::Load(document)) => {
                    let mut chunks = self.stored.get(&document.id).cloned().unwrap_or_default();
                    chunks.sort_by_key(|(kind, _)| *kind == ChunkKind::Change);
                    let chunks = chunks.into_iter().map(|(_, bytes)| bytes).collect();
                    Some(Event::Loaded { document, chunks })
                }
                Effect::Store(StoreRequest::Write(_, Write::Document(write))) => {
                    let stored = self.stored.entry(write.id).or_default();
                    stored.extend(write.chunks.into_iter().map(|chunk| (chunk.kind, chunk.bytes)));
                    None
                }
                Effect::Store(StoreRequest::Write(_, Write::Checkpoint { checkpoint, .. })) => {
                    self.checkpoint = Some(checkpoint.position);
                    None
                }
                Effect::Store(StoreRequest::LookUp(Lookup::Epoch(epoch))) => {
                    let state = RemoteState {
                        remote: Some(RemoteId(1)),
                        checkpoints: vec![Checkpoint::default()],
                        unsent: vec![Vec::new()],
                        unread: vec![false],
                    };
                    Some(Event::Remote { epoch: Some(epoch), state })
                }
                Effect::Failed { kind, document, message, .. } => {
                    self.failures.push((kind, document, message));
                    None
                }
                _ => None,
            };
            if let Some(answer) = answer {
                self.replica.handle(answer, 1_700_000_000_000);
            }
        }
    }

    /// The next page of the log.
    pub fn page(&mut self, deltas: Vec<(&str, Vec<u8>, Option<Part>)>) -> Position {
        let from = self.last;
        let deltas = deltas
            .into_iter()
            .map(|(id, bytes, part)| {
                self.last.ts += 1;
                PulledChunk { id: DocumentId::new(id), position: self.last, bytes, part, author: None }
            })
            .collect();
        let to = self.last;
        let page =
            Page { collection: TASKS, from, rows: deltas, to, has_more: false, epoch: "log".into(), pruned: None };
        self.handle(Event::Backend(FromBackend::Page(page)));
        to
    }

    pub fn pull(&mut self, id: &str, chunks: Vec<Vec<u8>>) -> Position {
        self.page(chunks.into_iter().map(|bytes| (id, bytes, None)).collect())
    }

    pub fn edit(&mut self, id: &str, fields: Value) {
        let generation = self.shown(id).map_or(0, |delta| delta.generation);
        let document = DocumentKey { collection: TASKS, id: DocumentId::new(id) };
        let kind = EditKind::put((fields, 1));
        self.handle(Event::Edit(1, Edit { document, generation, seq: 1, kind }));
    }

    pub fn shown(&self, id: &str) -> Option<&Delta> {
        self.deltas.iter().rev().find(|delta| delta.document.id.as_str() == id)
    }

    pub fn field(&self, id: &str, name: &str) -> Option<&Value> {
        self.shown(id)?.value.as_ref()?.get(name)
    }

    /// Checks that the stored chunks of a document can be opened.
    pub fn reopen(&self, id: &str) -> Option<Automerge> {
        let mut chunks = self.stored.get(&DocumentId::new(id))?.clone();
        chunks.sort_by_key(|(kind, _)| *kind == ChunkKind::Change);
        let bytes: Vec<u8> = chunks.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
        let opened = catch_unwind(AssertUnwindSafe(|| Automerge::load(&bytes)));
        Some(opened.expect("what was stored opens without a panic").expect("what was stored opens"))
    }
}

fn map(fields: &[(&str, Value)]) -> Value {
    Value::Map(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
}

/// Gives these chunks to a machine with a valid document, beside a chunk for another document, and checks that
/// everything works afterwards.
fn survives(hostile: Vec<(Vec<u8>, Option<Part>)>) {
    let given: usize = hostile.iter().map(|(bytes, _)| bytes.len()).sum();
    let before = panics::ours().len();
    let mut machine = Machine::new();
    machine.pull("victim", chunks::changes(&mut chunks::everything()));
    let good = machine.shown("victim").cloned().expect("the document is shown");
    let peak = memory::Peak::start();

    let mut page: Vec<_> = hostile.into_iter().map(|(bytes, part)| ("victim", bytes, part)).collect();
    page.push(("neighbour", chunks::changes(&mut chunks::counter(1)).remove(0), None));
    machine.page(page);

    assert_eq!(machine.field("neighbour", "count"), Some(&Value::Counter(1)), "the neighbour is shown");
    assert!(machine.shown("victim").is_some_and(|delta| delta.generation >= good.generation));
    let edits = machine.failures.len();
    machine.edit("victim", map(&[("after", Value::Int(1))]));
    machine.edit("neighbour", map(&[("count", Value::Counter(5))]));
    assert!(
        machine.failures[edits..].iter().all(|(kind, document, _)| *kind == FailureKind::Unwritable
            && document.as_ref().is_some_and(|document| document.as_str() == "victim")),
        "{:?}",
        machine.failures
    );
    machine.reopen("victim");
    assert_eq!(counted(&machine.reopen("neighbour").expect("it is stored")), 5);
    let taken = peak.bytes();
    assert!(taken < PEAK + 64 * given, "{taken} bytes for {given}");
    assert_eq!(panics::ours().len(), before, "{:?}", panics::ours().last());
}

fn counted(document: &Automerge) -> i64 {
    document.get(ROOT, "count").unwrap().and_then(|(value, _)| value.as_i64()).unwrap_or_default()
}

/// Valid chunks to mutate. All of them depend on the victim's changes.
fn valid() -> Vec<Vec<u8>> {
    let mut document = chunks::everything();
    let known = document.get_heads();
    document.set_actor(chunks::actor(4));
    document.put(ROOT, "more", 1).unwrap();
    document.increment(ROOT, "count", 2).unwrap();
    document.commit();
    let (_, text) = document.get(ROOT, "text").unwrap().unwrap();
    document.splice_text(&text, 2, 3, "xyz").unwrap();
    let (_, list) = document.get(ROOT, "list").unwrap().unwrap();
    document.insert(&list, 1, "item").unwrap();
    document.delete(&list, 0).unwrap();
    document.commit();
    let mut valid: Vec<_> = document.get_changes(&known).iter().map(|change| change.raw_bytes().to_vec()).collect();
    valid.extend(chunks::changes(&mut chunks::everything()));
    valid.push(document.save());
    valid.push(document.save_nocompress());
    valid.push(chunks::everything().save());
    valid
}

proptest! {
    #![proptest_config(crate::cases(200, "../hostile/proptest-regressions/replica.txt"))]

    #[test]
    fn a_mutated_chunk_is_applied_or_skipped(
        which in 0..64_usize,
        mutations in mutate::mutations(4),
        sealed in prop::bool::weighted(0.9),
        kind in prop_oneof![8 => Just(None), 1 => (0..4_u8).prop_map(Some)],
    ) {
        let _alone = memory::alone();
        panics::watch();
        let valid = valid();
        let chunk = &valid[which % valid.len()];
        let hostile = if sealed {
            let (own, data) = chunks::open(chunk);
            chunks::seal(kind.unwrap_or(own), &mutate::apply(data, &mutations))
        } else {
            mutate::apply(chunk, &mutations)
        };
        crate::fed("replica chunks", hostile.len());
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| survives(vec![(hostile.clone(), None)]))) {
            if std::env::var_os("HOSTILE_KEEP").is_some() {
                let name = Sha256::digest(&hostile).iter().take(6).map(|byte| format!("{byte:02x}")).collect::<String>();
                corpus::keep("chunks", &name, &hostile);
            }
            std::panic::resume_unwind(panic);
        }
    }

    #[test]
    fn parts_with_any_numbers_are_joined_or_skipped(
        parts in prop::collection::vec((0..4_u8, prop_oneof![0..4_u32, any::<u32>()], prop_oneof![0..5_u32, any::<u32>()], 0..300_usize), 1..40),
    ) {
        let _alone = memory::alone();
        panics::watch();
        crate::fed("replica parts", parts.iter().map(|(.., length)| length).sum());
        let hostile = parts
            .into_iter()
            .map(|(hash, index, count, length)| (vec![hash; length], Some(Part { hash: [hash; 32], index, count })))
            .collect();
        survives(hostile);
    }
}

#[test]
fn chunks_of_the_corpus_are_survived() {
    let _alone = memory::alone();
    panics::watch();
    if std::env::var_os("HOSTILE_KEEP").is_some() {
        valid()
            .iter()
            .enumerate()
            .for_each(|(number, bytes)| corpus::keep("chunks", &format!("valid-{number:02}"), bytes));
    }
    for (name, bytes) in corpus::files("chunks") {
        println!("chunks/{name}");
        survives(vec![(bytes, None)]);
    }
}

#[test]
fn a_counter_that_overflows_affects_only_its_own_change() {
    let _alone = memory::alone();
    panics::watch();
    let contained = panics::contained();
    let mut machine = Machine::new();
    let mut document = chunks::counter(i64::MAX - 1);
    machine.pull("victim", chunks::changes(&mut document));
    let before = document.get_heads();
    document.increment(ROOT, "count", i64::MAX).unwrap_or_default();
    document.commit();
    let overflowing = document.get_changes(&before).remove(0).raw_bytes().to_vec();
    let mut other = AutoCommit::load(&chunks::counter(i64::MAX - 1).save()).unwrap().with_actor(chunks::actor(6));
    other.put(ROOT, "good", true).unwrap();
    let good = chunks::changes(&mut other).pop().unwrap();
    let end = machine.pull("victim", vec![overflowing, good]);
    assert_eq!(machine.field("victim", "good"), Some(&Value::Bool(true)), "{:?}", machine.failures);
    assert_eq!(machine.checkpoint, Some(end));
    machine.edit("victim", map(&[("after", Value::Int(1))]));
    machine.reopen("victim");
    println!("contained: {} {:?}", panics::contained() - contained, panics::contained_places());
}

#[test]
fn a_change_without_its_dependencies_leaves_a_document_that_can_be_opened() {
    let _alone = memory::alone();
    panics::watch();
    let mut machine = Machine::new();
    let mut document = chunks::everything();
    let mut all = chunks::changes(&mut document);
    let later = all.pop().unwrap();
    machine.pull("victim", vec![later]);
    assert!(matches!(machine.failures[..], [(FailureKind::Damaged, Some(_), _)]), "{:?}", machine.failures);
    machine.pull("victim", all);
    assert_eq!(machine.field("victim", "count"), Some(&Value::Counter(7)));
    machine.reopen("victim").expect("it is stored");
}

#[test]
fn a_change_with_a_wrong_checksum_is_not_stored() {
    let _alone = memory::alone();
    panics::watch();
    let mut machine = Machine::new();
    let mut change = chunks::changes(&mut chunks::counter(1)).remove(0);
    change[4] ^= 1;
    machine.pull("victim", vec![change]);
    assert!(matches!(machine.failures[..], [(FailureKind::Damaged, Some(_), _)]), "{:?}", machine.failures);
    assert!(machine.reopen("victim").is_none(), "nothing of it is stored");
}

#[test]
fn a_change_that_reuses_a_sequence_number_does_not_affect_others() {
    let _alone = memory::alone();
    panics::watch();
    let mut machine = Machine::new();
    let mut document = chunks::counter(1);
    machine.pull("victim", chunks::changes(&mut document));
    let mut twin = AutoCommit::new().with_actor(chunks::actor(2));
    twin.put(ROOT, "count", "another first change of the same actor").unwrap();
    let reused = chunks::changes(&mut twin).remove(0);
    document.set_actor(chunks::actor(5));
    document.put(ROOT, "good", true).unwrap();
    let good = chunks::changes(&mut document).pop().unwrap();
    machine.pull("victim", vec![reused, good]);
    assert_eq!(machine.field("victim", "good"), Some(&Value::Bool(true)), "{:?}", machine.failures);
    assert!(machine.failures.iter().any(|(kind, ..)| *kind == FailureKind::Damaged));
    let stored = machine.reopen("victim").expect("it is stored");
    assert!(stored.get(ROOT, "good").unwrap().is_some());
}

#[test]
fn operations_with_the_largest_possible_numbers_are_refused() {
    let _alone = memory::alone();
    panics::watch();
    let mut machine = Machine::new();
    let change = chunks::changes(&mut chunks::counter(1)).remove(0);
    let (_, data) = chunks::open(&change);
    let mut data = data.to_vec();
    assert_eq!((data[18], data[19]), (1, 1), "sequence number and first operation");
    data.splice(19..20, mutate::leb(u64::from(u32::MAX)));
    machine.pull("victim", vec![chunks::seal(chunks::CHANGE, &data)]);
    assert!(matches!(machine.failures[..], [(FailureKind::Damaged, Some(_), _)]), "{:?}", machine.failures);
    machine.edit("victim", map(&[("after", Value::Int(1))]));
    assert_eq!(machine.failures.len(), 1, "an edit still has a number: {:?}", machine.failures);
}

#[test]
fn a_snapshot_that_inflates_without_bound_is_refused_before_it_does() {
    use flate2::{Compression, write::DeflateEncoder};
    use std::io::Write as _;
    let _alone = memory::alone();
    panics::watch();
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![0_u8; 1 << 20];
    for _ in 0..512 {
        encoder.write_all(&zeros).unwrap();
    }
    let column = encoder.finish().unwrap();
    // No actors, no heads, one compressed column of changes, no column of operations.
    let mut data = vec![0, 0, 1];
    data.extend(mutate::leb(0b1011));
    data.extend(mutate::leb(column.len() as u64));
    data.push(0);
    data.extend(column);
    let bomb = chunks::seal(chunks::DOCUMENT, &data);
    let pieces: Vec<_> = bomb.chunks(CHUNK_BYTES).map(<[u8]>::to_vec).collect();
    let (hash, count) = (Sha256::digest(&bomb).into(), pieces.len() as u32);
    let mut machine = Machine::new();
    let peak = memory::Peak::start();
    let parts = pieces.into_iter().enumerate();
    machine
        .page(parts.map(|(index, bytes)| ("victim", bytes, Some(Part { hash, index: index as u32, count }))).collect());
    let taken = peak.bytes();
    assert!(machine.failures[0].2.contains("inflates"), "{:?}", machine.failures);
    // The buffer may double when it grows.
    assert!(taken < 3 * bevy_convex_replicate::limits::INFLATED_BYTES, "{taken}");
    // A log never contains a compressed change.
    let mut machine = Machine::new();
    machine.pull("victim", vec![chunks::seal(chunks::COMPRESSED, &[1, 2, 3])]);
    assert_eq!(machine.failures[0].0, FailureKind::Damaged);
}

#[test]
fn a_few_bytes_that_claim_many_operations_stay_within_the_memory_bound() {
    let _alone = memory::alone();
    panics::watch();
    for operations in [bevy_convex_replicate::limits::CHANGE_OPERATIONS + 1, 1 << 40, u64::MAX >> 1] {
        let mut machine = Machine::new();
        let bomb = chunks::bomb(operations);
        let peak = memory::Peak::start();
        machine.pull("victim", vec![bomb]);
        assert!(peak.bytes() < 1 << 20, "{}", peak.bytes());
        assert_eq!(machine.failures[0].0, FailureKind::Damaged);
    }
    for operations in [1_000, 100_000] {
        let mut machine = Machine::new();
        let bomb = chunks::bomb(operations);
        let peak = memory::Peak::start();
        machine.pull("victim", vec![bomb]);
        println!("{operations} operations: {} bytes, {:?}", peak.bytes(), machine.failures);
        assert!(machine.failures.is_empty(), "{:?}", machine.failures);
        assert!((peak.bytes() as u64) < (1 << 20) + 2_048 * operations, "{}", peak.bytes());
    }
}

#[test]
fn parts_of_chunks_that_are_never_completed_do_not_accumulate() {
    let _alone = memory::alone();
    panics::watch();
    let mut machine = Machine::new();
    let peak = memory::Peak::start();
    for page in 0..200_u32 {
        let hash: [u8; 32] = Sha256::digest(page.to_be_bytes()).into();
        machine.page(vec![("victim", vec![0; CHUNK_BYTES], Some(Part { hash, index: 0, count: 2 }))]);
    }
    assert!(peak.bytes() < 3 * bevy_convex_replicate::limits::PARTIAL_BYTES, "{}", peak.bytes());
    assert!(machine.failures.iter().all(|(kind, ..)| *kind == FailureKind::Damaged));
    assert!(!machine.failures.is_empty());
    machine.pull("neighbour", chunks::changes(&mut chunks::counter(1)));
    assert_eq!(machine.field("neighbour", "count"), Some(&Value::Counter(1)));
}
