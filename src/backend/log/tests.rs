//! The log without anything around it: whatever order things happen in, readers get every change once.

use std::collections::{BTreeMap, BTreeSet};

use automerge::{ActorId, AutoCommit, Automerge, ChangeHash, ROOT, ReadDoc, transaction::Transactable};
use proptest::prelude::*;

use super::{row::TableRow, *};
use crate::limits::DOCUMENT_BYTES;

/// A replica that writes one document.
struct Replica {
    document: AutoCommit,
    pushed: Vec<ChangeHash>,
}

impl Replica {
    fn new(actor: u8) -> Self {
        Self { document: AutoCommit::new().with_actor(ActorId::from([actor; 16])), pushed: Vec::new() }
    }

    fn edit(&mut self, value: i64) -> PushChanges {
        self.document.put(ROOT, "value", value).unwrap();
        self.document.commit();
        let changes = self.document.get_changes(&self.pushed);
        self.pushed = self.document.get_heads();
        push("d", changes.iter().map(|change| change.raw_bytes().to_vec()))
    }

    fn merge(&mut self, log: &Log) {
        let documents = log.pull_changes("c", 0.0, None).documents;
        if let Some(document) = documents.iter().find(|document| document.id.as_str() == "d") {
            self.document.load_incremental(&document.bytes).unwrap();
            self.pushed = self.document.get_heads();
        }
    }
}

fn push(id: &str, changes: impl IntoIterator<Item = Vec<u8>>) -> PushChanges {
    let changes = changes.into_iter().map(|bytes| Chunk { bytes: bytes.into(), part: None }).collect();
    PushChanges {
        documents: vec![PushedDocument { id: id.into(), changes, fields: None, removed: Vec::new() }],
        scope: None,
    }
}

/// Pulls everything after a checkpoint, in pages as large as `limits` says, over and over.
fn pull(log: &Log, mut checkpoint: Position, limits: &[u8]) -> Vec<pull::LogDelta> {
    let mut all = Vec::new();
    let mut limits = limits.iter().cycle();
    loop {
        let limit = limits.next().map(|limit| f64::from(*limit));
        let page = log
            .pull_deltas(
                "c",
                &PullDeltas { checkpoint: Some(checkpoint), limit, scope: None, pruned: log.pruned_to("c") },
            )
            .unwrap();
        assert!(page.checkpoint >= checkpoint);
        checkpoint = page.checkpoint;
        all.extend(page.deltas);
        if !page.has_more {
            return all;
        }
    }
}

