//! A document as a row of the app's table.
//!
//! The row is a read model: it holds the part of the document that Convex can store, and names the omitted values in
//! the column [`NOT_IN_ROW`]. No change is refused because of its row. The TypeScript functions do the same
//! (`convex/src/component/materialize.ts`), and `docs/wire.md` has the rules in a table.

use std::collections::{BTreeMap, BTreeSet};

use convex::Value;

use crate::{
    DocumentId,
    backend::access::DocumentRow,
    format::{NOT_IN_ROW, plain_integer},
    limits::{
        LEFT_OUT, LEFT_OUT_LETTERS, LIST_ELEMENTS, OBJECT_FIELDS, ROW_BYTES, ROW_FIELDS, ROW_NESTING, is_field_name,
        is_root_field_name,
    },
};

/// Names of root fields that have a meaning of their own in a row.
pub(super) const RESERVED: [&str; 5] = ["id", "version", "timestamp", "deleted", NOT_IN_ROW];

/// A document's row in the app's table.
#[derive(Default, PartialEq)]
pub(super) struct TableRow {
    /// The document's root fields, without those whose names the row itself uses. If something is left out, this
    /// includes the column [`NOT_IN_ROW`].
    pub fields: BTreeMap<String, Value>,
    /// Whether the document is a tombstone.
    pub deleted: bool,
}

impl TableRow {
    /// The row as a rule is given it.
    pub fn shown(&self) -> DocumentRow<'_> {
        DocumentRow::new(&self.fields, self.deleted)
    }

    /// Makes the row of the document `id` from its root fields.
    pub fn new(mut fields: BTreeMap<String, Value>, id: &DocumentId) -> Self {
        let deleted = fields.get("deleted") == Some(&Value::Boolean(true));
        for name in RESERVED {
            fields.remove(name);
        }
        let mut fitting = Fitting::default();
        let mut fields = fitting.root(fields);
        let mut bytes =
            own_bytes(id, deleted) + fields.iter().map(|(name, value)| entry_bytes(name, value)).sum::<usize>();
        let mut column = fitting.column();
        if bytes + column_bytes(&column) > ROW_BYTES {
            for (name, size) in largest_first(&fields) {
                fields.remove(&name);
                bytes -= size;
                fitting.leave_out(&Place::of(&name));
                column = fitting.column();
                if bytes + column_bytes(&column) <= ROW_BYTES {
                    break;
                }
            }
        }
        fields.extend(column.map(|column| (NOT_IN_ROW.to_owned(), column)));
        Self { fields, deleted }
    }
}

fn column_bytes(column: &Option<Value>) -> usize {
    column.as_ref().map_or(0, |column| entry_bytes(NOT_IN_ROW, column))
}

/// The fields with their bytes, the largest first. Fields of the same size are in the order of their names.
fn largest_first(fields: &BTreeMap<String, Value>) -> Vec<(String, usize)> {
    let mut sizes: Vec<_> = fields.iter().map(|(name, value)| (name.clone(), entry_bytes(name, value))).collect();
    // The sort is stable, and a map is in the order of its names.
    sizes.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    sizes
}

/// The bytes of a row without fields: Convex's `_id` and `_creationTime`, and `id`, `version`, `timestamp` and
/// `deleted`.
fn own_bytes(id: &DocumentId, deleted: bool) -> usize {
    const SYSTEM: usize = 38 + 23;
    const NUMBERS: usize = "version".len() + "timestamp".len() + 2 * (1 + 9);
    let deleted = if deleted { "deleted".len() + 1 + 1 } else { 0 };
    2 + SYSTEM + NUMBERS + "id".len() + 1 + 2 + id.as_str().len() + deleted
}

/// Removes values that Convex cannot store, and notes their places.
#[derive(Default)]
struct Fitting {
    /// The first places in the order of their names, and one more if there are more.
    left_out: BTreeSet<String>,
}

impl Fitting {
    fn root(&mut self, fields: BTreeMap<String, Value>) -> BTreeMap<String, Value> {
        let mut fields = self.fields(fields, None, 1);
        if let Some(first) = fields.keys().nth(ROW_FIELDS).cloned() {
            for name in fields.split_off(&first).keys() {
                self.leave_out(&Place::of(name));
            }
        }
        fields
    }

