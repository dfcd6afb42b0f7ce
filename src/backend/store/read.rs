//! Reads the whole log from the file.

use std::{collections::HashSet, mem::take, sync::Arc};

use automerge::ChangeHash;
use convex::Value;
use rusqlite::{Connection, OptionalExtension, types::ValueRef as Cell};

use super::{
    Problem,
    row::{CHUNK_COLUMNS, PRUNED_COLUMNS, home, is_as_written, is_extended_as_written, sender},
};
use crate::{
    DocumentId,
    backend::log::{Covered, DocumentRecord, Log, Outcome, Record, RequestKey, Restore, Row, Sender},
    chunk::Part,
    record::{Position, UserId},
};

pub(super) fn log(connection: &Connection) -> Result<Log, Problem> {
    let epoch: Option<String> = connection.query_row("SELECT epoch FROM log", [], |row| row.get(0)).optional()?;
    let mut log = Restore::new(epoch.ok_or_else(|| Problem::Damaged("its log has no name".into()))?);
    // A row of the log belongs to a document, so documents come first.
    documents(connection, &mut log)?;
    pruned(connection, &mut log)?;
    chunks(connection, &mut log)?;
    parts(connection, &mut log)?;
    outcomes(connection, &mut log)?;
    Ok(log.finish()?)
}

fn documents(connection: &Connection, log: &mut Restore) -> Result<(), Problem> {
    let mut statement = connection
        .prepare("SELECT collection, id, scope, heads, fields, deleted, modified, merged, stamp FROM document")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let id = DocumentId::new(row.get::<_, String>(1)?);
        if !is_as_written(row, 8)? {
            return Err(Problem::Damaged(format!("the row of document {id} is not as it was written")));
        }
        let heads: Vec<u8> = row.get(3)?;
        let fields: String = row.get(4)?;
        let fields =
            serde_json::from_str::<serde_json::Value>(&fields).ok().and_then(|json| Value::try_from(json).ok());
        let Some(Value::Object(fields)) = fields else {
            return Err(Problem::Damaged(format!("the row of document {id} is unreadable")));
        };
        log.add(Record::Document(DocumentRecord {
            collection: row.get::<_, String>(0)?.into(),
            scope: row.get::<_, Option<String>>(2)?.map(Into::into),
            heads: heads.chunks_exact(32).filter_map(|hash| ChangeHash::try_from(hash).ok()).collect(),
            fields: Arc::new(fields),
            deleted: row.get(5)?,
            modified: row.get(6)?,
            merged: row.get(7)?,
            id,
        }))?;
    }
    Ok(())
}

fn pruned(connection: &Connection, log: &mut Restore) -> Result<(), Problem> {
    let mut statement = connection.prepare("SELECT collection, id, ts, ordinal, home, stamp FROM pruned")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let id = DocumentId::new(row.get::<_, String>(1)?);
        if !is_extended_as_written(row, PRUNED_COLUMNS)? {
            return Err(Problem::Damaged(format!("the name of the deleted document {id} is not as it was written")));
        }
        let last = Position { ts: row.get(2)?, ordinal: row.get(3)? };
        let home = home(row.get::<_, Option<String>>(4)?.as_deref())
            .ok_or_else(|| Problem::Damaged(format!("the scope of the deleted document {id} is unreadable")))?;
        log.add(Record::DocumentGone { collection: row.get::<_, String>(0)?.into(), id, home, last })?;
    }
    Ok(())
}

fn chunks(connection: &Connection, log: &mut Restore) -> Result<(), Problem> {
    let mut statement = connection.prepare(
        "SELECT ts, ordinal, collection, document, bytes, part_hash, part_index, part_count, covers, author, stamp
         FROM chunk ORDER BY ts, ordinal",
    )?;
    let mut rows = statement.query([])?;
    let mut authors = HashSet::new();
    // The parts of a snapshot so far. They follow one another, and only the first is marked as part of a snapshot.
    let mut snapshot: Vec<Row> = Vec::new();
    while let Some(row) = rows.next()? {
        let (chunk, is_snapshot) = chunk(row, &mut authors)?;
        if !is_snapshot && snapshot.is_empty() {
            log.add(Record::Row(chunk))?;
            continue;
        }
        if let Some(first) = snapshot.first()
            && (is_snapshot || !is_of_one_chunk(first, &chunk))
        {
            return Err(incomplete(&chunk));
        }
        let is_last = chunk.part.as_ref().is_none_or(|part| part.index + 1 == part.count);
        snapshot.push(chunk);
        if is_last {
            let bytes: Vec<u8> = snapshot.iter().flat_map(|row| row.bytes.iter().copied()).collect();
            let mut covers = Covered::by_snapshot(&bytes)
                .map_err(|refusal| Problem::Damaged(format!("a snapshot is unreadable: {refusal}")))?;
            for mut row in snapshot.drain(..) {
                // The first part has the list of the changes.
                row.covers = take(&mut covers);
                log.add(Record::Row(row))?;
            }
        }
    }
    snapshot.first().map_or(Ok(()), |first| Err(incomplete(first)))
}

