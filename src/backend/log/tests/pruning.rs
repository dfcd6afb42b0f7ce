//! Tests of pruning.

use super::*;
use crate::{
    backend::access::{Authorize, ReadRequest, WriteRequest},
    record::UserId,
};

#[test]
fn parts_that_never_became_whole_go_after_a_while_and_those_that_came_again_stay() {
    let mut log = Log::new("epoch");
    let send = |log: &mut Log, id: &str, index: u32, now: i64| {
        let part = Part { hash: [id.len() as u8; 32], index, count: 3 };
        let chunk = Chunk { bytes: vec![index as u8; 10].into(), part: Some(Ok(part)) };
        let document = DocumentChanges { id: id.into(), changes: vec![chunk], fields: None, removed: Vec::new() };
        let committed =
            log.push_changes("c", Rights::ALL, PushChanges { documents: vec![document], scope: None }, now).unwrap();
        assert!(committed.answer[0].1.is_ok(), "{:?}", committed.answer);
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

    // After a restart the log still knows since when each chunk waits.
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
fn a_pruning_that_is_not_durable_is_not_shown() {
    let mut log = Log::new("epoch");
    let mut replica = Replica::new(1);
    log.push_changes("c", Rights::ALL, replica.edit(1), 100).unwrap();
    log.delete_document("c", Rights::ALL, "d", [7; 16], 200).unwrap();
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
    // The writer does not say that it deletes the document. The log finds that out only when it checks rows.
    let mut late = Replica::new(1);
    log.push_changes("c", Rights::ALL, late.edit(1), 100).unwrap();
    late.document.put(ROOT, "deleted", true).unwrap();
    let mut lie = late.edit(2);
    let fields = [("value".to_owned(), convex::Value::Float64(2.0))];
    lie.documents[0].fields = Some(convex::Value::Object(fields.into()));
    assert!(log.push_changes("c", Rights::ALL, lie, 200).unwrap().answer[0].1.is_ok());
    let mut sure = Replica::new(2);
    let mut made = sure.edit(1);
    made.documents[0].id = "sure".into();
    log.push_changes("c", Rights::ALL, made, 300).unwrap();
    log.delete_document("c", Rights::ALL, "sure", [7; 16], 400).unwrap();
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
    assert_eq!((first.rows.len(), first.has_more, first.pruned), (1, true, Some(400)));
    assert!(!log.check_rows(10).is_empty());
    gone.extend(prune(&mut log, 700));
    assert!(log.has_pruned("c", &DocumentId::new("d")) && log.has_pruned("c", &DocumentId::new("sure")));
    let refused = ask(&log, first.checkpoint, first.pruned).expect_err("what it has read is gone");
    assert_eq!(refused.code, RefusalCode::CheckpointUnknown);

    // A reader that begins now gets the number of another pruning, also after a restart.
    let begins = ask(&log, Position::default(), None).unwrap();
    assert_ne!(begins.pruned, first.pruned);
    let mut restore = Restore::new("epoch");
    gone.into_iter().for_each(|record| restore.add(record).unwrap());
    assert_eq!(restore.finish().unwrap().pruned_to("c"), begins.pruned);
}

#[test]
fn the_size_of_a_log_is_right_after_each_commit_a_pruning_and_a_restart() {
    let mut log = Log::new("epoch");
    let mut records = Vec::new();
    let mut sizes = vec![log.size()];
    let (mut gone, mut stays) = (Replica::new(1), Replica::new(2));
    for value in 0..5 {
        records.extend(log.push_changes("c", Rights::ALL, gone.edit(value), 100).unwrap().records);
        sizes.push(log.size());
        assert_eq!(log.size(), counted(&log));
    }
    assert!(sizes.windows(2).all(|pair| pair[0].bytes < pair[1].bytes && pair[0].rows < pair[1].rows), "{sizes:?}");
    let mut other = stays.edit(1);
    other.documents[0].id = "stays".into();
    records.extend(log.push_changes("other", Rights::ALL, other, 150).unwrap().records);
    records.extend(log.delete_document("c", Rights::ALL, "d", [7; 16], 200).unwrap().records);
    log.publish();
    assert_eq!(log.size(), counted(&log));
    assert_eq!((log.size().collections, log.size().documents, log.size().rows), (2, 2, 7));

    let forgotten = log.prunable(201, 0, 10);
    log.forget(&forgotten, 300);
    assert_eq!(log.size(), counted(&log));
    assert_eq!((log.size().documents, log.size().rows), (1, 1));
    records.extend(forgotten);
    assert_eq!(restored("epoch", &records).size(), log.size());
}

#[test]
fn a_caller_outside_its_scope_does_not_learn_of_a_pruned_document() {
    /// Each user has one scope.
    struct OwnScope;

    impl Authorize for OwnScope {
        fn read(&self, request: &ReadRequest<'_>) -> bool {
            request.user.is_some_and(|user| request.scope == Some(user.as_str()))
        }

        fn write(&self, _: &WriteRequest<'_>) -> bool {
            true
        }
    }

    let [ada, eve] = ["ada", "eve"].map(|name| UserId::new("replicate", name));
    let mut log = Log::new("epoch");
    let mut replica = Replica::new(1);
    let in_scope = |mut args: PushChanges, user: &UserId| {
        args.scope = Some(user.as_str().into());
        args
    };
    let history = replica.edit(1);
    let mut records = log.push_changes("c", Rights::ALL, in_scope(history.clone(), &ada), 100).unwrap().records;
    records.extend(log.delete_document("c", Rights::ALL, "d", [7; 16], 200).unwrap().records);
    log.publish();
    let forgotten = log.prunable(201, 0, 10);
    log.forget(&forgotten, 300);
    records.extend(forgotten);

    for mut log in [log, restored("epoch", &records)] {
        for (user, code) in [(&ada, RefusalCode::Pruned), (&eve, RefusalCode::NotAuthorized)] {
            let rights = Rights { user: Some(user), rule: &OwnScope };
            let pushed = log.push_changes("c", rights, in_scope(history.clone(), user), 400).unwrap().answer.remove(0);
            assert_eq!(pushed.1.unwrap_err().code, code, "{user}");
            // The original API names no scope.
            let refused = log.delete_document("c", rights, "d", [8; 16], 400).unwrap_err();
            let expected = if user == &ada { RefusalCode::UnknownDocument } else { RefusalCode::NotAuthorized };
            assert_eq!(refused.code, expected, "{user}");
        }
    }
}
