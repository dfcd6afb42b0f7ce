//! The users of a computer, and documents that a deployment refuses to take from one of them.
//!
//! Two users share each computer, and each has a store of their own. The rights are those of a user in a document: while
//! they are revoked, the deployment refuses the user's changes of it. Here the refusals are put between the worker and
//! the session, so that the backend never hears of the refused documents.

use std::collections::{BTreeSet, VecDeque};

use rand::{Rng, seq::IteratorRandom};

use super::{
    check::Merged,
    fault::Fault,
    oracle::{Fate, NAMES},
    peer::{Peer, Stored},
    quiet,
    schedule::Simulation,
};
use crate::{
    CollectionIndex, DocumentId, format,
    record::{FromBackend, Push, PushAnswer, PushNumber, PushedDocument, Refusal, RefusalCode},
    transport::{Notice, Token, check_user},
};

/// The users of each computer. Their names have nothing to do with those of the documents.
const USERS: [&str; 2] = ["alice", "Bob/🦦"];
/// How often everything is connected while the rights change, and the steps in between.
const ROUNDS: usize = 12;
const STEPS: usize = 15;
/// More turns than a worker needs to save everything, if its disk works.
const TURNS: usize = 200;

/// The user of an app, and what the deployment refuses to take from each user of the computer.
#[derive(Default)]
pub(super) struct Rights {
    /// The user who is signed in. `None` in a schedule without users.
    pub(super) user: Option<usize>,
    /// The user whose token the connection has.
    token_of: Option<usize>,
    revoked: BTreeSet<(Option<usize>, CollectionIndex, DocumentId)>,
    /// Users who may write nothing.
    banned: BTreeSet<Option<usize>>,
    /// Everything that a user of this computer has ever discarded an edit of.
    pub(super) discarded: BTreeSet<DocumentId>,
    /// The refused documents of pushes of which other documents are on their way.
    refused: Vec<(PushNumber, Vec<(DocumentId, Refusal)>)>,
    /// Answers to pushes of which no document is.
    answers: VecDeque<Notice>,
    /// The log that the last page came from.
    epoch: Option<String>,
    /// What the simulator knows of the stores of the users who are not signed in.
    others: Option<(Stored, BTreeSet<[Option<i64>; 2]>)>,
}

impl Rights {
    /// The name of the user who is signed in.
    pub(super) fn name(&self) -> Option<String> {
        self.user.map(|user| USERS[user].to_owned())
    }

    /// Marks the actor of a process with the user.
    pub(super) fn mark(&self, actor: &mut [u8; 16]) {
        actor[15] = self.user.unwrap_or_default() as u8;
    }

    pub(super) fn has_answer(&self) -> bool {
        !self.answers.is_empty()
    }

    /// Takes refused documents out of a push. Returns what is left to send.
    pub(super) fn refuse(&mut self, mut push: Push) -> Option<Push> {
        let Some(epoch) = self.epoch.clone() else { return Some(push) };
        let (user, collection) = (self.user, push.collection);
        let is_revoked = |document: &mut PushedDocument| {
            self.banned.contains(&user) || self.revoked.contains(&(user, collection, document.id.clone()))
        };
        let refused: Vec<(DocumentId, Refusal)> = push
            .documents
            .extract_if(.., is_revoked)
            .map(|document| (document.id, Refusal::new(RefusalCode::NotAuthorized, "this user may not")))
            .collect();
        if refused.is_empty() {
            return Some(push);
        }
        if push.documents.is_empty() {
            let results = refused.into_iter().map(|(id, refusal)| (id, Err(refusal))).collect();
            self.answers.push_back(Notice::Backend(FromBackend::Answered(PushAnswer {
                number: push.number,
                collection,
                epoch,
                results,
            })));
            return None;
        }
        self.refused.push((push.number, refused));
        Some(push)
    }

    pub(super) fn next_answer(&mut self) -> Option<Notice> {
        self.answers.pop_front()
    }

    /// Adds the refused documents to the answer to their push.
    pub(super) fn complete(&mut self, notice: &mut Notice) {
        match notice {
            Notice::Backend(FromBackend::Answered(answer)) => {
                let of = |(number, _): &mut (PushNumber, _)| *number == answer.number;
                for (_, refused) in self.refused.extract_if(.., of) {
                    answer.results.extend(refused.into_iter().map(|(id, refusal)| (id, Err(refusal))));
                }
            }
            Notice::Backend(FromBackend::Page(page)) => self.epoch = Some(page.epoch.clone()),
            Notice::Disconnected { .. } => self.disconnected(),
            _ => {}
        }
    }

