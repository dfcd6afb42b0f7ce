//! Fields that a struct no longer writes: whether they are emptied or deleted.
//!
//! An emptied part keeps what another app adds to it at the same time, so a part is emptied if the type then leaves it
//! out as well. Some types distinguish an empty part from a missing one, and serde does not reveal which. So this code
//! tries it: it empties the part in the document's value and lets the type read that.

use std::collections::{BTreeMap, BTreeSet};

use super::options::FieldPath;
use crate::format::{Merge, RESERVED, Value};

/// The limit of a struct's fields that are tried one by one. Each trial reads the whole document's value.
const MAX_TRIALS: usize = 8;

/// Finds the left-out parts that an edit has to delete. The edit turns `view` into `value` in a document that holds
/// `document`. `reads` returns the document as the type reads it, or `None` if the document does not fit the type.
pub(crate) fn deleted_parts(
    view: &Value,
    value: &Value,
    document: &Value,
    reads: impl Fn(&Value) -> Option<Value>,
) -> BTreeSet<FieldPath> {
    let mut parts = Vec::new();
    find(&mut parts, &mut Vec::new(), view, value);
    let mut deleted = BTreeSet::new();
    let shows = |document: &Value, path: &FieldPath| reads(document).is_none_or(|read| at(&read, path).is_some());
    for (path, seen) in parts {
        let Some(empty) = at(document, &path).and_then(|held| emptied(held, seen)) else { continue };
        let mut tried = document.clone();
        replace(&mut tried, &path, Some(empty));
        if !shows(&tried, &path) {
            continue;
        }
        // A struct is left out as a whole. One of its fields may keep the type from doing so.
        let mut fields = Vec::new();
        if is_struct(seen) {
            leaves(&mut fields, &mut path.clone(), seen);
        }
        let is_culprit = |field: &&FieldPath| {
            let mut tried = tried.clone();
            replace(&mut tried, field, None);
            !shows(&tried, &path)
        };
        let culprit = fields.iter().take(MAX_TRIALS).find(is_culprit).cloned();
        deleted.insert(culprit.unwrap_or(path));
    }
    deleted
}

/// Whether this is a struct, whose fields stay, and no map, item or variant.
pub(crate) fn is_struct(value: &Value) -> bool {
    value.as_map().is_some() && matches!(value.merge(), None | Some(Merge::Partial))
}

/// Finds the fields of `view` that `value` lacks, and what the app saw of them. Items of lists are not looked into: an
/// edit that leaves out fields there is verified as a whole.
fn find<'a>(found: &mut Vec<(FieldPath, &'a Value)>, path: &mut FieldPath, view: &'a Value, value: &Value) {
    let is_root = path.is_empty();
    if !is_root && !matches!(value.merge(), None | Some(Merge::Partial | Merge::Entries)) {
        return;
    }
    let (Some(seen), Some(fields)) = (view.as_map(), value.as_map()) else { return };
    for (key, seen) in seen.iter().filter(|(key, _)| !is_root || !RESERVED.contains(&key.as_str())) {
        path.push(key.clone());
        match fields.get(key) {
            Some(value) if value.is_same(seen) => {}
            Some(value) => find(found, path, seen, value),
            None if value.merge() == Some(&Merge::Entries) => {}
            None => found.push((path.clone(), seen)),
        }
        path.pop();
    }
}

/// The fields of a struct, through the structs in it.
pub(crate) fn leaves(found: &mut Vec<FieldPath>, path: &mut FieldPath, value: &Value) {
    for (key, value) in value.as_map().into_iter().flatten() {
        path.push(key.clone());
        match is_struct(value) {
            true => leaves(found, path, value),
            false => found.push(path.clone()),
        }
        path.pop();
    }
}

/// The emptied form of a part of which the app saw `seen`: as the edit empties it. `None` if the edit deletes it.
fn emptied(held: &Value, seen: &Value) -> Option<Value> {
    match (held, seen.plain()) {
        (Value::Map(held), Value::Map(fields)) if is_struct(seen) => Some(Value::Map(emptied_fields(held, fields))),
        (Value::Text(_), Value::Text(_)) | (Value::Counter(_), Value::Counter(_)) => empty_value(seen),
        (Value::List(_), Value::List(_)) if matches!(seen.merge(), None | Some(Merge::Fixed)) => empty_value(seen),
        (Value::Map(_), Value::Map(_)) if seen.merge() == Some(&Merge::Entries) => empty_value(seen),
        _ => None,
    }
    .map(Value::into_plain)
}

fn emptied_fields(held: &BTreeMap<String, Value>, seen: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let fields = held.iter().filter_map(|(key, held)| {
        let Some(seen) = seen.get(key) else { return Some((key.clone(), held.clone())) };
        let empty = match (held, seen.plain()) {
            (Value::Map(held), Value::Map(fields)) if is_struct(seen) => Some(Value::Map(emptied_fields(held, fields))),
            // The type reads a struct from another form, and the edit deletes that form.
            _ if is_struct(seen) => None,
            _ => empty_value(seen),
        };
        empty.map(|empty| (key.clone(), empty.into_plain()))
    });
    fields.collect()
}

fn at<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

/// Puts a field of a document's value, or takes it away.
fn replace(document: &mut Value, path: &[String], field: Option<Value>) {
    let (Value::Map(fields), [key, rest @ ..]) = (document, path) else { return };
    match (rest, field) {
        ([], Some(field)) => drop(fields.insert(key.clone(), field)),
        ([], None) => drop(fields.remove(key)),
        (rest, field) => {
            if let Some(inner) = fields.get_mut(key) {
                replace(inner, rest, field);
            }
        }
    }
}

/// The value of a field in a struct that was emptied. `None` if the value does not determine it: variants have no empty
/// value.
pub(crate) fn empty_value(seen: &Value) -> Option<Value> {
    let noted = |merge: &Merge, value| Value::As(merge.clone(), Box::new(value));
    let each = |items: &[Value]| items.iter().map(empty_value).collect::<Option<Vec<_>>>().map(Value::List);
    Some(match seen {
        Value::Null => Value::Null,
        Value::Bool(_) => Value::Bool(false),
        Value::Int(_) | Value::Uint(_) => Value::Int(0),
        Value::Float(_) => Value::Float(0.0),
        Value::Text(_) => Value::Text(String::new()),
        Value::Scalar(_) => Value::Scalar(String::new()),
        Value::Bytes(_) => Value::Bytes(Vec::new()),
        Value::Timestamp(_) => Value::Timestamp(0),
        Value::Counter(_) => Value::Counter(0),
        Value::List(_) => Value::List(Vec::new()),
        Value::As(Merge::Entries, _) => noted(&Merge::Entries, Value::Map(BTreeMap::new())),
        // Arrays, tuples and vectors keep their length.
        Value::As(merge @ (Merge::Fixed | Merge::Whole), value) => match value.plain() {
            Value::List(items) => noted(merge, each(items)?),
            value => noted(merge, empty_value(value)?),
        },
        seen if is_struct(seen) => {
            let empty = |(key, seen): (&String, &Value)| Some((key.clone(), empty_value(seen)?));
            Value::Map(seen.as_map().into_iter().flatten().map(empty).collect::<Option<_>>()?)
        }
        Value::Map(_) | Value::As(..) => return None,
    })
}
