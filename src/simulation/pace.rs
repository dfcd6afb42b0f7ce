//! The frequency of each kind of step.

use rand::{rngs::StdRng, seq::IndexedRandom};

use super::fault::{Fault, Faults};

/// The weights of the steps of which every schedule has many. Each schedule has weights of its own. If all schedules
/// had the same, none of them would have the many round trips of a quick network, or the long queues of a slow worker.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    /// A message moves on.
    pub(super) network: u32,
    /// A disk carries out requests.
    pub(super) disk: u32,
    /// A frame of an app.
    pub(super) frame: u32,
    /// A worker takes commands, answers or notices.
    pub(super) worker: u32,
    /// An attempt to connect succeeds, or is made early.
    pub(super) connect: u32,
    /// Everything that waits on the way between an app and its backend is done at once. So an app is soon up to date,
    /// and the other steps affect apps that share documents.
    pub(super) rush: u32,
}

impl Pace {
    pub(super) fn choose(faults: &Faults, rng: &mut StdRng) -> Self {
        let mut one_of = |weights: &[u32]| weights.choose(rng).copied().unwrap_or(1);
        let is_slow = faults.has(Fault::SlowDisk) || faults.has(Fault::CrashAhead);
        Self {
            network: if faults.has(Fault::Delay) { 12 } else { one_of(&[60, 150]) },
            disk: if is_slow { 8 } else { one_of(&[50, 100]) },
            frame: one_of(&[12, 30, 60]),
            worker: one_of(&[15, 50, 100]),
            // With restored backups, some apps are away for so long that others write past the positions that these
            // apps know.
            connect: if faults.has(Fault::Restore) { 5 } else { one_of(&[5, 30, 60]) },
            rush: one_of(&[0, 4, 12]),
        }
    }
}
