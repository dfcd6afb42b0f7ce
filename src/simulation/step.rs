//! The steps that can be taken next, and the likelihood of each.

use rand::Rng;

use super::{fault::Fault, pace::Pace, prune, quiet, schedule::Simulation, words::said};

/// A step.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Start(usize),
    Frame(usize),
    Commands(usize),
    Disk(usize),
    Answers(usize),
    Request(usize),
    Notice(usize),
    Tick(usize),
    Wait(usize),
    Rush(usize),
    Miss(usize),
    Retry(usize),
    Repeat(usize),
    Offline(usize),
    Online(usize),
    Connect(usize),
    Refuse(usize),
    Up(usize),
    Send(usize),
    Down(usize),
    Disconnect(usize),
    Lose(usize),
    Kill(usize),
    Compact(usize),
    FillDisk(usize),
    Rights(usize),
    Write(usize),
    LookAfter(usize),
    CompactLog(usize),
    Prune(usize),
    Late(usize),
    StopBackend(usize),
    StartBackend(usize),
    FillBackendDisk(usize),
    Wipe(usize),
    BackUp(usize),
    PutBack(usize),
    Clock,
}

impl Simulation {
    /// Chooses one of the steps that can be taken now.
    pub(super) fn choose(&mut self) -> Step {
        let mut steps: Vec<(Step, u32)> = Vec::new();
        let has = |fault| self.faults.has(fault);
        let Pace { network, disk, frame, worker, connect, rush } = self.pace;
        let elapsed = self.elapsed();
        for (index, peer) in self.peers.iter_mut().enumerate() {
            let Some(app) = &mut peer.app else {
                steps.push((Step::Start(index), 20));
                continue;
            };
            let node = self.deployments[peer.deployment].node.as_ref();
            let mut may = |step: fn(usize) -> Step, possible: bool, weight: u32| {
                if possible && weight > 0 {
                    steps.push((step(index), weight));
                }
            };
            may(Step::Frame, true, frame);
            may(Step::Commands, app.process.commands_waiting() > 0, worker);
            may(Step::Disk, app.process.requests_waiting() > 0, disk);
            may(Step::Answers, app.process.answers_waiting() > 0, worker);
            may(Step::Request, app.process.requests_of_transport() > 0, 60);
            may(Step::Notice, app.line.has_notice() || peer.rights.has_answer(), worker);
            may(Step::Tick, app.is_due(elapsed), 30);
            may(Step::Wait, app.pause(elapsed).is_some() && node.is_some(), connect);
            may(Step::Connect, app.line.is_opening() && node.is_some(), connect);
            may(Step::Refuse, app.line.is_opening() && node.is_none(), 5);
            let reads = node.zip(peer.client).is_none_or(|(node, client)| node.reads(client));
            may(Step::Up, reads && !app.line.up.is_empty(), network);
            may(Step::Down, !peer.down.is_empty(), network);
            let sends = node.zip(peer.client).is_some_and(|(node, client)| node.has_frames(client));
            may(Step::Send, sends, network);
            let cut = if peer.is_doomed { 30 } else { 3 * u32::from(has(Fault::Disconnect)) };
            may(Step::Disconnect, app.line.is_connected(), cut);
            may(Step::Lose, !peer.down.is_empty() || !app.line.up.is_empty(), 4 * u32::from(has(Fault::Loss)));
            let is_written = node.is_some_and(|node| node.mutations_waiting() == 0);
            let is_ahead =
                app.line.is_pushing() && app.line.up.is_empty() && is_written && app.process.requests_waiting() > 0;
            let kill = if is_ahead { 30 * u32::from(has(Fault::CrashAhead)) } else { 0 };
            // A process killed during a push may wrongly count the push as received, so kill such processes more often.
            let crash = if app.line.is_pushing() { 9 } else { 3 };
            may(Step::Kill, true, kill + crash * u32::from(has(Fault::Crash)));
            let (away, back) = if app.is_offline { (0, 6) } else { (2, 0) };
            may(Step::Offline, has(Fault::Offline), away);
            may(Step::Online, has(Fault::Offline), back);
            may(Step::Rush, node.is_some(), rush);
            may(Step::Miss, app.line.is_connected(), 4 * u32::from(has(Fault::Prune)));
            may(Step::Retry, app.process.unsent() > 0, 2);
            // A repeated answer matters while another mutation waits for its own.
            may(Step::Repeat, app.line.is_pushing(), 20 * u32::from(has(Fault::Duplicate)));
            may(Step::Compact, true, 6 * u32::from(has(Fault::CompactStore)));
            may(Step::FillDisk, true, 3 * u32::from(has(Fault::FullDisk)));
            may(Step::Rights, has(Fault::Users) || has(Fault::Refuse), 20);
        }
        for (index, deployment) in self.deployments.iter().enumerate() {
            let Some(node) = &deployment.node else {
                steps.push((Step::StartBackend(index), 25));
                continue;
            };
            let mut may = |step: fn(usize) -> Step, possible: bool, weight: u32| {
                if possible && weight > 0 {
                    steps.push((step(index), weight));
                }
            };
            may(Step::Write, node.mutations_waiting() > 0, 50);
            may(Step::LookAfter, true, 5);
            may(Step::CompactLog, true, 8 * u32::from(has(Fault::CompactLog)));
            may(Step::Prune, has(Fault::Prune) && prune::has_tombstones(node), 40);
            may(Step::Late, !deployment.late.is_empty(), 15);
            may(Step::StopBackend, true, 4 * u32::from(has(Fault::BackendCrash)));
            may(Step::FillBackendDisk, true, 3 * u32::from(has(Fault::BackendFull)));
            may(Step::Wipe, true, 2 * u32::from(has(Fault::Wipe)));
            may(Step::BackUp, true, 6 * u32::from(has(Fault::Restore)));
            may(Step::PutBack, deployment.has_backup(), 6 * u32::from(has(Fault::Restore)));
        }
        if has(Fault::Clocks) {
            steps.push((Step::Clock, 6));
        }
        let mut at = self.rng.random_range(0..steps.iter().map(|(_, weight)| weight).sum());
        for (step, weight) in &steps {
            if at < *weight {
                return *step;
            }
            at -= weight;
        }
        Step::Clock
    }

