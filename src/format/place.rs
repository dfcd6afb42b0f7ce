//! Place changes: changes that are a function of a place in a document. Several apps that make such a change
//! independently make the same change, with the same hash.
//!
//! An Automerge container (a text, list, map or counter) is identified by the operation that made it. If two apps each
//! put a list at one key, the document has two lists. A merge shows one of them, and the additions to the other are
//! lost. So where two apps may both be the first to use a place, the container is made by its own change, which is
//! computed only from the document's id, the object and key that contain it, its kind, and the operations that it
//! replaces. The app's edit follows in a second change.
//!
//! Why this is sound:
//!
//! - **Actor and sequence number.** The actor is a hash of the place and the dependencies, and this change is the only
//!   one of its actor. So (actor, sequence number) identifies one change, as Automerge and the backends require, and no
//!   replica continues the actor.
//! - **Dependencies.** The change depends on the change that made the object that contains the container, and on the
//!   changes that made what it replaces; on nothing else. Its first operation has the next number after theirs. Both
//!   are the same for every app that sees the place in the same state.
//! - **Order.** Its operations have small numbers, so any later edit wins over it, and a default never wins over an
//!   edit.
//! - **Repetition.** After a container was deleted, the same change cannot make it again, because the document already
//!   has that change. The counter `again` distinguishes the next change.
//! - **Compaction and transport.** To backends, stores and Automerge's own clients it is an ordinary change. It is
//!   identified by its hash, so it is pushed, stored and merged once.
//! - **A hostile writer** can make another change with the actor of a place. Automerge then refuses the app's change,
//!   and the edit puts the container as an ordinary edit does.
//!
//! A document with a plain name, such as `settings`, is made in the same way ([`first_changes`]). If two apps put equal
//! values at a place, they make the same change. If the values differ, both survive where they can be merged.

use std::{collections::HashSet, num::NonZeroU64};

use automerge::{
    ActorId, AutoCommit, Change, ChangeHash, ExpandedChange, ObjId, ObjType, ReadDoc, ScalarValue,
    legacy::{Key, ObjectId, Op, OpId, OpType},
};
use sha2::{Digest, Sha256};

use super::{
    FormatError, ID, Value,
    edit::{Options, changed},
    first::Writer,
};
use crate::limits::NESTING;
use kind::Kind;
use search::{Missing, Search};

mod kind;
mod search;

/// The largest number of times that a place change makes a container again after it was deleted. Finding the next free
/// number takes one hash for each. Beyond this number, the edit puts the container as an ordinary edit does.
const MAX_AGAIN: u64 = 64;

/// The length of the actors of place changes, which distinguishes them from other actors. Actors of apps and of
/// Automerge's libraries have 16 bytes, and a few bytes more for an edit at an earlier version.
const ACTOR_BYTES: usize = 24;

/// A place change, and the root field that contains it.
pub(crate) struct PlaceChange {
    pub field: String,
    pub change: Change,
}

/// An object that contains a place.
#[derive(Clone)]
struct Parent {
    object: ObjectId,
    /// The changes that made the object and the values that are replaced at the place.
    deps: Vec<ChangeHash>,
    /// The number of the next operation after those changes.
    start: NonZeroU64,
}

impl Parent {
    fn root() -> Self {
        Self { object: ObjectId::Root, deps: Vec::new(), start: NonZeroU64::MIN }
    }

    /// The object that the first operation of `change` made.
    fn made_by(change: &Change) -> Self {
        let object = ObjectId::Id(OpId::new(change.start_op().get(), change.actor_id()));
        Self { object, deps: vec![change.hash()], start: after(change.max_op()) }
    }
}

fn after(number: u64) -> NonZeroU64 {
    NonZeroU64::MIN.saturating_add(number)
}

/// The changes that make a document with a plain name. Each is a function of the document's id, its place and the value
/// put there.
///
/// # Errors
///
/// As [`edit`](super::edit).
pub(crate) fn first_changes(id: &str, value: &Value) -> Result<Vec<PlaceChange>, FormatError> {
    let nothing = Value::Map(Default::default());
    let fields = changed(&nothing, value)?;
    let mut writer = PlaceWriter { document: id, field: String::new(), made: Vec::new() };
    for (key, _, value) in fields {
        writer.field.clone_from(key);
        writer.fill(&Parent::root(), key, value);
    }
    // The id comes last and depends on all other changes: a document without an id has not arrived completely.
    let mut whole = Parent::root();
    for place in &writer.made {
        include(&mut whole.deps, &place.change);
        whole.start = whole.start.max(after(place.change.max_op()));
    }
    writer.field = ID.to_owned();
    // A text, as Automerge's JavaScript library writes it: scalar strings are objects in JavaScript.
    writer.put(&whole, ID, &Value::Text(id.to_owned()));
    Ok(writer.made)
}

