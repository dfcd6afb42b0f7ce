//! Commands that wait for the worker: the captures of one document become one edit.
//!
//! An edit is the difference between the value that its entity had shown and the value that it holds. The difference
//! from the first value to the last includes everything between them that still holds, so a capture that waits may give
//! way to a later one of the same document if nothing between them needs the order:
//!
//! - Both put the value of an entity that shows the document. A spawn, an [`ensure`](Put::Ensured), a delete, a
//!   restore, a discard, and a request to show or to retry the document stay where they are.
//! - Both are of one generation, so they have the same base.
//! - The later one holds all components of the earlier one. Captures hold whole components, and the components of a
//!   document share no field, so captures of other components between the two make no difference.
//! - The document is not [large](LARGE).
//!
//! An edit waits for its time in a collection with a rate, and while the backend has not taken the last edits of the
//! document. Otherwise an app would make changes faster than they are sent, and others would see them ever later.
//!
//! The commands of one document stay in their order. Documents take turns in the order of their oldest command, so a
//! document that changes in every frame does not move back in the queue.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    time::Duration,
};

use super::{Command, Encode};
use crate::{
    DocumentKey,
    format::Value,
    record::{Edit, EditKind, Put},
    replica::EditNumber,
};

/// A document with more letters, bytes and values than this is large. Its captures are not merged: an app may have made
/// a large change in several edits, each of which fits into one change, as
/// [`CHANGE_OPERATIONS`](crate::limits::CHANGE_OPERATIONS) demands. The difference between two smaller values takes
/// fewer operations than a change may have.
const LARGE: usize = 128 * 1024;

/// The longest time in milliseconds that an edit waits because the backend has not taken the document's last edits yet.
/// An edit that waits is not saved. Once a second, a few thousand documents that change all the time can be edited.
const PRESSED: i64 = 1_000;

/// A command, with the numbers of the edits that it stands for.
pub(super) struct Taken {
    pub(super) command: Command,
    /// Empty for a command that is no edit. The last number is that of the edit itself.
    pub(super) numbers: Vec<EditNumber>,
}

/// The next in turn.
enum Turn {
    Document(DocumentKey),
    Command(Command),
}

/// The commands of one document.
struct Queue {
    commands: VecDeque<Taken>,
    /// The time until which they wait. `None`: they have their place in the order of turns.
    until: Option<i64>,
    /// When the first of them came.
    since: i64,
    /// Whether one of them cannot wait.
    is_needed: bool,
}

/// Commands that wait. Times are in milliseconds since 1970.
pub(super) struct Waiting {
    turns: VecDeque<Turn>,
    documents: HashMap<DocumentKey, Queue>,
    /// Documents whose edits wait for a time.
    deferred: BTreeSet<(i64, DocumentKey)>,
    /// Those of them that wait because the backend has not taken the last edits yet.
    pressed: BTreeSet<DocumentKey>,
    /// The shortest time between two edits of a document, for each collection. 0: there is no bound.
    intervals: Vec<i64>,
    /// The time of the last edits of documents for which the interval is not over.
    last: HashMap<DocumentKey, i64>,
    large: HashSet<DocumentKey>,
    /// The last reading of the clock.
    clock: i64,
}

impl Waiting {
    /// Nothing waits. `intervals` has the shortest time between two edits of a document, for each collection.
    pub(super) fn new(intervals: impl Iterator<Item = Duration>) -> Self {
        Self {
            turns: VecDeque::new(),
            documents: HashMap::new(),
            deferred: BTreeSet::new(),
            pressed: BTreeSet::new(),
            intervals: intervals.map(|interval| interval.as_millis().try_into().unwrap_or(i64::MAX)).collect(),
            last: HashMap::new(),
            large: HashSet::new(),
            clock: 0,
        }
    }

