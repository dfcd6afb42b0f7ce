//! Applies an edit to the parts of a document.

use std::collections::{BTreeMap, HashMap};

use automerge::{ObjId, ObjType, Prop, ScalarValue, hydrate, transaction::Transactable};

use super::{
    Field, Options, in_order, is_open,
    left_out::{empty_value, is_struct},
    options::{FieldPath, LeftOut},
    switched,
};
use crate::{
    format::{
        FormatError, Merge, Value, list,
        read::{self, scalar, to_scalar},
        register::{carried, is_other_form, is_register},
        text,
    },
    limits::NESTING,
};

/// An edit in progress.
pub(in crate::format) struct Edit<'a, T> {
    pub(in crate::format) document: &'a mut T,
    pub(in crate::format) options: &'a Options<'a>,
    /// The path of the part that is being written.
    pub(super) path: FieldPath,
    /// Whether a part was emptied instead of deleted.
    pub(super) emptied: bool,
    /// Whether a struct was filled that the document has and the app did not show.
    pub(super) filled: bool,
    /// The number of structs around the part being written that are left out.
    left_out_structs: usize,
    pub(in crate::format) refused: Vec<FormatError>,
}

/// The treatment of a field that the app no longer writes.
pub(super) enum Removal {
    /// The document does not have the field.
    Nothing,
    Emptied,
    Removed,
}

impl<'a, T: Transactable> Edit<'a, T> {
    pub(super) fn new(document: &'a mut T, options: &'a Options<'a>) -> Self {
        Self {
            document,
            options,
            path: Vec::new(),
            emptied: false,
            filled: false,
            left_out_structs: 0,
            refused: Vec::new(),
        }
    }

    /// Applies the change from `seen` to `value` at the place `prop` of `parent`, and returns whether it wrote
    /// something.
    pub(in crate::format) fn entry(
        &mut self,
        parent: &ObjId,
        prop: Prop,
        seen: Option<&Value>,
        value: &Value,
    ) -> Result<bool, FormatError> {
        let Some((held, id)) = self.document.get(parent, prop.clone()).map_err(FormatError::of_document)? else {
            put(self.document, parent, prop, value)?;
            return Ok(true);
        };
        let held = match held {
            automerge::Value::Object(kind) => Err(kind),
            automerge::Value::Scalar(held) => Ok(held.into_owned()),
        };
        if self.options.misfit && seen.is_some_and(|seen| is_other_form(&held, seen)) {
            self.refused.push(FormatError::new(
                "this part was not written: another version of the app stores it in another form; update this app",
            ));
            return Ok(false);
        }
        if is_register(value, seen, &held) {
            let held = match &held {
                Err(kind) => read::object(self.document, &id, *kind, NESTING),
                Ok(held) => scalar(held).unwrap_or(Value::Null),
            };
            if held == *value && !seen.is_some_and(|seen| seen == value) {
                return Ok(false);
            }
            put(self.document, parent, prop, &carried(Some(&held), seen, value, self.options.aliases))?;
            return Ok(true);
        }
        match (held, value.plain()) {
            (Err(ObjType::Text), Value::Text(value)) => {
                let seen = seen.filter(|_| self.options.misfit).and_then(Value::as_str);
                text::edit(self.document, &id, seen, value)
            }
            (Err(ObjType::Map | ObjType::Table), Value::Map(_)) => {
                if seen.is_none() && is_struct(value) {
                    // The type left it out, and it may have been emptied.
                    self.filled = true;
                    if self.options.fresh {
                        put(self.document, parent, prop, value)?;
                        return Ok(true);
                    }
                }
                self.map(&id, seen, value)
            }
            (Err(ObjType::List), Value::List(items)) => {
                let seen = seen.and_then(Value::as_list);
                match value.merge() {
                    Some(Merge::Fixed) if self.document.length(&id) >= items.len() => self.fixed(&id, seen, items),
                    Some(Merge::Fixed) => {
                        put(self.document, parent, prop, value)?;
                        Ok(true)
                    }
                    _ => list::edit(self, &id, seen, items),
                }
            }
            (Err(_), value) => {
                put(self.document, parent, prop, value)?;
                Ok(true)
            }
            (Ok(held), value) => self.replace(parent, prop, &held, seen, value),
        }
    }

