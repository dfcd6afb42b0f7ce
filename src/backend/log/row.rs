//! What may be a row of the app's table.

use std::collections::BTreeMap;

use convex::Value;

use crate::{
    DocumentId,
    backend::failure::Failure,
    limits::{FIELD_NAME_BYTES, LIST_ELEMENTS, NESTING, OBJECT_FIELDS, ROW_BYTES},
};

/// Root fields that the row holds under a meaning of its own.
const RESERVED: [&str; 4] = ["id", "version", "timestamp", "deleted"];

/// What the table shows of a document.
#[derive(PartialEq)]
pub(super) struct TableRow {
    /// Its root fields, without those whose names the row itself uses.
    pub fields: BTreeMap<String, Value>,
    /// Whether it is a tombstone.
    pub deleted: bool,
}

impl TableRow {
    /// The row of a document with these root fields.
    pub fn new(mut fields: BTreeMap<String, Value>) -> Self {
        let deleted = fields.get("deleted") == Some(&Value::Boolean(true));
        for name in RESERVED {
            fields.remove(name);
        }
        Self { fields, deleted }
    }
}

/// The fields of every row beside its document's: `_id` and `_creationTime`, `id`, `version` and `timestamp`.
const OWN_FIELDS: usize = 5;
/// What Convex counts for the fields that it adds to a row, `_id` and `_creationTime`, and for `version` and `timestamp`, whatever is in them.
const SYSTEM_BYTES: usize = 38 + 23;
const NUMBERS_BYTES: usize = "version".len() + "timestamp".len() + 2 * (1 + 9);

/// Whether Convex would store this as the row of the document `id`.
pub(super) fn check(TableRow { fields, deleted }: &TableRow, id: &DocumentId) -> Result<(), Failure> {
    let id_bytes = "id".len() + 1 + 2 + id.as_str().len();
    let deleted_bytes = if *deleted { "deleted".len() + 1 + 1 } else { 0 };
    let bytes = object_bytes(fields, 1)? + id_bytes + deleted_bytes + NUMBERS_BYTES + SYSTEM_BYTES;
    if bytes > ROW_BYTES {
        return Err(Failure::too_large(format!("the row has {bytes} bytes"), ROW_BYTES));
    }
    let count = fields.len() + OWN_FIELDS + usize::from(*deleted);
    if count > OBJECT_FIELDS {
        return Err(Failure::too_large(format!("the row has {count} fields with its own"), OBJECT_FIELDS));
    }
    Ok(())
}

/// `depth` counts from 1, the row itself.
fn object_bytes(fields: &BTreeMap<String, Value>, depth: usize) -> Result<usize, Failure> {
    check_depth(depth)?;
    if fields.len() > OBJECT_FIELDS {
        return Err(Failure::too_large(format!("an object has {} fields", fields.len()), OBJECT_FIELDS));
    }
    let mut bytes = 2;
    for (name, value) in fields {
        check_name(name)?;
        bytes += name.len() + 1 + value_bytes(value, depth)?;
    }
    Ok(bytes)
}

fn check_depth(depth: usize) -> Result<(), Failure> {
    if depth > NESTING {
        return Err(Failure::too_large("the document is nested too deeply", NESTING));
    }
    Ok(())
}

/// The size, as Convex counts it, of a value in something at `depth`.
fn value_bytes(value: &Value, depth: usize) -> Result<usize, Failure> {
    Ok(match value {
        Value::Null | Value::Boolean(_) => 1,
        Value::Int64(_) | Value::Float64(_) => 9,
        Value::String(text) => text.len() + 2,
        Value::Bytes(bytes) => bytes.len() + 2,
        Value::Array(values) => {
            check_depth(depth + 1)?;
            if values.len() > LIST_ELEMENTS {
                return Err(Failure::too_large(format!("a list has {} elements", values.len()), LIST_ELEMENTS));
            }
            let mut bytes = 2;
            for value in values {
                bytes += value_bytes(value, depth + 1)?;
            }
            bytes
        }
        Value::Object(fields) => object_bytes(fields, depth + 1)?,
    })
}

fn check_name(name: &str) -> Result<(), Failure> {
    let problem = if name.is_empty() {
        "is empty"
    } else if name.starts_with(['$', '_']) {
        "starts with `$` or `_`"
    } else if name.len() > FIELD_NAME_BYTES {
        "is too long"
    } else if !name.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        "has letters outside printable ASCII"
    } else {
        return Ok(());
    };
    let shown: String = name.chars().take(64).collect();
    Err(Failure::new("forbiddenField", format!("the field name {shown:?} {problem}: Convex does not store it")))
}
