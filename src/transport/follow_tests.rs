use std::collections::BTreeMap;

use convex::Value;
use proptest::prelude::*;

use super::*;
use crate::{record::RefusalCode, transport::wire::bad_answer};

const TASKS: CollectionIndex = CollectionIndex(0);

fn at(ts: i64) -> Position {
    Position { ts, ordinal: 0 }
}

fn object<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<BTreeMap<_, _>>())
}

fn position(ts: i64) -> Value {
    object([("ts", Value::Int64(ts)), ("ordinal", Value::Float64(0.0))])
}

/// A log with a row of `size` bytes at each of these times, which answers `pullDeltas`.
struct Log {
    rows: Vec<(i64, usize)>,
    page: usize,
    epoch: &'static str,
}

impl Log {
    fn of(times: impl IntoIterator<Item = i64>) -> Self {
        Self { rows: times.into_iter().map(|ts| (ts, 10)).collect(), page: 1_000, epoch: "e1" }
    }

    fn pull(&self, from: Position) -> Value {
        let after: Vec<_> = self.rows.iter().filter(|(ts, _)| *ts > from.ts).collect();
        let page: Vec<_> = after.iter().take(self.page).collect();
        let rows = page.iter().map(|(ts, size)| {
            object([
                ("id", "a".into()),
                ("bytes", Value::Bytes(vec![0; *size])),
                ("ts", Value::Int64(*ts)),
                ("ordinal", Value::Float64(0.0)),
            ])
        });
        object([
            ("deltas", Value::Array(rows.collect())),
            ("checkpoint", position(page.last().map_or(from.ts, |(ts, _)| *ts))),
            ("hasMore", (page.len() < after.len()).into()),
            ("epoch", self.epoch.into()),
        ])
    }
}

/// A follow and its open subscription.
struct Rig {
    follow: Follow,
    open: Option<(Key, Position)>,
    now: Duration,
}

impl Rig {
    fn new(checkpoint: i64) -> Self {
        Self { follow: Follow::new(TASKS, at(checkpoint).into()), open: None, now: Duration::ZERO }
    }

    fn open(&mut self) -> (Key, Position) {
        assert!(self.follow.wants_to_open());
        let (key, from, old) = self.follow.open();
        assert_eq!(old, self.open.map(|(key, _)| key));
        self.open = Some((key, from));
        (key, from)
    }

    fn answer(&mut self, key: Key, value: &Value) -> Outcome {
        self.respond(key, PageView::of(value), true)
    }

    fn respond(&mut self, key: Key, result: Result<PageView<'_>, Refusal>, room: bool) -> Outcome {
        self.follow.answer(key, result, room, self.now)
    }
}

fn times(outcome: &Outcome) -> Vec<i64> {
    outcome.page.iter().flat_map(|page| &page.rows).map(|row| row.position.ts).collect()
}

#[test]
fn only_what_is_new_in_a_result_is_handed_on() {
    let mut rig = Rig::new(0);
    let (key, from) = rig.open();
    assert_eq!(from, at(0));
    let outcome = rig.answer(key, &Log::of(1..=3).pull(from));
    assert_eq!(times(&outcome), [1, 2, 3]);
    let page = outcome.page.unwrap();
    assert_eq!((page.from, page.to, page.has_more, page.epoch.as_str()), (at(0), at(3), false, "e1"));
    let outcome = rig.answer(key, &Log::of(1..=5).pull(from));
    assert_eq!(times(&outcome), [4, 5]);
    assert_eq!(outcome.page.unwrap().from, at(3));
    assert!(rig.answer(key, &Log::of(1..=5).pull(from)).page.is_none());
}

#[test]
fn the_first_result_is_told_even_if_it_is_empty_and_later_empty_ones_are_not() {
    let mut rig = Rig::new(7);
    let (key, from) = rig.open();
    let page = rig.answer(key, &Log::of([]).pull(from)).page.unwrap();
    assert_eq!((page.from, page.to, page.rows.len()), (at(7), at(7), 0));
    assert!(rig.answer(key, &Log::of([]).pull(from)).page.is_none());
    rig.follow.disconnected();
    rig.open = None;
    let (key, from) = rig.open();
    assert!(rig.answer(key, &Log::of([]).pull(from)).page.is_some(), "the epoch is news again");
}

#[test]
fn more_is_asked_for_at_once() {
    let mut rig = Rig::new(0);
    let mut log = Log::of(1..=25);
    log.page = 10;
    let mut got = Vec::new();
    for round in 0..3 {
        let (key, from) = rig.open();
        assert_eq!(from, at(round * 10));
        let outcome = rig.answer(key, &log.pull(from));
        got.extend(times(&outcome));
        assert_eq!(outcome.page.unwrap().has_more, round < 2);
    }
    assert_eq!(got, (1..=25).collect::<Vec<_>>());
    assert!(!rig.follow.wants_to_open());
}