/// A row of `chunk`, and whether it is a snapshot or the first part of one. The caller reads the changes in it.
/// `authors` are the users so far: all rows of a user share one name in memory.
fn chunk(row: &rusqlite::Row<'_>, authors: &mut HashSet<Arc<str>>) -> Result<(Row, bool), Problem> {
    let document = DocumentId::new(row.get::<_, String>(3)?);
    if !is_extended_as_written(row, CHUNK_COLUMNS)? {
        return Err(Problem::Damaged(format!("a change of document {document} is not as it was written")));
    }
    let part = match row.get::<_, Option<[u8; 32]>>(5)? {
        None => None,
        Some(hash) => Some(Part { hash, index: row.get(6)?, count: row.get(7)? }),
    };
    let author = row.get::<_, Option<String>>(9)?.map(|author| match authors.get(&*author) {
        Some(known) => known.clone(),
        None => {
            let author: Arc<str> = author.into();
            authors.insert(author.clone());
            author
        }
    });
    let chunk = Row {
        position: Position { ts: row.get(0)?, ordinal: row.get(1)? },
        collection: row.get::<_, String>(2)?.into(),
        document,
        bytes: row.get::<_, Vec<u8>>(4)?.into(),
        part,
        covers: Vec::new(),
        author: author.map(UserId::recorded),
    };
    Ok((chunk, row.get_ref(8)? != Cell::Null))
}

fn is_of_one_chunk(one: &Row, other: &Row) -> bool {
    let hash = |row: &Row| row.part.as_ref().map(|part| part.hash);
    one.document == other.document && hash(one) == hash(other)
}

fn incomplete(row: &Row) -> Problem {
    Problem::Damaged(format!("a part of a snapshot of document {} is missing", row.document))
}

fn parts(connection: &Connection, log: &mut Restore) -> Result<(), Problem> {
    let mut statement = connection
        .prepare("SELECT collection, document, sender, hash, part_index, part_count, bytes, ts, stamp FROM part")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let document = DocumentId::new(row.get::<_, String>(1)?);
        if !is_as_written(row, 8)? {
            return Err(damaged_part(&document));
        }
        let sender = sender(&row.get::<_, String>(2)?).ok_or_else(|| damaged_part(&document))?;
        log.add(Record::Part {
            collection: row.get::<_, String>(0)?.into(),
            document,
            sender,
            part: Part { hash: row.get(3)?, index: row.get(4)?, count: row.get(5)? },
            bytes: row.get::<_, Vec<u8>>(6)?.into(),
            ts: row.get(7)?,
        })?;
    }
    Ok(())
}

fn damaged_part(document: &DocumentId) -> Problem {
    Problem::Damaged(format!("a part of a change of document {document} is not as it was written"))
}

fn outcomes(connection: &Connection, log: &mut Restore) -> Result<(), Problem> {
    let mut statement = connection
        .prepare("SELECT session, request, at, ts, value, stamp FROM outcome ORDER BY at, session, request")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if !is_as_written(row, 5)? {
            return Err(Problem::Damaged("the outcome of a mutation is not as it was written".into()));
        }
        log.add(Record::Outcome(Outcome {
            key: RequestKey { session: row.get(0)?, request: row.get(1)? },
            at: row.get(2)?,
            ts: row.get(3)?,
            value: row.get::<_, String>(4)?.into(),
        }))?;
    }
    Ok(())
}

/// A row of `part` as a format before 4 has it, which came at `ts`. `columns` is the number of columns before its stamp.
/// These formats did not keep the sender, so it is nobody. No part is missing because of that: a client sends a change
/// again from its first part after its connection ended, and the upgrade has ended all connections.
pub(super) fn former_part(row: &rusqlite::Row<'_>, columns: usize, ts: i64) -> Result<Record, Problem> {
    let document = DocumentId::new(row.get::<_, String>(1)?);
    if !is_as_written(row, columns)? {
        return Err(damaged_part(&document));
    }
    Ok(Record::Part {
        collection: row.get::<_, String>(0)?.into(),
        document,
        sender: Sender::default(),
        part: Part { hash: row.get(2)?, index: row.get(3)?, count: row.get(4)? },
        bytes: row.get::<_, Vec<u8>>(5)?.into(),
        ts,
    })
}
