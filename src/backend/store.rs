//! The log on disk: one SQLite file in a directory of its own.

use std::{
    fs::{self, File, TryLockError},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use automerge::ChangeHash;
use convex::Value;
use rusqlite::{
    Connection, ErrorCode, OptionalExtension, Transaction,
    config::DbConfig,
    params, params_from_iter,
    types::{ToSqlOutput, ValueRef as Cell},
};
use sha2::{Digest, Sha256};

use super::{
    error::BackendError,
    log::{Covered, DocumentRecord, Log, Record, Restore, Row},
};
use crate::{
    DocumentId,
    replica::{Part, Position},
};

const FILE: &str = "log.sqlite";
const LOCK: &str = "lock";
/// Marks the file as this program's: `bcrb`.
const APPLICATION: i64 = 0x6263_7262;
/// Counts up with every change of the schema that an older program could not read.
const FORMAT: i64 = 2;

/// What is new in format 2. In format 1 `part` had no `ts`.
const FORMAT_2: &str = "
-- Documents that were deleted long ago, and the place of the last row each of them had.
CREATE TABLE pruned (
    collection TEXT NOT NULL, id TEXT NOT NULL,
    ts INTEGER NOT NULL, ordinal INTEGER NOT NULL,
    stamp BLOB,
    PRIMARY KEY (collection, id)
) STRICT;
-- Parts of chunks whose other parts are still to come, and when they came.
CREATE TABLE part (
    collection TEXT NOT NULL, document TEXT NOT NULL,
    hash BLOB NOT NULL, part_index INTEGER NOT NULL, part_count INTEGER NOT NULL,
    bytes BLOB NOT NULL, ts INTEGER NOT NULL,
    stamp BLOB,
    PRIMARY KEY (collection, document, hash, part_index)
) STRICT;
";

const SCHEMA: &str = "
CREATE TABLE log (epoch TEXT NOT NULL) STRICT;
-- A row of a collection's log. A timestamp belongs to one commit, so to one collection.
CREATE TABLE chunk (
    ts INTEGER NOT NULL, ordinal INTEGER NOT NULL,
    collection TEXT NOT NULL, document TEXT NOT NULL,
    bytes BLOB NOT NULL,
    part_hash BLOB, part_index INTEGER, part_count INTEGER,
    covers BLOB, -- of a snapshot: the changes in it
    stamp BLOB, -- SHA-256 of the columns before it, here and below; SQLite has no checksums. NULL: from before there were stamps
    UNIQUE (ts, ordinal)
) STRICT;
CREATE TABLE document (
    collection TEXT NOT NULL, id TEXT NOT NULL, scope TEXT,
    heads BLOB NOT NULL, fields TEXT NOT NULL, deleted INTEGER NOT NULL,
    modified INTEGER NOT NULL, merged INTEGER NOT NULL,
    stamp BLOB,
    PRIMARY KEY (collection, id)
) STRICT;
";

/// An open log file. Nobody else has it until this is dropped.
pub(super) struct Store {
    path: PathBuf,
    connection: Connection,
    /// Locked for as long as it is open.
    _lock: File,
}

impl Store {
    /// Opens the log in a directory, which is made if need be. `epoch` names a log that is new.
    pub fn open(directory: &Path, epoch: &str) -> Result<Self, BackendError> {
        fs::create_dir_all(directory).map_err(|source| BackendError::Disk { path: directory.to_owned(), source })?;
        let lock = lock(directory)?;
        let path = directory.join(FILE);
        let connection = connect(&path, epoch).map_err(|error| match error {
            Open::Refused(error) => error,
            Open::Sqlite(source) => database(&path, source),
        })?;
        Ok(Self { path, connection, _lock: lock })
    }

    /// Makes records durable, all or none.
    pub fn write(&mut self, records: &[Record]) -> rusqlite::Result<()> {
        #[cfg(feature = "simulation")]
        crate::simulation::disk_takes_a_write()?;
        let transaction = self.connection.transaction()?;
        for record in records {
            write(&transaction, record)?;
        }
        transaction.commit()
    }

    /// Bytes of the file that are in use.
    pub fn used_bytes(&self) -> rusqlite::Result<u64> {
        let number = |pragma| self.connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
        let pages = number("page_count")? - number("freelist_count")?;
        Ok(u64::try_from(pages.saturating_mul(number("page_size")?)).unwrap_or_default())
    }

    /// Gives back the space that compaction has freed, if that is half of the file.
    pub fn reclaim(&self) -> rusqlite::Result<bool> {
        crate::store::reclaim(&self.connection)
    }

    /// Gives the log another name, durably.
    pub fn renew_epoch(&self, epoch: &str) -> Result<(), BackendError> {
        let renewed = self.connection.execute("UPDATE log SET epoch = ?1", [epoch]);
        renewed.map(drop).map_err(|source| database(&self.path, source))
    }

    /// Reads everything.
    pub fn read(&self) -> Result<Log, BackendError> {
        let read = self.read_log().and_then(|log| {
            self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
            Ok(log)
        });
        read.map_err(|error| match error {
            Open::Refused(error) => error,
            Open::Sqlite(source) => database(&self.path, source),
        })
    }

    fn read_log(&self) -> Result<Log, Open> {
        let damaged = |problem: String| Open::Refused(BackendError::Damaged { path: self.path.clone(), problem });
        let epoch: Option<String> =
            self.connection.query_row("SELECT epoch FROM log", [], |row| row.get(0)).optional()?;
        let mut log = Restore::new(epoch.ok_or_else(|| damaged("its log has no name".into()))?);

        let mut statement = self
            .connection
            .prepare("SELECT collection, id, scope, heads, fields, deleted, modified, merged, stamp FROM document")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let id = DocumentId::new(row.get::<_, String>(1)?);
            if !is_as_written(row, 8)? {
                return Err(damaged(format!("the row of document {id} is not as it was written")));
            }
            let heads: Vec<u8> = row.get(3)?;
            let fields: String = row.get(4)?;
            let fields =
                serde_json::from_str::<serde_json::Value>(&fields).ok().and_then(|json| Value::try_from(json).ok());
            let Some(Value::Object(fields)) = fields else {
                return Err(damaged(format!("the row of document {id} is unreadable")));
            };
            let record = DocumentRecord {
                collection: row.get::<_, String>(0)?.into(),
                scope: row.get::<_, Option<String>>(2)?.map(Into::into),
                heads: heads.chunks_exact(32).filter_map(|hash| ChangeHash::try_from(hash).ok()).collect(),
                fields: Arc::new(fields),
                deleted: row.get(5)?,
                modified: row.get(6)?,
                merged: row.get(7)?,
                id,
            };
            log.add(Record::Document(record)).map_err(|damage| damaged(damage.to_string()))?;
        }

        let mut statement = self.connection.prepare("SELECT collection, id, ts, ordinal, stamp FROM pruned")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let id = DocumentId::new(row.get::<_, String>(1)?);
            if !is_as_written(row, 4)? {
                return Err(damaged(format!("the name of the deleted document {id} is not as it was written")));
            }
            let last = Position { ts: row.get(2)?, ordinal: row.get(3)? };
            let record = Record::DocumentGone { collection: row.get::<_, String>(0)?.into(), id, last };
            log.add(record).map_err(|damage| damaged(damage.to_string()))?;
        }

        let mut statement = self.connection.prepare(
            "SELECT ts, ordinal, collection, document, bytes, part_hash, part_index, part_count, covers, stamp
             FROM chunk ORDER BY ts, ordinal",
        )?;
        let mut rows = statement.query([])?;
        let mut snapshot: Vec<Row> = Vec::new();
        while let Some(row) = rows.next()? {
            if !is_as_written(row, 9)? {
                let id: String = row.get(3)?;
                return Err(damaged(format!("a change of document {id} is not as it was written")));
            }
            let part = match row.get::<_, Option<[u8; 32]>>(5)? {
                None => None,
                Some(hash) => Some(Part { hash, index: row.get(6)?, count: row.get(7)? }),
            };
            let bytes: Vec<u8> = row.get(4)?;
            let is_snapshot = row.get_ref(8)? != Cell::Null;
            let record = Row {
                position: Position { ts: row.get(0)?, ordinal: row.get(1)? },
                collection: row.get::<_, String>(2)?.into(),
                document: DocumentId::new(row.get::<_, String>(3)?),
                bytes: bytes.into(),
                part,
                covers: Vec::new(),
            };
            if !is_snapshot && snapshot.is_empty() {
                log.add(Record::Row(record)).map_err(|damage| damaged(damage.to_string()))?;
                continue;
            }
            // A snapshot is read whole: its parts are in a row, and only the first is marked as one.
            let is_last = record.part.as_ref().is_none_or(|part| part.index + 1 == part.count);
            let follows = snapshot.first().is_none_or(|first| {
                let hash = |row: &Row| row.part.as_ref().map(|part| part.hash);
                !is_snapshot && first.document == record.document && hash(first) == hash(&record)
            });
            if !follows {
                return Err(damaged(format!("a part of a snapshot of document {} is missing", record.document)));
            }
            snapshot.push(record);
            if is_last {
                let bytes: Vec<u8> = snapshot.iter().flat_map(|row| row.bytes.iter().copied()).collect();
                let mut covers = Covered::by_snapshot(&bytes)
                    .map_err(|failure| damaged(format!("a snapshot is unreadable: {failure}")))?;
                for mut row in snapshot.drain(..) {
                    // With the first part.
                    row.covers = std::mem::take(&mut covers);
                    log.add(Record::Row(row)).map_err(|damage| damaged(damage.to_string()))?;
                }
            }
        }

        if let Some(row) = snapshot.first() {
            return Err(damaged(format!("a part of a snapshot of document {} is missing", row.document)));
        }

        let mut statement = self
            .connection
            .prepare("SELECT collection, document, hash, part_index, part_count, bytes, ts, stamp FROM part")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if !is_as_written(row, 7)? {
                return Err(damaged(damaged_part(row)?));
            }
            let record = part(row, row.get(6)?)?;
            log.add(record).map_err(|damage| damaged(damage.to_string()))?;
        }
        log.finish().map_err(|damage| damaged(damage.to_string()))
    }
}

