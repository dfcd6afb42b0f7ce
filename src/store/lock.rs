//! The lock of a store: only one process owns it.
//!
//! The lock is the operating system's, on an empty file beside the store (`<store>.lock`). So it is free as soon as its
//! owner ends, however it ends. A second file (`<store>.owner`) names the owner, because on Windows no other process
//! can read a locked file. The lock file is never deleted, because a process could lock the deleted file while another
//! locks a new one.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::StoreError;
use crate::sqlite::beside;

/// How often, and how long apart, a lock is tried while the owner file is missing: the owner writes it right after
/// locking.
const ATTEMPTS: u32 = 50;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(10);

/// The process that has a store open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its process id.
    pub pid: u32,
    /// The name of its program.
    pub program: String,
}

impl Owner {
    fn this_process() -> Self {
        let program = std::env::current_exe()
            .ok()
            .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .unwrap_or_else(|| "unknown program".to_owned());
        Self { pid: std::process::id(), program }
    }

    fn parse(text: &str) -> Option<Self> {
        let (pid, program) = text.trim_end().split_once(' ')?;
        Some(Self { pid: pid.parse().ok()?, program: program.to_owned() })
    }

    pub(super) fn describe(owner: Option<&Self>) -> String {
        match owner {
            Some(owner) if owner.pid == std::process::id() => {
                "this program already".to_owned() + &format!(" (process {})", owner.pid)
            }
            Some(owner) => format!("process {} ({})", owner.pid, owner.program),
            None => "another process".to_owned(),
        }
    }
}

/// The lock of a store, held while the store is open.
#[derive(Debug)]
pub(super) struct Lock {
    owner: PathBuf,
    // Closing it unlocks it.
    _file: File,
}

impl Lock {
    pub(super) fn acquire(store: &Path) -> Result<Self, StoreError> {
        // Two paths to one file, over a symbolic link, have one lock.
        let name = real_path(store);
        let path = beside(&name, ".lock");
        let owner = beside(&name, ".owner");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| StoreError::io(&path, error))?;
        let mut attempt = 0;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(source)) => return Err(StoreError::Lock { path, source }),
                Err(TryLockError::WouldBlock) => {}
            }
            let found = fs::read_to_string(&owner).ok().and_then(|text| Owner::parse(&text));
            attempt += 1;
            if found.is_some() || attempt == ATTEMPTS {
                return Err(StoreError::InUse { path: store.to_owned(), owner: found });
            }
            thread::sleep(BETWEEN_ATTEMPTS);
        }
        let this = Owner::this_process();
        if let Err(error) = fs::write(&owner, format!("{} {}\n", this.pid, this.program)) {
            // The lock holds without this file; only the error message for other processes has less information.
            tracing::warn!(target: "bevy_convex_replicate::store", path = %owner.display(), %error, "cannot say who owns the store");
        }
        Ok(Self { owner, _file: file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.owner);
    }
}

fn real_path(path: &Path) -> PathBuf {
    if let Ok(path) = fs::canonicalize(path) {
        return path;
    }
    match (path.parent().map(fs::canonicalize), path.file_name()) {
        (Some(Ok(folder)), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}