#[test]
fn the_end_of_catching_up_is_told_even_if_nothing_more_came() {
    let mut rig = Rig::new(0);
    let mut log = Log::of(1..=11);
    log.page = 10;
    let (key, from) = rig.open();
    assert!(rig.answer(key, &log.pull(from)).page.unwrap().has_more);
    let (key, from) = rig.open();
    // The eleventh row was compacted away meanwhile.
    let page = rig.answer(key, &Log::of(1..=10).pull(from)).page.unwrap();
    assert!(!page.has_more && page.rows.is_empty());
}

#[test]
fn a_result_grown_large_gives_way_to_one_from_a_later_checkpoint() {
    for rows in [vec![(1, ADVANCE_BYTES)], (1..=ADVANCE_ROWS as i64).map(|ts| (ts, 1)).collect()] {
        let last = rows.last().unwrap().0;
        let mut rig = Rig::new(0);
        let mut log = Log::of([]);
        let (old, from) = rig.open();
        rig.answer(old, &log.pull(from));
        assert!(!rig.follow.wants_to_open());
        log.rows = rows;
        rig.answer(old, &log.pull(from));
        let (new, later) = rig.open();
        assert_eq!(later, at(last));
        assert!(!rig.follow.wants_to_open(), "one at a time");
        log.rows.push((last + 1, 1));
        assert!(rig.answer(old, &log.pull(from)).page.is_none(), "late results of the old one are ignored");
        let outcome = rig.answer(new, &log.pull(later));
        assert_eq!(times(&outcome), [last + 1]);
        assert_eq!(outcome.page.unwrap().from, at(last));
    }
}

#[test]
fn after_a_quiet_second_a_result_is_emptied() {
    let mut rig = Rig::new(0);
    let (key, from) = rig.open();
    rig.answer(key, &Log::of([]).pull(from));
    assert_eq!(rig.follow.quiet_at(), None, "an empty one rests");
    rig.answer(key, &Log::of([1]).pull(from));
    let quiet = rig.follow.quiet_at().unwrap();
    assert_eq!(quiet, rig.now + QUIET);
    rig.now += QUIET / 2;
    rig.answer(key, &Log::of([1]).pull(from));
    assert_eq!(rig.follow.quiet_at(), Some(quiet), "an equal result is no news");
    rig.answer(key, &Log::of([1, 2]).pull(from));
    assert_eq!(rig.follow.quiet_at(), Some(quiet + QUIET / 2));
    rig.follow.tick(quiet);
    assert!(!rig.follow.wants_to_open());
    rig.follow.tick(quiet + QUIET / 2);
    let (new, from) = rig.open();
    assert_eq!(from, at(2));
    let outcome = rig.answer(new, &Log::of([1, 2]).pull(from));
    assert!(outcome.page.is_none(), "equal rows at another checkpoint are no news");
    assert_eq!(rig.follow.quiet_at(), None);
}

#[test]
fn a_result_that_lost_rows_to_compaction_is_no_news() {
    let mut rig = Rig::new(0);
    let (key, from) = rig.open();
    rig.answer(key, &Log::of(1..=5).pull(from));
    assert!(rig.answer(key, &Log::of([5]).pull(from)).page.is_none());
    assert_eq!(times(&rig.answer(key, &Log::of([5, 6]).pull(from))), [6]);
}

#[test]
fn a_page_without_room_waits_and_is_handed_on_later() {
    let mut rig = Rig::new(0);
    let (key, from) = rig.open();
    let value = Log::of([1]).pull(from);
    let outcome = rig.respond(key, PageView::of(&value), false);
    assert!(outcome.held && outcome.page.is_none());
    let value = Log::of([1, 2]).pull(from);
    assert!(rig.respond(key, PageView::of(&value), false).held);
    let outcome = rig.respond(key, PageView::of(&value), true);
    assert_eq!(times(&outcome), [1, 2]);
    assert!(!rig.respond(key, PageView::of(&value), false).held, "nothing new needs no room");
}

#[test]
fn a_new_epoch_is_told_even_without_rows() {
    let mut rig = Rig::new(0);
    let (key, from) = rig.open();
    let mut log = Log::of([1]);
    rig.answer(key, &log.pull(from));
    log.epoch = "e2";
    let page = rig.answer(key, &log.pull(from)).page.unwrap();
    assert_eq!((page.epoch.as_str(), page.rows.len()), ("e2", 0));
    assert!(rig.answer(key, &log.pull(from)).page.is_none());
}

#[test]
fn a_refusal_is_told_once_and_its_end_is_told_too() {
    let refusal = |code: &str| Refusal::new(code, "no");
    let mut rig = Rig::new(0);
    let (key, from) = rig.open();
    assert_eq!(rig.respond(key, Err(refusal("notAuthorized")), true).refusal, Some(refusal("notAuthorized")));
    assert_eq!(rig.respond(key, Err(refusal("notAuthorized")), true).refusal, None);
    assert!(!rig.follow.is_unauthenticated());
    assert!(rig.respond(key, Err(refusal("unauthenticated")), true).refusal.is_some());
    assert!(rig.follow.is_unauthenticated());
    assert!(!rig.follow.wants_to_open(), "it answers again once it is allowed");
    assert!(rig.answer(key, &Log::of([]).pull(from)).page.is_some());
    assert!(!rig.follow.is_unauthenticated());
    rig.follow.disconnected();
    rig.open = None;
    let (key, _) = rig.open();
    assert!(
        rig.respond(key, Err(refusal("notAuthorized")), true).refusal.is_some(),
        "and again in the next connection"
    );
}

