//! Presence: the values of the front end are serialised here, and those of others are read here.

use std::{
    any::Any,
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use super::{Report, WorkerConfig};
use crate::{
    CollectionIndex,
    failure::FailureKind,
    format::{FormatError, guarded_type},
    record::{Peer, PeerId, Showing, UserId},
};

/// Reads the presence values of a collection's peers.
pub trait PresenceCodec: Send + Sync + 'static {
    /// Turns JSON into the front end's form.
    fn decode(&self, json: &str) -> Result<Box<dyn Any + Send>, FormatError>;
}

/// A presence value of the front end, to be serialised off the main thread.
pub trait EncodePresence: Send + 'static {
    /// The value as JSON.
    fn encode(&self) -> Result<String, FormatError>;
}

/// What the front end shows to others. A later one of the same collection replaces it.
pub struct Present {
    /// The collection.
    pub collection: CollectionIndex,
    /// The scope in which others see it; `None`: no scope.
    pub scope: Option<String>,
    /// The value. `None`: nothing is shown, and the others are seen.
    pub value: Option<Box<dyn EncodePresence>>,
    /// Values a second at most, up to 30. The deployment may allow fewer.
    pub rate: f64,
}

/// News of a peer.
pub enum PeerChange {
    /// It is there, with this value.
    Shown {
        /// The verified user, if the deployment knows one.
        user: Option<UserId>,
        /// The result of [`PresenceCodec::decode`].
        value: Box<dyn Any + Send>,
    },
    /// It is gone.
    Gone,
}

/// News of the peers of a collection. Only the newest of each peer is kept until the front end takes it, so a front end
/// that is slow skips the others.
pub struct PeerNews {
    /// The collection.
    pub collection: CollectionIndex,
    changes: Arc<Mutex<BTreeMap<PeerId, PeerChange>>>,
}

impl PeerNews {
    /// The newest change of each peer since the last call.
    pub fn take(&self) -> BTreeMap<PeerId, PeerChange> {
        std::mem::take(&mut *self.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The presence of a worker's collections.
pub(super) struct Presences {
    codecs: BTreeMap<CollectionIndex, Arc<dyn PresenceCodec>>,
    peers: BTreeMap<CollectionIndex, Peers>,
    /// What the front end showed last, which a transport is told when it starts.
    showing: BTreeMap<CollectionIndex, Showing>,
}

/// The peers of a collection, as the front end was told.
#[derive(Default)]
struct Peers {
    known: BTreeMap<PeerId, Peer>,
    /// Peers whose value cannot be read, which was reported.
    misfits: HashSet<PeerId>,
    changes: Arc<Mutex<BTreeMap<PeerId, PeerChange>>>,
}

/// A failure to report.
pub(super) struct Problem(pub(super) FailureKind, pub(super) String);

impl Presences {
    pub(super) fn new(config: &WorkerConfig) -> Self {
        Self { codecs: config.presence.clone(), peers: BTreeMap::new(), showing: BTreeMap::new() }
    }

    /// Whether the front end shows something.
    pub(super) fn is_showing(&self) -> bool {
        self.showing.values().any(|showing| showing.value.is_some())
    }

    /// What the front end showed last in each collection.
    pub(super) fn showing(&self) -> impl Iterator<Item = &Showing> {
        self.showing.values()
    }

    /// Serialises what the front end shows.
    pub(super) fn show(&mut self, present: Present) -> Result<Showing, (CollectionIndex, Problem)> {
        let Present { collection, scope, value, rate } = present;
        let encode =
            |value: Box<dyn EncodePresence>| guarded_type("EncodePresence", "the front end", || value.encode());
        let value = value.map(encode).transpose().map_err(|error| {
            let message = format!("the presence cannot be written as JSON, so others do not see it: {error}");
            (collection, Problem(FailureKind::Unwritable, message))
        })?;
        let showing = Showing { collection, scope, value: value.map(Arc::from), rate };
        self.showing.insert(collection, showing.clone());
        Ok(showing)
    }

    /// Takes in the peers of a collection. Returns what to report.
    pub(super) fn see(&mut self, collection: CollectionIndex, peers: Vec<Peer>) -> (Option<Report>, Vec<Problem>) {
        let mut problems = Vec::new();
        let Some(codec) = self.codecs.get(&collection) else { return (None, problems) };
        let Peers { known, misfits, changes } = self.peers.entry(collection).or_default();
        let mut news = BTreeMap::new();
        let mut before = std::mem::take(known);
        for peer in peers {
            let old = before.remove(&peer.id);
            if old.as_ref() != Some(&peer) {
                match guarded_type("PresenceCodec", "the front end", || codec.decode(&peer.value)) {
                    Ok(value) => {
                        misfits.remove(&peer.id);
                        news.insert(peer.id.clone(), PeerChange::Shown { user: peer.user.clone(), value });
                    }
                    Err(error) => {
                        if misfits.insert(peer.id.clone()) {
                            let message =
                                format!("the presence of the peer {} does not fit the type: {error}", peer.id);
                            problems.push(Problem(FailureKind::Misfit, message));
                        }
                    }
                }
            }
            known.insert(peer.id.clone(), peer);
        }
        for (gone, _) in before {
            misfits.remove(&gone);
            news.insert(gone, PeerChange::Gone);
        }
        if news.is_empty() {
            return (None, problems);
        }
        let mut waiting = changes.lock().unwrap_or_else(PoisonError::into_inner);
        // If changes wait, a report is on its way.
        let is_told = !waiting.is_empty();
        waiting.extend(news);
        let report = (!is_told).then(|| Report::Peers(PeerNews { collection, changes: changes.clone() }));
        (report, problems)
    }
}
