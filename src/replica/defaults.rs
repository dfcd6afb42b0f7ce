//! The defaults of structs that a type leaves out while they have their default (`skip_serializing_if`).
//!
//! The document does not hold such a struct, and serde does not show its default. Without the default, the edit that
//! first fills the struct would write all of it, and the parts that the user did not change could win over another
//! app's edit. So this takes parts out of the struct's new value and asks the type: if the type leaves out the rest,
//! the rest is the default. It then counts as shown, like the default of a struct that the type writes: place changes
//! make it, and any edit wins over it. If no rest is left out, the edit writes the whole struct.

use std::collections::BTreeMap;

use super::{
    alias::{Filled, Names, Step, at, at_mut},
    event::Schema,
};
use crate::format::{Merge, Value, empty_value, leaves};

/// The largest number of a struct's parts that are tried. For each of them, the type reads the whole document's value
/// up to twice.
const MAX_PARTS: usize = 8;

/// Adds to `view` the defaults of the structs that an edit fills first.
pub(super) fn add_defaults(schema: &dyn Schema, mask: u32, current: &Value, view: &mut Value, filled: Vec<Filled<'_>>) {
    for Filled { path, key, value } in filled {
        if is_replaced(view, &path) {
            continue;
        }
        let trial = Trial { schema, mask, current, path: &path, key };
        if let Some(default) = trial.default_of(value)
            && let Some(fields) = fields_mut(view, &path)
        {
            fields.insert(key.to_owned(), default);
        }
    }
}

/// Whether the edit replaces a place as a part of a register or a variant.
fn is_replaced(view: &Value, path: &[Step]) -> bool {
    let is_whole = |value: &Value| matches!(value.merge(), Some(Merge::Whole | Merge::Variant { .. }));
    (0..=path.len()).any(|length| at(view, &path[..length]).is_none_or(is_whole))
}

/// A struct's place, and the document in which values are tried there.
struct Trial<'a> {
    schema: &'a dyn Schema,
    mask: u32,
    current: &'a Value,
    path: &'a [Step],
    key: &'a str,
}

impl Trial<'_> {
    /// The part of a struct's new value that is the struct's default: the value with one part emptied, or without it.
    /// `None` if neither is the default, for example because the edit changes two parts.
    fn default_of(&self, value: &Value) -> Option<Value> {
        let is_read = matches!(self.reads(value), Some(Some(read)) if read.is_same(value));
        if !is_read {
            return None;
        }
        let mut parts = Vec::new();
        leaves(&mut parts, &mut Vec::new(), value);
        parts.iter().take(MAX_PARTS).find_map(|part| {
            let empty = part.iter().try_fold(value, |value, key| value.get(key)).and_then(empty_value);
            let tried = empty.map(|empty| with(value, part, Some(empty))).into_iter().chain([with(value, part, None)]);
            tried.into_iter().find(|tried| matches!(self.reads(tried), Some(None)))
        })
    }

    /// The struct as the type reads it if the document holds `tried`: `None` if the document then does not fit the
    /// type, and `Some(None)` if the type leaves the struct out.
    fn reads(&self, tried: &Value) -> Option<Option<Value>> {
        let mut changed = self.current.clone();
        let Some(Value::Map(fields)) = at_mut(&mut changed, self.path, Names::Document) else { return None };
        fields.insert(self.key.to_owned(), tried.clone().into_plain());
        let read = self.schema.view(&changed, self.mask);
        if read.misfits != 0 {
            return None;
        }
        at(&read.value, self.path).map(|parent| parent.get(self.key).cloned())
    }
}

/// A struct with another value at a part, or without the part.
fn with(value: &Value, part: &[String], instead: Option<Value>) -> Value {
    let mut changed = value.clone();
    if let [way @ .., key] = part {
        let way: Vec<Step> = way.iter().map(|key| Step::Key { held: key.clone(), seen: key.clone() }).collect();
        if let Some(fields) = fields_mut(&mut changed, &way) {
            match instead {
                Some(part) => drop(fields.insert(key.clone(), part)),
                None => drop(fields.remove(key)),
            }
        }
    }
    changed
}

/// The fields of the map at a place, by the type's names.
fn fields_mut<'a>(value: &'a mut Value, path: &[Step]) -> Option<&'a mut BTreeMap<String, Value>> {
    match (value, path) {
        (Value::As(_, value), path) => fields_mut(value, path),
        (Value::Map(fields), []) => Some(fields),
        (Value::Map(fields), [Step::Key { seen, .. }, rest @ ..]) => fields_mut(fields.get_mut(seen)?, rest),
        (Value::List(items), [Step::Item { seen, .. }, rest @ ..]) => fields_mut(items.get_mut(*seen)?, rest),
        _ => None,
    }
}
