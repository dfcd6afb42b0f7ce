//! Tests of reads at earlier commits.

use super::*;
use crate::wire::{DocumentPage, LogPage};

/// The answers of the three queries: the rows, the documents with their versions, and the counts.
type Answers = (Vec<Position>, Vec<(String, usize, f64, Vec<u8>)>, StreamState);

fn answers(page: LogPage, documents: DocumentPage, stream: StreamState) -> Answers {
    let documents = documents.documents.into_iter();
    (
        page.rows.into_iter().map(|row| row.position).collect(),
        documents
            .map(|document| (document.id.to_string(), document.version, document.timestamp, document.bytes))
            .collect(),
        stream,
    )
}

fn beginning() -> PullDeltas {
    PullDeltas { checkpoint: Some(Position::default()), limit: None, scope: None, pruned: None }
}

fn now(log: &Log) -> Answers {
    answers(log.pull_deltas("c", &beginning()).unwrap(), log.pull_changes("c", 0.0, None), log.change_stream("c"))
}

fn at(log: &Log, ts: i64) -> Answers {
    assert_eq!(log.check_past(ts), Ok(()));
    let page = log.pull_deltas_until("c", &beginning(), ts).unwrap();
    answers(page, log.pull_changes_at("c", 0.0, None, ts), log.change_stream_at("c", ts))
}

/// A log with two documents, one of which has changes in parts, and what it answered after each commit.
fn written() -> (Log, Vec<Record>, Vec<(i64, Answers)>) {
    let mut log = Log::new("epoch");
    let (mut small, mut large) = (Replica::new(1), Replica::new(2));
    let mut records = Vec::new();
    let mut seen = vec![(0, now(&log))];
    for n in 0..6 {
        let push = match n % 3 {
            0 => noise(&mut large, n),
            _ => {
                let mut push = small.edit(n as i64);
                push.documents[0].id = "small".into();
                push
            }
        };
        records.extend(log.push_changes("c", Rights::ALL, push, 1_000 * n as i64).unwrap().records);
        log.publish();
        seen.push((log.published(), now(&log)));
    }
    (log, records, seen)
}

#[test]
fn a_query_at_an_earlier_commit_answers_as_it_did_then() {
    let (log, _, seen) = written();
    for (ts, then) in &seen {
        assert_eq!(&at(&log, *ts), then, "at {ts}");
    }
}

#[test]
fn a_time_before_a_snapshot_or_a_restart_is_refused() {
    let (mut log, records, seen) = written();
    log.compact(&"c".into(), &DocumentId::new("small"), 1).unwrap();
    let covered = seen.iter().filter(|(ts, _)| log.check_past(*ts) == Err(TooOld)).count();
    assert!(covered > 0 && covered < seen.len(), "the snapshot has the place of a commit in the middle");
    for (ts, (_, _, stream)) in &seen[covered..] {
        // The snapshot's bytes are others than those of the changes that it has.
        let (_, documents, then) = at(&log, *ts);
        assert_eq!(&then, stream);
        for (_, version, _, bytes) in documents {
            assert_eq!(automerge::Automerge::load(&bytes).unwrap().get_changes(&[]).len(), version);
        }
    }
    let log = restored("epoch", &records);
    let newest = log.published();
    assert_eq!(log.check_past(newest), Ok(()));
    assert_eq!(log.check_past(newest - 1), Err(TooOld));
}
