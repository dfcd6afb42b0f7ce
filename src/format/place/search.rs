//! Finds the containers that an edit adds to and that the document does not have.

use std::collections::{BTreeMap, HashSet};

use automerge::{AutoCommit, ObjId, ObjType, ReadDoc};

use super::kind::{Kind, emptied, merges};
use crate::{
    format::{ItemKey, Merge, RESERVED, Value, edit::Options, list::Plan, read, register::is_register},
    limits::NESTING,
};

/// A container that an edit adds to and that the document does not have.
pub(super) struct Missing {
    /// The root field that contains the container.
    pub(super) field: String,
    pub(super) object: ObjId,
    pub(super) key: String,
    pub(super) kind: Kind,
    /// For a list of fixed length, its initial content as JSON: lists with different initial content are different
    /// lists.
    pub(super) form: String,
    /// The initial content of the container: the default value that the app shows there.
    pub(super) shown: Option<Value>,
    /// The null values at the place, which the container replaces. Empty if there is nothing at the place.
    pub(super) held: Vec<ObjId>,
}

/// Searches an edit for missing containers.
pub(super) struct Search<'a> {
    pub(super) document: &'a AutoCommit,
    pub(super) options: &'a Options<'a>,
    pub(super) given_up: &'a HashSet<(String, String)>,
    pub(super) found: Vec<Missing>,
}

impl Search<'_> {
    pub(super) fn map(&mut self, object: &ObjId, field: Option<&str>, seen: Option<&Value>, value: &Value) {
        let Some(fields) = value.as_map() else { return };
        let seen = seen.and_then(Value::as_map);
        let is_open = value.merge() == Some(&Merge::Entries);
        for (key, value) in fields {
            let shown = seen.and_then(|seen| seen.get(key));
            let is_unchanged = shown.is_some_and(|shown| shown.is_same(value));
            if is_unchanged || (field.is_none() && RESERVED.contains(&key.as_str())) {
                continue;
            }
            // The keys of a map have no other names.
            let name = if is_open { key } else { self.name(object, key, seen) };
            self.entry(object, field.unwrap_or(name), name, shown, value);
        }
    }

    /// The name of a field in the document. Another version of the app may have written it under an alias.
    fn name<'k>(&self, object: &ObjId, key: &'k str, seen: Option<&BTreeMap<String, Value>>) -> &'k str
    where
        Self: 'k,
    {
        let holds = |name: &str| self.document.get(object, name).is_ok_and(|held| held.is_some());
        let Some(seen) = seen.filter(|_| !self.options.aliases.is_empty() && !holds(key)) else { return key };
        let mut others = self.options.aliases.iter().filter(|(name, _)| name == key).map(|(_, other)| other.as_str());
        let is_other = |other: &str| seen.contains_key(key) || !seen.contains_key(other);
        others.find(|other| is_other(other) && holds(other)).unwrap_or(key)
    }

    fn entry(&mut self, object: &ObjId, field: &str, key: &str, seen: Option<&Value>, value: &Value) {
        if !matches!(value.plain(), Value::Text(_) | Value::List(_) | Value::Map(_) | Value::Counter(_)) {
            return;
        }
        let Ok(held) = self.document.get_all(object, key) else { return };
        match held.last() {
            Some((automerge::Value::Object(kind), id)) => {
                let (kind, id) = (*kind, id.clone());
                self.inside(&id, kind, field, seen, value);
            }
            Some((automerge::Value::Scalar(scalar), _)) if !scalar.is_null() => {}
            _ => {
                let Some(kind) = Kind::of_shown(seen, value) else { return };
                if value.merge() == Some(&Merge::Item) && ItemKey::is_random(key) {
                    // The key is random, so no other app makes an item with this key.
                    return;
                }
                if self.given_up.contains(&(object.to_string(), key.to_owned())) {
                    return;
                }
                // A struct whose containers are all `None` is shown as a struct of scalars.
                let is_struct =
                    |seen: &Value| seen.as_map().is_some() && matches!(seen.merge(), None | Some(Merge::Partial));
                let is_shown = |seen: &&Value| {
                    Kind::of_shown(Some(seen), seen) == Some(kind) || kind == Kind::Map && is_struct(seen)
                };
                let is_fixed = value.merge() == Some(&Merge::Fixed);
                let has_length = |seen: &&Value| seen.as_list().map(<[_]>::len) == value.as_list().map(<[_]>::len);
                let shown = match is_fixed {
                    true => Some(seen.filter(has_length).cloned().unwrap_or_else(|| emptied(value))),
                    false => seen.filter(is_shown).cloned(),
                };
                let form = shown.as_ref().filter(|_| is_fixed).map(Value::to_json_text).unwrap_or_default();
                self.found.push(Missing {
                    field: field.to_owned(),
                    object: object.clone(),
                    key: key.to_owned(),
                    kind,
                    form,
                    shown,
                    held: held.into_iter().map(|(_, id)| id).collect(),
                });
            }
        }
    }

    /// Searches a container that the document has.
    fn inside(&mut self, id: &ObjId, kind: ObjType, field: &str, seen: Option<&Value>, value: &Value) {
        if is_register(value, seen, &Err(kind)) || !merges(value) {
            return;
        }
        match (kind, value.plain()) {
            (ObjType::Map, Value::Map(_)) => self.map(id, Some(field), seen, value),
            (ObjType::List, Value::List(items)) if items.iter().any(is_object) => {
                let seen = seen.and_then(Value::as_list);
                if value.merge() == Some(&Merge::Fixed) {
                    for (index, item) in items.iter().enumerate() {
                        self.item(id, index, field, seen.and_then(|seen| seen.get(index)), item);
                    }
                    return;
                }
                let is_whole = seen.is_some_and(|seen| seen.len() == self.document.length(id));
                let held = match is_whole {
                    true => seen.unwrap_or_default().to_vec(),
                    false => match read::object(self.document, id, ObjType::List, NESTING) {
                        Value::List(held) => held,
                        _ => return,
                    },
                };
                for pair in Plan::new(&held, seen, items).edited {
                    self.item(id, pair.held, field, pair.seen.map(|(_, seen)| seen), &items[pair.value]);
                }
            }
            _ => {}
        }
    }

    fn item(&mut self, list: &ObjId, index: usize, field: &str, seen: Option<&Value>, value: &Value) {
        if let Ok(Some((automerge::Value::Object(kind), id))) = self.document.get(list, index) {
            self.inside(&id, kind, field, seen, value);
        }
    }
}

fn is_object(item: &Value) -> bool {
    matches!(item.plain(), Value::Map(_) | Value::List(_))
}