/// What a restart makes of the records.
fn restored(epoch: &str, records: &[Record]) -> Log {
    let mut documents = BTreeMap::new();
    let mut rows = BTreeMap::new();
    for record in records {
        match record {
            Record::Document(document) => {
                documents.insert(document.id.clone(), record.clone());
            }
            Record::Row(row) => {
                rows.insert(row.position, record.clone());
            }
            Record::RowGone(position) => {
                rows.remove(position);
            }
            Record::DocumentGone { id, .. } => {
                documents.insert(id.clone(), record.clone());
            }
            Record::Part { .. } | Record::PartsGone { .. } => {}
        }
    }
    let mut restore = Restore::new(epoch);
    documents.into_values().chain(rows.into_values()).for_each(|record| restore.add(record).unwrap());
    restore.finish().unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    /// A replica edits and pushes.
    Edit(u8, i64),
    /// A replica takes in what the log has.
    Merge(u8),
    /// A document of its own.
    Other(u8),
    Publish,
    /// Leaves so many rows as they are.
    Compact(u8),
    Restart,
    /// The reader pulls what is new.
    Read,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3u8, any::<i64>()).prop_map(|(replica, value)| Step::Edit(replica, value)),
        2 => (0..3u8).prop_map(Step::Merge),
        2 => any::<u8>().prop_map(Step::Other),
        3 => Just(Step::Publish),
        2 => (0..4u8).prop_map(Step::Compact),
        1 => Just(Step::Restart),
        3 => Just(Step::Read),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn readers_get_every_change_in_order_whatever_happens(
        steps in prop::collection::vec(step(), 1..60),
        limits in prop::collection::vec(1..5u8, 1..4),
        times in prop::collection::vec(0..1_000i64, 1..8),
    ) {
        let mut log = Log::new("epoch");
        let mut replicas: Vec<_> = (1..4).map(Replica::new).collect();
        let (mut others, mut records) = (BTreeSet::new(), Vec::new());
        let mut reader: BTreeMap<DocumentId, Automerge> = BTreeMap::new();
        let (mut at, mut clock) = (Position::default(), times.iter().cycle());
        for step in steps.into_iter().chain([Step::Publish, Step::Read]) {
            let now = *clock.next().unwrap();
            match step {
                Step::Edit(replica, value) => {
                    let args = replicas[usize::from(replica)].edit(value);
                    let committed = log.push_changes("c", args, now).unwrap();
                    prop_assert!(committed.answer.results[0].1.is_ok(), "{:?}", committed.answer);
                    records.extend(committed.records);
                }
                Step::Merge(replica) => {
                    log.publish();
                    replicas[usize::from(replica)].merge(&log);
                }
                Step::Other(number) => {
                    let id = format!("o{number}");
                    if others.insert(id.clone()) {
                        let mut replica = Replica::new(9);
                        replica.edit(i64::from(number));
                        let changes = replica.document.get_changes(&[]);
                        let args = push(&id, changes.iter().map(|change| change.raw_bytes().to_vec()));
                        records.extend(log.push_changes("c", args, now).unwrap().records);
                    }
                }
                Step::Publish => log.publish(),
                Step::Compact(tail) => {
                    records.extend(log.compact(&"c".into(), &DocumentId::new("d"), usize::from(tail)).unwrap());
                }
                Step::Restart => {
                    log = restored("epoch", &records);
                }
                Step::Read => {
                    for delta in pull(&log, at, &limits) {
                        prop_assert!(delta.position > at, "in order");
                        at = delta.position;
                        // Every change's dependencies have come before it.
                        let document = reader.entry(delta.document).or_default();
                        document.load_incremental(&delta.bytes).unwrap();
                        prop_assert!(document.get_missing_deps(&[]).is_empty());
                    }
                }
            }
        }
        // The reader, one who starts afresh, and the table agree with the log.
        let mut fresh: BTreeMap<DocumentId, Automerge> = BTreeMap::new();
        for delta in pull(&log, Position::default(), &limits) {
            fresh.entry(delta.document).or_default().load_incremental(&delta.bytes).unwrap();
        }
        let rows = log.rows("c");
        prop_assert_eq!(rows.len(), fresh.len());
        for (id, row) in rows {
            prop_assert_eq!(fresh[&id].get_heads(), reader[&id].get_heads());
            let TableRow { fields, .. } = TableRow::new(merge::fields(&fresh[&id]).unwrap());
            let convex::Value::Object(mut row) = row else { panic!("a row is an object") };
            prop_assert_eq!(row.remove("version"), Some(convex::Value::Float64(fresh[&id].get_changes(&[]).len() as f64)));
            row.remove("id");
            row.remove("timestamp");
            prop_assert_eq!(row, fields);
        }
        for replica in &mut replicas {
            let heads = replica.document.get_heads();
            let has_all = fresh.get(&DocumentId::new("d")).is_some_and(|document| {
                heads.iter().all(|head| document.get_change_by_hash(head).is_some())
            });
            prop_assert!(heads.is_empty() || has_all);
        }
    }

    #[test]
    fn time_only_goes_forward(times in prop::collection::vec(any::<i32>(), 1..20)) {
        let mut log = Log::new("epoch");
        let mut replica = Replica::new(1);
        let mut last = 0;
        for (value, now) in times.into_iter().enumerate() {
            let committed = log.push_changes("c", replica.edit(value as i64), i64::from(now)).unwrap();
            prop_assert!(committed.ts > last);
            last = committed.ts;
        }
    }
}

#[test]
fn nothing_is_shown_before_it_is_published() {
    let mut log = Log::new("epoch");
    let mut replica = Replica::new(1);
    log.push_changes("c", replica.edit(1), 5_000).unwrap();
    assert!(pull(&log, Position::default(), &[10]).is_empty());
    assert_eq!(log.change_stream("c"), StreamState::default());
    assert!(log.pull_changes("c", 0.0, None).documents.is_empty());
    log.publish();
    assert_eq!(pull(&log, Position::default(), &[10]).len(), 1);
    assert_eq!(log.change_stream("c"), StreamState { timestamp: 5_000, count: 1 });
    assert_eq!(log.pull_changes("c", 0.0, None).documents.len(), 1);
}

