//! Writes and reads a document's first change without building a document.
//!
//! Automerge sorts every operation of a document into columns and extracts changes from them again. The first change
//! of a document does not need this: it only makes objects and fills them in order, so its operations can be written
//! from a value, and the value can be read from its operations. This takes a tenth of the time and does not need the
//! document's memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU64,
};

use automerge::{
    ActorId, Change, ExpandedChange, ObjType, ScalarValue,
    legacy::{ElementId, Key, ObjectId, Op, OpId, OpType, SortedVec},
};

use super::{
    Edited, FormatError, ID, Value,
    edit::changed,
    read::{scalar, to_scalar},
};
use crate::{chunk::inspect, limits::NESTING};

/// A first change, the fields it sets, and the value it makes.
pub(crate) struct FirstChange {
    pub change: Change,
    pub edited: Edited,
    /// The result of [`read`](super::read) for a document that has only this change.
    pub value: Value,
}

/// Makes the change that [`create`](super::create) would make in an empty document. `seconds` is the change's time in
/// seconds since 1970.
///
/// # Errors
///
/// As [`create`](super::create).
pub(crate) fn write_first(
    actor: &ActorId,
    id: &str,
    view: &Value,
    value: &Value,
    seconds: i64,
) -> Result<FirstChange, FormatError> {
    // A text, as Automerge's JavaScript library writes it: scalar strings are objects in JavaScript.
    let id = Value::Text(id.into());
    let fields: BTreeMap<&str, &Value> = changed(view, value)?
        .into_iter()
        .map(|(key, _, value)| (key.as_str(), value))
        .chain(std::iter::once((ID, &id)))
        .collect();
    let mut writer = Writer::new(actor, NonZeroU64::MIN);
    for (key, value) in &fields {
        writer.put(ObjectId::Root, Key::Map((*key).into()), false, value);
    }
    let change = ExpandedChange {
        operations: writer.operations,
        actor_id: actor.clone(),
        hash: None,
        seq: 1,
        start_op: NonZeroU64::MIN,
        time: seconds,
        message: None,
        deps: Vec::new(),
        extra_bytes: Vec::new(),
        author: None,
    };
    let value = value_of(&change).ok_or_else(|| FormatError::new("its fields cannot be written in one change"))?;
    let edited = Edited { set: fields.keys().map(|key| (*key).to_owned()).collect(), removed: BTreeSet::new() };
    Ok(FirstChange { change: change.into(), edited, value })
}

/// Writes the operations of a change that makes objects and fills them.
pub(super) struct Writer<'a> {
    actor: &'a ActorId,
    start: NonZeroU64,
    pub(super) operations: Vec<Op>,
}

impl<'a> Writer<'a> {
    /// A writer for a change whose first operation has the number `start`.
    pub(super) fn new(actor: &'a ActorId, start: NonZeroU64) -> Self {
        Self { actor, start, operations: Vec::new() }
    }

    /// Puts `value` at a place of `obj`. The caller has checked the depth of `value`.
    pub(super) fn put(&mut self, obj: ObjectId, key: Key, insert: bool, value: &Value) -> OpId {
        let value = value.plain();
        let action = match (to_scalar(value), value) {
            (Some(value), _) => OpType::Put(value),
            (None, Value::List(_)) => OpType::Make(ObjType::List),
            (None, Value::Map(_)) => OpType::Make(ObjType::Map),
            (None, _) => OpType::Make(ObjType::Text),
        };
        let made = self.operation(action, obj, key, insert);
        self.fill(ObjectId::Id(made.clone()), value);
        made
    }

    /// Fills an empty object.
    pub(super) fn fill(&mut self, object: ObjectId, value: &Value) {
        let mut last = ElementId::Head;
        match value.plain() {
            Value::Text(text) => {
                for letter in text.chars() {
                    let action = OpType::Put(ScalarValue::Str(letter.to_string().as_str().into()));
                    last = ElementId::Id(self.operation(action, object.clone(), Key::Seq(last), true));
                }
            }
            Value::List(items) => {
                for item in items {
                    last = ElementId::Id(self.put(object.clone(), Key::Seq(last), true, item));
                }
            }
            Value::Map(fields) => {
                for (name, field) in fields {
                    self.put(object.clone(), Key::Map(name.as_str().into()), false, field);
                }
            }
            _ => {}
        }
    }

    pub(super) fn operation(&mut self, action: OpType, obj: ObjectId, key: Key, insert: bool) -> OpId {
        self.operations.push(Op { action, obj, key, pred: SortedVec::new(), insert });
        OpId::new(self.start.get() + self.operations.len() as u64 - 1, self.actor)
    }
}

