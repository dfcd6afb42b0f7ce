//! What may go wrong. Each schedule has some of it.

use std::collections::BTreeSet;

use rand::{Rng, rngs::StdRng};

macro_rules! faults {
    ($($(#[doc = $doc:literal])* $name:ident: $often:literal,)*) => {
        /// A kind of fault, or of behaviour that makes faults more likely to matter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault {
            $($(#[doc = $doc])* $name,)*
        }

        /// All of them, each with how many schedules in 100 have it.
        const ALL: &[(Fault, u32)] = &[$((Fault::$name, $often),)*];
    };
}

faults! {
    /// Messages take their time: those of one app may be far behind another's.
    Delay: 50,
    /// A connection ends, and what was on its way in either direction is lost; so a push ends before or after its commit, without an answer.
    Disconnect: 70,
    /// A message is lost, and its connection ends later.
    Loss: 40,
    /// A push arrives twice, and results and answers come again.
    Duplicate: 50,
    /// A push arrives after its connection has ended, and after what was sent in the next.
    Late: 50,
    /// The backend's process is killed, between any two steps and between the transactions within one.
    BackendCrash: 40,
    /// An app's process is killed, between any two steps and between the transactions within one.
    Crash: 70,
    /// An app's process is killed when the backend has what its disk does not have yet.
    CrashAhead: 30,
    /// Clocks jump, back as well.
    Clocks: 40,
    /// An app's disk is full for a while.
    FullDisk: 35,
    /// The backend's disk is full for a while.
    BackendFull: 15,
    /// An app's disk takes its time.
    SlowDisk: 50,
    /// Pages have one row, or a few.
    SmallPages: 50,
    /// Stores are compacted while everything goes on.
    CompactStore: 50,
    /// The log is compacted while everything goes on.
    CompactLog: 50,
    /// The deployment is wiped: a new log in its place.
    Wipe: 12,
    /// The deployment is put back to an older copy of its log, which gets a new epoch.
    Restore: 15,
    /// An app is started with another deployment, and later with the first again.
    Switch: 12,
    /// Apps have different fields.
    Versions: 40,
    /// Batches, documents in memory and parts are small.
    TinyLimits: 50,
    /// Edits come at any point of a frame, and reports a few at a time.
    OddFrames: 60,
    /// Users delete documents and restore them.
    Delete: 50,
    /// Users remove letters and items.
    Remove: 50,
    /// Users despawn documents, and show them again.
    Hide: 40,
    /// All apps put a document of the same name.
    SameName: 30,
    /// All users work on one document.
    OneDocument: 30,
    /// What is deleted is kept for seconds, and then pruned while everything goes on.
    Prune: 40,
}

/// The faults of a schedule.
pub(super) struct Faults {
    all: BTreeSet<Fault>,
    /// Whether what goes wrong on its own no longer does.
    is_quiet: bool,
}

impl Faults {
    /// Some of them. One schedule in 20 has none: it finds what is wrong without any.
    pub(super) fn choose(rng: &mut StdRng) -> Self {
        let none = rng.random_ratio(1, 20);
        let mut faults: Vec<_> =
            ALL.iter().filter(|(_, often)| rng.random_ratio(*often, 100) && !none).map(|(fault, _)| *fault).collect();
        if faults.contains(&Fault::Prune) {
            // There has to be something.
            faults.push(Fault::Delete);
        }
        Self::of(faults)
    }

    pub(super) fn of(faults: Vec<Fault>) -> Self {
        Self { all: faults.into_iter().collect(), is_quiet: false }
    }

    pub(super) fn has(&self, fault: Fault) -> bool {
        self.all.contains(&fault)
    }

    /// Whether messages go wrong now.
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
