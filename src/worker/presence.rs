//! Presence: the values of the front end are serialised here, and those of others are read here.

use std::{
    any::Any,
    collections::{BTreeMap, btree_map::Entry},
    sync::{Arc, Mutex, PoisonError},
};

use super::{Report, WorkerConfig};
use crate::{
    CollectionIndex,
    failure::FailureKind,
    format::{FormatError, guarded_type},
    record::{Peer, PeerId, Showing, UserId},
};

/// How long nothing more is reported of presence values that cannot be read. Anybody may show such values, as often as a
/// peer may, so each report of its own would flood the app's log.
const QUIET_MS: u64 = 60_000;

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
    changes: Changes,
}

type Changes = Arc<Mutex<BTreeMap<PeerId, Waiting>>>;

/// A change that the front end has not taken.
struct Waiting {
    change: PeerChange,
    /// The front end knows nothing of this peer yet.
    is_first: bool,
}

impl PeerNews {
    /// The newest change of each peer since the last call.
    pub fn take(&self) -> BTreeMap<PeerId, PeerChange> {
        let waiting = std::mem::take(&mut *self.changes.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.into_iter().map(|(peer, waiting)| (peer, waiting.change)).collect()
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
    /// When values that cannot be read were reported, in milliseconds since 1970.
    reported: Option<i64>,
    changes: Changes,
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

    /// Takes in the peers of a collection. Returns what to report. `now` is in milliseconds since 1970.
    pub(super) fn see(
        &mut self,
        collection: CollectionIndex,
        peers: Vec<Peer>,
        now: i64,
    ) -> (Option<Report>, Option<Problem>) {
        let Some(codec) = self.codecs.get(&collection) else { return (None, None) };
        let Peers { known, reported, changes } = self.peers.entry(collection).or_default();
        let (mut shown, mut misfits) = (Vec::new(), Vec::new());
        let mut before = std::mem::take(known);
        for peer in peers {
            let old = before.remove(&peer.id);
            if old.as_ref() != Some(&peer) {
                match guarded_type("PresenceCodec", "the front end", || codec.decode(&peer.value)) {
                    Ok(value) => {
                        let change = PeerChange::Shown { user: peer.user.clone(), value };
                        shown.push((peer.id.clone(), Waiting { change, is_first: old.is_none() }));
                    }
                    Err(error) => misfits.push((peer.id.clone(), error)),
                }
            }
            known.insert(peer.id.clone(), peer);
        }
        let problem = match misfits.first() {
            Some((peer, error)) if reported.is_none_or(|at| now.abs_diff(at) >= QUIET_MS) => {
                *reported = Some(now);
                let count = misfits.len();
                let message = format!("the presence of {count} peers, such as {peer}, does not fit the type: {error}");
                Some(Problem(FailureKind::Misfit, message))
            }
            _ => None,
        };
        if shown.is_empty() && before.is_empty() {
            return (None, problem);
        }
        let mut waiting = changes.lock().unwrap_or_else(PoisonError::into_inner);
        // If changes wait, a report is on its way.
        let is_told = !waiting.is_empty();
        for (peer, new) in shown {
            match waiting.entry(peer) {
                // Whether the front end knows the peer does not change until it takes something.
                Entry::Occupied(mut old) => old.get_mut().change = new.change,
                Entry::Vacant(none) => drop(none.insert(new)),
            }
        }
        for gone in before.into_keys() {
            match waiting.entry(gone) {
                // The front end never heard of it.
                Entry::Occupied(old) if old.get().is_first => drop(old.remove()),
                Entry::Occupied(mut old) => old.get_mut().change = PeerChange::Gone,
                Entry::Vacant(none) => drop(none.insert(Waiting { change: PeerChange::Gone, is_first: false })),
            }
        }
        let report =
            (!is_told && !waiting.is_empty()).then(|| Report::Peers(PeerNews { collection, changes: changes.clone() }));
        (report, problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARDS: CollectionIndex = CollectionIndex(0);

    /// Takes numbers alone.
    struct Number;

    impl PresenceCodec for Number {
        fn decode(&self, json: &str) -> Result<Box<dyn Any + Send>, FormatError> {
            let problem = |_| FormatError::new("no number");
            json.parse::<i64>().map(|number| Box::new(number) as Box<dyn Any + Send>).map_err(problem)
        }
    }

    fn presences() -> Presences {
        let codecs = BTreeMap::from([(CARDS, Arc::new(Number) as Arc<dyn PresenceCodec>)]);
        Presences { codecs, peers: BTreeMap::new(), showing: BTreeMap::new() }
    }

    fn peer(number: usize, value: &str) -> Peer {
        Peer { id: PeerId::of_session(&number.to_string()), user: None, value: value.into() }
    }

    #[test]
    fn values_that_do_not_fit_are_one_report_in_a_minute_however_many_peers_show_them() {
        let mut presences = presences();
        let mut reports = 0;
        for second in 0..61 {
            // Each time other peers, as an app that connects again and again would show.
            let peers = (0..100).map(|number| peer(second * 100 + number, "no number")).collect();
            let (_, problem) = presences.see(CARDS, peers, second as i64 * 1_000);
            reports += usize::from(problem.is_some());
        }
        assert_eq!(reports, 2);
    }

    #[test]
    fn a_peer_that_came_and_went_before_the_front_end_looked_leaves_nothing() {
        let mut presences = presences();
        let (report, _) = presences.see(CARDS, vec![peer(1, "1")], 0);
        let Some(Report::Peers(news)) = report else { panic!("a report") };
        for number in 2..100 {
            presences.see(CARDS, vec![peer(number, "1")], 0);
        }
        assert_eq!(news.take().into_keys().collect::<Vec<_>>(), [peer(99, "1").id]);
        // The front end knows this one, so it has to hear that it is gone, and not of the next one.
        presences.see(CARDS, vec![peer(100, "1")], 0);
        presences.see(CARDS, Vec::new(), 0);
        let taken = news.take();
        assert!(matches!(taken.get(&peer(99, "1").id), Some(PeerChange::Gone)));
        assert_eq!(taken.len(), 1);
    }
}
