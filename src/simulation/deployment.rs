//! A computer with a backend on it.

use std::{
    collections::{BTreeMap, VecDeque},
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use convex_sync_types::ClientMessage;

use super::trace::Trace;
use crate::backend::simulated::{Client, Node, Shown};

/// A deployment, and the computer it runs on.
pub(super) struct Deployment {
    pub(super) url: String,
    folder: PathBuf,
    /// The time for which the backend keeps deleted documents.
    retention: Duration,
    pub(super) node: Option<Node>,
    clock: Arc<AtomicI64>,
    /// The error of the computer's clock, in milliseconds.
    pub(super) skew: i64,
    /// The time until which the computer's disk is full, in milliseconds.
    pub(super) full_until: i64,
    /// Mutations that are still on their way, some of connections that have ended.
    pub(super) late: VecDeque<(Client, ClientMessage)>,
    /// The number of times that a new log has replaced the log. It names the new log and its folder.
    logs: u32,
    backup: Option<Backup>,
    /// The log was put back from a backup, and has not been opened since.
    is_put_back: bool,
    /// All rows that each log has ever shown.
    histories: BTreeMap<String, Vec<Shown>>,
}

/// A copy of a log.
struct Backup {
    folder: PathBuf,
    /// All rows that the log had shown by then.
    shown: Vec<Shown>,
}

impl Deployment {
    pub(super) fn new(url: &str, folder: PathBuf, retention: Duration) -> Self {
        Self {
            url: url.to_owned(),
            folder,
            retention,
            node: None,
            clock: Arc::default(),
            skew: 0,
            full_until: 0,
            late: VecDeque::new(),
            logs: 0,
            backup: None,
            is_put_back: false,
            histories: BTreeMap::new(),
        }
    }

    /// Sets the backend's time, in milliseconds since 1970.
    pub(super) fn set_time(&self, now: i64) {
        self.clock.store((now + self.skew).max(0) * 1_000_000, Ordering::Relaxed);
    }

    pub(super) fn start(&mut self, trace: &mut Trace) -> Result<(), String> {
        let epoch = self.epoch();
        let shown = self.histories.get(&epoch).cloned().unwrap_or_default();
        let new_epoch = std::mem::take(&mut self.is_put_back);
        let node = Node::start(&self.place(), &epoch, new_epoch, self.retention, self.clock.clone(), shown)
            .map_err(|error| format!("{}: its log does not open: {error}", self.url))?;
        trace.add(format!("{}: starts", self.url));
        self.node = Some(node);
        Ok(())
    }

    pub(super) fn stop(&mut self) {
        if let Some(node) = self.node.take() {
            let epoch = node.epoch().to_owned();
            self.histories.insert(epoch, node.stop());
        }
        // Late messages wait in the backend's process, so they are lost with it.
        self.late.clear();
    }

    /// Replaces the log by a new, empty one.
    pub(super) fn wipe(&mut self) {
        self.stop();
        self.logs += 1;
        self.is_put_back = false;
    }

    /// The name of the deployment's log.
    fn epoch(&self) -> String {
        format!("{}-{}", self.url, self.logs)
    }

    /// The folder of the deployment's log.
    fn place(&self) -> PathBuf {
        self.folder.join(self.logs.to_string())
    }

    pub(super) fn has_backup(&self) -> bool {
        self.backup.is_some()
    }

    /// Copies the log as it is on the disk.
    pub(super) fn back_up(&mut self) -> io::Result<()> {
        let Some(node) = &self.node else { return Ok(()) };
        let folder = self.folder.join("backup");
        copy(&self.place(), &folder)?;
        self.backup = Some(Backup { folder, shown: node.shown().to_vec() });
        Ok(())
    }

    /// Replaces the log by the copy. The copy is another log, so it gets a new name.
    pub(super) fn put_back(&mut self) -> io::Result<()> {
        self.wipe();
        let Some(backup) = &self.backup else { return Ok(()) };
        copy(&backup.folder, &self.place())?;
        self.is_put_back = true;
        let shown = backup.shown.clone();
        self.histories.insert(self.epoch(), shown);
        Ok(())
    }

    /// All rows that a log of this deployment has shown.
    pub(super) fn history(&self, epoch: &str) -> &[Shown] {
        match &self.node {
            Some(node) if node.epoch() == epoch => node.shown(),
            _ => self.histories.get(epoch).map_or(&[], Vec::as_slice),
        }
    }
}

/// Copies a log's file and its journal. Nothing writes to either during the copy.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for name in ["log.sqlite", "log.sqlite-wal"] {
        match fs::copy(from.join(name), to.join(name)) {
            Ok(_) => {}
            // A journal left by an older copy does not belong to this one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::remove_file(to.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            },
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