    fn disconnected(&mut self) {
        self.refused.clear();
        self.answers.clear();
        self.epoch = None;
    }

    /// Checks that a user's edits go out under that user's token.
    pub(super) fn check_token(&self, name: &str) -> Result<(), String> {
        match self.user == self.token_of {
            true => Ok(()),
            false => {
                Err(format!("{name}: edits of user {:?} go out under the token of {:?}", self.user, self.token_of))
            }
        }
    }
}

impl Simulation {
    /// Something that a user does with rights, or somebody with a user's rights.
    pub(super) fn rights_step(&mut self, peer: usize) -> Result<(), String> {
        let can_sign_in = self.faults.has(Fault::Users);
        let can_refuse = self.faults.has(Fault::Refuse);
        match self.rng.random_range(0..10) {
            0..2 if can_sign_in => self.sign_in_other(peer),
            2..5 if can_refuse => {
                self.change_rights(peer);
                Ok(())
            }
            5..10 if can_refuse => {
                self.discard(peer);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Gives or takes a user's right to write a document, or all of them.
    fn change_rights(&mut self, peer: usize) {
        if self.rng.random_bool(0.5) {
            let rights = &mut self.peers[peer].rights;
            let user = rights.user;
            let is_given = rights.banned.remove(&user);
            if !is_given {
                rights.banned.insert(user);
            }
            let what = if is_given { "may write again" } else { "may write nothing" };
            return self.trace.add(format!("{}: {user:?} {what}", self.peers[peer].name));
        }
        let Some((collection, id)) = self.any_document(peer) else { return };
        let rights = &mut self.peers[peer].rights;
        let right = (rights.user, collection, id);
        let is_given = rights.revoked.remove(&right);
        if !is_given {
            rights.revoked.insert(right.clone());
        }
        let what = if is_given { "may write" } else { "may not write" };
        self.trace.add(format!("{}: {:?} {what} {}", self.peers[peer].name, right.0, right.2));
    }

    fn any_document(&mut self, peer: usize) -> Option<(CollectionIndex, DocumentId)> {
        let app = self.peers[peer].app.as_ref()?;
        app.world.documents().into_iter().choose(&mut self.rng)
    }

    /// The user discards or offers again a document that is shown as refused.
    fn discard(&mut self, peer: usize) {
        let Some(app) = &mut self.peers[peer].app else { return };
        let Some((collection, id)) = app.world.refused().into_iter().choose(&mut self.rng) else { return };
        let retries = self.rng.random_bool(0.2);
        self.trace.add(format!("{}: {} {id}", self.peers[peer].name, if retries { "retries" } else { "discards" }));
        let Peer { app: Some(app), rights, .. } = &mut self.peers[peer] else { return };
        app.world.settle_refused(collection, &id, retries);
        if !retries {
            rights.discarded.insert(id);
        }
    }

    /// The callback gives a token, of which chance says whose it is, or none. Returns whether the app may connect with
    /// it.
    pub(super) fn take_token(&mut self, peer: usize) -> bool {
        let Some(user) = self.peers[peer].rights.user else { return true };
        let of = match self.faults.strikes(Fault::Users).then(|| self.rng.random_range(0..10)) {
            Some(0..2) => Some((user + 1) % USERS.len()),
            Some(2) => None,
            _ => Some(user),
        };
        let token = of.map(|of| Token::of(USERS[of], "a token"));
        let at = &mut self.peers[peer];
        match check_user(Some(USERS[user]), token.as_ref()) {
            Ok(()) => {
                at.rights.token_of = of;
                true
            }
            Err(end) => {
                self.trace.add(format!("{}: has a token of user {of:?}", at.name));
                if let Some(app) = &mut at.app {
                    app.line.fail(end);
                }
                false
            }
        }
    }

    /// The user signs out, and the other user of the computer signs in.
    pub(super) fn sign_in_other(&mut self, peer: usize) -> Result<(), String> {
        if self.now < self.peers[peer].full_until {
            // The worker would wait for the disk.
            return Ok(());
        }
        let Peer { app: Some(app), name, .. } = &mut self.peers[peer] else { return Ok(()) };
        self.trace.add(format!("{name}: the user signs out"));
        app.end_session(&mut self.trace, name);
        for _ in 0..TURNS {
            let Some(app) = &mut self.peers[peer].app else { return Ok(()) };
            app.process.take_answers(usize::MAX);
            app.process.take_commands(usize::MAX);
            self.disk(peer, usize::MAX)?;
            self.look_at_reports(peer)?;
            let Some(app) = &mut self.peers[peer].app else { return Ok(()) };
            let waits = app.process.commands_waiting() + app.process.requests_waiting() + app.process.answers_waiting();
            if waits == 0 && !app.process.is_loading() {
                break;
            }
        }
        self.disconnect(peer);
        let at = &mut self.peers[peer];
        at.rights.disconnected();
        at.rights.user = at.rights.user.map(|user| (user + 1) % USERS.len());
        let others = at.rights.others.take().unwrap_or_default();
        at.rights.others =
            Some((std::mem::replace(&mut at.offers, others.0), std::mem::replace(&mut at.began, others.1)));
        at.begin_session(&self.deployments, &mut self.oracle, &mut self.rng, &mut self.trace)?;
        self.pass(0);
        Ok(())
    }
}

/// Lets users work while their rights change and everything is connected again and again. A refusal needs a connection
/// that lasts until a push, and a discard needs a refusal, so both are rare among steps that are chosen freely.
pub(super) fn work(simulation: &mut Simulation) -> Result<(), String> {
    if !simulation.faults.has(Fault::Refuse) {
        return Ok(());
    }
    for _ in 0..ROUNDS {
        quiet::round(simulation)?;
        for peer in 0..simulation.peers.len() {
            simulation.rights_step(peer)?;
            simulation.frame(peer, 1)?;
        }
        for _ in 0..STEPS {
            simulation.pass(20);
            let step = simulation.choose();
            simulation.take(step)?;
        }
    }
    Ok(())
}

/// Gives all rights back, and lets the other users send what they have: at the end everything is sent that was not
/// discarded.
pub(super) fn settle(simulation: &mut Simulation) -> Result<(), String> {
    for peer in 0..simulation.peers.len() {
        simulation.peers[peer].rights.revoked.clear();
        simulation.peers[peer].rights.banned.clear();
        simulation.disconnect(peer);
    }
    quiet::rest(simulation)?;
    if simulation.faults.has(Fault::Users) {
        for _ in USERS {
            for peer in 0..simulation.peers.len() {
                simulation.sign_in_other(peer)?;
            }
            quiet::rest(simulation)?;
        }
    }
    let discarded: Vec<(u8, DocumentId)> = simulation
        .peers
        .iter()
        .zip(0..)
        .flat_map(|(peer, number)| peer.rights.discarded.iter().map(move |id| (number, id.clone())))
        .collect();
    for mark in &mut simulation.oracle.marks {
        if discarded.contains(&(mark.maker, mark.document.clone())) {
            mark.fate = Fate::Perhaps;
        }
    }
    match simulation.peers.iter().find(|peer| peer.app.as_ref().is_some_and(|app| !app.world.refused().is_empty())) {
        Some(peer) => Err(format!("{}: shows a document as refused, and nothing is", peer.name)),
        None => Ok(()),
    }
}

/// Documents of which a user has discarded the last changes after the first were sent: without an id they are not whole,
/// and nobody shows them.
pub(super) fn unfinished(simulation: &Simulation, merged: &Merged) -> BTreeSet<DocumentId> {
    let is_discarded = |id: &DocumentId| simulation.peers.iter().any(|peer| peer.rights.discarded.contains(id));
    let documents = merged.iter().filter(|(id, (value, ..))| value.get(format::ID).is_none() && is_discarded(id));
    documents.map(|(id, _)| id.clone()).collect()
}

/// Whether the store has notes of refusals, which are to be gone at the end.
pub(super) fn nothing_is_refused(store: &crate::store::Store) -> Result<(), String> {
    for collection in NAMES {
        let refused = store.refused(collection).map_err(|error| error.to_string())?;
        if let Some((id, _, _)) = refused.first() {
            return Err(format!("its store says that {id} is refused, and nothing is"));
        }
    }
    Ok(())
}
