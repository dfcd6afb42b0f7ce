//! Reads chunks from others before Automerge does: on the backend those from clients, and in a client those from the
//! backend.
//!
//! Automerge decodes lazily and trusts lengths: a run of 2^60 operations takes a few bytes, a compressed column may
//! inflate to any size, and an operation's number may leave no room for the next. So this module first walks the
//! columns of a chunk without decoding them, and counts. The walk cannot show what a chunk does to the document it is
//! added to, and there Automerge may panic (a counter that overflows, in builds that check for it): [`guarded`] turns
//! the panic into an error.

use std::{
    io::Read,
    panic::{AssertUnwindSafe, catch_unwind},
};

use automerge::{Automerge, Change};

#[cfg(feature = "backend")]
use crate::limits::SAVED_BYTES;
use crate::limits::{CHANGE_OPERATIONS, INFLATED_BYTES, OPERATION_NUMBER, OPERATIONS};

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
const DOCUMENT: u8 = 0;
const CHANGE: u8 = 1;
const COMPRESSED: u8 = 2;
/// Set in a column's specification if its bytes are compressed.
const DEFLATED: u64 = 0b1000;

/// Reads bytes that are one uncompressed change.
pub(crate) fn change(bytes: &[u8]) -> Result<Change, ChunkError> {
    let (chunk, rest) = Chunk::split(bytes)?;
    if !rest.is_empty() {
        return Err(invalid("bytes follow the change"));
    }
    match chunk.kind {
        CHANGE => chunk.change(),
        COMPRESSED => Err(invalid("it is compressed; send the change's raw bytes")),
        DOCUMENT => Err(invalid("it is a saved document; send its changes one by one")),
        kind => Err(invalid(format!("a chunk of type {kind} is not a change"))),
    }
}

/// Reads a saved document, or any concatenation of chunks. Dependencies come before dependents within each chunk.
#[cfg(feature = "backend")]
pub(crate) fn saved(bytes: &[u8]) -> Result<Vec<Change>, ChunkError> {
    if bytes.len() > SAVED_BYTES {
        return Err(too_large(format!("the saved document has {} bytes", bytes.len()), SAVED_BYTES as u64));
    }
    if bytes.is_empty() {
        return Err(invalid("no bytes are no document"));
    }
    let mut changes = Vec::new();
    let mut budget = INFLATED_BYTES;
    let mut rest = bytes;
    while !rest.is_empty() {
        let (chunk, after) = Chunk::split(rest)?;
        match chunk.kind {
            CHANGE => changes.push(chunk.change()?),
            COMPRESSED => changes.push(chunk.compressed_change(&mut budget)?),
            DOCUMENT => {
                chunk.check_document(&mut budget)?;
                let document = guarded("load", || Automerge::load(chunk.bytes))?.map_err(invalid)?;
                changes.extend(guarded("read", || document.get_changes(&[]))?);
            }
            kind => return Err(invalid(format!("a chunk of type {kind} is not supported"))),
        }
        rest = after;
    }
    Ok(changes)
}

/// Reads a chunk of a backend: one change, as [`change`] takes it, or one snapshot.
pub(crate) fn received(bytes: &[u8]) -> Result<Received, ChunkError> {
    let (chunk, rest) = Chunk::split(bytes)?;
    if chunk.kind != DOCUMENT {
        return change(bytes).map(|change| Received::Change(Box::new(change)));
    }
    if !rest.is_empty() {
        return Err(invalid("bytes follow the snapshot"));
    }
    chunk.check_document(&mut INFLATED_BYTES.clone())?;
    let snapshot = guarded("load", || Automerge::load(bytes))?.map_err(invalid)?;
    Ok(Received::Snapshot(guarded("read", || snapshot.get_changes(&[]))?))
}

/// Whether a chunk's type is a whole document and not a change.
pub(crate) fn is_snapshot(bytes: &[u8]) -> bool {
    // The type follows four magic bytes and a checksum of four.
    bytes.get(8) == Some(&DOCUMENT)
}

