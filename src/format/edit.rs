//! The smallest change that makes a document hold a value.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use automerge::{ObjId, ObjType, Prop, ROOT, ScalarValue, hydrate, transaction::Transactable};

use super::{
    FormatError, ID, Merge, RESERVED, Value, list,
    read::{self, scalar, to_scalar},
    register::{carried, is_other_form, is_register},
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
    edit_with(document, id, view, value, &Options::default()).map(|outcome| outcome.edited)
}

/// How an edit is made, where an app's types say more than the values do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options<'a> {
    /// What happens to a text, list, map, counter or struct that a struct no longer writes.
    pub left_out: LeftOut<'a>,
    /// The document does not fit the app's types: the view is what an entity shows all the same. Parts that the
    /// document holds in another form are not written.
    pub misfit: bool,
    /// Names by which other versions of the app call fields.
    pub aliases: &'a Aliases,
}

/// What happens to the fields that a struct no longer writes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LeftOut<'a> {
    /// They are removed.
    Removed,
    /// Containers are emptied and stay, so that what others add to them survives. The parts in `except` are removed,
    /// because to the type that wrote the edit an empty one is not the same as none.
    Emptied { except: &'a BTreeSet<FieldPath> },
}

/// The names of the fields down to a part of a document. The places of items in lists are not in it.
pub(crate) type FieldPath = Vec<String>;

/// Fields as a type writes them, and other names that it reads them by (`#[serde(alias = "..")]`).
pub(crate) type Aliases = BTreeSet<(String, String)>;

static NO_ALIASES: Aliases = Aliases::new();

impl Default for Options<'_> {
    fn default() -> Self {
        Self { left_out: LeftOut::Removed, misfit: false, aliases: &NO_ALIASES }
    }
}

/// What became of an edit.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub edited: Edited,
    /// Parts that were emptied instead of removed.
    pub emptied: BTreeMap<FieldPath, Emptied>,
    /// Parts that were not written, because the document holds them in another form.
    pub refused: Vec<FormatError>,
}

/// A part that was emptied instead of removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Emptied {
    /// A text, list, map of entries or counter.
    Container,
    /// A struct, of which scalar fields were removed and containers were emptied.
    Struct,
}

impl Outcome {
    /// The emptied parts that have to be removed instead, where the type reads `read` of the document and not the
    /// `value` that was put: those that the type still shows; if there are none, all structs; then all parts.
    pub(crate) fn not_left_out(&self, read: &Value) -> Vec<FieldPath> {
        let choose = |choice: &dyn Fn(&FieldPath, Emptied) -> bool| -> Vec<FieldPath> {
            self.emptied.iter().filter(|(path, kind)| choice(path, **kind)).map(|(path, _)| path.clone()).collect()
        };
        let shown = choose(&|path, _| holds(read, path));
        let structs = if shown.is_empty() { choose(&|_, kind| kind == Emptied::Struct) } else { shown };
        if structs.is_empty() { choose(&|_, _| true) } else { structs }
    }
}

/// Whether a value has the field, in any item of the lists on the way.
fn holds(value: &Value, path: &[String]) -> bool {
    match (value.plain(), path) {
        (_, []) => true,
        (Value::List(items), path) => items.iter().any(|item| holds(item, path)),
        (value, [name, rest @ ..]) => value.get(name).is_some_and(|field| holds(field, rest)),
    }
}

/// As [`edit`], or [`create`] with an `id`, with what the types say.
pub(crate) fn edit_with<T: Transactable>(
    document: &mut T,
    id: Option<&str>,
    view: &Value,
    value: &Value,
    options: &Options,
) -> Result<Outcome, FormatError> {
    let fields = changed(view, value)?;
    let mut edit = Edit { document, options, path: Vec::new(), emptied: BTreeMap::new(), refused: Vec::new() };
    let mut edited = Edited::default();
    if let Some(id) = id {
        // A text, as the web's library writes it: its scalar strings are objects in JavaScript.
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
                Removal::Removed => drop(edited.removed.insert(name)),
            }
        }
    }
    Ok(Outcome { edited, emptied: edit.emptied, refused: edit.refused })
}

/// The fields of a variant, if a tagged enum was switched to it: all of them are written anew, so that none is missing
/// if another app switches to a third variant meanwhile.
fn switched<'a>(seen: Option<&Value>, value: &'a Value) -> BTreeSet<&'a str> {
    let Some(Merge::Tagged { tag, name, content }) = value.merge() else { return BTreeSet::new() };
    match seen.and_then(|seen| seen.get(tag)) {
        Some(seen) if seen.as_str() != Some(name) => content.iter().map(String::as_str).collect(),
        _ => BTreeSet::new(),
    }
}

/// The tag comes first, and what it tags after it: of two variants that were switched to at once, the same wins in both
/// places.
fn in_order<'a>(mut fields: Vec<Field<'a>>, value: &Value) -> Vec<Field<'a>> {
    if let Some(Merge::Tagged { tag, .. }) = value.merge() {
        fields.sort_by_key(|(key, ..)| *key != tag);
    }
    fields
}

/// Whether the entries of this map come and go. The fields of a struct stay.
fn is_open(value: &Value) -> bool {
    matches!(value.merge(), Some(Merge::Entries))
}

/// A root field that is to be written, what the app saw of it, and what it has now.
type Field<'a> = (&'a String, Option<&'a Value>, &'a Value);

/// The root fields that are to be written. All are checked before any of them is.
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

