use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{CollectionIndex, DocumentId, format::FormatError};

/// A capture: each component in the mask has this value.
struct Capture {
    mask: u32,
    value: u64,
}

impl Encode for Capture {
    fn encode(&self) -> Result<(Value, u32), FormatError> {
        Ok((Value::Uint(self.value), self.mask))
    }

    fn components(&self) -> Option<u32> {
        Some(self.mask)
    }
}

fn key(collection: u16, name: u8) -> DocumentKey {
    DocumentKey { collection: CollectionIndex(collection), id: DocumentId::new(name.to_string()) }
}

fn edit(document: DocumentKey, generation: u64, seq: u64, kind: EditKind<Capture>) -> Edit<Box<dyn Encode>> {
    let kind = match kind {
        EditKind::Put { value, put } => EditKind::Put { value: Box::new(value) as Box<dyn Encode>, put },
        EditKind::Delete => EditKind::Delete,
        EditKind::Restore => EditKind::Restore,
    };
    Edit { document, generation, seq, kind }
}

fn put(document: DocumentKey, seq: u64, mask: u32) -> Edit<Box<dyn Encode>> {
    edit(document, 1, seq, EditKind::put(Capture { mask, value: seq }))
}

/// Takes everything whose turn it is: the names of documents, and the numbers of the edits.
fn turns(waiting: &mut Waiting, now: i64) -> Vec<(String, Vec<Vec<EditNumber>>)> {
    let mut turns = Vec::new();
    while let Some(commands) = waiting.next(now, |_| false) {
        let name = match &commands[0].command {
            Command::Edit(edit) => edit.document.id.to_string(),
            _ => "-".into(),
        };
        turns.push((name, commands.into_iter().map(|taken| taken.numbers).collect()));
    }
    turns
}

fn unbounded() -> Waiting {
    Waiting::new([Duration::ZERO, Duration::from_millis(100)].into_iter())
}

#[test]
fn a_document_that_changes_in_every_frame_keeps_its_turn() {
    let mut waiting = unbounded();
    for frame in 0..3 {
        for document in 0..3 {
            let number = frame * 3 + u64::from(document) + 1;
            waiting.edit(put(key(0, document), frame + 1, 1), number, 0);
        }
        if frame == 0 {
            assert_eq!(waiting.next(0, |_| false).expect("a turn").len(), 1);
        }
    }
    let turns = turns(&mut waiting, 0);
    let names: Vec<_> = turns.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["1", "2", "0"]);
    assert_eq!(turns[0].1, [[2, 5, 8]]);
}

#[test]
fn a_large_document_keeps_each_of_its_captures() {
    let mut waiting = unbounded();
    waiting.weigh(&key(0, 0), &Value::Text("a".repeat(LARGE)));
    waiting.weigh(&key(0, 1), &Value::Text("a".repeat(LARGE - 1)));
    for seq in 1..3 {
        waiting.edit(put(key(0, 0), seq, 1), 2 * seq - 1, 0);
        waiting.edit(put(key(0, 1), seq, 1), 2 * seq, 0);
    }
    assert_eq!(turns(&mut waiting, 0), [("0".into(), vec![vec![1], vec![3]]), ("1".into(), vec![vec![2, 4]])]);
}

#[test]
fn the_first_edit_goes_at_once_and_the_next_ones_wait_for_their_time() {
    let mut waiting = unbounded();
    waiting.edit(put(key(1, 0), 1, 1), 1, 1_000);
    assert_eq!(turns(&mut waiting, 1_000).len(), 1);
    waiting.edit(put(key(1, 0), 2, 1), 2, 1_040);
    waiting.edit(put(key(1, 0), 3, 1), 3, 1_090);
    assert!(waiting.is_deferred(&key(1, 0)));
    assert_eq!((waiting.due(), turns(&mut waiting, 1_099)), (Some(1_100), vec![]));
    assert_eq!(turns(&mut waiting, 1_100), [("0".into(), vec![vec![2, 3]])]);
    // The time is over when nothing was edited meanwhile.
    waiting.edit(put(key(1, 0), 4, 1), 4, 1_300);
    assert_eq!(turns(&mut waiting, 1_300).len(), 1);
    assert_eq!(turns(&mut waiting, 1_500).len(), 0);
    assert!(waiting.last.is_empty(), "nothing is kept for documents that rest");
}

#[test]
fn a_delete_waits_for_no_time_and_takes_the_edits_before_it_along() {
    let mut waiting = unbounded();
    waiting.edit(put(key(1, 0), 1, 1), 1, 1_000);
    turns(&mut waiting, 1_000);
    waiting.edit(put(key(1, 0), 2, 1), 2, 1_010);
    waiting.edit(edit(key(1, 0), 1, 3, EditKind::Delete), 3, 1_020);
    assert_eq!(turns(&mut waiting, 1_020), [("0".into(), vec![vec![2], vec![3]])]);
}

#[test]
fn an_edit_waits_while_the_backend_has_not_taken_the_last_ones() {
    let mut waiting = unbounded();
    let is_pressed = |document: &DocumentKey| *document == key(0, 0);
    for document in 0..3 {
        waiting.edit(put(key(0, document), 1, 1), u64::from(document) + 1, 1_000);
    }
    // A delete cannot wait.
    waiting.edit(put(key(0, 3), 1, 1), 4, 1_000);
    waiting.edit(edit(key(0, 3), 1, 2, EditKind::Delete), 5, 1_000);
    let mut names = Vec::new();
    while let Some(commands) = waiting.next(1_000, |document| is_pressed(document) || *document == key(0, 3)) {
        names.push(commands.len());
    }
    assert_eq!(names, [1, 1, 2]);
    assert!(waiting.is_deferred(&key(0, 0)));
    waiting.edit(put(key(0, 0), 2, 1), 6, 1_500);
    waiting.relieve(is_pressed);
    assert!(waiting.next(1_999, is_pressed).is_none());
    assert_eq!(waiting.next(2_000, is_pressed).expect("it has waited long enough")[0].numbers, [1, 6]);
    // It is relieved before that.
    waiting.edit(put(key(0, 0), 3, 1), 7, 2_000);
    assert!(waiting.next(2_000, is_pressed).is_none());
    waiting.relieve(|_| false);
    assert_eq!(waiting.next(2_000, |_| false).expect("it is relieved")[0].numbers, [7]);
}

