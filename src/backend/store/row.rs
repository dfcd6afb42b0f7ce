//! The rows of the file: how a record is written, and the stamp that shows whether a row has changed since.

use convex::Value;
use rusqlite::{
    Transaction, params, params_from_iter,
    types::{ToSqlOutput, ValueRef as Cell},
};
use sha2::{Digest, Sha256};

use crate::backend::log::{Outcome, Record};

/// Carries out a record.
pub(super) fn write(transaction: &Transaction<'_>, record: &Record) -> rusqlite::Result<()> {
    match record {
        Record::Row(row) => {
            // An empty blob marks a snapshot. The list of its changes is read from the snapshot itself.
            let covers = (!row.covers.is_empty()).then(Vec::<u8>::new);
            let part = row.part.as_ref();
            let cells = [
                Cell::Integer(row.position.ts),
                Cell::Integer(row.position.ordinal.into()),
                Cell::Text(row.collection.as_bytes()),
                Cell::Text(row.document.as_str().as_bytes()),
                Cell::Blob(&row.bytes),
                part.map_or(Cell::Null, |part| Cell::Blob(&part.hash)),
                part.map_or(Cell::Null, |part| Cell::Integer(part.index.into())),
                part.map_or(Cell::Null, |part| Cell::Integer(part.count.into())),
                covers.as_deref().map_or(Cell::Null, Cell::Blob),
                row.author.as_ref().map_or(Cell::Null, |author| Cell::Text(author.as_str().as_bytes())),
            ];
            let stamp = stamp(&cells[..stamped_of_chunk(row.author.is_some())]);
            insert_with(
                transaction,
                "INSERT INTO chunk (ts, ordinal, collection, document, bytes, part_hash, part_index, part_count, covers, author, stamp)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                &cells,
                &stamp,
            )?;
        }
        Record::RowGone(position) => {
            transaction
                .prepare_cached("DELETE FROM chunk WHERE ts = ?1 AND ordinal = ?2")?
                .execute(params![position.ts, position.ordinal])?;
        }
        Record::Document(document) => {
            let heads: Vec<u8> = document.heads.iter().flat_map(|head| head.0).collect();
            let fields = serde_json::Value::from(Value::Object((*document.fields).clone())).to_string();
            insert(
                transaction,
                "INSERT OR REPLACE INTO document (collection, id, scope, heads, fields, deleted, modified, merged, stamp)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                &[
                    Cell::Text(document.collection.as_bytes()),
                    Cell::Text(document.id.as_str().as_bytes()),
                    document.scope.as_deref().map_or(Cell::Null, |scope| Cell::Text(scope.as_bytes())),
                    Cell::Blob(&heads),
                    Cell::Text(fields.as_bytes()),
                    Cell::Integer(document.deleted.into()),
                    Cell::Integer(document.modified),
                    Cell::Integer(document.merged.into()),
                ],
            )?;
        }
        Record::DocumentGone { collection, id, last } => {
            for sql in [
                "DELETE FROM document WHERE collection = ?1 AND id = ?2",
                "DELETE FROM part WHERE collection = ?1 AND document = ?2",
            ] {
                transaction.prepare_cached(sql)?.execute(params![&**collection, id.as_str()])?;
            }
            insert(
                transaction,
                "INSERT OR REPLACE INTO pruned (collection, id, ts, ordinal, stamp) VALUES (?1, ?2, ?3, ?4, ?5)",
                &[
                    Cell::Text(collection.as_bytes()),
                    Cell::Text(id.as_str().as_bytes()),
                    Cell::Integer(last.ts),
                    Cell::Integer(last.ordinal.into()),
                ],
            )?;
        }
        Record::Part { collection, document, part, bytes, ts } => {
            insert(
                transaction,
                "INSERT OR REPLACE INTO part (collection, document, hash, part_index, part_count, bytes, ts, stamp)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                &[
                    Cell::Text(collection.as_bytes()),
                    Cell::Text(document.as_str().as_bytes()),
                    Cell::Blob(&part.hash),
                    Cell::Integer(part.index.into()),
                    Cell::Integer(part.count.into()),
                    Cell::Blob(bytes),
                    Cell::Integer(*ts),
                ],
            )?;
        }
        Record::Outcome(Outcome { key, at, ts, value }) => {
            insert(
                transaction,
                "INSERT OR REPLACE INTO outcome (session, request, at, ts, value, stamp) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                &[
                    Cell::Blob(&key.session),
                    Cell::Integer(key.request.into()),
                    Cell::Integer(*at),
                    Cell::Integer(*ts),
                    Cell::Text(value.as_bytes()),
                ],
            )?;
        }
        Record::OutcomeGone(key) => {
            transaction
                .prepare_cached("DELETE FROM outcome WHERE session = ?1 AND request = ?2")?
                .execute(params![key.session, key.request])?;
        }
        Record::PartsGone { collection, document, hash } => {
            transaction
                .prepare_cached("DELETE FROM part WHERE collection = ?1 AND document = ?2 AND hash = ?3")?
                .execute(params![&**collection, document.as_str(), hash])?;
        }
    }
    Ok(())
}