    /// Adds a command that is no edit.
    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Show(document) => self.needed(document.clone(), Command::Show(document)),
            Command::RetryOne(document) => self.needed(document.clone(), Command::RetryOne(document)),
            Command::Discard(document) => self.needed(document.clone(), Command::Discard(document)),
            Command::Kept(kept) => self.of_document(kept.document.clone(), Command::Kept(kept)),
            Command::Applied(mut shown) => {
                // An edit is made at the version that it names, so the version is forgotten after the edit.
                shown.retain(|(document, generation)| match self.documents.get_mut(document) {
                    Some(queue) => {
                        let command = Command::Applied(vec![(document.clone(), *generation)]);
                        queue.commands.push_back(Taken { command, numbers: Vec::new() });
                        false
                    }
                    None => true,
                });
                if !shown.is_empty() {
                    self.turns.push_back(Turn::Command(Command::Applied(shown)));
                }
            }
            command => self.turns.push_back(Turn::Command(command)),
        }
    }

    /// Adds an edit.
    pub(super) fn edit(&mut self, edit: Edit<Box<dyn Encode>>, number: EditNumber, now: i64) {
        let document = edit.document.clone();
        let can_wait = matches!(edit.kind, EditKind::Put { put: Put::Edited, .. });
        if !self.documents.contains_key(&document) && can_wait {
            let until = self.next_time(&document, now);
            match until {
                Some(until) => drop(self.deferred.insert((until, document.clone()))),
                None => self.turns.push_back(Turn::Document(document.clone())),
            }
            let queue = Queue { commands: VecDeque::new(), until, since: now, is_needed: false };
            self.documents.insert(document.clone(), queue);
        }
        let is_large = self.large.contains(&document);
        let mut numbers = match self.documents.get_mut(&document) {
            Some(queue) if can_wait && !is_large => give_way(&mut queue.commands, &edit),
            _ => Vec::new(),
        };
        numbers.push(number);
        let taken = Taken { command: Command::Edit(edit), numbers };
        match can_wait {
            true => self.queue(document).push_back(taken),
            false => self.add_needed(document, taken),
        }
    }

    /// The time until which an edit of a document must wait, if it must.
    fn next_time(&mut self, document: &DocumentKey, now: i64) -> Option<i64> {
        let interval = self.intervals.get(document.collection.0 as usize).copied().filter(|interval| *interval > 0)?;
        let last = *self.last.get(document)?;
        // A clock that was set back must not hold an edit for longer than its interval.
        (last..last.saturating_add(interval)).contains(&now).then(|| last.saturating_add(interval))
    }

    /// Adds a command to those of its document.
    fn of_document(&mut self, document: DocumentKey, command: Command) {
        self.queue(document).push_back(Taken { command, numbers: Vec::new() });
    }

    /// Adds a command before which the document's edits can no longer wait.
    fn needed(&mut self, document: DocumentKey, command: Command) {
        self.add_needed(document, Taken { command, numbers: Vec::new() });
    }

    fn add_needed(&mut self, document: DocumentKey, taken: Taken) {
        self.queue(document.clone()).push_back(taken);
        if let Some(queue) = self.documents.get_mut(&document) {
            queue.is_needed = true;
        }
        self.hurry(&document);
    }

    fn queue(&mut self, document: DocumentKey) -> &mut VecDeque<Taken> {
        let turns = &mut self.turns;
        let queue = self.documents.entry(document).or_insert_with_key(|document| {
            turns.push_back(Turn::Document(document.clone()));
            Queue { commands: VecDeque::new(), until: None, since: i64::MIN, is_needed: false }
        });
        &mut queue.commands
    }

    /// Ends the document's waiting for its time.
    fn hurry(&mut self, document: &DocumentKey) {
        let Some(until) = self.documents.get_mut(document).and_then(|queue| queue.until.take()) else { return };
        self.deferred.remove(&(until, document.clone()));
        self.pressed.remove(document);
        self.turns.push_back(Turn::Document(document.clone()));
    }

    /// Ends all waiting for a time.
    pub(super) fn hurry_all(&mut self) {
        while let Some((_, document)) = self.deferred.first().cloned() {
            self.hurry(&document);
        }
    }

    /// Notes the time.
    fn look_at(&mut self, now: i64) {
        if now < self.clock {
            // The clock was set back.
            self.hurry_all();
            self.last.clear();
        }
        self.clock = now;
        while let Some((_, document)) = self.deferred.first().filter(|(until, _)| *until <= now).cloned() {
            self.hurry(&document);
        }
    }

    /// The backend has taken edits: those documents need not wait that are not `pressed` any more.
    pub(super) fn relieve(&mut self, pressed: impl Fn(&DocumentKey) -> bool) {
        let relieved: Vec<_> = self.pressed.iter().filter(|document| !pressed(document)).cloned().collect();
        relieved.iter().for_each(|document| self.hurry(document));
    }

    /// Lets a document whose turn it is wait if it is pressed. Returns whether it waits.
    fn press(&mut self, document: &DocumentKey, now: i64, pressed: impl Fn(&DocumentKey) -> bool) -> bool {
        let Some(queue) = self.documents.get_mut(document) else { return false };
        let until = queue.since.saturating_add(PRESSED);
        if queue.is_needed || !(queue.since..until).contains(&now) || !pressed(document) {
            return false;
        }
        queue.until = Some(until);
        self.deferred.insert((until, document.clone()));
        self.pressed.insert(document.clone());
        true
    }

    /// Takes the commands whose turn it is: one, or those of one document. A document is `pressed` if the backend has
    /// not taken its last edits yet.
    pub(super) fn next(&mut self, now: i64, pressed: impl Fn(&DocumentKey) -> bool) -> Option<VecDeque<Taken>> {
        self.look_at(now);
        let document = loop {
            match self.turns.pop_front() {
                Some(Turn::Document(document)) if self.press(&document, now, &pressed) => {}
                Some(Turn::Document(document)) => break document,
                Some(Turn::Command(command)) => return Some([Taken { command, numbers: Vec::new() }].into()),
                None => {
                    let intervals = &self.intervals;
                    let interval = |of: &DocumentKey| intervals.get(of.collection.0 as usize).copied().unwrap_or(0);
                    self.last.retain(|document, last| last.saturating_add(interval(document)) > now);
                    return None;
                }
            }
        };
        let commands = self.documents.remove(&document).map(|queue| queue.commands).unwrap_or_default();
        let is_bounded = self.intervals.get(document.collection.0 as usize).is_some_and(|interval| *interval > 0);
        if is_bounded && commands.iter().any(|taken| matches!(taken.command, Command::Edit(_))) {
            self.last.insert(document, now);
        }
        Some(commands)
    }

    /// Whether a turn is there to be taken.
    pub(super) fn is_ready(&self) -> bool {
        !self.turns.is_empty()
    }

    /// Whether edits of this document wait for their time.
    pub(super) fn is_deferred(&self, document: &DocumentKey) -> bool {
        self.documents.get(document).is_some_and(|queue| queue.until.is_some())
    }

    /// The time at which the next edit has waited long enough.
    pub(super) fn due(&self) -> Option<i64> {
        self.deferred.first().map(|(until, _)| *until)
    }

    /// The document has this value now.
    pub(super) fn weigh(&mut self, document: &DocumentKey, value: &Value) {
        let mut room = LARGE;
        if fits(value, &mut room) {
            self.large.remove(document);
        } else {
            self.large.insert(document.clone());
        }
    }
}