#[test]
fn a_snapshot_stands_for_the_changes_it_replaced() {
    let mut log = Log::new("epoch");
    let mut replica = Replica::new(1);
    let mut records = Vec::new();
    let mut pushes = Vec::new();
    for value in 0..10 {
        let args = replica.edit(value);
        pushes.push(args.clone());
        records.extend(log.push_changes("c", args, 0).unwrap().records);
    }
    log.publish();
    let before: Vec<_> = pull(&log, Position::default(), &[4]).into_iter().map(|delta| delta.position).collect();
    records.extend(log.compact(&"c".into(), &DocumentId::new("d"), 3).unwrap());
    for log in [&mut log, &mut restored("epoch", &records)] {
        let after: Vec<_> = pull(log, Position::default(), &[4]).into_iter().map(|delta| delta.position).collect();
        assert_eq!(after, before[6..], "at the place of the last change it covers");
        assert_eq!(pull(log, before[2], &[4]).len(), 4, "a reader in the middle is given the snapshot");
        assert_eq!(pull(log, before[7], &[4]).len(), 2, "one after it is not sent old news");
        // What is known of the replaced changes stays known.
        for args in &pushes {
            let repeated = log.push_changes("c", args.clone(), 0).unwrap();
            assert!(repeated.answer.results[0].1.is_ok() && repeated.records.is_empty());
        }
        let mut impostor = Replica::new(1);
        let refused = log.push_changes("c", impostor.edit(99), 0).unwrap();
        assert_eq!(refused.answer.results[0].1.as_ref().unwrap_err().code, "reusedSequence");
        assert_eq!(pull(log, Position::default(), &[4]).len(), 4);
    }
}

/// A change that no compression makes smaller.
fn noise(replica: &mut Replica, seed: u64) -> PushChanges {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    let bytes: Vec<u8> = (0..150_000).map(|_| byte()).collect();
    replica.document.put(ROOT, "noise", bytes).unwrap();
    replica.edit(seed as i64)
}

/// Puts a reader's rows together.
fn assembled(deltas: &[pull::LogDelta]) -> Automerge {
    let bytes: Vec<u8> = deltas.iter().flat_map(|delta| delta.bytes.iter().copied()).collect();
    Automerge::load(&bytes).unwrap()
}

#[test]
fn a_snapshot_over_one_row_is_kept_in_parts_that_no_reader_gets_half_of() {
    let mut log = Log::new("epoch");
    let mut replica = Replica::new(1);
    let mut records = Vec::new();
    for seed in 1..9 {
        records.extend(log.push_changes("c", noise(&mut replica, seed), 0).unwrap().records);
    }
    log.publish();
    let before: Vec<_> = pull(&log, Position::default(), &[4]).into_iter().map(|delta| delta.position).collect();
    records.extend(log.compact(&"c".into(), &DocumentId::new("d"), 2).unwrap());
    let rows = |log: &Log| pull(log, Position::default(), &[1]);
    let parts = rows(&log).len() - 2;
    assert!((3..6).contains(&parts), "{parts} parts");
    for mut log in [log, restored("epoch", &records)] {
        let after = rows(&log);
        assert_eq!(after.len(), parts + 2);
        assert_eq!(after[parts - 1].position, before[5], "the last part has the place of the last change");
        for (index, delta) in after[..parts].iter().enumerate() {
            let part = delta.part.as_ref().unwrap();
            assert_eq!((part.index as usize, part.count as usize), (index, parts));
        }
        assert_eq!(assembled(&after).get_heads(), replica.document.get_heads());
        for (index, position) in before.iter().enumerate() {
            let wanted = if index < 5 { parts + 2 } else { 7 - index };
            assert_eq!(pull(&log, *position, &[1]).len(), wanted, "a reader at change {index}");
        }
        // It goes on: more changes, and another snapshot in place of this one.
        let mut more = Vec::new();
        for seed in 10..16 {
            let mut replica = Replica { document: replica.document.fork(), pushed: replica.pushed.clone() };
            more.extend(log.push_changes("c", noise(&mut replica, seed), 0).unwrap().records);
        }
        log.publish();
        let all = rows(&log);
        let heads = assembled(&all).get_heads();
        assert_eq!(heads.len(), 6);
        more.extend(log.compact(&"c".into(), &DocumentId::new("d"), 0).unwrap());
        let fewer = rows(&log);
        assert!(fewer.len() < all.len(), "{} rows were {}", fewer.len(), all.len());
        assert_eq!(assembled(&fewer).get_heads(), heads);
        assert!(pull(&log, all[all.len() - 1].position, &[1]).is_empty(), "nobody up to date is sent anything");
        let everything: Vec<_> = records.iter().chain(&more).cloned().collect();
        let again = restored("epoch", &everything);
        assert_eq!(rows(&again).len(), fewer.len());
        assert_eq!(again.changes(), log.changes());
    }
}