    /// The entries of a map at `depth` that can be stored.
    fn fields(
        &mut self,
        fields: BTreeMap<String, Value>,
        parent: Option<&Place<'_>>,
        depth: usize,
    ) -> BTreeMap<String, Value> {
        let mut kept = BTreeMap::new();
        for (name, value) in fields {
            let place = Place { parent, step: Step::Key(&name) };
            let is_storable = if parent.is_none() { is_root_field_name(&name) } else { is_field_name(&name) };
            match is_storable.then(|| self.value(value, &place, depth + 1)).flatten() {
                Some(value) => drop(kept.insert(name, value)),
                None => self.leave_out(&place),
            }
        }
        kept
    }

    /// The value, whose depth is `depth` if it is a list or a map. `None` if it cannot be stored; the caller notes
    /// that.
    fn value(&mut self, value: Value, place: &Place<'_>, depth: usize) -> Option<Value> {
        match value {
            Value::Int64(number) => Some(plain_integer(i128::from(number))),
            Value::Array(items) if depth > ROW_NESTING || items.len() > LIST_ELEMENTS => None,
            Value::Array(items) => {
                let mut kept = Vec::with_capacity(items.len());
                for (index, item) in items.into_iter().enumerate() {
                    let place = Place { parent: Some(place), step: Step::Index(index) };
                    // The omitted item is replaced, so that the items after it keep their places.
                    kept.push(self.value(item, &place, depth + 1).unwrap_or_else(|| {
                        self.leave_out(&place);
                        Value::Null
                    }));
                }
                Some(Value::Array(kept))
            }
            Value::Object(fields) => {
                let too_many = fields.keys().filter(|name| is_field_name(name)).count() > OBJECT_FIELDS;
                if depth > ROW_NESTING || too_many {
                    return None;
                }
                Some(Value::Object(self.fields(fields, Some(place), depth)))
            }
            scalar => Some(scalar),
        }
    }

    fn leave_out(&mut self, place: &Place<'_>) {
        self.left_out.insert(place.name());
        if self.left_out.len() > LEFT_OUT + 1 {
            self.left_out.pop_last();
        }
    }

    /// The column that names the omitted values; `None` if nothing was left out.
    fn column(&self) -> Option<Value> {
        let more = (self.left_out.len() > LEFT_OUT).then_some("..");
        let names = self.left_out.iter().take(LEFT_OUT).map(String::as_str).chain(more);
        (!self.left_out.is_empty()).then(|| Value::Array(names.map(Value::from).collect()))
    }
}

/// A place in a document. Its name is only built when something is left out.
struct Place<'a> {
    parent: Option<&'a Place<'a>>,
    step: Step<'a>,
}

enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

impl<'a> Place<'a> {
    /// A root field.
    fn of(name: &'a str) -> Self {
        Self { parent: None, step: Step::Key(name) }
    }

    /// The place as JavaScript writes it. A long name is cut.
    fn name(&self) -> String {
        let mut steps = vec![&self.step];
        let mut place = self;
        while let Some(parent) = place.parent {
            steps.push(&parent.step);
            place = parent;
        }
        let mut name = String::new();
        for step in steps.into_iter().rev() {
            match step {
                Step::Index(index) => name.push_str(&format!("[{index}]")),
                Step::Key(key) if is_word(key) && name.is_empty() => name.push_str(key),
                Step::Key(key) if is_word(key) => name.push_str(&format!(".{key}")),
                Step::Key(key) => name.push_str(&format!("[{}]", serde_json::Value::from(cut(key)))),
            }
            if let Some((end, _)) = name.char_indices().nth(LEFT_OUT_LETTERS) {
                name.truncate(end);
                name.push_str("..");
                break;
            }
        }
        name
    }
}

/// The part of a key that is short enough for a name.
fn cut(key: &str) -> &str {
    key.char_indices().nth(LEFT_OUT_LETTERS).map_or(key, |(end, _)| &key[..end])
}

fn is_word(key: &str) -> bool {
    key.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The size of an object's entry, as Convex counts it.
fn entry_bytes(name: &str, value: &Value) -> usize {
    name.len() + 1 + value_bytes(value)
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Boolean(_) => 1,
        Value::Int64(_) | Value::Float64(_) => 9,
        Value::String(text) => text.len() + 2,
        Value::Bytes(bytes) => bytes.len() + 2,
        Value::Array(values) => 2 + values.iter().map(value_bytes).sum::<usize>(),
        Value::Object(fields) => 2 + fields.iter().map(|(name, value)| entry_bytes(name, value)).sum::<usize>(),
    }
}