/// Inserts a row and its stamp, which is the last value of `sql`.
fn insert(transaction: &Transaction<'_>, sql: &str, cells: &[Cell<'_>]) -> rusqlite::Result<()> {
    insert_with(transaction, sql, cells, &stamp(cells))
}

fn insert_with(transaction: &Transaction<'_>, sql: &str, cells: &[Cell<'_>], stamp: &[u8]) -> rusqlite::Result<()> {
    let values = cells.iter().copied().chain([Cell::Blob(stamp)]).map(ToSqlOutput::Borrowed);
    transaction.prepare_cached(sql)?.execute(params_from_iter(values))?;
    Ok(())
}

/// Whether the first columns of a row match its stamp, which comes after them.
pub(super) fn is_as_written(row: &rusqlite::Row<'_>, columns: usize) -> rusqlite::Result<bool> {
    matches(row, columns, columns)
}

/// The same for a row of `chunk`, whose author the stamp may cover.
pub(super) fn is_chunk_as_written(row: &rusqlite::Row<'_>) -> rusqlite::Result<bool> {
    let has_author = row.get_ref(CHUNK_COLUMNS)? != Cell::Null;
    matches(row, stamped_of_chunk(has_author), CHUNK_COLUMNS + 1)
}

/// The columns of `chunk` in format 2, without the stamp.
const CHUNK_COLUMNS: usize = 9;

/// The number of columns of a row of `chunk` that its stamp covers. A row without an author has the stamp of format 2,
/// which had no authors.
fn stamped_of_chunk(has_author: bool) -> usize {
    CHUNK_COLUMNS + usize::from(has_author)
}

/// Whether the first `columns` of a row match the stamp at `stamp_at`.
fn matches(row: &rusqlite::Row<'_>, columns: usize, stamp_at: usize) -> rusqlite::Result<bool> {
    let Cell::Blob(stamped) = row.get_ref(stamp_at)? else { return Ok(true) };
    let cells: Vec<Cell<'_>> = (0..columns).map(|column| row.get_ref(column)).collect::<Result<_, _>>()?;
    Ok(stamp(&cells) == stamped)
}

fn stamp(cells: &[Cell<'_>]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for cell in cells {
        let (kind, bytes) = match cell {
            Cell::Null => (0_u8, &[][..]),
            Cell::Integer(number) => (1, &number.to_le_bytes()[..]),
            Cell::Real(number) => (2, &number.to_le_bytes()[..]),
            Cell::Text(text) => (3, *text),
            Cell::Blob(bytes) => (4, *bytes),
        };
        hash.update([kind]);
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    }
    hash.finalize().into()
}