#[test]
fn a_change_that_makes_no_sense_is_refused_and_leaves_the_document_as_it_was() {
    use crate::replica::sound::tests::{document_and_edits, forgeries, without_automerge_panics};
    without_automerge_panics();
    let (mut base, edits) = document_and_edits();
    let first = base.get_changes(&[]);
    let mut refused = 0;
    // Every seventh, since a document is loaded after each.
    for forged in forgeries(&edits).step_by(7) {
        let hash = automerge::Change::try_from(&forged[..]).unwrap().hash();
        for fields in [None, Some(convex::Value::Object(BTreeMap::new()))] {
            let mut log = Log::new("epoch");
            let mut args = push("d", first.iter().map(|change| change.raw_bytes().to_vec()));
            log.push_changes("c", args.clone(), 0).unwrap();
            args.documents[0].changes = vec![Chunk { bytes: forged.clone().into(), part: None }];
            args.documents[0].fields = fields;
            let answer = log.push_changes("c", args, 0).unwrap().answer;
            log.publish();
            let whole = log.pull_changes("c", 0.0, None).documents.remove(0);
            let opened = Automerge::load(&whole.bytes).unwrap();
            let again = Automerge::load(&opened.save()).unwrap();
            match &answer.results[0].1 {
                Ok(()) => assert_eq!(again.get_heads(), [hash]),
                Err(failure) => {
                    refused += 1;
                    assert!(["invalidChange", "forbiddenField"].contains(&failure.code), "{failure:?}");
                    assert_eq!(again.get_heads(), base.get_heads());
                    let convex::Value::Object(row) = &log.rows("c")[0].1 else { panic!("a row is an object") };
                    assert_eq!(row["version"], convex::Value::Float64(1.0));
                }
            }
        }
    }
    assert!(refused > 200, "{refused} refused");
}

/// As [`push`], with what the writer says the fields are.
fn push_fields(changes: impl IntoIterator<Item = Vec<u8>>, fields: &[(&str, f64)]) -> PushChanges {
    let mut args = push("d", changes);
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), convex::Value::Float64(*value)));
    args.documents[0].fields = Some(convex::Value::Object(fields.collect()));
    args
}

fn field(log: &Log, name: &str) -> convex::Value {
    let convex::Value::Object(row) = &log.rows("c")[0].1 else { panic!("a row is an object") };
    row[name].clone()
}

#[test]
fn a_row_keeps_what_came_between_a_push_that_is_repeated_and_what_follows_it() {
    let mut log = Log::new("epoch");
    let (mut ada, mut bob) = (Replica::new(1), Replica::new(2));
    let first = ada.edit(1).documents.remove(0).changes.remove(0).bytes.to_vec();
    log.push_changes("c", push_fields([first.clone()], &[("value", 1.0)]), 1).unwrap();
    log.publish();
    // The answer was lost. Bob saw it, and went on; Ada, in her next run, saw that, and sets something else.
    bob.merge(&log);
    let bobs = bob.edit(2).documents.remove(0).changes.remove(0).bytes.to_vec();
    log.push_changes("c", push_fields([bobs], &[("value", 2.0)]), 2).unwrap();
    log.publish();
    ada.merge(&log);
    ada.document.set_actor(ActorId::from([3; 16]));
    ada.document.put(ROOT, "other", 3.0).unwrap();
    ada.document.commit();
    let second = ada.document.get_last_local_change().unwrap().raw_bytes().to_vec();
    // Both once more, with what each of them set.
    log.push_changes("c", push_fields([first, second], &[("value", 1.0), ("other", 3.0)]), 3).unwrap();
    log.publish();
    assert_eq!(field(&log, "value"), convex::Value::Float64(2.0));
    assert_eq!(field(&log, "other"), convex::Value::Float64(3.0));
}

