//! Fields that a document has under another name, which another version of the app wrote (`#[serde(alias = "..")]`).

use super::event::Schema;
use crate::format::{self, Aliases, Merge, RESERVED, Value, is_struct};

/// The fields that an edit changes and that the document has under another name, with that name. Also returns the
/// structs that the edit fills first.
///
/// A type does not list the names under which it reads a field, so this tries them out. A field is read under another
/// name if the edit's value, put under that name, becomes the field's value, and no other field changes. If the edit's
/// value is not known, this removes the other name: the field must then change or be missing. It must be as before when
/// the document has it under its own name instead. This is tried only where an edit changes a field that the document
/// lacks, and the document has fields that the type does not write. That is rare.
pub(super) fn aliases<'a>(
    schema: &'a dyn Schema,
    mask: u32,
    current: &'a Value,
    view: &Value,
    value: &'a Value,
) -> (Aliases, Vec<Filled<'a>>) {
    let mut search = Search { schema, mask, current, found: Aliases::new(), filled: Vec::new() };
    search.look(&mut Vec::new(), current, view, Some(value));
    (search.found, search.filled)
}

/// A struct that an edit fills first: neither the document nor the type's view of it has the struct.
pub(super) struct Filled<'a> {
    /// The place of the map that contains the struct.
    pub(super) path: Vec<Step>,
    pub(super) key: &'a str,
    pub(super) value: &'a Value,
}

#[derive(Clone)]
pub(super) enum Step {
    /// A field, as the document calls it and as the type does.
    Key { held: String, seen: String },
    /// An item, by its index in the document and by its index in the list that the type reads. The two differ if the
    /// document has an item twice.
    Item { held: usize, seen: usize },
}

/// Whether a path is followed by the document's names or by the type's.
#[derive(Clone, Copy)]
pub(super) enum Names {
    Document,
    Type,
}

struct Search<'a> {
    schema: &'a dyn Schema,
    mask: u32,
    current: &'a Value,
    found: Aliases,
    filled: Vec<Filled<'a>>,
}

impl<'a> Search<'a> {
    /// Looks at a place of the document. `value` is the app's present value there, if that is known.
    fn look(&mut self, path: &mut Vec<Step>, current: &Value, view: &Value, value: Option<&'a Value>) {
        if value.is_some_and(|value| value == view) {
            return;
        }
        let is_entries = |value: &Value| value.merge() == Some(&Merge::Entries);
        let is_open = is_entries(view) || value.is_some_and(is_entries);
        match (current.plain(), view.plain()) {
            (Value::Map(current), Value::Map(view)) => {
                let is_new = |key: &&String| {
                    let reserved = path.is_empty() && RESERVED.contains(&key.as_str());
                    // The type reads any key of a map, so a key is no other name of another.
                    !is_open && !view.contains_key(*key) && !reserved
                };
                let unknown: Vec<&String> = current.keys().filter(is_new).collect();
                // A type may leave a field out while it is empty, even if the document has the field.
                let left_out = value.and_then(Value::as_map).into_iter().flatten();
                for (key, value) in left_out.filter(|(key, _)| !view.contains_key(*key) && !current.contains_key(*key))
                {
                    for other in &unknown {
                        self.try_name(path, key, &Value::Null, Some(value), other);
                    }
                    let is_reserved = path.is_empty() && RESERVED.contains(&key.as_str());
                    let is_renamed = unknown.iter().any(|other| self.found.contains(&(key.clone(), (*other).clone())));
                    if is_struct(value) && !is_open && !is_reserved && !is_renamed {
                        self.filled.push(Filled { path: path.clone(), key, value });
                    }
                }
                let is_known = value.is_some();
                for (key, seen) in view {
                    let value = value.and_then(|value| value.get(key));
                    if value != Some(seen) && !current.contains_key(key) {
                        for other in &unknown {
                            self.try_name(path, key, seen, value, other);
                        }
                    }
                    if value.is_none() && current.contains_key(key) && is_known {
                        for other in &unknown {
                            self.try_second_name(path, key, other);
                        }
                    }
                    let is_name = |other: &&&String| self.found.contains(&(key.clone(), (**other).clone()));
                    let held =
                        if current.contains_key(key) { Some(key) } else { unknown.iter().find(is_name).copied() };
                    if let Some(held) = held {
                        path.push(Step::Key { held: held.clone(), seen: key.clone() });
                        self.look(path, &current[held], seen, value);
                        path.pop();
                    }
                }
            }
            (Value::List(current), Value::List(view)) => {
                // Only the items that the edit changes need names. Without the app's value, any item may.
                let items: Vec<_> = match value.map(Value::as_list) {
                    Some(Some(items)) => {
                        let edited = format::edited_items(current, view, items).into_iter();
                        edited.filter_map(|item| Some((item.held, item.seen?.0, Some(&items[item.value])))).collect()
                    }
                    None if current.len() == view.len() => (0..view.len()).map(|at| (at, at, None)).collect(),
                    _ => Vec::new(),
                };
                for (held, seen, value) in items {
                    path.push(Step::Item { held, seen });
                    self.look(path, &current[held], &view[seen], value);
                    path.pop();
                }
            }
            _ => {}
        }
    }

