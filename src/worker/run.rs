//! The worker's thread: takes turns between the front end's commands, the store's answers and the transport's notices.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use crossbeam_channel::{Receiver, TryRecvError};
use tokio::sync::{Notify, mpsc};

use super::{
    Command, Failure, FailureKind, Report, Reports, WorkerConfig,
    disk::{COMPACT_EVERY, Disk, DiskAnswer, DiskHandle},
    running::{Environment, Running},
};
use crate::{
    replica::Event,
    transport::{Notice, Request},
};

/// The number of reports that may wait for the front end. If more wait, nothing more is taken from the network. With
/// 300 bytes each, they take about 6 MB.
const REPORTS_WAITING: usize = 20_000;
/// How long the end of an app may wait until the deployment knows that the app is gone: a round trip of a slow network.
const LEAVING: Duration = Duration::from_millis(300);
/// Documents whose commands are carried out before the other sources get their turn: at 100 us for an edit, 3 ms.
const COMMANDS_AT_ONCE: usize = 32;

/// The inputs of the worker's thread.
pub(super) struct Inbox {
    pub(super) commands: Receiver<Command>,
    pub(super) wake: Arc<Notify>,
    /// True when the front end is gone. The command channel does not show this while commands are left in it.
    pub(super) gone: Arc<AtomicBool>,
    /// True when a damaged store must be set aside.
    pub(super) rebuild: Arc<AtomicBool>,
}

/// The worker's thread, from start to end.
pub(super) fn run(config: WorkerConfig, inbox: Inbox, reports: Reports) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let message = format!("the operating system cannot start the worker's event loop: {error}");
            let failure = Failure { kind: FailureKind::Store, collection: None, document: None, message };
            reports.send(Report::Stopped(failure));
            return;
        }
    };
    runtime.block_on(async {
        let (answers, mut from_disk) = mpsc::unbounded_channel();
        let (requests, disk_requests) = crossbeam_channel::unbounded();
        let (open, open_while) = crossbeam_channel::bounded(0);
        let disk = Disk {
            path: config.file(),
            collections: config.collections.iter().map(|collection| collection.name.clone()).collect(),
            deployment: config.deployment.clone(),
            requests: disk_requests,
            answers,
            open_while,
            rebuild: inbox.rebuild.clone(),
            compact_every: COMPACT_EVERY,
        };
        let spawned = std::thread::Builder::new().name("replicate-store".into()).spawn(move || disk.run());
        let mut worker = Running::new(config, reports, DiskHandle(requests), Environment::real());
        let disk_thread: Option<JoinHandle<()>> = match spawned {
            Ok(thread) => Some(thread),
            Err(error) => {
                worker.fail(FailureKind::Store, None, None, format!("the operating system cannot start the store's thread: {error}"));
                None
            }
        };
        worker.work(&inbox, &mut from_disk).await;
        drop(open);
        worker.finish(&inbox, &mut from_disk).await;
        drop(worker);
        if let Some(thread) = disk_thread
            && thread.join().is_err()
        {
            tracing::error!(target: "bevy_convex_replicate::store", "the store's thread ended by a panic; edits that were not written are lost");
        }
    });
}