#[test]
fn a_row_keeps_what_the_first_change_of_a_push_had_not_seen() {
    let mut log = Log::new("epoch");
    let (mut ada, mut bob) = (Replica::new(1), Replica::new(2));
    let start = ada.edit(1).documents.remove(0).changes.remove(0).bytes.to_vec();
    log.push_changes("c", push_fields([start], &[("value", 1.0)]), 1).unwrap();
    log.publish();
    bob.merge(&log);
    ada.document.put(ROOT, "other", 2.0).unwrap();
    ada.document.commit();
    let adas = ada.document.get_last_local_change().unwrap().raw_bytes().to_vec();
    log.push_changes("c", push_fields([adas], &[("other", 2.0)]), 2).unwrap();
    // Ada goes on where Bob is, too: the log has two heads, and her next change has seen one of them.
    ada.document.put(ROOT, "value", 5).unwrap();
    ada.document.commit();
    let unseen = ada.document.get_last_local_change().unwrap().raw_bytes().to_vec();
    let bobs = (6..9).map(|value| bob.edit(value).documents.remove(0).changes.remove(0).bytes.to_vec());
    for (change, value) in bobs.zip([6.0, 7.0, 8.0]) {
        log.push_changes("c", push_fields([change], &[("value", value)]), 3).unwrap();
    }
    log.publish();
    ada.merge(&log);
    ada.document.put(ROOT, "other", 9.0).unwrap();
    ada.document.commit();
    let seen = ada.document.get_last_local_change().unwrap().raw_bytes().to_vec();
    log.push_changes("c", push_fields([unseen, seen], &[("value", 5.0), ("other", 9.0)]), 4).unwrap();
    log.publish();
    // Of two values set at once, the one with the higher number: Bob's last.
    assert_eq!(field(&log, "value"), convex::Value::Float64(8.0));
    assert_eq!(field(&log, "other"), convex::Value::Float64(9.0));
    assert!(log.check_rows(1).is_empty(), "it was merged");
}

#[test]
fn parts_that_never_became_whole_go_after_a_while_and_those_that_came_again_stay() {
    let mut log = Log::new("epoch");
    let send = |log: &mut Log, id: &str, index: u32, now: i64| {
        let part = Part { hash: [id.len() as u8; 32], index, count: 3 };
        let chunk = Chunk { bytes: vec![index as u8; 10].into(), part: Some(Some(part)) };
        let document = PushedDocument { id: id.into(), changes: vec![chunk], fields: None, removed: Vec::new() };
        let committed = log.push_changes("c", PushChanges { documents: vec![document], scope: None }, now).unwrap();
        assert!(committed.answer.results[0].1.is_ok(), "{:?}", committed.answer);
        committed.records
    };
    let mut records = send(&mut log, "old", 0, 100);
    records.extend(send(&mut log, "again", 0, 100));
    records.extend(send(&mut log, "two", 0, 100));
    records.extend(send(&mut log, "two", 1, 300));
    assert!(send(&mut log, "again", 0, 300).is_empty(), "it is there");
    assert!(log.prunable(i64::MIN, 100, 10).is_empty());
    let gone = log.prunable(i64::MIN, 200, 10);
    let names = |records: &[Record]| -> Vec<String> {
        records
            .iter()
            .map(|record| match record {
                Record::PartsGone { document, .. } => document.to_string(),
                other => panic!("{other:?}"),
            })
            .collect()
    };
    assert_eq!(names(&gone), ["old"]);
    assert_eq!(log.prunable(i64::MIN, 200, 10).len(), 1, "until it is durable nothing has changed");
    log.forget(&gone, 400);
    assert!(log.prunable(i64::MIN, 200, 10).is_empty());
    assert_eq!(log.prunable(i64::MIN, 301, 10).len(), 2);

    // A restart knows when they came first, by chunk.
    let mut restore = Restore::new("epoch");
    for record in records {
        restore.add(record).unwrap();
    }
    let restored = restore.finish().unwrap();
    let mut left = names(&restored.prunable(i64::MIN, 200, 10));
    left.sort();
    assert_eq!(left, ["again", "old"]);
}

#[test]
fn nobody_is_shown_a_pruning_that_is_not_durable() {
    let mut log = Log::new("epoch");
    let mut replica = Replica::new(1);
    log.push_changes("c", replica.edit(1), 100).unwrap();
    log.delete_document("c", "d", [7; 16], 200).unwrap();
    log.publish();
    assert!(log.prunable(200, 0, 10).is_empty());
    let gone = log.prunable(201, 0, 10);
    assert_eq!(pull(&log, Position::default(), &[1]).len(), 2, "all is there");
    assert_eq!(log.pruned_to("c"), None);
    log.forget(&gone, 300);
    log.publish();
    assert!(pull(&log, Position::default(), &[1]).is_empty());
    assert_eq!(log.pruned_to("c"), Some(200));
    assert!(log.touched("c", None) >= 300, "readers look again");
    assert_eq!(log.change_stream("c"), StreamState::default());
    assert!(log.prunable(i64::MAX, 0, 10).is_empty());
}

