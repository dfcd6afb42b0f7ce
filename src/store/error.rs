use std::{
    io,
    path::{Path, PathBuf},
};

use rusqlite::{Error as Sqlite, ErrorCode};

use crate::{DocumentId, sqlite};

use super::lock::Owner;

/// The problem of a store, with its file and a remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process, or this one, has the store open.
    #[error(
        "the store {} is in use by {}: close that program, or start this one with another profile",
        path.display(),
        Owner::describe(owner.as_ref())
    )]
    InUse {
        /// The store.
        path: PathBuf,
        /// The process that has it open, if it wrote its name.
        owner: Option<Owner>,
    },
    /// The file system cannot lock files as a store needs it.
    #[error(
        "cannot lock {}: {source}. Keep the store on a local disk: two programs writing to it at once would damage it",
        path.display()
    )]
    Lock {
        /// The lock file, or the store.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The file is something else.
    #[error(
        "{} is not a store of this library ({problem}), so it is left as it is: choose another path for the store, or move the file away. If it has been a store, make an empty file beside it with the same name and .rebuild at its end: the next start moves the store away and makes a new one of its readable part",
        path.display()
    )]
    NotAStore {
        /// The file.
        path: PathBuf,
        /// The reason why it is not a store.
        problem: String,
    },
    /// The file was written by a later version.
    #[error(
        "the store {} has format {found} and this version reads up to {supported}: update this program. The file is left as it is",
        path.display()
    )]
    Newer {
        /// The store.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format known here.
        supported: i64,
    },
    /// The file is a store, but damaged.
    #[error(
        "the store {} is damaged ({problem}). It is left as it is: restore it from a backup, or make a new store of its readable part and of the deployment's documents with ReplicatePlugin::rebuild_damaged_store or SyncControl::rebuild_store (see docs/store.md)",
        path.display()
    )]
    Damaged {
        /// The store.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
    /// The stored changes of one document cannot be read. The others can.
    #[error("{collection}/{document}: {}", self.message())]
    DamagedDocument {
        /// The store.
        path: PathBuf,
        /// The document's collection.
        collection: String,
        /// The document.
        document: DocumentId,
        /// The problem.
        problem: String,
    },
    /// A part of a damaged store that could not be carried over to the new store.
    #[error("{}: {problem}", path.display())]
    Lost {
        /// The damaged store, under the name it was given.
        path: PathBuf,
        /// The data that cannot be read, with the collection and document as far as they are known, and the reason.
        problem: String,
    },
    /// A store that is to be deleted has edits that no deployment has taken.
    #[error(
        "the store {} has edits that no deployment has taken ({edits} of them), so it was not deleted: connect first, or ask for the loss of these edits",
        path.display()
    )]
    Unsent {
        /// The store.
        path: PathBuf,
        /// The number of edits.
        edits: u64,
    },
    /// A write that this store cannot hold. The batch it was in has not been written.
    #[error("{}: {}", place(collection, document.as_ref()), self.message())]
    Rejected {
        /// The store.
        path: PathBuf,
        /// The collection that the write is about.
        collection: String,
        /// The document, unless it is about the whole collection.
        document: Option<DocumentId>,
        /// The reason.
        problem: String,
    },
    /// The folder for the store cannot be made, or its path is a file.
    #[error(
        "cannot make the folder {} for the store: {source}. Choose another path, or make the folder and let this user write to it",
        path.display()
    )]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// A folder has the name of the store.
    #[error("cannot open the store {}: it is a folder. Give the path of a file", path.display())]
    IsAFolder {
        /// The path.
        path: PathBuf,
    },
    /// The file, or its folder, cannot be written to.
    #[error(
        "the store {} cannot be written to: let this user write to the file and its folder, or choose another path",
        path.display()
    )]
    ReadOnly {
        /// The store.
        path: PathBuf,
    },
    /// The disk is full.
    #[error("the disk of the store {} is full: free some space. Nothing that was stored is lost", path.display())]
    Full {
        /// The store.
        path: PathBuf,
    },
    /// Another program is writing to the store.
    #[error("the store {} is busy: another program has had it locked for a while; close it", path.display())]
    Busy {
        /// The store.
        path: PathBuf,
    },
    /// The operating system cannot read or write.
    #[error("the store {} cannot be read or written: {problem}. Check its disk and its folder's permissions", path.display())]
    Io {
        /// The store, or a file beside it.
        path: PathBuf,
        /// The error of the operating system or SQLite.
        problem: String,
    },
    /// A name that cannot be part of a path.
    #[error("{name:?} cannot name {of}: {problem}")]
    Name {
        /// The kind of the name.
        of: &'static str,
        /// The name.
        name: String,
        /// The remedy.
        problem: &'static str,
    },
    /// There is no place for an app's files.
    #[error("this user has no home folder, so there is no place for the store: give its path")]
    NoHome,
    /// An error that should not happen.
    #[error("the store {} failed in an unexpected way: {source}. Please report this", path.display())]
    Unexpected {
        /// The store.
        path: PathBuf,
        /// SQLite's error.
        source: Sqlite,
    },
}

