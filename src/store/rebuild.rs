//! A damaged store is set aside, never deleted, and a new store is made of everything that can be read.
//!
//! The order makes every interruption harmless. The readable rows are written to a draft (`.new`), which is renamed to
//! `.rebuilt` once it is whole. Then the damaged files get other names, and last `.rebuilt` gets the store's name. The
//! next process that opens the store finishes an interrupted rebuild.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Store, StoreError, file, lock, salvage::salvage};
use crate::sqlite::beside;

/// The files of a store.
const PARTS: [&str; 4] = ["", "-wal", "-shm", "-journal"];
/// A whole new store that has not yet got its name.
pub(super) const REBUILT: &str = ".rebuilt";
/// Asks for the store to be set aside before it is opened the next time.
const WANTED: &str = ".rebuild";

/// The result of setting a store aside.
#[derive(Debug)]
#[non_exhaustive]
pub struct SetAside {
    /// The new paths of its files.
    pub kept: Vec<PathBuf>,
    /// The number of documents with something that could be read.
    pub documents: usize,
    /// Their changes and snapshots that could be read. The new store has them, and offers all of them to the
    /// deployment.
    pub chunks: usize,
    /// The errors for the data that could not be read. Each names the file, and the document where it is known.
    pub lost: Vec<StoreError>,
}

impl std::fmt::Display for SetAside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kept.first() {
            Some(kept) => write!(f, "the store was set aside as {}", kept.display())?,
            None => f.write_str("there was no store to set aside")?,
        }
        write!(f, "; {} changes of {} documents were read from it", self.chunks, self.documents)?;
        match &self.lost[..] {
            [] => f.write_str(", which is all of it"),
            [only] => write!(f, ". Not readable: {only}"),
            [first, rest @ ..] => write!(f, ". Not readable: {first} (and {} more)", rest.len()),
        }
    }
}

impl Store {
    /// Replaces a damaged store by a new one with all the data that can be read, and keeps the damaged files as
    /// `NAME.damaged-1` (or the next number that is free). It deletes nothing, and changes no byte of the damaged
    /// files.
    ///
    /// Every readable change is unsent in the new store, because the marks of a damaged file cannot be trusted. All
    /// changes are offered to the deployment, which takes those it lacks, and everything that the deployment has is
    /// pulled. So only changes that were not sent and cannot be read are missing afterwards.
    ///
    /// No program may have the store open. A store of a newer version is refused, because it is not damaged.
    pub fn set_aside(path: &Path) -> Result<SetAside, StoreError> {
        let path = &std::path::absolute(path).map_err(|error| StoreError::io(path, error))?;
        if path.is_dir() {
            return Err(StoreError::IsAFolder { path: path.to_owned() });
        }
        let io = |error| StoreError::io(path, error);
        let _lock = lock::Lock::acquire(path)?;
        finish(path)?;
        let number = first_free(path);
        let absent: Vec<PathBuf> = PARTS.iter().map(|part| beside(path, part)).filter(|part| !part.exists()).collect();
        let draft = beside(path, ".new");
        file::remove(&draft).map_err(io)?;
        let made = file::fill(&draft).map_err(|error| StoreError::sqlite(&draft, error));
        let salvaged = made.and_then(|()| salvage(path, &aside(path, number, ""), &draft));
        let salvaged = match salvaged {
            Ok(salvaged) => salvaged,
            Err(error) => {
                // The draft may take up the last of a full disk. If it cannot be removed now, the next attempt removes
                // it.
                let _ = file::remove(&draft);
                return Err(error);
            }
        };
        // Reading makes an empty log, and its index.
        for made in absent {
            file::remove_file(&made).map_err(io)?;
        }
        fs::rename(&draft, beside(path, REBUILT)).map_err(io)?;
        let kept = move_away(path, number).map_err(io)?;
        take_place(path).map_err(io)?;
        Ok(SetAside { kept, documents: salvaged.documents, chunks: salvaged.chunks, lost: salvaged.lost })
    }

    /// Makes [`wants_rebuild`](Self::wants_rebuild) return true for this store until it is set aside. For an open store
    /// with documents that cannot be read.
    pub fn ask_for_rebuild(&self) -> Result<(), StoreError> {
        let wanted = beside(&self.path, WANTED);
        fs::write(&wanted, "").map_err(|error| StoreError::io(&wanted, error))
    }

    /// Whether the store at `path` must be set aside before it is opened again: see
    /// [`ask_for_rebuild`](Self::ask_for_rebuild).
    pub fn wants_rebuild(path: &Path) -> bool {
        beside(path, WANTED).exists()
    }
}

/// Finishes a rebuild that an earlier process did not finish. The caller has the lock.
pub(super) fn finish(path: &Path) -> Result<(), StoreError> {
    let io = |error| StoreError::io(path, error);
    let rebuilt = beside(path, REBUILT);
    if !rebuilt.exists() {
        return Ok(());
    }
    if path.exists() {
        // The damaged store has not been moved yet, so it still has everything that is in the new one.
        return fs::remove_file(&rebuilt).map_err(io);
    }
    // Its log may have been left behind.
    let last = first_free(path).saturating_sub(1).max(1);
    move_away(path, last).map_err(io)?;
    take_place(path).map_err(io)
}

/// The damaged store first: without it, its log is refused rather than played into a new file.
fn move_away(path: &Path, number: u32) -> io::Result<Vec<PathBuf>> {
    let mut kept = Vec::new();
    for part in PARTS {
        let to = aside(path, number, part);
        match fs::rename(beside(path, part), &to) {
            Ok(()) => kept.push(to),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(kept)
}

/// Keeps another damaged store among the copies of the store at `path` that were set aside.
pub(super) fn keep_among(damaged: &Path, path: &Path) -> io::Result<()> {
    let number = first_free(path);
    for part in PARTS {
        match fs::rename(beside(damaged, part), aside(path, number, part)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    file::sync_folder(path)
}

fn take_place(path: &Path) -> io::Result<()> {
    fs::rename(beside(path, REBUILT), path)?;
    file::remove_file(&beside(path, WANTED))?;
    file::sync_folder(path)
}

fn aside(path: &Path, number: u32, part: &str) -> PathBuf {
    beside(path, &format!(".damaged-{number}{part}"))
}

fn first_free(path: &Path) -> u32 {
    let is_free = |number: &u32| PARTS.iter().all(|part| !aside(path, *number, part).exists());
    (1..u32::MAX).find(is_free).unwrap_or(u32::MAX)
}