/// Removes the captures that `edit` makes unnecessary. Returns the numbers of their edits.
fn give_way(commands: &mut VecDeque<Taken>, edit: &Edit<Box<dyn Encode>>) -> Vec<EditNumber> {
    let mut numbers = Vec::new();
    let Some(mask) = components(edit) else { return numbers };
    let mut at = commands.len();
    while at > 0 {
        at -= 1;
        let is_held = match &commands[at].command {
            // The version that `edit` names is not forgotten.
            Command::Applied(_) => continue,
            Command::Edit(earlier) if earlier.generation == edit.generation => match components(earlier) {
                Some(earlier) => earlier & !mask == 0,
                None => break,
            },
            _ => break,
        };
        if is_held && let Some(taken) = commands.remove(at) {
            // Numbers ascend, and those before are lower.
            numbers.splice(0..0, taken.numbers);
        }
    }
    numbers
}

/// The components that an edit holds, if it may give way or be given way.
fn components(edit: &Edit<Box<dyn Encode>>) -> Option<u32> {
    match &edit.kind {
        EditKind::Put { value, put: Put::Edited } => value.components(),
        _ => None,
    }
}

/// Takes the letters, bytes and values of `value` from `room`. Returns false if there is not enough.
fn fits(value: &Value, room: &mut usize) -> bool {
    let length = match value.plain() {
        Value::Text(text) | Value::Scalar(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        _ => 0,
    };
    let Some(left) = room.checked_sub(1 + length) else { return false };
    *room = left;
    match value.plain() {
        Value::Map(map) => map.values().all(|value| fits(value, room)),
        Value::List(list) => list.iter().all(|value| fits(value, room)),
        _ => true,
    }
}

#[cfg(test)]
#[path = "waiting_tests.rs"]
mod tests;
