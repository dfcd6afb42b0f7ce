//! The rows of the file: how a record is written, and the stamp that shows whether a row has changed since.

use convex::Value;
use rusqlite::{
    Transaction, params, params_from_iter,
    types::{ToSqlOutput, ValueRef as Cell},
};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use crate::{
    backend::log::{Home, Outcome, Record, Sender},
    record::UserId,
};

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
            let stamp = stamp(&cells[..CHUNK_COLUMNS + usize::from(row.author.is_some())]);
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
        Record::DocumentGone { collection, id, home, last } => {
            for sql in [
                "DELETE FROM document WHERE collection = ?1 AND id = ?2",
                "DELETE FROM part WHERE collection = ?1 AND document = ?2",
            ] {
                transaction.prepare_cached(sql)?.execute(params![&**collection, id.as_str()])?;
            }
            let home = home_text(home);
            let cells = [
                Cell::Text(collection.as_bytes()),
                Cell::Text(id.as_str().as_bytes()),
                Cell::Integer(last.ts),
                Cell::Integer(last.ordinal.into()),
                home.as_deref().map_or(Cell::Null, |home| Cell::Text(home.as_bytes())),
            ];
            let stamp = stamp(&cells[..PRUNED_COLUMNS + usize::from(home.is_some())]);
            insert_with(
                transaction,
                "INSERT OR REPLACE INTO pruned (collection, id, ts, ordinal, home, stamp) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                &cells,
                &stamp,
            )?;
        }
        Record::Part { collection, document, sender, part, bytes, ts } => {
            insert(
                transaction,
                "INSERT OR REPLACE INTO part (collection, document, sender, hash, part_index, part_count, bytes, ts, stamp)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                &[
                    Cell::Text(collection.as_bytes()),
                    Cell::Text(document.as_str().as_bytes()),
                    Cell::Text(sender_text(sender).as_bytes()),
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
        Record::PartsGone { collection, document, sender, hash } => {
            transaction
                .prepare_cached(
                    "DELETE FROM part WHERE collection = ?1 AND document = ?2 AND sender = ?3 AND hash = ?4",
                )?
                .execute(params![&**collection, document.as_str(), sender_text(sender), hash])?;
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

/// The same for a row with a column that a later format has added, between the first `columns` and the stamp. A row
/// without a value there has the stamp of the earlier format, which had no such column.
pub(super) fn is_extended_as_written(row: &rusqlite::Row<'_>, columns: usize) -> rusqlite::Result<bool> {
    let has_more = row.get_ref(columns)? != Cell::Null;
    matches(row, columns + usize::from(has_more), columns + 1)
}

/// The columns of `chunk` in format 2, without the stamp. Format 3 has added the author.
pub(super) const CHUNK_COLUMNS: usize = 9;
/// The columns of `pruned` in format 3, without the stamp. Format 4 has added the scope.
pub(super) const PRUNED_COLUMNS: usize = 4;

/// The scope of a pruned document as the file has it: JSON, with null for no scope. `None` if nobody knows it.
fn home_text(home: &Home) -> Option<String> {
    match home {
        Home::Unknown => None,
        Home::Known(scope) => Some(Json::from(scope.as_deref()).to_string()),
    }
}

/// Reads what [`home_text`] wrote.
pub(super) fn home(text: Option<&str>) -> Option<Home> {
    let Some(text) = text else { return Some(Home::Unknown) };
    let scope: Option<String> = serde_json::from_str(text).ok()?;
    Some(Home::Known(scope.map(Into::into)))
}

/// A sender as the file has it: the user and the scope in a JSON list, with null for none.
fn sender_text(Sender { user, scope }: &Sender) -> String {
    Json::from(vec![user.as_ref().map(UserId::as_str), scope.as_deref()]).to_string()
}

/// Reads what [`sender_text`] wrote.
pub(super) fn sender(text: &str) -> Option<Sender> {
    let [user, scope]: [Option<String>; 2] = serde_json::from_str(text).ok()?;
    Some(Sender { user: user.map(UserId::recorded), scope: scope.map(Into::into) })
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
