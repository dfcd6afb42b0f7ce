//! All edits of the users, and the fate of each: saved, lost or not yet known.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::note::{Later, Shape};
use crate::{CollectionIndex, DocumentId, DocumentKey};

/// The collection in which each document has one maker and every edit is checked.
pub(super) const NOTES: CollectionIndex = CollectionIndex(0);
/// The collection with a document that all apps may make.
pub(super) const SETTINGS: CollectionIndex = CollectionIndex(1);
/// The names of the collections.
pub(super) const NAMES: [&str; 2] = ["notes", "settings"];

/// An edit of a note. The merged note shows whether the edit is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// Typed a letter that no other user types.
    Letter(char),
    /// Removed that letter.
    LetterGone(char),
    /// Voted this many times.
    Votes(i64),
    /// Added an item that no other user adds.
    Item(i64),
    /// Removed such an item.
    ItemGone(i64),
    /// Set the field that only the maker sets, to a new value.
    Own(i64),
    /// Added a tag that no other user adds, in a field that an update of the app has added.
    Tag(i64),
}

/// The fate of an edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The app still runs and has not reported the edit as saved.
    Open,
    /// The app has reported the edit as saved.
    Saved,
    /// The app ended before it reported the edit as saved.
    Perhaps,
}

/// An edit and its fate.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    /// The number of the computer on which it was made.
    pub(super) maker: u8,
    pub(super) document: DocumentId,
    pub(super) done: Done,
    pub(super) fate: Fate,
}

/// All edits of all users, in order.
#[derive(Default)]
pub(super) struct Oracle {
    /// The documents that any log has ever pruned. Their edits may be gone.
    pub(super) pruned: BTreeSet<DocumentId>,
    pub(super) marks: Vec<Mark>,
}

/// One run of an app, with the command that sent each of its edits to the worker.
#[derive(Default)]
pub(super) struct Run {
    /// Edits that were made and are not captured yet.
    made: BTreeMap<DocumentId, Vec<usize>>,
    /// Edits that were captured and are not known to be saved, each with the number of the edit it was sent with.
    captured: VecDeque<(u64, usize)>,
    edits: u64,
    maker: u8,
}

impl Run {
    /// A run on the computer of this number.
    pub(super) fn on(maker: u8) -> Self {
        Self { maker, ..Self::default() }
    }
}

impl Oracle {
    pub(super) fn made(&mut self, run: &mut Run, document: DocumentId, done: Done) {
        run.made.entry(document.clone()).or_default().push(self.marks.len());
        self.marks.push(Mark { maker: run.maker, document, done, fate: Fate::Open });
    }

    /// Notes that the app's worker has saved the first `edits` edits.
    pub(super) fn saved(&mut self, run: &mut Run, edits: u64) {
        while let Some((_, mark)) = run.captured.pop_front_if(|(edit, _)| *edit <= edits) {
            self.marks[mark].fate = Fate::Saved;
        }
    }

    /// Notes that the app's process is gone.
    pub(super) fn ended(&mut self, run: Run) {
        let made = run.made.into_values().flatten();
        for mark in run.captured.into_iter().map(|(_, mark)| mark).chain(made) {
            self.marks[mark].fate = Fate::Perhaps;
        }
    }

    /// Checks that a note has the edits that were made to it.
    pub(super) fn check(&self, document: &DocumentId, note: &Note) -> Result<(), String> {
        let marks: Vec<&Mark> = self.marks.iter().filter(|mark| mark.document == *document).collect();
        let gone: BTreeSet<char> = marks
            .iter()
            .filter_map(|mark| match mark.done {
                Done::LetterGone(letter) => Some(letter),
                _ => None,
            })
            .collect();
        let any_item_gone = marks.iter().any(|mark| matches!(mark.done, Done::ItemGone(_)));
        let mut letters = BTreeMap::new();
        for letter in note.text.chars() {
            *letters.entry(letter).or_insert(0) += 1;
        }
        let mut items = BTreeMap::new();
        for item in &note.items {
            *items.entry(*item).or_insert(0) += 1;
        }
        if let Some((letter, count)) = letters.iter().find(|(_, count)| **count > 1) {
            return Err(format!("{letter:?} is there {count} times"));
        }
        if let Some((item, count)) = items.iter().find(|(_, count)| **count > 1) {
            return Err(format!("item {item} is there {count} times"));
        }
        let (mut votes, mut perhaps) = (0, BTreeSet::from([0]));
        let mut owns = Vec::new();
        for mark in &marks {
            let is_sure = mark.fate != Fate::Perhaps;
            match mark.done {
                Done::Letter(letter) if is_sure && !gone.contains(&letter) && !letters.contains_key(&letter) => {
                    return Err(format!("the letter {letter:?} is missing, and it was {:?}", mark.fate));
                }
                // Another user may have removed an item whose place this item took, and then this item is gone too.
                Done::Item(item) if is_sure && !any_item_gone && !items.contains_key(&item) => {
                    return Err(format!("the item {item} is missing, and it was {:?}", mark.fate));
                }
                Done::LetterGone(letter) if is_sure && letters.contains_key(&letter) => {
                    return Err(format!("the letter {letter:?} is there again, and its removal was {:?}", mark.fate));
                }
                Done::Votes(count) if is_sure => votes += count,
                Done::Votes(count) => perhaps = perhaps.iter().flat_map(|sum| [*sum, sum + count]).collect(),
                Done::Own(value) => {
                    if is_sure {
                        owns.retain(|(_, sure)| !sure);
                    }
                    owns.push((value, is_sure));
                }
                _ => {}
            }
        }
        if !perhaps.contains(&(note.votes - votes)) {
            return Err(format!("{} votes, of which {votes} are sure and {perhaps:?} are possible", note.votes));
        }
        // The field is 0 before it is first set.
        if !owns.iter().any(|(_, sure)| *sure) {
            owns.push((0, true));
        }
        if !owns.iter().any(|(value, _)| *value == note.own) {
            return Err(format!("`own` is {}, and could be {owns:?}", note.own));
        }
        Ok(())
    }
}

impl Oracle {
    /// Checks that the fields that an update has added keep the laws of merging.
    pub(super) fn check_later(&self, document: &DocumentId, later: &Later) -> Result<(), String> {
        let marks = self.marks.iter().filter(|mark| mark.document == *document && mark.fate != Fate::Perhaps);
        for mark in marks {
            if let Done::Tag(tag) = mark.done
                && later.tags.iter().filter(|held| **held == tag).count() != 1
            {
                return Err(format!("the tag {tag} is not there once, and it was {:?}: {later:?}", mark.fate));
            }
        }
        let is_whole = match &later.shape {
            Shape::None => true,
            Shape::Circle { size, radius: other } | Shape::Square { size, side: other } => size == other,
        };
        if later.place.0 != later.place.1 || !is_whole {
            return Err(format!("a register is a mix of two: {later:?}"));
        }
        Ok(())
    }
}

impl Run {
    /// Notes that the app sent an edit of a document to its worker.
    pub(super) fn sent(&mut self, document: &DocumentKey, is_put: bool) {
        self.edits += 1;
        if document.collection == NOTES && is_put {
            let made = self.made.remove(&document.id).unwrap_or_default();
            self.captured.extend(made.into_iter().map(|mark| (self.edits, mark)));
        }
    }
}

/// The fields of a note that all versions of the app know.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Note {
    pub(super) text: String,
    pub(super) votes: i64,
    pub(super) items: Vec<i64>,
    pub(super) own: i64,
    pub(super) done: bool,
}