/// Whether a change is a place change.
pub(crate) fn is_place_change(change: &Change) -> bool {
    change.actor_id().to_bytes().len() == ACTOR_BYTES && change.seq() == 1 && change.timestamp() == 0
}

/// Makes place changes of one document.
struct PlaceWriter<'a> {
    document: &'a str,
    /// The root field that contains the places.
    field: String,
    made: Vec<PlaceChange>,
}

impl PlaceWriter<'_> {
    /// Makes `value` at an empty place; containers get their own changes.
    fn fill(&mut self, parent: &Parent, key: &str, value: &Value) {
        match Kind::of(value) {
            Some(kind) => {
                let container = self.container(parent, key, (kind, ""), &[], 0);
                self.made.push(PlaceChange { field: self.field.clone(), change: container.clone() });
                self.content(&container, parent, key, kind, value);
            }
            None => self.put(parent, key, value),
        }
    }

    /// Puts `value` at an empty place with one change.
    fn put(&mut self, parent: &Parent, key: &str, value: &Value) {
        let actor = self.actor(parent, key, &[b"value", value.to_json_text().as_bytes()]);
        let mut writer = Writer::new(&actor, parent.start);
        writer.put(parent.object.clone(), Key::Map(key.into()), false, value);
        let operations = writer.operations;
        self.push(&actor, parent.deps.clone(), parent.start, operations);
    }

    /// Adds the initial content of a container that was just made.
    fn content(&mut self, container: &Change, parent: &Parent, key: &str, kind: Kind, value: &Value) {
        let inside = Parent::made_by(container);
        match (kind, value.plain()) {
            (Kind::Map, Value::Map(fields)) => {
                for (key, value) in fields {
                    self.fill(&inside, key, value);
                }
            }
            (Kind::Counter, Value::Counter(count)) if *count != 0 => {
                let actor = self.actor(&inside, key, &[b"count", &count.to_be_bytes()]);
                let counted = OpId::new(container.start_op().get(), container.actor_id());
                let increment = Op {
                    action: OpType::Increment(*count),
                    obj: parent.object.clone(),
                    key: Key::Map(key.into()),
                    pred: vec![counted].into(),
                    insert: false,
                };
                self.push(&actor, inside.deps, inside.start, vec![increment]);
            }
            (Kind::Text | Kind::List, value) => {
                let actor = self.actor(&inside, "", &[b"content", value.to_json_text().as_bytes()]);
                let mut writer = Writer::new(&actor, inside.start);
                writer.fill(inside.object.clone(), value);
                let operations = writer.operations;
                if !operations.is_empty() {
                    self.push(&actor, inside.deps, inside.start, operations);
                }
            }
            _ => {}
        }
    }

    /// The change that makes an empty container and replaces the operations `replaced`.
    fn container(
        &self,
        parent: &Parent,
        key: &str,
        (kind, form): (Kind, &str),
        replaced: &[OpId],
        again: u64,
    ) -> Change {
        let replaced_names: Vec<String> = replaced.iter().map(name_of).collect();
        let mut content = vec![b"container".as_slice(), kind.name().as_bytes()];
        let again_bytes = again.to_be_bytes();
        content.push(&again_bytes);
        if !form.is_empty() {
            content.push(form.as_bytes());
        }
        content.extend(replaced_names.iter().map(String::as_bytes));
        let actor = self.actor(parent, key, &content);
        let action = match kind {
            Kind::Text => OpType::Make(ObjType::Text),
            Kind::List => OpType::Make(ObjType::List),
            Kind::Map => OpType::Make(ObjType::Map),
            Kind::Counter => OpType::Put(ScalarValue::counter(0)),
        };
        let pred = replaced.to_vec().into();
        let obj = parent.object.clone();
        let operation = Op { action, obj, key: Key::Map(key.into()), pred, insert: false };
        sealed(&actor, parent.deps.clone(), parent.start, vec![operation])
    }

    fn push(&mut self, actor: &ActorId, deps: Vec<ChangeHash>, start: NonZeroU64, operations: Vec<Op>) {
        let change = sealed(actor, deps, start, operations);
        self.made.push(PlaceChange { field: self.field.clone(), change });
    }

    /// The actor of the one change that does this at this place: the first bytes of a SHA-256 of everything that the
    /// change is computed from.
    fn actor(&self, parent: &Parent, key: &str, content: &[&[u8]]) -> ActorId {
        let object = match &parent.object {
            ObjectId::Root => "root".to_owned(),
            ObjectId::Id(id) => name_of(id),
        };
        let mut hash = Sha256::new();
        let mut deps = parent.deps.clone();
        deps.sort_unstable();
        let place = [b"place/1".as_slice(), self.document.as_bytes(), object.as_bytes(), key.as_bytes()];
        for part in place.into_iter().chain(deps.iter().map(|hash| hash.0.as_slice())).chain(content.iter().copied()) {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        ActorId::from(&hash.finalize()[..ACTOR_BYTES])
    }
}

