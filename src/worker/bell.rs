//! Wakes a front end that sleeps until something happens.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crossbeam_channel::Sender;

use super::Report;

/// Called when a front end that may sleep has something to take in. The worker calls it on a thread of its own.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// Wakes the front end once for all reports that it has not looked for.
#[derive(Default)]
pub(super) struct Bell {
    waker: Option<Waker>,
    has_rung: AtomicBool,
}

impl Bell {
    pub(super) fn new(waker: Option<Waker>) -> Self {
        Self { waker, has_rung: AtomicBool::new(false) }
    }

    /// There is a report. It is in the queue already.
    fn ring(&self) {
        if !self.has_rung.swap(true, Ordering::SeqCst) {
            self.wake();
        }
    }

    /// The front end has found the queue empty, and looks once more after this.
    pub(super) fn reset(&self) {
        self.has_rung.store(false, Ordering::SeqCst);
    }

    /// Wakes the front end in any case.
    pub(super) fn wake(&self) {
        if let Some(wake) = &self.waker {
            wake();
        }
    }
}

/// The worker's end of the queue of reports.
#[derive(Clone)]
pub(super) struct Reports {
    queue: Sender<Report>,
    bell: Arc<Bell>,
}

impl Reports {
    pub(super) fn new(queue: Sender<Report>, bell: Arc<Bell>) -> Self {
        Self { queue, bell }
    }

    pub(super) fn send(&self, report: Report) {
        // The receiver is gone while the app ends.
        let _ = self.queue.send(report);
        self.bell.ring();
    }

    /// How many reports wait for the front end.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::CollectionIndex;

    #[test]
    fn the_front_end_is_woken_once_until_it_has_taken_all_reports() {
        let woken = Arc::new(AtomicUsize::new(0));
        let waker: Waker = Arc::new({
            let woken = woken.clone();
            move || {
                woken.fetch_add(1, Ordering::SeqCst);
            }
        });
        let bell = Arc::new(Bell::new(Some(waker)));
        let (queue, _taken) = crossbeam_channel::unbounded();
        let reports = Reports::new(queue, bell.clone());
        let report = || reports.send(Report::Ready(CollectionIndex(0)));
        report();
        report();
        assert_eq!(woken.load(Ordering::SeqCst), 1);
        bell.reset();
        report();
        assert_eq!(woken.load(Ordering::SeqCst), 2);
    }
}