/// The value of a document that has only `change`, read without building the document. Returns `None` unless the change
/// is certain to be valid: it only makes objects, fills each in order, and is encoded as Automerge encodes it. A
/// document with this change then saves exactly the same change, whatever program encoded it.
pub(crate) fn read_first(change: &Change) -> Option<Value> {
    let is_first = change.deps().is_empty() && change.seq() == 1 && change.start_op() == NonZeroU64::MIN;
    if !is_first || !change.other_actor_ids().is_empty() || !change.extra_bytes().is_empty() {
        return None;
    }
    let read = || {
        let expanded = change.decode();
        let value = value_of(&expanded)?;
        (Change::from(expanded).hash() == change.hash()).then_some(value)
    };
    inspect::guarded("read", read).ok().flatten()
}

/// An object that the change makes.
struct Object<'a> {
    content: Content<'a>,
    depth: usize,
    /// The operation that inserted the last element of a list or text.
    last: Option<u64>,
}

enum Content<'a> {
    Map(BTreeMap<&'a str, Child>),
    List(Vec<Child>),
    Text(String),
}

/// The value of a map key or list item: a scalar, or the number of the operation that made the object there.
enum Child {
    Scalar(Value),
    Object(u64),
}

/// The value that the operations of a first change make. Returns `None` if they do anything except making objects and
/// filling each in order.
fn value_of(change: &ExpandedChange) -> Option<Value> {
    let own = |id: &OpId| (*id.actor() == change.actor_id).then(|| id.counter());
    let mut objects = BTreeMap::from([(0, Object::new(ObjType::Map, 0)?)]);
    for (operation, number) in change.operations.iter().zip(1u64..) {
        if !operation.pred.is_empty() {
            return None;
        }
        let parent = match &operation.obj {
            ObjectId::Root => 0,
            ObjectId::Id(id) => own(id)?,
        };
        let depth = objects.get(&parent)?.depth + 1;
        let item = match &operation.action {
            OpType::Make(kind) => {
                objects.insert(number, Object::new(*kind, depth)?);
                Child::Object(number)
            }
            OpType::Put(value) => Child::Scalar(scalar(value)?),
            _ => return None,
        };
        let parent = objects.get_mut(&parent)?;
        match (&mut parent.content, &operation.key) {
            (Content::Map(fields), Key::Map(name)) if !operation.insert => {
                if fields.insert(name, item).is_some() {
                    return None;
                }
                continue;
            }
            (Content::Map(_), _) | (_, Key::Map(_)) => return None,
            (_, Key::Seq(after)) => {
                let after = match after {
                    ElementId::Head => None,
                    ElementId::Id(id) => Some(own(id)?),
                };
                if !operation.insert || after != parent.last {
                    return None;
                }
            }
        }
        parent.last = Some(number);
        match (&mut parent.content, item) {
            (Content::List(items), item) => items.push(item),
            (Content::Text(text), Child::Scalar(Value::Scalar(letter))) if letter.chars().count() == 1 => {
                text.push_str(&letter);
            }
            _ => return None,
        }
    }
    Some(tree(&mut objects, 0))
}

impl Object<'_> {
    /// Returns `None` for an object that [`read`](super::read) does not show in full.
    fn new(kind: ObjType, depth: usize) -> Option<Self> {
        let content = match kind {
            ObjType::Text => Content::Text(String::new()),
            ObjType::Map if depth < NESTING => Content::Map(BTreeMap::new()),
            ObjType::List if depth < NESTING => Content::List(Vec::new()),
            _ => return None,
        };
        Some(Self { content, depth, last: None })
    }
}