fn name_of(id: &OpId) -> String {
    format!("{}@{}", id.counter(), id.actor())
}

fn sealed(actor: &ActorId, mut deps: Vec<ChangeHash>, start_op: NonZeroU64, operations: Vec<Op>) -> Change {
    deps.sort_unstable();
    deps.dedup();
    ExpandedChange {
        operations,
        actor_id: actor.clone(),
        hash: None,
        seq: 1,
        start_op,
        time: 0,
        message: None,
        deps,
        extra_bytes: Vec::new(),
        author: None,
    }
    .into()
}

/// Makes the containers that the edit from `view` to `value` adds to and that the document lacks. `base` is the version
/// that the edit is made at; the document is isolated there if `isolated`. Returns the changes that the document did
/// not have, and adds them to `base`.
pub(crate) fn prepare(
    document: &mut AutoCommit,
    base: &mut Vec<ChangeHash>,
    isolated: bool,
    id: &str,
    (view, value): (&Value, &Value),
    options: &Options,
) -> Vec<PlaceChange> {
    let mut made = Vec::new();
    let mut given_up = HashSet::new();
    // Each round makes the containers inside those of the round before.
    for _ in 0..NESTING {
        let mut search = Search { document, options, given_up: &given_up, found: Vec::new() };
        search.map(&ObjId::Root, None, Some(view), value);
        let found = search.found;
        if found.is_empty() {
            break;
        }
        if isolated {
            document.integrate();
        }
        for missing in found {
            let place = (missing.object.to_string(), missing.key.clone());
            if !make(document, base, id, &missing, &mut made) {
                given_up.insert(place);
            }
        }
        if isolated {
            document.isolate(base);
        }
    }
    made
}

/// Makes one container with the content that the app shows in it. Returns whether the container exists afterwards.
fn make(
    document: &mut AutoCommit,
    base: &mut Vec<ChangeHash>,
    id: &str,
    missing: &Missing,
    made: &mut Vec<PlaceChange>,
) -> bool {
    let Some((parent, replaced)) = parent_of(document, missing) else { return false };
    let mut writer = PlaceWriter { document: id, field: missing.field.clone(), made: Vec::new() };
    for again in 0..MAX_AGAIN {
        let container = writer.container(&parent, &missing.key, (missing.kind, &missing.form), &replaced, again);
        if document.get_missing_deps(&[container.hash()]).is_empty() {
            // The document has this change: either it arrived and is not in the version `base` yet, or the container
            // was deleted.
            let mut there = base.clone();
            include(&mut there, &container);
            let held = document.get_all_at(&missing.object, missing.key.as_str(), &there).unwrap_or_default();
            let is_there = held.iter().any(|(_, id)| is_made_by(id, &container));
            if !is_there {
                continue;
            }
        }
        writer.made.push(PlaceChange { field: missing.field.clone(), change: container.clone() });
        if let Some(shown) = &missing.shown {
            writer.content(&container, &parent, &missing.key, missing.kind, shown);
        }
        for place in writer.made {
            if !document.get_missing_deps(&[place.change.hash()]).is_empty() {
                if document.apply_changes([place.change.clone()]).is_err() {
                    return false;
                }
                include(base, &place.change);
                made.push(place);
            } else {
                include(base, &place.change);
            }
        }
        return true;
    }
    false
}

/// The object that contains a place, and the operations that are replaced there.
fn parent_of(document: &AutoCommit, missing: &Missing) -> Option<(Parent, Vec<OpId>)> {
    let mut parent = Parent::root();
    let mut replaced: Vec<OpId> = Vec::new();
    let ids = std::iter::once(&missing.object).chain(&missing.held);
    for (index, id) in ids.enumerate() {
        let ObjId::Id(counter, actor, _) = id else { continue };
        let hash = document.hash_for_opid(id)?;
        let made = document.get_change_by_hash(&hash)?;
        parent.deps.push(hash);
        parent.start = parent.start.max(after(made.max_op()));
        match index {
            0 => parent.object = ObjectId::Id(OpId::new(*counter, actor)),
            _ => replaced.push(OpId::new(*counter, actor)),
        }
    }
    replaced.sort_unstable();
    Some((parent, replaced))
}

fn is_made_by(id: &ObjId, change: &Change) -> bool {
    matches!(id, ObjId::Id(counter, actor, _) if *counter == change.start_op().get() && actor == change.actor_id())
}

/// Adds a change to the heads of a version.
fn include(heads: &mut Vec<ChangeHash>, change: &Change) {
    heads.retain(|head| !change.deps().contains(head));
    if !heads.contains(&change.hash()) {
        heads.push(change.hash());
    }
    heads.sort_unstable();
}