fn write(transaction: &Transaction<'_>, record: &Record) -> rusqlite::Result<()> {
    match record {
        Record::Row(row) => {
            // Empty: it says that this is a snapshot, which tells what it stands for by itself.
            let covers = (!row.covers.is_empty()).then(Vec::<u8>::new);
            let part = row.part.as_ref();
            insert(
                transaction,
                "INSERT INTO chunk (ts, ordinal, collection, document, bytes, part_hash, part_index, part_count, covers, stamp)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                &[
                    Cell::Integer(row.position.ts),
                    Cell::Integer(row.position.ordinal.into()),
                    Cell::Text(row.collection.as_bytes()),
                    Cell::Text(row.document.as_str().as_bytes()),
                    Cell::Blob(&row.bytes),
                    part.map_or(Cell::Null, |part| Cell::Blob(&part.hash)),
                    part.map_or(Cell::Null, |part| Cell::Integer(part.index.into())),
                    part.map_or(Cell::Null, |part| Cell::Integer(part.count.into())),
                    covers.as_deref().map_or(Cell::Null, Cell::Blob),
                ],
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
    let stamp = stamp(cells);
    let values = cells.iter().copied().chain([Cell::Blob(&stamp)]).map(ToSqlOutput::Borrowed);
    transaction.prepare_cached(sql)?.execute(params_from_iter(values))?;
    Ok(())
}

/// Whether the first columns of a row are as its stamp, which comes after them, says.
fn is_as_written(row: &rusqlite::Row<'_>, columns: usize) -> rusqlite::Result<bool> {
    let Cell::Blob(stamped) = row.get_ref(columns)? else { return Ok(true) };
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

/// Takes the directory for this process.
fn lock(directory: &Path) -> Result<File, BackendError> {
    let path = directory.join(LOCK);
    let disk = |source| BackendError::Disk { path: path.clone(), source };
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(disk)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            // Where locks keep others from reading, the process stays unnamed.
            let mut pid = String::new();
            let named = file.read_to_string(&mut pid).is_ok() && !pid.trim().is_empty();
            let holder = if named { format!("process {}", pid.trim()) } else { "another process".to_owned() };
            return Err(BackendError::InUse { path: directory.to_owned(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(disk(source)),
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(disk)?;
    Ok(file)
}

enum Open {
    Refused(BackendError),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Open {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

fn connect(path: &Path, epoch: &str) -> Result<Connection, Open> {
    let damaged = |problem: String| Open::Refused(BackendError::Damaged { path: path.to_owned(), problem });
    if length(path) == 0 && ["-wal", "-journal"].iter().any(|part| length(&beside(path, part)) > 0) {
        // SQLite would make a new file, and delete the journal.
        return Err(damaged("the file is missing or empty while its journal is there".into()));
    }
    let mut connection = Connection::open(path)?;
    // Until all of it was read, closing must not move its journal into it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let application: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let format: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let is_new = application == 0 && format == 0 && tables == 0;
    if !is_new {
        if application != APPLICATION {
            return Err(damaged("it is another program's database".into()));
        }
        if format > FORMAT {
            return Err(Open::Refused(BackendError::Newer { path: path.to_owned(), found: format, known: FORMAT }));
        }
        let check: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if check != "ok" {
            return Err(damaged(check));
        }
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    if !is_new {
        add_stamps(&mut connection)?;
        if format < 2 {
            to_format_2(&mut connection, damaged)?;
        }
    }
    if is_new {
        let transaction = connection.transaction()?;
        transaction.execute_batch(SCHEMA)?;
        transaction.execute_batch(FORMAT_2)?;
        transaction.execute("INSERT INTO log (epoch) VALUES (?1)", [epoch])?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", FORMAT)?;
        transaction.commit()?;
    }
    Ok(connection)
}

/// Logs from before there were stamps get room for them.
fn add_stamps(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for table in ["chunk", "document", "part"] {
        let has: bool = transaction.query_row(
            "SELECT count(*) FROM pragma_table_info(?1) WHERE name = 'stamp'",
            [table],
            |row| row.get(0),
        )?;
        if !has {
            transaction.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN stamp BLOB"))?;
        }
    }
    transaction.commit()
}

/// Logs of format 1 get room for what is pruned, and for when parts came: now, as far as anybody knows.
fn to_format_2(connection: &mut Connection, damaged: impl Fn(String) -> Open) -> Result<(), Open> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(since.as_nanos()).unwrap_or(i64::MAX);
    let transaction = connection.transaction()?;
    transaction.execute_batch("ALTER TABLE part RENAME TO part_1")?;
    transaction.execute_batch(FORMAT_2)?;
    {
        let mut statement = transaction
            .prepare("SELECT collection, document, hash, part_index, part_count, bytes, stamp FROM part_1")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if !is_as_written(row, 6)? {
                return Err(damaged(damaged_part(row)?));
            }
            write(&transaction, &part(row, now)?)?;
        }
    }
    transaction.execute_batch("DROP TABLE part_1")?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    Ok(transaction.commit()?)
}

/// A row of `part`, from its first columns.
fn part(row: &rusqlite::Row<'_>, ts: i64) -> rusqlite::Result<Record> {
    Ok(Record::Part {
        collection: row.get::<_, String>(0)?.into(),
        document: DocumentId::new(row.get::<_, String>(1)?),
        part: Part { hash: row.get(2)?, index: row.get(3)?, count: row.get(4)? },
        bytes: row.get::<_, Vec<u8>>(5)?.into(),
        ts,
    })
}

fn damaged_part(row: &rusqlite::Row<'_>) -> rusqlite::Result<String> {
    Ok(format!("a part of a change of document {} is not as it was written", row.get::<_, String>(1)?))
}

/// 0 if there is no such file.
fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn database(path: &Path, source: rusqlite::Error) -> BackendError {
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            BackendError::Damaged { path: path.to_owned(), problem: source.to_string() }
        }
        // A column does not hold what the schema says, or the schema is not ours.
        None if !matches!(source, rusqlite::Error::InvalidPath(_)) => {
            BackendError::Damaged { path: path.to_owned(), problem: source.to_string() }
        }
        Some(ErrorCode::Unknown) => BackendError::Damaged { path: path.to_owned(), problem: source.to_string() },
        _ => BackendError::Database { path: path.to_owned(), source },
    }
}