/// The value of an object with all its content. Removes the objects from the map, because each has exactly one place.
fn tree(objects: &mut BTreeMap<u64, Object>, number: u64) -> Value {
    let value = |item, objects: &mut _| match item {
        Child::Scalar(value) => value,
        Child::Object(number) => tree(objects, number),
    };
    match objects.remove(&number).map(|object| object.content) {
        Some(Content::Map(fields)) => {
            Value::Map(fields.into_iter().map(|(name, item)| (name.to_owned(), value(item, objects))).collect())
        }
        Some(Content::List(items)) => Value::List(items.into_iter().map(|item| value(item, objects)).collect()),
        Some(Content::Text(text)) => Value::Text(text),
        None => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use automerge::{AutoCommit, Automerge, ROOT, ReadDoc, transaction::Transactable};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        chunk::sound::{
            self,
            tests::{forgeries, without_automerge_panics},
        },
        format::{edit, read},
    };

    fn actor() -> ActorId {
        ActorId::from([7; 16])
    }

    fn nothing() -> Value {
        Value::Map(BTreeMap::new())
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            any::<u64>().prop_map(Value::Uint),
            any::<f64>().prop_map(Value::Float),
            ".{0,12}".prop_map(Value::Text),
            ".{0,12}".prop_map(Value::Scalar),
            any::<Vec<u8>>().prop_map(Value::Bytes),
            any::<i64>().prop_map(Value::Timestamp),
            any::<i64>().prop_map(Value::Counter),
        ];
        let tree = leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
                prop::collection::btree_map(".{0,3}", inner, 0..4).prop_map(Value::Map),
            ]
        });
        prop::collection::btree_map("[a-z]{0,3}", tree, 0..5).prop_map(Value::Map)
    }

    /// A document with only this change. It must save the same change again.
    fn opened(change: &Change) -> Result<Automerge, String> {
        let mut document = Automerge::new();
        sound::apply(&[], vec![change.clone()], &[change.hash()], |changes| {
            document.apply_changes(changes)?;
            Ok(&document)
        })?;
        assert_eq!(document.get_heads(), [change.hash()]);
        let again = Automerge::load(&document.save()).map_err(|error| error.to_string())?;
        assert_eq!(read(&again), read(&document));
        Ok(document)
    }

    /// The debug text, which shows the kinds of values. Equality of values ignores kinds.
    fn exactly(value: &Value) -> String {
        format!("{value:?}")
    }

    proptest! {
        #[test]
        fn a_first_change_read_without_a_document_has_the_value_of_the_document(value in values()) {
            let first = write_first(&actor(), "some id", &nothing(), &value, 5).unwrap();
            let document = opened(&first.change).unwrap();
            prop_assert_eq!(exactly(&first.value), exactly(&read(&document)));
            prop_assert_eq!(read_first(&first.change).as_ref().map(exactly), Some(exactly(&first.value)));
            // The value and the id are present, and the next edit finds no difference.
            let mut document = AutoCommit::load(&document.save()).unwrap();
            prop_assert_eq!(document.text(document.get(ROOT, ID).unwrap().unwrap().1).unwrap(), "some id");
            prop_assert!(edit(&mut document, &nothing(), &value).unwrap().is_empty());
        }
    }

    #[test]
    fn a_forged_change_is_refused_or_reads_as_its_document_does() {
        without_automerge_panics();
        let map = |fields: &[(&str, Value)]| {
            Value::Map(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
        };
        let value = map(&[
            ("a", Value::Text("ab".into())),
            ("b", Value::List(vec![Value::Int(1), map(&[("c", Value::Scalar("x".into()))]), Value::Bool(true)])),
            ("n", Value::Counter(300)),
        ]);
        let first = write_first(&actor(), "i", &nothing(), &value, 0).unwrap();
        let (mut plain, mut not) = (0, 0);
        for raw in forgeries(&[first.change.raw_bytes().to_vec()]) {
            let forged = Change::try_from(&raw[..]).unwrap();
            let Some(value) = read_first(&forged) else {
                not += 1;
                continue;
            };
            plain += 1;
            assert_eq!(exactly(&value), exactly(&read(&opened(&forged).unwrap())));
        }
        assert!(plain > 100 && not > 1_000, "{plain} plain, {not} not");
    }

    #[test]
    fn changes_that_only_a_document_can_read_are_refused() {
        let mut document = AutoCommit::new().with_actor(actor());
        document.put(ROOT, "a", 1).unwrap();
        document.commit();
        let mut changes = document.get_changes(&[]);
        assert!(read_first(&changes[0]).is_some());
        document.put(ROOT, "b", 2).unwrap();
        document.commit();
        changes = document.get_changes(&[]);
        assert!(read_first(&changes[1]).is_none(), "it has a dependency");

        let unusual: [fn(&mut AutoCommit); 3] = [
            |document| {
                document.put(ROOT, "a", 1).unwrap();
                document.put(ROOT, "a", 2).unwrap();
            },
            |document| {
                document.put(ROOT, "a", 1).unwrap();
                document.delete(ROOT, "a").unwrap();
            },
            |document| {
                let list = document.put_object(ROOT, "a", ObjType::List).unwrap();
                document.insert(&list, 0, 1).unwrap();
                document.insert(&list, 0, 2).unwrap();
            },
        ];
        for write in unusual {
            let mut document = AutoCommit::new().with_actor(actor());
            write(&mut document);
            document.commit();
            assert!(read_first(&document.get_changes(&[])[0]).is_none());
        }
    }
}