    pub(super) fn take(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Start(peer) => self.start(peer)?,
            Step::Frame(peer) => {
                let most = if self.faults.has(Fault::OddFrames) { 4 } else { 2 };
                let work = if self.rng.random_bool(0.5) { self.rng.random_range(1..most) } else { 0 };
                self.frame(peer, work)?;
            }
            Step::Commands(peer) => {
                let most = self.few();
                self.trace.add(format!("{}: takes {most} commands", self.peers[peer].name));
                self.app(peer, |app| app.process.take_commands(most));
                self.look_at_reports(peer)?;
            }
            Step::Disk(peer) => {
                let most = self.few();
                self.disk(peer, most)?;
            }
            Step::Answers(peer) => {
                let most = self.few();
                self.trace.add(format!("{}: takes {most} answers", self.peers[peer].name));
                self.app(peer, |app| app.process.take_answers(most));
                self.look_at_reports(peer)?;
            }
            Step::Request(peer) => {
                self.peers[peer].request(self.is_one_log, &mut self.trace)?;
                self.look_at_line(peer);
            }
            Step::Notice(peer) => {
                self.peers[peer].notice(&mut self.trace);
                self.look_at_reports(peer)?;
            }
            Step::Tick(peer) => self.tick(peer),
            Step::Wait(peer) => self.wait(peer),
            Step::Rush(peer) => quiet::rush(self, peer)?,
            Step::Miss(peer) => prune::miss(self, peer)?,
            Step::Retry(peer) => self.retry(peer)?,
            Step::Repeat(peer) => {
                self.trace
                    .add(format!("{}: is told the last results and the last answer again", self.peers[peer].name));
                self.app(peer, |app| app.line.repeat());
                self.look_at_line(peer);
            }
            Step::Offline(peer) => self.go(peer, false),
            Step::Online(peer) => self.go(peer, true),
            Step::Connect(peer) => self.connect(peer),
            Step::Refuse(peer) => self.refuse(peer),
            Step::Up(peer) => self.up(peer),
            Step::Send(peer) => {
                self.send(peer);
            }
            Step::Down(peer) => self.down(peer),
            Step::Disconnect(peer) => self.disconnect(peer),
            Step::Lose(peer) => self.lose(peer),
            Step::Kill(peer) => self.kill(peer)?,
            Step::Compact(peer) => self.compact(peer)?,
            Step::Rights(peer) => self.rights_step(peer)?,
            Step::FillDisk(peer) => {
                self.peers[peer].full_until = self.now + self.rng.random_range(100..5_000);
                self.trace.add(format!("{}: its disk is full", self.peers[peer].name));
            }
            Step::Write(deployment) => self.write(deployment),
            Step::LookAfter(deployment) => {
                if let Some(node) = &mut self.deployments[deployment].node {
                    node.look_after();
                }
            }
            Step::CompactLog(deployment) => self.compact_log(deployment),
            Step::Prune(deployment) => prune::prune(self, deployment),
            Step::Late(deployment) => {
                let late = self.deployments[deployment].late.len();
                let at = self.rng.random_range(0..late);
                if let Some((client, up)) = self.deployments[deployment].late.remove(at) {
                    self.trace.add(format!("{}: hears {} late", self.deployments[deployment].url, said(&up)));
                    self.hear(deployment, client, up);
                    self.forget(deployment, client);
                }
            }
            Step::StopBackend(deployment) => self.stop_backend(deployment),
            Step::StartBackend(deployment) => self.deployments[deployment].start(&mut self.trace)?,
            Step::FillBackendDisk(deployment) => {
                self.deployments[deployment].full_until = self.now + self.rng.random_range(100..3_000);
                self.trace.add(format!("{}: its disk is full", self.deployments[deployment].url));
            }
            Step::Wipe(deployment) => {
                self.trace.add(format!("{}: is wiped", self.deployments[deployment].url));
                self.lose_connections(deployment);
                self.deployments[deployment].wipe();
            }
            Step::BackUp(deployment) => {
                self.trace.add(format!("{}: is backed up", self.deployments[deployment].url));
                self.deployments[deployment].back_up().map_err(|error| format!("no backup: {error}"))?;
            }
            Step::PutBack(deployment) => {
                self.trace.add(format!("{}: is put back to its backup", self.deployments[deployment].url));
                self.lose_connections(deployment);
                self.deployments[deployment].put_back().map_err(|error| format!("no way back: {error}"))?;
            }
            Step::Clock => {
                let skew = self.rng.random_range(-100_000_000..100_000_000);
                let all = self.peers.len() + self.deployments.len();
                let at = self.rng.random_range(0..all);
                match self.peers.get_mut(at) {
                    Some(peer) => peer.skew = skew,
                    None => self.deployments[at - self.peers.len()].skew = skew,
                }
                self.trace.add(format!("clock {at} is {skew} ms wrong"));
                self.pass(0);
            }
        }
        Ok(())
    }

    /// Chooses how many waiting items to take: one, a few or all.
    fn few(&mut self) -> usize {
        match self.rng.random_range(0..3) {
            0 => 1,
            1 => self.rng.random_range(1..6),
            _ => usize::MAX,
        }
    }
}
