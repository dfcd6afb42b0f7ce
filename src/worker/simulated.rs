//! A worker without its threads. The simulator takes its steps one by one.

use std::{
    cell::{Cell, RefCell},
    path::Path,
    rc::Rc,
    sync::Arc,
};

use crossbeam_channel::{Receiver, Sender};
use tokio::sync::{Notify, mpsc};

use super::{
    Command, Report, Reports, WorkerConfig,
    disk::{DiskAnswer, DiskHandle, DiskWork},
    run::Inbox,
    running::{Environment, Running},
};
use crate::{
    DocumentId,
    replica::StoreRequest,
    store::{Store, StoreError},
    transport::{Notice, Request, Transport},
};

/// The requests of a worker to its transport. `None` before the transport is started.
type Asked = Rc<RefCell<Option<mpsc::UnboundedReceiver<Request>>>>;

/// A run of a program: its worker, the messages between the worker's parts, and its open store.
pub(crate) struct Process {
    running: Running,
    commands: Receiver<Command>,
    given: Sender<Command>,
    reports: Receiver<Report>,
    disk: DiskWork,
    requests: Receiver<StoreRequest>,
    answers: mpsc::UnboundedReceiver<DiskAnswer>,
    /// Answers that were taken from `answers` to be counted.
    waiting_answers: std::collections::VecDeque<DiskAnswer>,
    asked: Asked,
    _inbox: Inbox,
}

impl Process {
    /// Starts with a new or an existing store. `now` is the time of this program's computer.
    pub(crate) fn start(config: WorkerConfig, actor: [u8; 16], now: Rc<Cell<i64>>) -> Result<Self, StoreError> {
        let (given, commands) = crossbeam_channel::unbounded();
        let (report, reports) = crossbeam_channel::unbounded();
        let (answer, answers) = mpsc::unbounded_channel();
        let (request, requests) = crossbeam_channel::unbounded();
        let store = Store::open(&config.file())?;
        let names = config.collections.iter().map(|collection| collection.name.clone()).collect();
        let disk = DiskWork::new(store, names, config.deployment.clone(), answer, Arc::default());
        disk.fill();
        let asked = Asked::default();
        let environment = Environment {
            actor,
            now: Box::new(move || now.get()),
            connect: Box::new({
                let asked = asked.clone();
                move |_| {
                    let (transport, requests) = Transport::simulated();
                    *asked.borrow_mut() = Some(requests);
                    // The simulator hands notices over itself.
                    (transport, mpsc::channel::<Notice>(1).1)
                }
            }),
        };
        let running = Running::new(config, Reports::new(report, Arc::default()), DiskHandle(request), environment);
        let inbox = Inbox {
            commands: commands.clone(),
            wake: Arc::new(Notify::new()),
            gone: Arc::default(),
            rebuild: Arc::default(),
        };
        Ok(Self {
            running,
            commands,
            given,
            reports,
            disk,
            requests,
            answers,
            waiting_answers: Default::default(),
            asked,
            _inbox: inbox,
        })
    }

    /// Sends a command of the front end.
    pub(crate) fn send(&self, command: Command) {
        // This struct holds the other end, so sending cannot fail.
        let _ = self.given.send(command);
    }

    pub(crate) fn next_report(&self) -> Option<Report> {
        self.reports.try_recv().ok()
    }

    /// How many commands wait to be taken in, and whether one that was taken in waits for its time.
    pub(crate) fn commands_waiting(&self) -> usize {
        self.commands.len() + usize::from(self.running.is_waiting())
    }

    /// Lets the worker take up to `most` commands. It takes none before the store has reported its documents.
    pub(crate) fn take_commands(&mut self, most: usize) {
        if !self.running.is_filled() {
            return;
        }
        for command in self.commands.try_iter().take(most) {
            self.running.take(command);
        }
        while self.running.work_off(usize::MAX) {}
        self.running.tell_status();
    }

    /// How many requests wait for the disk.
    pub(crate) fn requests_waiting(&self) -> usize {
        self.requests.len() + usize::from(!self.disk.is_idle())
    }

    /// Lets the disk take up to `most` requests and carry out the waiting ones. Returns false if it could not.
    pub(crate) fn work_disk(&mut self, most: usize) -> bool {
        for request in self.requests.try_iter().take(most) {
            self.disk.take(request);
        }
        self.disk.carry_out()
    }

    /// How often this run has dropped the marks of its deployment.
    pub(crate) fn forgotten(&self) -> u32 {
        self.disk.forgotten()
    }

    pub(crate) fn compact(&mut self, collection: &str, id: &DocumentId) -> Result<bool, StoreError> {
        self.disk.compact_one(collection, id)
    }

    /// How many answers of the disk wait for the worker.
    pub(crate) fn answers_waiting(&mut self) -> usize {
        while let Ok(answer) = self.answers.try_recv() {
            self.waiting_answers.push_back(answer);
        }
        self.waiting_answers.len()
    }

    /// Lets the worker take up to `most` of the disk's answers.
    pub(crate) fn take_answers(&mut self, most: usize) {
        for _ in 0..self.answers_waiting().min(most) {
            if let Some(answer) = self.waiting_answers.pop_front() {
                self.running.answered(answer);
            }
        }
        self.running.tell_status();
    }

    /// Gives the worker a notice of the transport.
    pub(crate) fn notice(&mut self, notice: Notice) {
        self.running.noticed(Some(notice));
        self.running.tell_status();
    }

    /// Takes the next request to the transport.
    pub(crate) fn next_request(&mut self) -> Option<Request> {
        self.asked.borrow_mut().as_mut()?.try_recv().ok()
    }

    /// How many requests wait for the transport.
    pub(crate) fn requests_of_transport(&self) -> usize {
        self.asked.borrow().as_ref().map_or(0, mpsc::UnboundedReceiver::len)
    }

    /// Whether the worker has started its transport.
    pub(crate) fn has_transport(&self) -> bool {
        self.asked.borrow().is_some()
    }

    pub(crate) fn unsent(&self) -> usize {
        self.running.replica().unsent()
    }

    pub(crate) fn is_loading(&self) -> bool {
        !self.running.is_filled() || self.running.replica().is_loading()
    }

    pub(crate) fn store(&self) -> &Store {
        self.disk.store()
    }
}

/// The path of a store in a folder.
pub(crate) fn store_path(folder: &Path) -> std::path::PathBuf {
    folder.join("store.sqlite3")
}
