//! Changes that are a function of their place: several apps that make them independently make the same change, with the
//! same hash.
//!
//! An Automerge container (a text, a list, a map, a counter) has the identity of the operation that made it. Two apps
//! that each put a list at one key have made two lists, of which a merge shows one, and what was added to the other is
//! lost. So where two apps may be the first to use a place, the container is made by a change of its own, which follows
//! from the place alone: the document's id, the object and key it is in, its kind, and the operations that it replaces.
//! The app's own edit comes after it.
//!
//! Why such a change is sound:
//!
//! - **Actor and sequence number.** The actor is a hash of the place and the dependencies, and the change is the only
//!   one of this actor. So (actor, sequence number) names one change, as Automerge and the backends require, and no
//!   replica continues the actor.
//! - **Dependencies.** It depends on the change that made the object it is in and on those that made what it replaces,
//!   and on nothing else. Its first operation has the number after theirs. Both are the same for every app that sees
//!   the place in the same state.
//! - **Order.** Its operations have small numbers, so that any edit made after it wins over it, and defaults never win
//!   over edits.
//! - **Again.** A container that was deleted cannot be made by the same change, which the document has. The next one is
//!   counted: `again`.
//! - **Compaction and transport.** It is an ordinary change to backends, stores and the original clients. It is known
//!   by its hash, so that it is pushed, stored and merged once.
//! - **A hostile writer** can take the actor of a place with another change. Then Automerge refuses the app's change,
//!   and the container is put in the ordinary way.
//!
//! A document with a plain name, such as `settings`, is made in the same way ([`first_changes`]): what two apps put at
//! one place is the same change if it is the same, and both survive where they can if it is not.

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

/// How often a container is made again by such a change at a place where it was deleted. Finding the next one takes a
/// hash for each; beyond, the container is put in the ordinary way.
const AGAIN: u64 = 64;

/// The length of these changes' actors, by which they are told from others: those of apps and of Automerge's libraries
/// are 16 bytes long, and a few bytes longer for an edit that is made at an earlier version.
const ACTOR_BYTES: usize = 24;

/// A change that follows from a place, and the root field it is in.
pub(crate) struct PlaceChange {
    pub field: String,
    pub change: Change,
}

/// What holds a place: an object of a document.
#[derive(Clone)]
struct Parent {
    object: ObjectId,
    /// The changes that made it and what is replaced at the place.
    deps: Vec<ChangeHash>,
    /// The number of the first operation after those.
    start: NonZeroU64,
}

impl Parent {
    fn root() -> Self {
        Self { object: ObjectId::Root, deps: Vec::new(), start: NonZeroU64::MIN }
    }

    /// The object that the first operation of `change` has made.
    fn made_by(change: &Change) -> Self {
        let object = ObjectId::Id(OpId::new(change.start_op().get(), change.actor_id()));
        Self { object, deps: vec![change.hash()], start: after(change.max_op()) }
    }
}

fn after(number: u64) -> NonZeroU64 {
    NonZeroU64::MIN.saturating_add(number)
}

/// The changes that make a document with a plain name, each a function of the document's id, the place and what is put
/// there.
///
/// # Errors
///
/// As of [`edit`](super::edit).
pub(crate) fn first_changes(id: &str, value: &Value) -> Result<Vec<PlaceChange>, FormatError> {
    let nothing = Value::Map(Default::default());
    let fields = changed(&nothing, value)?;
    let mut places = Places { document: id, field: String::new(), made: Vec::new() };
    for (key, _, value) in fields {
        places.field.clone_from(key);
        places.fill(&Parent::root(), key, value);
    }
    // The id comes last and depends on all the rest: a document without one has not arrived whole.
    let mut whole = Parent::root();
    for place in &places.made {
        include(&mut whole.deps, &place.change);
        whole.start = whole.start.max(after(place.change.max_op()));
    }
    places.field = ID.to_owned();
    // A text, as the web's library writes it: its scalar strings are objects in JavaScript.
    places.put(&whole, ID, &Value::Text(id.to_owned()));
    Ok(places.made)
}

/// Whether a change is one of these.
pub(crate) fn is_place_change(change: &Change) -> bool {
    change.actor_id().to_bytes().len() == ACTOR_BYTES && change.seq() == 1 && change.timestamp() == 0
}

/// Changes of one document that follow from their places.
struct Places<'a> {
    document: &'a str,
    /// The root field that they are in.
    field: String,
    made: Vec<PlaceChange>,
}

impl Places<'_> {
    /// Puts `value` at an empty place.
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

    /// Puts `value` whole at an empty place.
    fn put(&mut self, parent: &Parent, key: &str, value: &Value) {
        let actor = self.actor(parent, key, &[b"value", value.to_json_text().as_bytes()]);
        let mut writer = Writer::new(&actor, parent.start);
        writer.put(parent.object.clone(), Key::Map(key.into()), false, value);
        let operations = writer.operations;
        self.push(&actor, parent.deps.clone(), parent.start, operations);
    }

    /// What a container holds when it is made.
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

    /// The change that makes an empty container in place of the operations `replaced`.
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

    /// The actor of the one change that does this at this place: the start of a SHA-256 of all that the change follows
    /// from.
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

/// Makes the containers that the edit from `view` to `value` adds to and that the document lacks. The document is at
/// the version of the edit, `base`, isolated there if `isolated`. Gives the changes that the document did not have;
/// `base` includes them afterwards.
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
    // Each round makes what is in the containers of the round before.
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

/// Makes one container, with what the app shows in it. Whether it is there now.
fn make(
    document: &mut AutoCommit,
    base: &mut Vec<ChangeHash>,
    id: &str,
    missing: &Missing,
    made: &mut Vec<PlaceChange>,
) -> bool {
    let Some((parent, replaced)) = parent_of(document, missing) else { return false };
    let mut places = Places { document: id, field: missing.field.clone(), made: Vec::new() };
    for again in 0..AGAIN {
        let container = places.container(&parent, &missing.key, (missing.kind, &missing.form), &replaced, again);
        if document.get_missing_deps(&[container.hash()]).is_empty() {
            // The document has it: it came from elsewhere and is not in this version yet, or it was deleted.
            let mut there = base.clone();
            include(&mut there, &container);
            let held = document.get_all_at(&missing.object, missing.key.as_str(), &there).unwrap_or_default();
            let is_there = held.iter().any(|(_, id)| is_made_by(id, &container));
            if !is_there {
                continue;
            }
        }
        places.made.push(PlaceChange { field: missing.field.clone(), change: container.clone() });
        if let Some(shown) = &missing.shown {
            places.content(&container, &parent, &missing.key, missing.kind, shown);
        }
        for place in places.made {
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

/// The object of a place, and the operations that are replaced there.
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
