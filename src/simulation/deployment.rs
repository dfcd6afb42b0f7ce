//! A computer with a backend on it.

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use super::trace::Trace;
use crate::{
    backend::simulated::{Client, Node, Shown},
    transport::simulated::Up,
};

/// A deployment, and the computer it runs on.
pub(super) struct Deployment {
    pub(super) url: String,
    folder: PathBuf,
    /// How long it keeps what is deleted.
    retention: Duration,
    pub(super) node: Option<Node>,
    clock: Arc<AtomicI64>,
    /// How wrong its clock is, in milliseconds.
    pub(super) skew: i64,
    /// Until when its disk is full, in milliseconds.
    pub(super) full_until: i64,
    /// Mutations that are still on their way, some of connections that have ended.
    pub(super) late: VecDeque<(Client, Up)>,
    wipes: u32,
    /// What each log has ever shown.
    histories: BTreeMap<String, Vec<Shown>>,
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
            wipes: 0,
            histories: BTreeMap::new(),
        }
    }

    /// It is so late, in milliseconds since 1970.
    pub(super) fn set_time(&self, now: i64) {
        self.clock.store((now + self.skew).max(0) * 1_000_000, Ordering::Relaxed);
    }

    pub(super) fn start(&mut self, trace: &mut Trace) -> Result<(), String> {
        let epoch = format!("{}-{}", self.url, self.wipes);
        let shown = self.histories.get(&epoch).cloned().unwrap_or_default();
        let folder = self.folder.join(self.wipes.to_string());
        let node = Node::start(&folder, &epoch, self.retention, self.clock.clone(), shown)
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
        // They wait in its process.
        self.late.clear();
    }

    /// Another log takes the place of this one.
    pub(super) fn wipe(&mut self) {
        self.stop();
        self.wipes += 1;
    }

    /// What a log of this deployment has shown.
    pub(super) fn history(&self, epoch: &str) -> &[Shown] {
        match &self.node {
            Some(node) if node.epoch() == epoch => node.shown(),
            _ => self.histories.get(epoch).map_or(&[], Vec::as_slice),
        }
    }
}