impl StoreError {
    /// Whether the same call may succeed later, with nothing else changed: the disk was full, another process held a
    /// lock, a drive did not answer.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Busy { .. } | Self::Io { .. })
    }

    /// Whether the store, or a document in it, is damaged, so that
    /// [`Command::RebuildStore`](crate::client::Command::RebuildStore) helps. [`NotAStore`](Self::NotAStore) does not
    /// count, because the file may belong to another program.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::DamagedDocument { .. })
    }

    /// The collection and the document concerned, if any.
    pub fn place(&self) -> Option<(&str, Option<&DocumentId>)> {
        match self {
            Self::DamagedDocument { collection, document, .. } => Some((collection, Some(document))),
            Self::Rejected { collection, document, .. } => Some((collection, document.as_ref())),
            _ => None,
        }
    }

    /// The text of this error without the collection and the document that [`place`](Self::place) returns.
    pub fn message(&self) -> String {
        match self {
            Self::DamagedDocument { path, problem, .. } => format!(
                "its changes in {} are damaged ({problem}). They are left as they are: \
                 SyncControl::rebuild_store makes a new store of its readable part and of the deployment's documents (see docs/store.md)",
                path.display()
            ),
            Self::Rejected { path, problem, .. } => format!("cannot be written to {} ({problem})", path.display()),
            other => other.to_string(),
        }
    }

    /// A short description of the problem.
    pub(crate) fn problem(&self) -> String {
        match self {
            Self::DamagedDocument { problem, .. } => problem.clone(),
            other => other.message(),
        }
    }

    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path },
            _ => Self::Io { path, problem: source.to_string() },
        }
    }

    pub(super) fn sqlite(path: &Path, source: Sqlite) -> Self {
        let path = path.to_owned();
        let problem = source.to_string();
        let Some(code) = source.sqlite_error_code() else {
            return match source {
                // A column does not have the type of the schema, or a row refers to a row that is missing.
                Sqlite::QueryReturnedNoRows
                | Sqlite::FromSqlConversionFailure(..)
                | Sqlite::IntegralValueOutOfRange(..)
                | Sqlite::InvalidColumnType(..)
                | Sqlite::Utf8Error(..) => Self::Damaged { path, problem },
                _ => Self::Unexpected { path, source },
            };
        };
        match code {
            ErrorCode::DiskFull => Self::Full { path },
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
                Self::Busy { path }
            }
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied => Self::ReadOnly { path },
            ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::OutOfMemory
            | ErrorCode::NoLargeFileSupport => Self::Io { path, problem },
            code if sqlite::is_damage(code) => Self::Damaged { path, problem },
            _ => Self::Unexpected { path, source },
        }
    }

    /// The same for an error while something of `collection` is written: a violation of the schema is the write's
    /// fault.
    pub(super) fn write(path: &Path, (collection, document): (&str, Option<&DocumentId>), source: Sqlite) -> Self {
        let problem = match source.sqlite_error() {
            Some(error) if error.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY => {
                "it refers to a remote that this store does not know".to_owned()
            }
            Some(error)
                if matches!(
                    error.code,
                    ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch
                ) =>
            {
                source.to_string()
            }
            _ => return Self::sqlite(path, source),
        };
        Self::Rejected {
            path: path.to_owned(),
            collection: collection.to_owned(),
            document: document.cloned(),
            problem,
        }
    }
}

fn place(collection: &str, document: Option<&DocumentId>) -> String {
    match document {
        Some(document) => format!("{collection}/{document}"),
        None => collection.to_owned(),
    }
}
