//! The smallest change that makes a document hold a value.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use automerge::{ObjId, ObjType, Prop, ROOT, ScalarValue, hydrate, transaction::Transactable};

use super::{
    FormatError, ID, RESERVED, Value, list,
    read::{scalar, to_scalar},
    text,
};
use crate::limits::NESTING;

/// The root fields that an edit touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edited {
    /// Those that hold something else now, or whose content does.
    pub set: BTreeSet<String>,
    /// Those that are gone.
    pub removed: BTreeSet<String>,
}

impl Edited {
    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.removed.is_empty()
    }
}

/// Turns what an app has seen (`view`) into what it has now (`value`), in a document that is at the version the app saw.
///
/// `view` is the document as the app's types write it: what is equal in both is left alone, also where the document
/// holds it in another form; what only the view has is deleted; what neither has survives. The root fields
/// [`ID`](super::ID) and [`DELETED`](super::DELETED) are left alone.
///
/// # Errors
///
/// If either is not a map or the value is nested too deep: nothing is written then. If the document is in such disorder that
/// Automerge cannot write to it: part of the edit may be pending then, and has to be rolled back.
pub fn edit<T: Transactable>(document: &mut T, view: &Value, value: &Value) -> Result<Edited, FormatError> {
    edit_named(document, None, view, value)
}

/// As [`edit`], in a document that has no id yet and gets this one.
///
/// # Errors
///
/// As of [`edit`].
pub fn create<T: Transactable>(document: &mut T, id: &str, view: &Value, value: &Value) -> Result<Edited, FormatError> {
    edit_named(document, Some(id), view, value)
}

fn edit_named<T: Transactable>(
    document: &mut T,
    id: Option<&str>,
    view: &Value,
    value: &Value,
) -> Result<Edited, FormatError> {
    let changed = changed(view, value)?;
    let mut edited = Edited::default();
    if let Some(id) = id {
        // A text, as the web's library writes it: its scalar strings are objects in JavaScript.
        put(document, &ROOT, ID.into(), &Value::Text(id.into()))?;
        edited.set.insert(ID.into());
    }
    for (key, seen, value) in changed {
        let written = entry(document, &ROOT, Prop::Map(key.clone()), seen, value);
        if written.map_err(|error| error.in_field(key))? {
            edited.set.insert(key.clone());
        }
    }
    let gone = view.as_map().into_iter().flat_map(fields).map(|(key, _)| key).filter(|key| value.get(key).is_none());
    for key in gone {
        if remove(document, &ROOT, key)? {
            edited.removed.insert(key.clone());
        }
    }
    Ok(edited)
}

/// A root field that is to be written, what the app saw of it, and what it has now.
type Field<'a> = (&'a String, Option<&'a Value>, &'a Value);

/// The root fields that are to be written. All are checked before any of them is.
pub(super) fn changed<'a>(view: &'a Value, value: &'a Value) -> Result<Vec<Field<'a>>, FormatError> {
    let (Value::Map(view), Value::Map(value)) = (view, value) else {
        return Err(FormatError::new("a document is a map; give the component named fields"));
    };
    let changed: Vec<_> = fields(value)
        .map(|(key, value)| (key, view.get(key), value))
        .filter(|(_, seen, value)| *seen != Some(*value))
        .collect();
    for (key, _, value) in &changed {
        fits(value, 1).map_err(|error| error.in_field(key))?;
    }
    Ok(changed)
}

fn fields(map: &BTreeMap<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    map.iter().filter(|(key, _)| !RESERVED.contains(&key.as_str()))
}

/// Refuses what is nested too deep, so that nothing below can run out of stack.
fn fits(value: &Value, depth: usize) -> Result<(), FormatError> {
    if depth >= NESTING && matches!(value, Value::List(_) | Value::Map(_)) {
        return Err(FormatError::new(format_args!("nested deeper than {NESTING} levels, which Convex does not store")));
    }
    match value {
        Value::List(items) => items.iter().try_for_each(|item| fits(item, depth + 1)),
        Value::Map(fields) => fields.values().try_for_each(|field| fits(field, depth + 1)),
        _ => Ok(()),
    }
}

/// Makes the place `prop` of `parent` hold `value`; whether that took a write.
pub(super) fn entry<T: Transactable>(
    document: &mut T,
    parent: &ObjId,
    prop: Prop,
    seen: Option<&Value>,
    value: &Value,
) -> Result<bool, FormatError> {
    let Some((held, id)) = document.get(parent, prop.clone()).map_err(FormatError::of_document)? else {
        put(document, parent, prop, value)?;
        return Ok(true);
    };
    let held = match held {
        automerge::Value::Object(kind) => Err(kind),
        automerge::Value::Scalar(held) => Ok(held.into_owned()),
    };
    match (held, value) {
        (Err(ObjType::Text), Value::Text(value)) => text::edit(document, &id, value),
        (Err(ObjType::Map | ObjType::Table), Value::Map(value)) => {
            map(document, &id, seen.and_then(Value::as_map), value)
        }
        (Err(ObjType::List), Value::List(value)) => match seen {
            Some(Value::List(seen)) => list::edit(document, &id, Some(seen), value),
            _ => list::edit(document, &id, None, value),
        },
        (Err(_), _) => {
            put(document, parent, prop, value)?;
            Ok(true)
        }
        (Ok(held), _) => replace(document, parent, prop, &held, seen, value),
    }
}