/// A chunk that [`received`] has read.
pub(crate) enum Received {
    Change(Box<Change>),
    /// The snapshot's changes, dependencies first.
    Snapshot(Vec<Change>),
}

/// Runs Automerge on bytes that others sent. A panic of Automerge becomes an error of that document, and everything
/// else goes on.
///
/// After a panic the value that `run` was changing is half changed, so the caller must drop it unread. `run` reaches
/// nothing else, so the assertion of unwind safety holds. Programs built to abort on panics get no such protection.
pub(crate) fn guarded<T>(what: &str, run: impl FnOnce() -> T) -> Result<T, ChunkError> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| {
        tracing::error!(target: "bevy_convex_replicate::replica", "automerge panicked while it tried to {what} a document");
        invalid(format!("automerge failed to {what} it"))
    })
}

/// The reason why a chunk is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChunkError {
    #[error("not a valid change: {0}")]
    Invalid(String),
    #[error("{what}; at most {limit} are taken")]
    TooLarge { what: String, limit: u64 },
}

fn invalid(reason: impl std::fmt::Display) -> ChunkError {
    ChunkError::Invalid(reason.to_string())
}

fn too_large(what: impl Into<String>, limit: u64) -> ChunkError {
    ChunkError::TooLarge { what: what.into(), limit }
}

/// One chunk: magic, checksum, type, length, data.
struct Chunk<'a> {
    bytes: &'a [u8],
    kind: u8,
    checksum: [u8; 4],
    data: &'a [u8],
}

impl<'a> Chunk<'a> {
    fn split(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), ChunkError> {
        let mut cursor = Cursor(bytes);
        if cursor.take(4)? != MAGIC {
            return Err(invalid("it does not start as an Automerge chunk does"));
        }
        let mut checksum = [0; 4];
        checksum.copy_from_slice(cursor.take(4)?);
        let kind = cursor.take(1)?[0];
        let length = cursor.length()?;
        let data = cursor.take(length)?;
        let whole = &bytes[..bytes.len() - cursor.0.len()];
        Ok((Self { bytes: whole, kind, checksum, data }, cursor.0))
    }

    fn change(&self) -> Result<Change, ChunkError> {
        check_change(self.data)?;
        let change = guarded("read", || Change::try_from(self.bytes))?.map_err(invalid)?;
        self.verified(change)
    }

    #[cfg(feature = "backend")]
    fn compressed_change(&self, budget: &mut usize) -> Result<Change, ChunkError> {
        check_change(&inflate(self.data, budget)?)?;
        let change = guarded("read", || Change::try_from(self.bytes))?.map_err(invalid)?;
        self.verified(change)
    }

    /// Automerge computes the hash and does not compare it with the checksum.
    fn verified(&self, change: Change) -> Result<Change, ChunkError> {
        if change.hash().0[..4] != self.checksum {
            return Err(invalid("its checksum is wrong"));
        }
        Ok(change)
    }

    fn check_document(&self, budget: &mut usize) -> Result<(), ChunkError> {
        let mut cursor = Cursor(self.data);
        for _ in 0..cursor.length()? {
            cursor.prefixed()?;
        }
        for _ in 0..cursor.length()? {
            cursor.take(32)?;
        }
        let changes = cursor.columns()?;
        let operations = cursor.columns()?;
        for (specification, length) in changes.into_iter().chain(operations) {
            check_column(specification, cursor.take(length)?, budget, OPERATIONS)?;
        }
        Ok(())
    }
}

fn check_change(data: &[u8]) -> Result<(), ChunkError> {
    let mut cursor = Cursor(data);
    for _ in 0..cursor.length()? {
        cursor.take(32)?;
    }
    cursor.prefixed()?; // actor
    cursor.unsigned()?; // sequence number
    let first = cursor.unsigned()?;
    cursor.signed()?; // time
    cursor.prefixed()?; // message
    for _ in 0..cursor.length()? {
        cursor.prefixed()?;
    }
    let mut budget = 0; // no column of a change is compressed
    let mut operations = 0;
    for (specification, length) in cursor.columns()? {
        let rows = check_column(specification, cursor.take(length)?, &mut budget, CHANGE_OPERATIONS)?;
        operations = operations.max(rows);
    }
    // A column has at least as many rows as there are operations, and both numbers are bounded.
    if first.saturating_add(operations) > OPERATION_NUMBER {
        return Err(too_large(format!("its operations are numbered from {first} on"), OPERATION_NUMBER));
    }
    Ok(())
}

