//! Makes the smallest change after which a document holds a value.

use std::collections::{BTreeMap, BTreeSet};

use automerge::{Prop, ROOT, transaction::Transactable};

use super::{FormatError, ID, Merge, RESERVED, Value, list};
use crate::limits::NESTING;
pub(crate) use left_out::{deleted_parts, empty_value, is_struct, leaves};
pub(crate) use options::{Aliases, LeftOut, Options, Outcome};
pub(super) use part::{Edit, hydrated};
use part::{Removal, put};

mod left_out;
mod options;
mod part;

/// The root fields that an edit changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edited {
    /// Fields whose value or content was changed.
    pub set: BTreeSet<String>,
    /// Fields that were removed.
    pub removed: BTreeSet<String>,
}

impl Edited {
    /// Whether the edit wrote nothing.
    #[cfg(any(test, feature = "internals"))]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.removed.is_empty()
    }
}

/// Applies the change from the value that an app had seen (`view`) to its new value (`value`). The document must be at
/// the version that the app had seen.
///
/// `view` is the document as the app's types write it. Parts that are equal in both are not written, even if the
/// document holds them in another form. Parts that only `view` has are deleted. Parts that neither has are kept. The
/// root fields [`ID`](super::ID) and [`DELETED`](super::DELETED) are not changed.
///
/// # Errors
///
/// If `view` or `value` is not a map, or if `value` is nested too deeply; the document is then unchanged. If the
/// document is inconsistent, so that Automerge cannot write to it; a part of the edit may then be pending, and the
/// caller must roll it back.
#[cfg(any(test, feature = "internals"))]
pub fn edit<T: Transactable>(document: &mut T, view: &Value, value: &Value) -> Result<Edited, FormatError> {
    edit_named(document, None, view, value)
}

/// Like [`edit`], for a document without an id, which gets the id `id`.
///
/// # Errors
///
/// Like [`edit`].
#[cfg(feature = "internals")]
pub fn create<T: Transactable>(document: &mut T, id: &str, view: &Value, value: &Value) -> Result<Edited, FormatError> {
    edit_named(document, Some(id), view, value)
}

#[cfg(any(test, feature = "internals"))]
fn edit_named<T: Transactable>(
    document: &mut T,
    id: Option<&str>,
    view: &Value,
    value: &Value,
) -> Result<Edited, FormatError> {
    edit_with(document, id, view, value, &Options::default()).map(|outcome| outcome.edited)
}

/// Like [`edit`], or like [`create`] if there is an `id`, with options.
pub(crate) fn edit_with<T: Transactable>(
    document: &mut T,
    id: Option<&str>,
    view: &Value,
    value: &Value,
    options: &Options,
) -> Result<Outcome, FormatError> {
    let fields = changed(view, value)?;
    let mut edit = Edit::new(document, options);
    let mut edited = Edited::default();
    if let Some(id) = id {
        // A text, as Automerge's JavaScript library writes it: scalar strings are objects in JavaScript.
        put(edit.document, &ROOT, ID.into(), &Value::Text(id.into()))?;
        edited.set.insert(ID.into());
    }
    let switched = switched(Some(view), value);
    for (key, seen, value) in in_order(fields, value) {
        let name = edit.name(&ROOT, view.as_map(), key)?;
        let refused = edit.refused.len();
        edit.path.push(key.clone());
        let written = match switched.contains(key.as_str()) {
            true => put(edit.document, &ROOT, Prop::Map(name.clone()), value).map(|()| true),
            false => edit.entry(&ROOT, Prop::Map(name.clone()), seen, value),
        };
        edit.path.pop();
        edit.refused_in(refused, |error| error.in_field(key));
        if written.map_err(|error| error.in_field(key))? {
            edited.set.insert(name);
        }
    }
    for (key, seen) in view.as_map().into_iter().flat_map(self::fields) {
        if value.get(key).is_none() {
            let name = edit.name(&ROOT, view.as_map(), key)?;
            match edit.remove(&ROOT, key, &name, seen, is_open(value))? {
                Removal::Nothing => {}
                Removal::Emptied => drop(edited.set.insert(name)),
                Removal::Removed => {
                    edited.removed.extend(edit.remove_second_names(&ROOT, view.as_map(), key)?);
                    edited.removed.insert(name);
                }
            }
        }
    }
    Ok(Outcome { edited, emptied: edit.emptied, filled: edit.filled, refused: edit.refused })
}

/// The fields of the variant that a tagged enum was switched to. The edit writes all of them, so that none is missing
/// if another app switches to a third variant at the same time.
fn switched<'a>(seen: Option<&Value>, value: &'a Value) -> BTreeSet<&'a str> {
    let Some(Merge::Tagged { tag, name, content }) = value.merge() else { return BTreeSet::new() };
    match seen.and_then(|seen| seen.get(tag)) {
        Some(seen) if seen.as_str() != Some(name) => content.iter().map(String::as_str).collect(),
        _ => BTreeSet::new(),
    }
}

/// Puts the tag before the fields that it tags. If two apps switch to different variants at the same time, the same app
/// then wins for the tag and for the fields.
fn in_order<'a>(mut fields: Vec<Field<'a>>, value: &Value) -> Vec<Field<'a>> {
    if let Some(Merge::Tagged { tag, .. }) = value.merge() {
        fields.sort_by_key(|(key, ..)| *key != tag);
    }
    fields
}

/// Whether this is a map of entries and not a struct, whose fields are fixed.
fn is_open(value: &Value) -> bool {
    matches!(value.merge(), Some(Merge::Entries))
}

/// A root field to write: its name, the value that the app had seen, and the new value.
type Field<'a> = (&'a String, Option<&'a Value>, &'a Value);

/// The root fields to write. All of them are checked before the first is written.
pub(super) fn changed<'a>(view: &'a Value, value: &'a Value) -> Result<Vec<Field<'a>>, FormatError> {
    let (Some(seen), Some(fields)) = (view.as_map(), value.as_map()) else {
        return Err(FormatError::new("a document is a map; give the component named fields"));
    };
    let switched = switched(Some(view), value);
    let changed: Vec<_> = self::fields(fields)
        .map(|(key, value)| (key, seen.get(key), value))
        .filter(|(key, seen, value)| !seen.is_some_and(|seen| seen.is_same(value)) || switched.contains(key.as_str()))
        .collect();
    for (key, _, value) in &changed {
        fits(value, 1).and_then(|()| list::unique(value)).map_err(|error| error.in_field(key))?;
    }
    Ok(changed)
}

fn fields(map: &BTreeMap<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    map.iter().filter(|(key, _)| !RESERVED.contains(&key.as_str()))
}

/// Refuses values that are nested too deeply, so that recursive functions do not overflow the stack.
fn fits(value: &Value, depth: usize) -> Result<(), FormatError> {
    let value = value.plain();
    if depth >= NESTING && matches!(value, Value::List(_) | Value::Map(_)) {
        return Err(FormatError::too_deep());
    }
    match value {
        Value::List(items) => items.iter().try_for_each(|item| fits(item, depth + 1)),
        Value::Map(fields) => fields.values().try_for_each(|field| fits(field, depth + 1)),
        _ => Ok(()),
    }
}
