//! The line between apps and backends: what arrives, what is lost, what comes late.

use rand::Rng;

use super::{fault::Fault, peer::Peer, schedule::Simulation, words::said};
use crate::{
    backend::simulated::Client,
    transport::simulated::{Down, Up},
};

impl Simulation {
    /// A time that an app's session waits for has come.
    pub(super) fn tick(&mut self, peer: usize) {
        let elapsed = self.elapsed();
        let Some(app) = &mut self.peers[peer].app else { return };
        if app.is_due(elapsed) {
            app.line.time_out();
        }
        self.look_at_line(peer);
    }

    /// An attempt to connect succeeds.
    pub(super) fn connect(&mut self, peer: usize) {
        self.trace.add(format!("{}: connects", self.peers[peer].name));
        self.peers[peer].client = Some(self.next_client);
        self.next_client += 1;
        self.app(peer, |app| app.line.connect());
    }

    /// An attempt to connect fails.
    pub(super) fn refuse(&mut self, peer: usize) {
        self.trace.add(format!("{}: cannot connect", self.peers[peer].name));
        self.app(peer, |app| app.line.refuse());
    }

    /// The session may have ended its connection itself.
    pub(super) fn look_at_line(&mut self, peer: usize) {
        let at = &self.peers[peer];
        if at.client.is_some() && at.app.as_ref().is_none_or(|app| !app.line.is_connected()) {
            self.disconnect(peer);
        }
    }

    /// The connection ends. What is on its way to the backend is lost, or comes late.
    pub(super) fn disconnect(&mut self, peer: usize) {
        self.trace.add(format!("{}: is disconnected", self.peers[peer].name));
        let (is_late, deployment) = (self.faults.has(Fault::Late), self.peers[peer].deployment);
        let Peer { app, client, down, is_doomed, .. } = &mut self.peers[peer];
        down.clear();
        *is_doomed = false;
        let client = client.take();
        if let (Some(client), Some(node)) = (client, &mut self.deployments[deployment].node) {
            node.disconnect(client);
        }
        let Some(app) = app else { return };
        let sent = std::mem::take(&mut app.line.up);
        app.line.lose();
        for up in sent.into_iter().filter(|up| matches!(up, Up::Mutate { .. })) {
            if let (true, Some(client)) = (is_late && self.rng.random_bool(0.5), client) {
                self.deployments[deployment].late.push_back((client, up));
            }
        }
    }

    /// A message of the app arrives at the backend.
    pub(super) fn up(&mut self, peer: usize) {
        let Peer { app: Some(app), client: Some(client), deployment, name, .. } = &mut self.peers[peer] else { return };
        let (client, deployment) = (*client, *deployment);
        let Some(up) = app.line.up.pop_front() else { return };
        self.trace.add(format!("{name}: {} arrives", said(&up)));
        if matches!(up, Up::Mutate { .. }) && self.faults.strikes(Fault::Duplicate) && self.rng.random_bool(0.2) {
            self.deployments[deployment].late.push_back((client, up.clone()));
        }
        self.hear(deployment, client, up);
    }

    pub(super) fn hear(&mut self, deployment: usize, client: Client, up: Up) {
        let page_rows = self.page_rows;
        if let Some(node) = &mut self.deployments[deployment].node {
            node.hear(client, up, page_rows);
        }
    }

    /// The backend sends what is new.
    pub(super) fn transition(&mut self, peer: usize) {
        let Peer { client: Some(client), deployment, down, .. } = &mut self.peers[peer] else { return };
        let again = self.faults.strikes(Fault::Duplicate) && self.rng.random_bool(0.1);
        let node = self.deployments[*deployment].node.as_mut();
        down.extend(node.and_then(|node| node.transition(*client, again)));
    }

    /// A message of the backend arrives at the app: results in their order, an answer before or after them.
    pub(super) fn down(&mut self, peer: usize) {
        let Peer { app: Some(app), down, name, .. } = &mut self.peers[peer] else { return };
        let at = self.rng.random_range(0..down.len());
        let at = match down[at] {
            Down::Answer { .. } => at,
            Down::Results(_) => down.iter().position(|down| matches!(down, Down::Results(_))).unwrap_or(0),
        };
        let Some(message) = down.remove(at) else { return };
        let what = match &message {
            Down::Answer { mutation, .. } => format!("the answer to {}", mutation.0),
            Down::Results(results) => format!("{} results", results.len()),
        };
        self.trace.add(format!("{name}: {what} arrive"));
        if self.faults.strikes(Fault::Duplicate) && self.rng.random_bool(0.2) {
            app.line.hear(message.clone());
        }
        app.line.hear(message);
        self.look_at_line(peer);
    }

    pub(super) fn lose(&mut self, peer: usize) {
        let Peer { app: Some(app), down, is_doomed, name, .. } = &mut self.peers[peer] else { return };
        *is_doomed = true;
        self.trace.add(format!("{name}: a message is lost"));
        if down.pop_back().is_none() {
            app.line.up.pop_back();
        }
    }
    pub(super) fn lose_connections(&mut self, deployment: usize) {
        for peer in 0..self.peers.len() {
            if self.peers[peer].deployment == deployment && self.peers[peer].client.is_some() {
                self.disconnect(peer);
            }
        }
    }
}
