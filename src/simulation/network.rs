//! The line between apps and backends: messages that arrive, are lost or come late.

use convex_sync_types::ClientMessage;
use rand::Rng;

use super::{
    fault::Fault,
    peer::Peer,
    schedule::Simulation,
    words::{heard, said},
};
use crate::{
    backend::simulated::{Client, Down},
    worker::Command,
};

impl Simulation {
    /// Tells an app's session that the time it waits for has come.
    pub(super) fn tick(&mut self, peer: usize) {
        let elapsed = self.elapsed();
        let Some(app) = &mut self.peers[peer].app else { return };
        if app.is_due(elapsed) {
            app.line.time_out();
        }
        self.look_at_line(peer);
    }

    /// Lets the pause before an app's next attempt to connect pass. It may be longer than all steps of a schedule take.
    pub(super) fn wait(&mut self, peer: usize) {
        let elapsed = self.elapsed();
        let Some(pause) = self.app(peer, |app| app.pause(elapsed)).flatten() else { return };
        self.trace.add(format!("{}: its pause of {} ms passes", self.peers[peer].name, pause.as_millis()));
        self.pass(pause.as_millis() as i64 + 1);
        self.tick(peer);
    }

    /// Lets the user of an app go offline, or connect at once.
    pub(super) fn go(&mut self, peer: usize, online: bool) {
        self.trace.add(format!("{}: goes {}", self.peers[peer].name, if online { "online" } else { "offline" }));
        self.app(peer, |app| {
            app.is_offline = !online;
            app.process.send(Command::Online(online));
        });
    }

    /// Lets an attempt to connect succeed.
    pub(super) fn connect(&mut self, peer: usize) {
        if !self.take_token(peer) {
            return;
        }
        self.trace.add(format!("{}: connects", self.peers[peer].name));
        let client = self.next_client;
        self.next_client += 1;
        self.peers[peer].client = Some(client);
        if let Some(node) = &mut self.deployments[self.peers[peer].deployment].node {
            node.connect(client);
        }
        self.app(peer, |app| app.line.connect());
    }

    /// Lets an attempt to connect fail.
    pub(super) fn refuse(&mut self, peer: usize) {
        self.trace.add(format!("{}: cannot connect", self.peers[peer].name));
        self.app(peer, |app| app.line.refuse());
    }

    /// Ends the connection on the backend's side too, if the session has ended it.
    pub(super) fn look_at_line(&mut self, peer: usize) {
        let at = &self.peers[peer];
        if at.client.is_some() && at.app.as_ref().is_none_or(|app| !app.line.is_connected()) {
            self.disconnect(peer);
        }
    }

    /// Ends the connection. Messages to the backend are lost, or arrive late.
    pub(super) fn disconnect(&mut self, peer: usize) {
        self.trace.add(format!("{}: is disconnected", self.peers[peer].name));
        let (is_late, deployment) = (self.faults.has(Fault::Late), self.peers[peer].deployment);
        let Peer { app, client, down, is_doomed, .. } = &mut self.peers[peer];
        down.clear();
        *is_doomed = false;
        let client = client.take();
        if let Some(app) = app {
            let sent = std::mem::take(&mut app.line.up);
            app.line.lose("it was simulated");
            for message in sent.into_iter().filter(|message| matches!(message, ClientMessage::Mutation { .. })) {
                if let (true, Some(client)) = (is_late && self.rng.random_bool(0.5), client) {
                    self.deployments[deployment].late.push_back((client, message));
                }
            }
        }
        if let Some(client) = client {
            self.forget(deployment, client);
        }
    }

    /// Tells the backend that a client is gone. The backend notices it after it has read all messages of that client.
    pub(super) fn forget(&mut self, deployment: usize, client: Client) {
        let is_there = self.peers.iter().any(|peer| peer.deployment == deployment && peer.client == Some(client));
        let at = &mut self.deployments[deployment];
        if !is_there
            && !at.late.iter().any(|(late, _)| *late == client)
            && let Some(node) = &mut at.node
        {
            node.disconnect(client);
        }
    }

    /// Delivers a message of the app to the backend.
    pub(super) fn up(&mut self, peer: usize) {
        let Peer { app: Some(app), client: Some(client), deployment, name, .. } = &mut self.peers[peer] else { return };
        let (client, deployment) = (*client, *deployment);
        let Some(message) = app.line.up.pop_front() else { return };
        self.trace.add(format!("{name}: {} arrives", said(&message)));
        let is_mutation = matches!(message, ClientMessage::Mutation { .. });
        if is_mutation && self.faults.strikes(Fault::Duplicate) && self.rng.random_bool(0.2) {
            self.deployments[deployment].late.push_back((client, message.clone()));
        }
        self.hear(deployment, client, message);
    }

    pub(super) fn hear(&mut self, deployment: usize, client: Client, message: ClientMessage) {
        let page_rows = self.page_rows;
        if let Some(node) = &mut self.deployments[deployment].node {
            node.hear(client, message, page_rows);
        }
    }

    /// Lets the backend send its next frame, if there is one.
    pub(super) fn send(&mut self, peer: usize) -> bool {
        let Peer { client: Some(client), deployment, down, .. } = &mut self.peers[peer] else { return false };
        let node = self.deployments[*deployment].node.as_mut();
        let frame = node.and_then(|node| node.next_frame(*client));
        let sent = frame.is_some();
        down.extend(frame);
        sent
    }

    /// Delivers a message of the backend to the app.
    pub(super) fn down(&mut self, peer: usize) {
        let Peer { app: Some(app), down, name, .. } = &mut self.peers[peer] else { return };
        let Some(message) = down.pop_front() else { return };
        match message {
            Down::Message(message) => {
                self.trace.add(format!("{name}: {} arrives", heard(&message)));
                app.line.hear(message, self.rng.random());
                if self.faults.strikes(Fault::Duplicate) && self.rng.random_bool(0.2) {
                    app.line.repeat();
                }
            }
            Down::Close => app.line.lose("the backend closed the connection"),
        }
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
