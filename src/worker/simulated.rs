//! A worker without its threads: the simulator takes its steps one by one.

use std::{
    cell::{Cell, RefCell},
    path::Path,
    rc::Rc,
    sync::Arc,
};

use crossbeam_channel::{Receiver, Sender};
use tokio::sync::{Notify, mpsc};

use super::{
    Command, Report, WorkerConfig,
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

/// What a worker asks its transport for; `None` before the transport is started.
type Asked = Rc<RefCell<Option<mpsc::UnboundedReceiver<Request>>>>;

/// A run of a program: its worker, what waits between the worker's parts, and its open store.
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
        let store = Store::open(&config.store)?;
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
        let running = Running::new(config, report, DiskHandle(request), environment);
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

    /// The front end asks for something.
    pub(crate) fn send(&self, command: Command) {
        // The other end is held by this struct.
        let _ = self.given.send(command);
    }

    pub(crate) fn next_report(&self) -> Option<Report> {
        self.reports.try_recv().ok()
    }

    /// How many commands wait to be taken in.
    pub(crate) fn commands_waiting(&self) -> usize {
        self.commands.len()
    }

    /// The worker takes up to `most` commands; none before the store has told what it has.
    pub(crate) fn take_commands(&mut self, most: usize) {
        if !self.running.is_filled() {
            return;
        }
        for command in self.commands.try_iter().take(most) {
            self.running.command(command);
        }
        self.running.tell_status();
    }

    /// How many requests wait for the disk.
    pub(crate) fn requests_waiting(&self) -> usize {
        self.requests.len() + usize::from(!self.disk.is_idle())
    }

    /// The disk takes up to `most` requests and carries out what waits. False if it could not.
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

    /// The worker takes up to `most` of the disk's answers.
    pub(crate) fn take_answers(&mut self, most: usize) {
        for _ in 0..self.answers_waiting().min(most) {
            if let Some(answer) = self.waiting_answers.pop_front() {
                self.running.answered(answer);
            }
        }
        self.running.tell_status();
    }

    /// The transport tells of something.
    pub(crate) fn notice(&mut self, notice: Notice) {
        self.running.noticed(Some(notice));
        self.running.tell_status();
    }

    /// What the transport is asked for next.
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

/// Where a store is in a folder.
pub(crate) fn store_path(folder: &Path) -> std::path::PathBuf {
    folder.join("store.sqlite3")
}