#[test]
fn nonsense_is_a_refusal_and_loses_no_place() {
    let mut rig = Rig::new(0);
    let (key, from) = rig.open();
    rig.answer(key, &Log::of([1]).pull(from));
    let outcome = rig.answer(key, &Log::of([]).pull(at(9)));
    assert_eq!(outcome.refusal.unwrap().code, RefusalCode::BadAnswer);
    assert_eq!(times(&rig.answer(key, &Log::of([1, 2]).pull(from))), [2]);
}

#[test]
fn a_restart_closes_everything_and_forgets_the_place() {
    let mut rig = Rig::new(0);
    let (old, from) = rig.open();
    rig.answer(old, &Log::of(1..=ADVANCE_ROWS as i64).pull(from));
    let (newer, _) = rig.open();
    assert_eq!(rig.follow.restart(at(0).into()), Some(newer));
    rig.open = None;
    assert_eq!(rig.follow.reserved(), 0);
    let (key, from) = rig.open();
    assert_eq!(from, at(0));
    assert!(rig.follow.answer(old, Err(bad_answer("late")), true, rig.now).refusal.is_none());
    assert_eq!(times(&rig.answer(key, &Log::of([1]).pull(from))), [1]);
}

#[test]
fn every_open_query_is_accounted_for() {
    let mut rig = Rig::new(0);
    assert_eq!(rig.follow.reserved(), 0);
    let (key, from) = rig.open();
    assert_eq!(rig.follow.reserved(), PAGE_BYTES);
    rig.answer(key, &Log::of([1]).pull(from));
    assert_eq!(rig.follow.reserved(), OPEN_BYTES_MIN);
    let mut log = Log::of([1]);
    log.rows.push((2, 3 * ADVANCE_BYTES));
    rig.answer(key, &log.pull(from));
    assert_eq!(rig.follow.reserved(), 3 * ADVANCE_BYTES + 10);
    let (new, from) = rig.open();
    rig.answer(new, &log.pull(from));
    assert_eq!(rig.follow.reserved(), OPEN_BYTES_MIN);
}

proptest! {
    /// Every row is handed on once, in order, in any mix of commits, results, pauses, lost connections and lack of
    /// room.
    #[test]
    fn nothing_is_skipped_and_nothing_comes_twice(
        page in 1usize..12,
        steps in proptest::collection::vec((0u8..8, any::<bool>()), 1..120),
    ) {
        let mut log = Log::of([]);
        log.page = page;
        let mut rig = Rig::new(0);
        let mut handed = Vec::new();
        let settle = |rig: &mut Rig, log: &Log, room: bool, handed: &mut Vec<i64>| {
            if rig.follow.wants_to_open() {
                rig.open();
            }
            if let Some((key, from)) = rig.open {
                let value = log.pull(from);
                let outcome = rig.respond(key, PageView::of(&value), room);
                if let Some(page) = &outcome.page {
                    assert_eq!(page.from.ts, handed.last().copied().unwrap_or(0));
                }
                handed.extend(times(&outcome));
            }
        };
        for (step, flag) in steps {
            match step {
                0 | 1 => {
                    let last = log.rows.last().map_or(0, |(ts, _)| *ts);
                    log.rows.push((last + 1, if flag { 20_000 } else { 10 }));
                }
                2 => {
                    rig.now += QUIET;
                    rig.follow.tick(rig.now);
                }
                3 if flag => {
                    rig.follow.disconnected();
                    rig.open = None;
                }
                _ => settle(&mut rig, &log, flag, &mut handed),
            }
        }
        for _ in 0..300 {
            settle(&mut rig, &log, true, &mut handed);
        }
        let all: Vec<_> = log.rows.iter().map(|(ts, _)| *ts).collect();
        prop_assert_eq!(handed, all);
    }
}

#[test]
fn the_next_query_repeats_the_pruning_mark_of_a_page_until_reading_starts_over() {
    let mut log = Log::of(1..=5);
    log.page = 2;
    let mut rig = Rig::new(0);
    let (key, from) = rig.open();
    assert_eq!(rig.follow.pruned(), None);
    let Value::Object(mut page) = log.pull(from) else { unreachable!() };
    page.insert("pruned".into(), Value::Int64(4));
    assert!(rig.answer(key, &Value::Object(page)).page.unwrap().has_more);
    assert_eq!(rig.follow.pruned(), Some(4));
    rig.follow.disconnected();
    assert_eq!(rig.follow.pruned(), Some(4), "the way goes on in the next connection");
    rig.follow.restart(at(0).into());
    assert_eq!(rig.follow.pruned(), None);
}