#[test]
fn a_clock_that_is_set_back_holds_no_edit() {
    let mut waiting = unbounded();
    waiting.edit(put(key(1, 0), 1, 1), 1, 5_000);
    turns(&mut waiting, 5_000);
    waiting.edit(put(key(1, 0), 2, 1), 2, 5_010);
    assert_eq!(turns(&mut waiting, 4_000).len(), 1);
    waiting.edit(put(key(1, 0), 3, 1), 3, 3_000);
    assert_eq!(turns(&mut waiting, 3_000).len(), 1);
}

#[test]
fn a_version_is_forgotten_after_the_edits_that_were_made_at_it() {
    let mut waiting = unbounded();
    waiting.edit(put(key(1, 0), 1, 1), 1, 1_000);
    turns(&mut waiting, 1_000);
    waiting.edit(put(key(1, 0), 2, 1), 2, 1_010);
    waiting.command(Command::Applied(vec![(key(1, 0), 2), (key(1, 1), 2)]));
    let now = waiting.next(1_010, |_| false).expect("a turn");
    assert!(matches!(&now[0].command, Command::Applied(shown) if *shown == [(key(1, 1), 2)]));
    let commands = waiting.next(1_100, |_| false).expect("a turn");
    assert!(matches!(&commands[0].command, Command::Edit(_)));
    assert!(matches!(&commands[1].command, Command::Applied(shown) if *shown == [(key(1, 0), 2)]));
}

/// The last values of components, by generation and component.
type Components = BTreeMap<(u64, u32), u64>;

/// The components that an app shows, deletions and generations: what a document is after these commands.
#[derive(Debug, Default, PartialEq, Clone)]
struct Outcome {
    components: Components,
    /// What needs the order, with the components before it.
    events: Vec<(u64, &'static str, Components)>,
}

impl Outcome {
    fn add(&mut self, edit: &Edit<Box<dyn Encode>>) {
        let name = match &edit.kind {
            EditKind::Put { value, put } => {
                let (value, mask) = value.encode().expect("it encodes");
                let Value::Uint(value) = value else { panic!("a number") };
                if *put == Put::Spawned {
                    self.events.push((edit.seq, "spawned", self.components.clone()));
                }
                for bit in (0..3).filter(|bit| mask & (1 << bit) != 0) {
                    self.components.insert((edit.generation, bit), value);
                }
                return;
            }
            EditKind::Delete => "deleted",
            EditKind::Restore => "restored",
        };
        self.events.push((edit.seq, name, self.components.clone()));
    }
}

proptest! {
    /// Whatever is taken when, each document ends as if every command had been carried out, all that needs the order
    /// finds what was there before it, and each edit is accounted for once.
    #[test]
    fn merged_captures_end_as_all_captures_would(
        steps in prop::collection::vec((0_u16..2, 0_u8..2, 0_u8..12, 1_u32..8, 0_i64..60, any::<bool>()), 0..60)
    ) {
        let mut waiting = unbounded();
        let (mut expected, mut found) = (BTreeMap::<_, Outcome>::new(), BTreeMap::<_, Outcome>::new());
        let (mut now, mut number) = (1_000, 0);
        let mut counts = BTreeMap::new();
        let mut generations = BTreeMap::new();
        let mut accounted = Vec::new();
        let mut take = |waiting: &mut Waiting, now: i64| {
            while let Some(commands) = waiting.next(now, |_| false) {
                for Taken { command, numbers } in commands {
                    accounted.extend(numbers);
                    if let Command::Edit(edit) = command {
                        found.entry(edit.document.clone()).or_default().add(&edit);
                    }
                }
            }
        };
        for (collection, name, kind, mask, passed, takes) in steps {
            now += passed;
            let document = key(collection, name);
            let generation = generations.entry(document.clone()).or_insert(1);
            if kind == 0 {
                *generation += 1;
                waiting.command(Command::Applied(vec![(document.clone(), *generation)]));
            } else if kind == 1 {
                waiting.command(Command::Show(document.clone()));
            } else {
                number += 1;
                let seq = *counts.entry(document.clone()).and_modify(|count| *count += 1).or_insert(1);
                let capture = Capture { mask, value: seq };
                let make = || match kind {
                    2 => EditKind::Delete,
                    3 => EditKind::Restore,
                    4 => EditKind::Put { value: Capture { mask, value: capture.value }, put: Put::Spawned },
                    _ => EditKind::put(Capture { mask, value: capture.value }),
                };
                expected.entry(document.clone()).or_default().add(&edit(document.clone(), *generation, seq, make()));
                waiting.edit(edit(document.clone(), *generation, seq, make()), number, now);
            }
            if takes {
                take(&mut waiting, now);
            }
        }
        waiting.hurry_all();
        take(&mut waiting, now);
        prop_assert_eq!(found, expected);
        accounted.sort_unstable();
        prop_assert_eq!(accounted, (1..=number).collect::<Vec<_>>());
    }
}