    /// Tries a name of a field that the document has under its own name as well and that the edit leaves out. The type
    /// then reads the field while one of the names is there.
    fn try_second_name(&mut self, path: &[Step], key: &str, other: &str) {
        let mut changed = self.current.clone();
        let mut reads_without = |name: &str| {
            if let Some(Value::Map(fields)) = at_mut(&mut changed, path, Names::Document) {
                fields.remove(name);
            }
            at(&self.schema.view(&changed, self.mask).value, path).is_some_and(|map| map.get(key).is_some())
        };
        if reads_without(key) && !reads_without(other) {
            self.found.insert((key.to_owned(), other.to_owned()));
        }
    }

    fn try_name(&mut self, path: &[Step], key: &str, seen: &Value, value: Option<&Value>, other: &str) {
        let pair = (key.to_owned(), other.to_owned());
        if self.found.contains(&pair) {
            return;
        }
        let mut changed = self.current.clone();
        let Some(Value::Map(fields)) = at_mut(&mut changed, path, Names::Document) else { return };
        if let Some(value) = value {
            fields.insert(other.to_owned(), value.clone().into_plain());
            // A conversion may read several fields from one. That field is not another name for any of them.
            let mut expected = self.schema.view(self.current, self.mask).value.into_plain();
            if let Some(Value::Map(fields)) = at_mut(&mut expected, path, Names::Type) {
                fields.insert(key.to_owned(), value.clone().into_plain());
            }
            if self.schema.view(&changed, self.mask).value == expected {
                self.found.insert(pair);
            }
            return;
        }
        let Some(held) = fields.remove(other) else { return };
        let with = self.schema.view(self.current, self.mask);
        if self.schema.view(&changed, self.mask) == with {
            return;
        }
        // A field that is read under the other name reads the same under its own name. Any other field that was read
        // from that name is lost.
        if let Some(Value::Map(fields)) = at_mut(&mut changed, path, Names::Document) {
            fields.insert(key.to_owned(), held);
        }
        let renamed = self.schema.view(&changed, self.mask);
        if renamed == with && at(&renamed.value, path).and_then(|map| map.get(key)) == Some(seen) {
            self.found.insert(pair);
        }
    }
}

/// The value at a place, by the type's names.
pub(super) fn at<'a>(value: &'a Value, path: &[Step]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, step| match step {
        Step::Key { seen, .. } => value.get(seen),
        Step::Item { seen, .. } => value.as_list()?.get(*seen),
    })
}

pub(super) fn at_mut<'a>(value: &'a mut Value, path: &[Step], names: Names) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |value, step| match (value, step) {
        (Value::Map(fields), Step::Key { held, seen }) => match names {
            Names::Document => fields.get_mut(held),
            Names::Type => fields.get_mut(seen),
        },
        (Value::List(items), Step::Item { held, seen }) => match names {
            Names::Document => items.get_mut(*held),
            Names::Type => items.get_mut(*seen),
        },
        _ => None,
    })
}