    /// Applies the change to a place that holds a scalar. A counter stays a counter and a timestamp stays a timestamp,
    /// even if the app's type has another kind of number, because other apps rely on the kind.
    fn replace(
        &mut self,
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
                    Some(by) => self.document.increment(parent, prop, by),
                    // The difference overflows, but the new number fits.
                    None => self.document.put(parent, prop, ScalarValue::counter(count)),
                }
                .map_err(FormatError::of_document)?;
                Ok(true)
            }
            (ScalarValue::Timestamp(held), Some(time)) => {
                if *held != time {
                    self.document.put(parent, prop, ScalarValue::Timestamp(time)).map_err(FormatError::of_document)?;
                }
                Ok(*held != time)
            }
            _ => {
                // An untagged enum may distinguish a whole number from a float.
                let is_other = seen.is_some_and(|seen| seen == value && seen.is_other_number(value));
                if scalar(held).as_ref() == Some(value) && !is_other {
                    return Ok(false);
                }
                if is_other && matches!(held, ScalarValue::F64(_)) {
                    // Automerge considers 0.0 and -0.0 equal and does not write a value that is already there.
                    put(self.document, parent, prop.clone(), &Value::Null)?;
                }
                put(self.document, parent, prop, value).map(|()| true)
            }
        }
    }

    /// Applies the change from `seen` to `value` to a map. Without `seen`, all fields are written.
    fn map(&mut self, id: &ObjId, seen: Option<&Value>, value: &Value) -> Result<bool, FormatError> {
        let seen_fields = seen.and_then(Value::as_map);
        let Some(fields) = value.as_map() else { return Ok(false) };
        let switched = switched(seen, value);
        // The keys of a map have no other names.
        let is_open = is_open(value);
        let mut written = false;
        let changed: Vec<Field> =
            fields.iter().map(|(key, value)| (key, seen_fields.and_then(|seen| seen.get(key)), value)).collect();
        for (key, seen, value) in in_order(changed, value) {
            let is_switched = switched.contains(key.as_str());
            if seen.is_some_and(|seen| seen.is_same(value)) && !is_switched {
                continue;
            }
            let prop = Prop::Map(if is_open { key.clone() } else { self.name(id, seen_fields, key)? });
            let refused = self.refused.len();
            self.path.push(key.clone());
            let result = match is_switched {
                true => put(self.document, id, prop, value).map(|()| true),
                false => self.entry(id, prop, seen, value),
            };
            self.path.pop();
            self.refused_in(refused, |error| error.in_field(key));
            written |= result.map_err(|error| error.in_field(key))?;
        }
        for (key, seen) in seen_fields.into_iter().flatten() {
            if !fields.contains_key(key) {
                let name = if is_open { key.clone() } else { self.name(id, seen_fields, key)? };
                let removal = self.remove(id, key, &name, seen, is_open)?;
                if matches!(removal, Removal::Removed) && !is_open {
                    self.remove_second_names(id, seen_fields, key)?;
                }
                written |= !matches!(removal, Removal::Nothing);
            }
        }
        Ok(written)
    }

    /// Applies the change to the items of an array or a tuple, each at its index. A list that is longer was written by
    /// a newer version of the type.
    fn fixed(&mut self, id: &ObjId, seen: Option<&[Value]>, value: &[Value]) -> Result<bool, FormatError> {
        let mut written = false;
        for (index, value) in value.iter().enumerate() {
            let seen = seen.and_then(|seen| seen.get(index));
            if seen.is_some_and(|seen| seen.is_same(value)) {
                continue;
            }
            let refused = self.refused.len();
            let result = self.entry(id, Prop::Seq(index), seen, value);
            self.refused_in(refused, |error| error.in_item(index));
            written |= result.map_err(|error| error.in_item(index))?;
        }
        Ok(written)
    }

    /// The name under which the document holds a field that the app has seen.
    pub(super) fn name(
        &self,
        parent: &ObjId,
        seen: Option<&BTreeMap<String, Value>>,
        key: &str,
    ) -> Result<String, FormatError> {
        let aliases = self.options.aliases;
        // The document may also hold a field under an alias if the type omits the field while it is empty.
        if let Some(seen) = seen.filter(|_| !aliases.is_empty()) {
            let holds = |key: &str| self.document.get(parent, key).map(|held| held.is_some());
            if !holds(key).map_err(FormatError::of_document)? {
                let is_other = |other: &str| seen.contains_key(key) || !seen.contains_key(other);
                for (_, other) in aliases.iter().filter(|(name, other)| name == key && is_other(other)) {
                    if holds(other).map_err(FormatError::of_document)? {
                        return Ok(other.clone());
                    }
                }
            }
        }
        Ok(key.to_owned())
    }

    /// Removes a field under its other names, after it was removed under the one that counts. Otherwise the type would
    /// read it again. Returns the names.
    pub(super) fn remove_second_names(
        &mut self,
        parent: &ObjId,
        seen: Option<&BTreeMap<String, Value>>,
        key: &str,
    ) -> Result<Vec<String>, FormatError> {
        let mut removed = Vec::new();
        for (_, other) in self.options.aliases.iter().filter(|(name, _)| name == key) {
            let is_known = seen.is_some_and(|seen| seen.contains_key(other));
            if !is_known && self.document.get(parent, other).map_err(FormatError::of_document)?.is_some() {
                self.document.delete(parent, other).map_err(FormatError::of_document)?;
                removed.push(other.clone());
            }
        }
        Ok(removed)
    }

    /// Removes the field `key`, which the app had seen and no longer has. `name` is its name in the document.
    pub(super) fn remove(
        &mut self,
        parent: &ObjId,
        key: &str,
        name: &str,
        seen: &Value,
        is_open: bool,
    ) -> Result<Removal, FormatError> {
        let Some((held, id)) = self.document.get(parent, name).map_err(FormatError::of_document)? else {
            return Ok(Removal::Nothing);
        };
        self.path.push(key.to_owned());
        let emptied = match self.options.left_out {
            LeftOut::Emptied { except } if !is_open && !except.contains(&self.path) => {
                let held = match held {
                    automerge::Value::Object(kind) => Err(kind),
                    automerge::Value::Scalar(held) => Ok(held.is_counter()),
                };
                self.empty(parent, name, held, &id, seen)
            }
            _ => Ok(None),
        };
        self.path.pop();
        match emptied? {
            Some(true) => Ok(Removal::Emptied),
            Some(false) => Ok(Removal::Nothing),
            None => {
                self.document.delete(parent, name).map_err(FormatError::of_document)?;
                Ok(Removal::Removed)
            }
        }
    }

    /// Empties a part that a struct no longer writes, and returns whether it wrote something. `held` is the kind of the
    /// object, or whether the scalar is a counter. Returns `None` if the part has to be deleted.
    fn empty(
        &mut self,
        parent: &ObjId,
        name: &str,
        held: Result<bool, ObjType>,
        id: &ObjId,
        seen: &Value,
    ) -> Result<Option<bool>, FormatError> {
        // Scalars are emptied only inside a struct, an array or a tuple that is left out as a whole.
        let is_in_struct = self.left_out_structs > 0;
        let written = match (held, seen.plain()) {
            (Err(ObjType::List), Value::List(items)) if seen.merge().is_none() => {
                list::edit(self, id, Some(items), &[])?
            }
            (Err(ObjType::Map), Value::Map(fields)) if is_struct(seen) => {
                self.left_out_structs += 1;
                let written = self.empty_fields(id, fields);
                self.left_out_structs -= 1;
                written?
            }
            (Err(ObjType::Text), Value::Text(_)) | (Ok(true), Value::Counter(_)) => {
                let Some(empty) = empty_value(seen) else { return Ok(None) };
                self.entry(parent, name.into(), Some(seen), &empty)?
            }
            (Err(ObjType::Map), Value::Map(_)) if is_open(seen) => {
                let Some(empty) = empty_value(seen) else { return Ok(None) };
                self.entry(parent, name.into(), Some(seen), &empty)?
            }
            _ if is_in_struct && !is_struct(seen) || seen.merge() == Some(&Merge::Fixed) => {
                let Some(empty) = empty_value(seen) else { return Ok(None) };
                !seen.is_same(&empty) && self.entry(parent, name.into(), Some(seen), &empty)?
            }
            _ => return Ok(None),
        };
        self.emptied = true;
        Ok(Some(written))
    }

    fn empty_fields(&mut self, id: &ObjId, fields: &BTreeMap<String, Value>) -> Result<bool, FormatError> {
        let mut written = false;
        for (key, seen) in fields {
            let name = self.name(id, Some(fields), key)?;
            written |= !matches!(self.remove(id, key, &name, seen, false)?, Removal::Nothing);
        }
        Ok(written)
    }

    /// Prepends `place` to the errors of the parts that were refused after the first `before`.
    pub(in crate::format) fn refused_in(&mut self, before: usize, place: impl Fn(FormatError) -> FormatError) {
        let refused = self.refused.split_off(before);
        self.refused.extend(refused.into_iter().map(place));
    }
}

/// Writes `value` as a new value.
pub(super) fn put<T: Transactable>(
    document: &mut T,
    parent: &ObjId,
    prop: Prop,
    value: &Value,
) -> Result<(), FormatError> {
    let value = value.plain();
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

/// Converts `value` to Automerge's type for writing a whole tree at once.
pub(in crate::format) fn hydrated<T: Transactable>(document: &T, value: &Value) -> hydrate::Value {
    let value = value.plain();
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
