//! A front end that shows documents as they are.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use bevy_convex_replicate::{
    CollectionIndex, DocumentId, DocumentKey,
    format::Value,
    replica::{Edit, EditKind},
    worker::{CollectionConfig, Command, Encode, Failure, Report, Status, Worker, WorkerConfig},
};

use crate::{
    peer::DEADLINE,
    plain::{Plain, Put},
};

pub struct Front {
    worker: Worker,
    pub shown: BTreeMap<DocumentId, Value>,
    pub status: Option<Status>,
    pub ready: bool,
    pub failures: Vec<Failure>,
}

impl Front {
    pub fn open(store: &Path, deployment: Option<String>) -> Self {
        let mut config = WorkerConfig::new(store).collection(CollectionConfig::new("tasks", Plain));
        config.deployment = deployment;
        let worker = Worker::start(config);
        Self { worker, shown: BTreeMap::new(), status: None, ready: false, failures: Vec::new() }
    }

    #[track_caller]
    pub fn until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !condition(self) {
            while let Some(report) = self.worker.try_recv() {
                self.take(report);
            }
            assert!(Instant::now() < deadline, "in vain: {what}; {:?} {:?}", self.status, self.failures);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn take(&mut self, report: Report) {
        match report {
            Report::Delta { document, generation, content, .. } => {
                match content.and_then(|content| content.downcast::<Value>().ok()) {
                    Some(value) => self.shown.insert(document.id.clone(), *value),
                    None => self.shown.remove(&document.id),
                };
                self.worker.send(Command::Applied(vec![(document, generation)]));
            }
            Report::Ready(_) => self.ready = true,
            Report::Read { .. } | Report::Compared { .. } | Report::Refused { .. } => {}
            Report::Failed(failure) | Report::Stopped(failure) => self.failures.push(failure),
            Report::Status(status) => self.status = Some(status),
            // This front end has no presence.
            Report::Peers(_) => {}
        }
    }

    /// Makes a document.
    pub fn put(&self, id: &str, capture: u64, fields: &[(&str, Value)]) {
        let document = DocumentKey { collection: CollectionIndex(0), id: DocumentId::new(id) };
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let kind: EditKind<Box<dyn Encode>> = EditKind::put(Box::new(Put(Value::Map(fields))));
        self.worker.send(Command::Edit(Edit { document, generation: 0, seq: capture, kind }));
    }

    pub fn shows(&self, id: &str) -> bool {
        self.shown.contains_key(&DocumentId::new(id))
    }

    pub fn saved(&self) -> u64 {
        self.status.as_ref().map_or(0, |status| status.saved)
    }

    pub fn unsent(&self) -> usize {
        self.status.as_ref().map_or(usize::MAX, |status| status.unsent)
    }
}