/// Makes a place that holds a scalar hold `value`. A counter stays a counter and a timestamp a timestamp, whichever
/// kind of number the app's type has, since other apps rely on them.
fn replace<T: Transactable>(
    document: &mut T,
    parent: &ObjId,
    prop: Prop,
    held: &ScalarValue,
    seen: Option<&Value>,
    value: &Value,
) -> Result<bool, FormatError> {
    match (held, value.as_whole()) {
        (ScalarValue::Counter(counter), Some(count)) => {
            let held = i64::from(counter);
            let by = count.checked_sub(seen.and_then(Value::as_whole).unwrap_or(held));
            match by.filter(|by| held.checked_add(*by).is_some()) {
                Some(0) => return Ok(false),
                Some(by) => document.increment(parent, prop, by),
                // The difference does not fit, but the number does.
                None => document.put(parent, prop, ScalarValue::counter(count)),
            }
            .map_err(FormatError::of_document)?;
            Ok(true)
        }
        (ScalarValue::Timestamp(held), Some(time)) => {
            if *held != time {
                document.put(parent, prop, ScalarValue::Timestamp(time)).map_err(FormatError::of_document)?;
            }
            Ok(*held != time)
        }
        _ if scalar(held).as_ref() == Some(value) => Ok(false),
        _ => put(document, parent, prop, value).map(|()| true),
    }
}

/// Makes a map hold `value` where the app saw `seen`, or where it saw nothing that it could use.
pub(super) fn map<T: Transactable>(
    document: &mut T,
    id: &ObjId,
    seen: Option<&BTreeMap<String, Value>>,
    value: &BTreeMap<String, Value>,
) -> Result<bool, FormatError> {
    let nothing = BTreeMap::new();
    let seen = seen.unwrap_or(&nothing);
    let mut written = false;
    for (key, value) in value {
        let seen = seen.get(key);
        if seen != Some(value) {
            written |= entry(document, id, Prop::Map(key.clone()), seen, value).map_err(|error| error.in_field(key))?;
        }
    }
    let mut gone: BTreeSet<String> = seen.keys().filter(|key| !value.contains_key(*key)).cloned().collect();
    if !gone.is_empty() && seen.len() == 1 && value.len() == 1 {
        // An enum that switched from one variant to another. A third one, which a concurrent switch left, would be shown
        // instead of the new one.
        gone.extend(document.keys(id).filter(|key| !value.contains_key(key)));
    }
    for key in gone {
        written |= remove(document, id, &key)?;
    }
    Ok(written)
}

fn remove<T: Transactable>(document: &mut T, parent: &ObjId, key: &str) -> Result<bool, FormatError> {
    let there = document.get(parent, key).map_err(FormatError::of_document)?.is_some();
    if there {
        document.delete(parent, key).map_err(FormatError::of_document)?;
    }
    Ok(there)
}

/// Writes `value` whole.
fn put<T: Transactable>(document: &mut T, parent: &ObjId, prop: Prop, value: &Value) -> Result<(), FormatError> {
    match (to_scalar(value), value) {
        (Some(value), _) => document.put(parent, prop, value),
        (None, Value::Text(text)) => {
            document.put_object(parent, prop, ObjType::Text).and_then(|id| document.splice_text(&id, 0, 0, text))
        }
        (None, _) => {
            let value = hydrated(document, value);
            document.batch_create_object(parent, prop, &value, false).map(|_| ())
        }
    }
    .map_err(FormatError::of_document)
}

/// The same in Automerge's words, for writing a whole tree at once.
pub(super) fn hydrated<T: Transactable>(document: &T, value: &Value) -> hydrate::Value {
    match (to_scalar(value), value) {
        (Some(value), _) => hydrate::Value::Scalar(value),
        (None, Value::List(items)) => {
            hydrate::List::from(items.iter().map(|item| hydrated(document, item)).collect::<Vec<_>>()).into()
        }
        (None, Value::Map(fields)) => {
            let fields = fields.iter().map(|(key, value)| (key.clone(), hydrated(document, value)));
            hydrate::Map::from(fields.collect::<HashMap<_, _>>()).into()
        }
        (None, value) => hydrate::Value::text(document.text_encoding(), value.as_str().unwrap_or_default()),
    }
}