impl Running {
    /// Works until the front end is gone.
    async fn work(&mut self, inbox: &Inbox, from_disk: &mut mpsc::UnboundedReceiver<DiskAnswer>) {
        loop {
            self.tell_status();
            // Pages also wait while the store looks up their log: they would pile up in the replica.
            let take_notices = self.reports.len() < REPORTS_WAITING && !self.replica.is_identifying();
            let due = self.due();
            tokio::select! {
                biased;
                answer = from_disk.recv() => match answer {
                    Some(answer) => self.answered(answer),
                    None => return self.wait_for_the_end(inbox).await,
                },
                notice = next_notice(&mut self.notices), if take_notices => self.noticed(notice),
                () = inbox.wake.notified() => {}
                () = tokio::time::sleep(due.unwrap_or_default()), if due.is_some() => self.handle(Event::Due),
            }
            // Each source gets a turn, even if another has more.
            while let Ok(answer) = from_disk.try_recv() {
                self.answered(answer);
            }
            if let Some(Ok(notice)) = self.notices.as_mut().filter(|_| take_notices).map(mpsc::Receiver::try_recv) {
                self.noticed(Some(notice));
            }
            let goes_on = if self.status.is_filled() { self.take_commands(inbox) } else { !front_end_is_gone(inbox) };
            if !goes_on {
                return;
            }
            // The transport's tasks run on this thread and must have their turn even if this loop always has work.
            tokio::task::yield_now().await;
        }
    }

    /// Handles that the store's thread ended early. Nothing can be stored any more, so this reports it and waits for
    /// the front end to end.
    async fn wait_for_the_end(&mut self, inbox: &Inbox) {
        self.stop("the store's thread has ended; nothing is saved or sent any more. Restart the app".into());
        while !front_end_is_gone(inbox) {
            inbox.wake.notified().await;
        }
    }

    /// Carries some commands out. Returns false when the front end is gone and all of its commands are carried out.
    fn take_commands(&mut self, inbox: &Inbox) -> bool {
        let (mut goes_on, mut more) = (true, true);
        for _ in 0..COMMANDS_AT_ONCE {
            if !more {
                break;
            }
            // All that wait are taken in before one is carried out, because captures give way to later ones.
            loop {
                match inbox.commands.try_recv() {
                    Ok(command) => self.take(command),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => {
                        goes_on = false;
                        self.hurry();
                        break;
                    }
                }
            }
            more = self.work_off(1);
        }
        if more {
            inbox.wake.notify_one();
        }
        goes_on || more
    }

    /// Waits until every edit that was sent is on the disk.
    async fn finish(&mut self, inbox: &Inbox, from_disk: &mut mpsc::UnboundedReceiver<DiskAnswer>) {
        self.leave().await;
        self.transport = None;
        self.notices = None;
        while !self.status.is_filled() {
            match from_disk.recv().await {
                Some(answer) => self.answered(answer),
                None => return self.lost(inbox),
            }
        }
        while self.take_commands(inbox) {}
        while self.replica.is_loading() || self.status.unsaved() > 0 {
            match from_disk.recv().await {
                Some(answer) => self.answered(answer),
                None => return self.lost(inbox),
            }
        }
    }

    /// Tells the deployment that this app shows nothing any more, if it can be told quickly.
    async fn leave(&mut self) {
        let (Some(transport), Some(mut notices)) = (&self.transport, self.notices.take()) else { return };
        if !self.presences.is_showing() {
            return;
        }
        transport.request(Request::Leave);
        let left = async {
            while let Some(notice) = notices.recv().await {
                if let Notice::Left = notice {
                    return;
                }
            }
        };
        // The deployment forgets a peer that is not heard of.
        let _ = tokio::time::timeout(LEAVING, left).await;
    }

    fn lost(&self, inbox: &Inbox) {
        let edits = inbox.commands.iter().filter(|command| matches!(command, Command::Edit { .. })).count();
        let edits = edits + self.status.unsaved();
        if edits > 0 {
            tracing::error!(target: "bevy_convex_replicate::worker", edits, "the store could not be opened or written before the app ended; these edits are lost");
        }
    }
}

async fn next_notice(notices: &mut Option<mpsc::Receiver<Notice>>) -> Option<Notice> {
    match notices {
        Some(notices) => notices.recv().await,
        None => std::future::pending().await,
    }
}

/// Commands stay in their channel until the store has reported its documents, so the channel does not show that the
/// front end is gone. The flag does.
fn front_end_is_gone(inbox: &Inbox) -> bool {
    inbox.gone.load(Ordering::Acquire)
}
