//! The computers: the work of their disks and processes, and how the processes end.

use rand::Rng;

use super::{
    check,
    deployment::Deployment,
    fault::Fault,
    oracle::{NAMES, NOTES},
    peer::Peer,
    prune,
    schedule::Simulation,
    with_writes_left,
};
use crate::worker::Command;

impl Simulation {
    pub(super) fn look_at_reports(&mut self, peer: usize) -> Result<(), String> {
        let Peer { app: Some(app), name, .. } = &mut self.peers[peer] else { return Ok(()) };
        app.collect_reports(&mut self.oracle, name, &mut self.trace)
    }

    pub(super) fn start(&mut self, peer: usize) -> Result<(), String> {
        if self.faults.has(Fault::Switch) {
            self.peers[peer].deployment = self.rng.random_range(0..self.deployments.len());
        }
        self.peers[peer].start(&self.deployments, &self.faults, &mut self.rng, &mut self.trace)?;
        self.pass(0);
        Ok(())
    }

    pub(super) fn frame(&mut self, peer: usize, work: usize) -> Result<(), String> {
        self.peers[peer].frame(work, &self.faults, &mut self.rng, &mut self.next, &mut self.oracle, &mut self.trace)
    }

    /// Lets the user of an app edit several times, and then ask for a retry. The disk does not work meanwhile, so it
    /// still has to answer reads from before the last edits, and the retry gives these reads up.
    pub(super) fn retry(&mut self, peer: usize) -> Result<(), String> {
        for _ in 0..self.rng.random_range(1..4) {
            self.frame(peer, 1)?;
            self.app(peer, |app| app.process.take_commands(usize::MAX));
            self.look_at_reports(peer)?;
        }
        self.trace.add(format!("{}: asks for a retry", self.peers[peer].name));
        self.app(peer, |app| {
            app.process.send(Command::Retry);
            app.process.take_commands(usize::MAX);
        });
        self.look_at_reports(peer)
    }

    /// Lets the disk of an app carry out waiting requests.
    pub(super) fn disk(&mut self, peer: usize, most: usize) -> Result<(), String> {
        let is_full = self.now < self.peers[peer].full_until;
        let most_writes = is_full.then(|| self.rng.random_range(0..2));
        let name = self.peers[peer].name.clone();
        let worked = self.app(peer, |app| with_writes_left(most_writes, || app.process.work_disk(most)));
        self.trace.add(format!("{name}: its disk takes {most}, {worked:?}"));
        prune::started_over(self, peer)?;
        check::marks(self, peer)
    }

    pub(super) fn kill(&mut self, peer: usize) -> Result<(), String> {
        // The process may be killed in the middle of writing.
        if !self.faults.has(Fault::CrashAhead) && self.rng.random_bool(0.5) {
            let writes = Some(self.rng.random_range(0..3));
            self.app(peer, |app| with_writes_left(writes, || app.process.work_disk(usize::MAX)));
            prune::started_over(self, peer)?;
            check::marks(self, peer)?;
        }
        self.trace.add(format!("{}: is killed", self.peers[peer].name));
        self.disconnect(peer);
        self.peers[peer].kill(&mut self.oracle);
        Ok(())
    }

    pub(super) fn compact(&mut self, peer: usize) -> Result<(), String> {
        let Peer { app: Some(app), name, .. } = &mut self.peers[peer] else { return Ok(()) };
        let collection = NAMES[usize::from(NOTES.0)];
        let documents =
            app.process.store().documents(collection, None, usize::MAX).map_err(|error| error.to_string())?;
        if documents.is_empty() {
            return Ok(());
        }
        let document = &documents[self.rng.random_range(0..documents.len())].id;
        let compacted = app.process.compact(collection, document).map_err(|error| error.to_string())?;
        self.trace.add(format!("{name}: compacts {document}: {compacted}"));
        check::marks(self, peer)
    }

    /// The backend makes mutations durable and answers them.
    pub(super) fn write(&mut self, deployment: usize) {
        let at = &mut self.deployments[deployment];
        let writes = (self.now < at.full_until).then_some(0);
        let Some(node) = &mut at.node else { return };
        let answers = with_writes_left(writes, || node.write(&NAMES));
        self.trace.add(format!("{}: writes, and has {answers} answers", at.url));
    }

    pub(super) fn compact_log(&mut self, deployment: usize) {
        let Deployment { node: Some(node), url, .. } = &mut self.deployments[deployment] else { return };
        let collection = NAMES[usize::from(NOTES.0)];
        let rows = node.rows(collection);
        if rows.is_empty() {
            return;
        }
        let document = &rows[self.rng.random_range(0..rows.len())].0;
        let tail = self.rng.random_range(0..4);
        self.trace.add(format!("{}: compacts {document} but for {tail}", url));
        node.compact(collection, document, tail);
    }

    pub(super) fn stop_backend(&mut self, deployment: usize) {
        if self.rng.random_bool(0.5) {
            // The backend is killed after the commit and before the answer.
            self.write(deployment);
        }
        self.trace.add(format!("{}: is killed", self.deployments[deployment].url));
        self.lose_connections(deployment);
        self.deployments[deployment].stop();
    }
}