/// Counts the rows that a column claims.
fn check_column(specification: u64, bytes: &[u8], budget: &mut usize, most: u64) -> Result<u64, ChunkError> {
    let inflated;
    let bytes = if specification & DEFLATED == 0 {
        bytes
    } else {
        inflated = inflate(bytes, budget)?;
        &inflated
    };
    let rows = match specification & 0b111 {
        // A group column: its values say how many rows the grouped columns have.
        0 => count_runs(bytes, |cursor| cursor.unsigned())?,
        1 | 2 | 6 => count_runs(bytes, |cursor| cursor.unsigned().map(|_| 1))?,
        3 => count_runs(bytes, |cursor| cursor.signed().map(|_| 1))?,
        4 => {
            let mut cursor = Cursor(bytes);
            let mut rows = 0u64;
            while !cursor.0.is_empty() {
                rows = rows.saturating_add(cursor.unsigned()?);
            }
            rows
        }
        5 => count_runs(bytes, |cursor| cursor.prefixed().map(|_| 1))?,
        _ => 0, // raw values take as many bytes as they have
    };
    if rows > most {
        return Err(too_large(format!("it claims {rows} operations"), most));
    }
    Ok(rows)
}

/// Counts the rows of a run-length encoded column: `weigh` of each value, and at least one.
fn count_runs(bytes: &[u8], weigh: impl Fn(&mut Cursor<'_>) -> Result<u64, ChunkError>) -> Result<u64, ChunkError> {
    let mut cursor = Cursor(bytes);
    let mut rows = 0u64;
    while !cursor.0.is_empty() {
        match cursor.signed()? {
            0 => rows = rows.saturating_add(cursor.unsigned()?),
            run @ 1.. => {
                let weight = weigh(&mut cursor)?.max(1);
                rows = rows.saturating_add(weight.saturating_mul(run.unsigned_abs()));
            }
            literal => {
                for _ in 0..literal.unsigned_abs() {
                    rows = rows.saturating_add(weigh(&mut cursor)?.max(1));
                }
            }
        }
    }
    Ok(rows)
}

fn inflate(bytes: &[u8], budget: &mut usize) -> Result<Vec<u8>, ChunkError> {
    let mut inflated = Vec::new();
    flate2::bufread::DeflateDecoder::new(bytes).take(*budget as u64 + 1).read_to_end(&mut inflated).map_err(invalid)?;
    if inflated.len() > *budget {
        return Err(too_large("it inflates to too many bytes", INFLATED_BYTES as u64));
    }
    *budget -= inflated.len();
    Ok(inflated)
}

/// The bytes that are still to be read.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], ChunkError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(|| invalid("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn prefixed(&mut self) -> Result<&'a [u8], ChunkError> {
        let length = self.length()?;
        self.take(length)
    }

    fn length(&mut self) -> Result<usize, ChunkError> {
        usize::try_from(self.unsigned()?).map_err(invalid)
    }

    fn columns(&mut self) -> Result<Vec<(u64, usize)>, ChunkError> {
        let count = self.length()?;
        let mut columns = Vec::new();
        for _ in 0..count {
            columns.push((self.unsigned()?, self.length()?));
        }
        Ok(columns)
    }

    fn unsigned(&mut self) -> Result<u64, ChunkError> {
        leb128::read::unsigned(&mut self.0).map_err(number_error)
    }

    fn signed(&mut self) -> Result<i64, ChunkError> {
        leb128::read::signed(&mut self.0).map_err(number_error)
    }
}

fn number_error(error: leb128::read::Error) -> ChunkError {
    invalid(match error {
        leb128::read::Error::IoError(_) => "it ends too early",
        leb128::read::Error::Overflow => "a number is too large",
    })
}
