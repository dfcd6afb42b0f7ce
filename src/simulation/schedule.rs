//! One schedule: a seed, and the steps that follow from it.

use std::path::{Path, PathBuf};

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    Running, check,
    deployment::Deployment,
    fault::{Fault, Faults},
    oracle::Oracle,
    pace::Pace,
    peer::Peer,
    prune, quiet,
    trace::Trace,
};
use crate::backend::simulated::Client;

/// The result of a schedule.
#[derive(Debug)]
pub struct Ended {
    /// The faults of the schedule.
    pub faults: Vec<Fault>,
    /// The steps that were taken.
    pub trace: Trace,
    /// The promise that does not hold, if any.
    pub failure: Option<String>,
}

/// The state of a schedule: its apps, backends and time.
pub(super) struct Simulation {
    pub(super) rng: StdRng,
    pub(super) faults: Faults,
    pub(super) pace: Pace,
    pub(super) peers: Vec<Peer>,
    pub(super) deployments: Vec<Deployment>,
    pub(super) oracle: Oracle,
    pub(super) trace: Trace,
    /// The correct time, in milliseconds since 1970.
    pub(super) now: i64,
    began: i64,
    pub(super) next_client: Client,
    pub(super) next: u32,
    pub(super) page_rows: Option<f64>,
    /// Whether the same log exists throughout the schedule. If so, an app may push only its own changes, unless it was
    /// told to start over.
    pub(super) is_one_log: bool,
}
/// Runs the schedule of a seed in a folder of its own, and removes the folder afterwards.
pub fn run(seed: u64, folder: &Path, print: bool) -> Ended {
    let folder = folder.join(format!("{}-{seed}", std::process::id()));
    // A run that was killed earlier may have left the folder.
    let _ = std::fs::remove_dir_all(&folder);
    let mut rng = StdRng::seed_from_u64(seed);
    let faults = Faults::choose(&mut rng);
    let _running = Running::start(faults.has(Fault::TinyLimits));
    let mut simulation = Simulation::new(rng, faults, &folder, print);
    let failure = simulation.play().err();
    let Simulation { faults, trace, .. } = simulation;
    let _ = std::fs::remove_dir_all(&folder);
    Ended { faults: faults.all(), trace, failure }
}

impl Simulation {
    fn new(mut rng: StdRng, faults: Faults, folder: &Path, print: bool) -> Self {
        let peers = (0..rng.random_range(2..=4))
            .map(|number| Peer::new(number, folder.join(format!("peer-{number}"))))
            .collect();
        let urls: &[&str] =
            if faults.has(Fault::Switch) { &["http://first", "http://second"] } else { &["http://first"] };
        let place = |index: usize| -> PathBuf { folder.join(format!("backend-{index}")) };
        let retention = prune::retention(&faults, &mut rng);
        let deployments =
            urls.iter().enumerate().map(|(index, url)| Deployment::new(url, place(index), retention)).collect();
        let pace = Pace::choose(&faults, &mut rng);
        let page_rows = faults.has(Fault::SmallPages).then(|| f64::from(rng.random_range(1..=3)));
        let mut trace = Trace::new(print);
        trace.add(format!("faults: {:?}, rows in a page: {page_rows:?}", faults.all()));
        // An app offers all its changes to a new log, also the changes that other apps made.
        let is_one_log = ![Fault::Wipe, Fault::Restore, Fault::Switch].into_iter().any(|fault| faults.has(fault));
        let now = 1_700_000_000_000;
        Self {
            rng,
            faults,
            pace,
            peers,
            deployments,
            oracle: Oracle::default(),
            trace,
            now,
            began: now,
            next_client: 1,
            next: 1,
            page_rows,
            is_one_log,
        }
    }

    fn play(&mut self) -> Result<(), String> {
        self.pass(0);
        for deployment in 0..self.deployments.len() {
            self.deployments[deployment].start(&mut self.trace)?;
        }
        let steps = self.rng.random_range(100..=500);
        for _ in 0..steps {
            let time = if self.rng.random_ratio(1, 30) { 3_000 } else { 40 };
            let time = self.rng.random_range(0..time);
            self.pass(time);
            let step = self.choose();
            self.take(step)?;
        }
        quiet::settle(self)?;
        check::all(self)
    }

    /// Lets this many milliseconds pass.
    pub(super) fn pass(&mut self, time: i64) {
        self.now += time;
        let elapsed = self.elapsed();
        for peer in &mut self.peers {
            peer.clock.set(self.now + peer.skew);
            if let Some(app) = &mut peer.app {
                app.line.set_time(elapsed);
            }
        }
        for deployment in &mut self.deployments {
            deployment.set_time(self.now);
            if let Some(node) = &mut deployment.node {
                node.set_time(elapsed);
            }
        }
    }

    /// The time since the schedule began.
    pub(super) fn elapsed(&self) -> std::time::Duration {
        std::time::Duration::from_millis((self.now - self.began) as u64)
    }

    pub(super) fn app<T>(&mut self, peer: usize, what: impl FnOnce(&mut super::peer::App) -> T) -> Option<T> {
        self.peers[peer].app.as_mut().map(what)
    }
}