/// Refuses what is nested too deep, so that nothing below can run out of stack.
fn fits(value: &Value, depth: usize) -> Result<(), FormatError> {
    let value = value.plain();
    if depth >= NESTING && matches!(value, Value::List(_) | Value::Map(_)) {
        return Err(FormatError::new(format_args!(
            "nested deeper than {NESTING} levels, which is the most that can be sent"
        )));
    }
    match value {
        Value::List(items) => items.iter().try_for_each(|item| fits(item, depth + 1)),
        Value::Map(fields) => fields.values().try_for_each(|field| fits(field, depth + 1)),
        _ => Ok(()),
    }
}

/// An edit that is being made.
pub(super) struct Edit<'a, T> {
    pub(super) document: &'a mut T,
    pub(super) options: &'a Options<'a>,
    /// The fields down to the part that is being written.
    path: FieldPath,
    emptied: BTreeMap<FieldPath, Emptied>,
    pub(super) refused: Vec<FormatError>,
}

/// What became of a field that the app no longer writes.
enum Removal {
    /// The document does not have it.
    Nothing,
    Emptied,
    Removed,
}

impl<T: Transactable> Edit<'_, T> {
    /// Makes the place `prop` of `parent`, of which the app has seen `seen`, hold `value`; whether that took a write.
    pub(super) fn entry(
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
                "this part was not written: the document holds it in another form, by another version of the app; update this one",
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
            (Err(ObjType::Map | ObjType::Table), Value::Map(_)) => self.map(&id, seen, value),
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

    /// Makes a place that holds a scalar hold `value`. A counter stays a counter and a timestamp a timestamp, whichever
    /// kind of number the app's type has, since other apps rely on them.
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
                    // The difference does not fit, but the number does.
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
                // An untagged enum may tell a whole number from a float.
                let is_other = seen.is_some_and(|seen| seen == value && seen.is_other_number(value));
                if scalar(held).as_ref() == Some(value) && !is_other {
                    return Ok(false);
                }
                if is_other && matches!(held, ScalarValue::F64(_)) {
                    // To Automerge the two zeros are equal, and it does not write what is there already.
                    put(self.document, parent, prop.clone(), &Value::Null)?;
                }
                put(self.document, parent, prop, value).map(|()| true)
            }
        }
    }

    /// Makes a map hold `value` where the app saw `seen`, or where it saw nothing that it could use.
    fn map(&mut self, id: &ObjId, seen: Option<&Value>, value: &Value) -> Result<bool, FormatError> {
        let seen_fields = seen.and_then(Value::as_map);
        let Some(fields) = value.as_map() else { return Ok(false) };
        let switched = switched(seen, value);
        let mut written = false;
        let changed: Vec<Field> =
            fields.iter().map(|(key, value)| (key, seen_fields.and_then(|seen| seen.get(key)), value)).collect();
        for (key, seen, value) in in_order(changed, value) {
            let is_switched = switched.contains(key.as_str());
            if seen.is_some_and(|seen| seen.is_same(value)) && !is_switched {
                continue;
            }
            let prop = Prop::Map(self.name(id, seen_fields, key)?);
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
                let name = self.name(id, seen_fields, key)?;
                written |= !matches!(self.remove(id, key, &name, seen, is_open(value))?, Removal::Nothing);
            }
        }
        Ok(written)
    }

    /// Makes the items of an array or a tuple hold `value`, each in its place. A list that is longer belongs to a newer
    /// version of the type.
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
    fn name(&self, parent: &ObjId, seen: Option<&BTreeMap<String, Value>>, key: &str) -> Result<String, FormatError> {
        let aliases = self.options.aliases;
        // A field that the type leaves out while it is empty may be there under another name, too.
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

    /// Takes away the field `key`, which the app had seen and has no more, and which the document calls `name`.
    fn remove(
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

    /// Empties a container that a struct no longer writes; whether that took a write. `held` is the kind of object, or
    /// whether the scalar is a counter. `None` if it is no container.
    fn empty(
        &mut self,
        parent: &ObjId,
        name: &str,
        held: Result<bool, ObjType>,
        id: &ObjId,
        seen: &Value,
    ) -> Result<Option<bool>, FormatError> {
        let mut kind = Emptied::Container;
        let written = match (held, seen.plain()) {
            (Err(ObjType::Text), Value::Text(_)) => {
                self.entry(parent, name.into(), Some(seen), &Value::Text(String::new()))?
            }
            (Ok(true), Value::Counter(_)) => self.entry(parent, name.into(), Some(seen), &Value::Counter(0))?,
            (Err(ObjType::List), Value::List(items)) if seen.merge().is_none() => {
                list::edit(self, id, Some(items), &[])?
            }
            (Err(ObjType::Map), Value::Map(_)) if is_open(seen) => {
                let empty = Value::As(Merge::Entries, Box::new(Value::Map(BTreeMap::new())));
                self.entry(parent, name.into(), Some(seen), &empty)?
            }
            (Err(ObjType::Map), Value::Map(fields)) if matches!(seen.merge(), None | Some(Merge::Partial)) => {
                kind = Emptied::Struct;
                let mut written = false;
                for (key, seen) in fields {
                    let name = self.name(id, Some(fields), key)?;
                    written |= !matches!(self.remove(id, key, &name, seen, false)?, Removal::Nothing);
                }
                written
            }
            _ => return Ok(None),
        };
        self.emptied.insert(self.path.clone(), kind);
        Ok(Some(written))
    }

    /// Says where the parts are that were refused after the first `before`.
    pub(super) fn refused_in(&mut self, before: usize, place: impl Fn(FormatError) -> FormatError) {
        let refused = self.refused.split_off(before);
        self.refused.extend(refused.into_iter().map(place));
    }
}

/// Writes `value` whole.
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

/// The same in Automerge's words, for writing a whole tree at once.
pub(super) fn hydrated<T: Transactable>(document: &T, value: &Value) -> hydrate::Value {
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