#[test]
fn a_reader_on_its_way_hears_of_a_deleted_document_that_goes_after_newer_ones() {
    let mut log = Log::new("epoch");
    // Its writer does not say that it is deleted, which is found only when rows are checked.
    let mut late = Replica::new(1);
    log.push_changes("c", late.edit(1), 100).unwrap();
    late.document.put(ROOT, "deleted", true).unwrap();
    let mut lie = late.edit(2);
    let fields = [("value".to_owned(), convex::Value::Float64(2.0))];
    lie.documents[0].fields = Some(convex::Value::Object(fields.into()));
    assert!(log.push_changes("c", lie, 200).unwrap().answer.results[0].1.is_ok());
    let mut sure = Replica::new(2);
    let mut made = sure.edit(1);
    made.documents[0].id = "sure".into();
    log.push_changes("c", made, 300).unwrap();
    log.delete_document("c", "sure", [7; 16], 400).unwrap();
    log.publish();

    let prune = |log: &mut Log, now| {
        let gone = log.prunable(500, 0, 10);
        log.forget(&gone, now);
        log.publish();
        gone
    };
    let ask = |log: &Log, checkpoint, pruned| {
        let limit = Some(1.0);
        log.pull_deltas("c", &PullDeltas { checkpoint: Some(checkpoint), limit, scope: None, pruned })
    };
    let mut gone = prune(&mut log, 600);
    let first = ask(&log, Position::default(), None).unwrap();
    assert_eq!((first.deltas.len(), first.has_more, first.pruned), (1, true, Some(400)));
    assert!(!log.check_rows(10).is_empty());
    gone.extend(prune(&mut log, 700));
    assert!(log.has_pruned("c", &DocumentId::new("d")) && log.has_pruned("c", &DocumentId::new("sure")));
    let refused = ask(&log, first.checkpoint, first.pruned).expect_err("what it has read is gone");
    assert_eq!(refused.code, "checkpointUnknown");

    // Whoever begins now is told something else, and so after a restart.
    let begins = ask(&log, Position::default(), None).unwrap();
    assert_ne!(begins.pruned, first.pruned);
    let mut restore = Restore::new("epoch");
    gone.into_iter().for_each(|record| restore.add(record).unwrap());
    assert_eq!(restore.finish().unwrap().pruned_to("c"), begins.pruned);
}

#[test]
fn a_document_over_its_limit_is_refused_and_one_with_that_much_history_is_not() {
    let mut log = Log::new("epoch");
    let mut history = Replica::new(1);
    // What compresses to almost nothing: much in the log, little in the document.
    let rewritten = |replica: &mut Replica, value: u8| {
        replica.document.put(ROOT, "blob", vec![value; 200_000]).unwrap();
        replica.edit(i64::from(value))
    };
    for value in 0..40 {
        let answer = log.push_changes("c", rewritten(&mut history, value), i64::from(value)).unwrap().answer;
        assert_eq!(answer.results, [("d".to_owned(), Ok(()))], "{value}");
    }
    let bytes = log.size().3;
    assert!(bytes > DOCUMENT_BYTES, "{bytes}");

    let mut log = Log::new("epoch");
    let mut replica = Replica::new(2);
    let mut accepted = 0;
    let refused = (1..60).find_map(|seed| {
        let result = log.push_changes("c", noise(&mut replica, seed), seed as i64).unwrap().answer.results.remove(0).1;
        accepted += usize::from(result.is_ok());
        result.err()
    });
    let refused = refused.expect("what does not compress is over the limit at some time");
    assert_eq!((refused.code, refused.limit), ("tooLarge", Some(DOCUMENT_BYTES as u64)));
    assert_eq!(accepted, DOCUMENT_BYTES / 150_100, "as many as fit");
    // What was there is whole, and takes what is small.
    log.publish();
    let whole = log.pull_changes("c", 0.0, None).documents.remove(0);
    assert_eq!((whole.version, Automerge::load(&whole.bytes).unwrap().get_changes(&[]).len()), (accepted, accepted));
    let mut other = Replica::new(3);
    other.merge(&log);
    let answer = log.push_changes("c", other.edit(1), 100).unwrap().answer;
    assert_eq!(answer.results, [("d".to_owned(), Ok(()))]);
}
