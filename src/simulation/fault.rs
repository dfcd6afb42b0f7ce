//! The faults. Each schedule has a random choice of them.

use std::collections::BTreeSet;

use rand::{Rng, rngs::StdRng};

macro_rules! faults {
    ($($(#[doc = $doc:literal])* $name:ident: $often:literal,)*) => {
        /// A kind of fault, or of behaviour that makes faults more likely to matter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault {
            $($(#[doc = $doc])* $name,)*
        }

        /// All faults, each with the number of schedules in 100 that have it.
        const ALL: &[(Fault, u32)] = &[$((Fault::$name, $often),)*];
    };
}

faults! {
    /// Messages are delayed, each app's by its own time.
    Delay: 50,
    /// A connection ends and loses the messages in both directions. So a push ends before or after its commit, and its
    /// answer is lost.
    Disconnect: 70,
    /// A message is lost, and its connection ends later.
    Loss: 40,
    /// An app goes offline, and later connects again, because its user says so.
    Offline: 25,
    /// A push arrives twice. Results and answers are repeated.
    Duplicate: 50,
    /// A push arrives after its connection has ended, and after messages of the next connection.
    Late: 50,
    /// The backend's process is killed between two steps, or between two transactions within a step.
    BackendCrash: 40,
    /// An app's process is killed between two steps, or between two transactions within a step.
    Crash: 70,
    /// An app's process is killed when the backend has a change that the app's disk does not have yet.
    CrashAhead: 30,
    /// Clocks jump, also backwards.
    Clocks: 40,
    /// An app's disk is full for a while.
    FullDisk: 35,
    /// The backend's disk is full for a while.
    BackendFull: 25,
    /// An app's disk is slow.
    SlowDisk: 50,
    /// Pages have only one row or a few rows.
    SmallPages: 50,
    /// Stores are compacted during the schedule.
    CompactStore: 50,
    /// The log is compacted during the schedule.
    CompactLog: 50,
    /// The deployment is wiped: a new log replaces its log.
    Wipe: 20,
    /// The deployment is put back to an older copy of its log, which gets a new epoch.
    Restore: 25,
    /// An app is started with another deployment, and later with the first again.
    Switch: 12,
    /// Apps have different fields.
    Versions: 40,
    /// Batches, document caches and parts are small.
    TinyLimits: 50,
    /// Edits are made at any point of a frame, and reports are taken a few at a time.
    OddFrames: 60,
    /// Users delete documents and restore them.
    Delete: 50,
    /// Users remove letters and items.
    Remove: 50,
    /// Users despawn the entities of documents, and show the documents again.
    Hide: 40,
    /// All apps put a document of the same name.
    SameName: 30,
    /// All users work on one document.
    OneDocument: 30,
    /// Two users share each computer. They sign out and in, and the token callback gives the other's token.
    Users: 30,
    /// Users lose rights to documents and get them back, and discard edits that are refused meanwhile.
    Refuse: 35,
    /// The backend keeps deleted documents for seconds only, and prunes them during the schedule.
    Prune: 40,
}

/// The faults of a schedule.
pub(super) struct Faults {
    all: BTreeSet<Fault>,
    /// Whether the faults that happen on their own have stopped.
    is_quiet: bool,
}

impl Faults {
    /// Chooses the faults of a schedule. One schedule in 20 has none, so that it finds errors that need no fault.
    pub(super) fn choose(rng: &mut StdRng) -> Self {
        let none = rng.random_ratio(1, 20);
        let mut faults: Vec<_> =
            ALL.iter().filter(|(_, often)| rng.random_ratio(*often, 100) && !none).map(|(fault, _)| *fault).collect();
        if faults.contains(&Fault::Prune) {
            // Pruning needs deleted documents, and matters to apps that were away when they were deleted.
            faults.extend([Fault::Delete, Fault::Offline]);
        }
        Self::of(faults)
    }

    pub(super) fn of(faults: Vec<Fault>) -> Self {
        Self { all: faults.into_iter().collect(), is_quiet: false }
    }

    pub(super) fn has(&self, fault: Fault) -> bool {
        self.all.contains(&fault)
    }

    /// Whether the schedule has this fault, and faults still happen.
    pub(super) fn strikes(&self, fault: Fault) -> bool {
        self.has(fault) && !self.is_quiet
    }

    pub(super) fn end(&mut self) {
        self.is_quiet = true;
    }

    pub(super) fn all(&self) -> Vec<Fault> {
        self.all.iter().copied().collect()
    }
}
