//! What an app shows to others: which value is sent when, and which peers there are.
//!
//! Only the newest value of each collection matters. It is sent as soon as the pace allows, which is the slower one of
//! what the app wants and what the deployment allows. A value that stays the same is sent again now and then, because
//! the deployment forgets a peer that is not heard of. Values that were not sent when a newer one came are skipped.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::session::Mutation;
use crate::{
    CollectionIndex,
    limits::{PRESENCE_RATE, PRESENCE_REFRESHES},
    record::{Peer, PeerId, Refusal, RefusalCode, Showing},
    wire::Pace,
};

/// Values on their way at once: enough for the highest rate over a connection that takes a quarter of a second there and
/// back. A value that is late by more holds the next one back.
const CALLS: usize = 8;
/// The same if the deployment takes values at a slower rate: there each call is a transaction that stands before a push.
/// A push in flight also allows no more.
const CALLS_SLOW: usize = 2;
/// A slower rate than this is slow: Convex takes four values a second unless configured.
const SLOW: Duration = Duration::from_millis(50);
/// How long peers stay when this app's own connection is lost, so that they do not flicker if it comes back at once. After
/// it has come back they have as long to connect again too, because the backend may have been the one that was gone.
const GRACE: Duration = Duration::from_secs(3);
/// When to try again after a refusal.
const AGAIN: Duration = Duration::from_secs(5);
/// When to try again if the deployment takes fewer values than it said.
const TOO_OFTEN: Duration = Duration::from_secs(1);

/// Distinguishes the subscriptions of an area. None is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AreaKey(u64);

/// What an app shows in all its collections.
#[derive(Default)]
pub(super) struct Areas {
    secret: String,
    peer: Option<PeerId>,
    areas: BTreeMap<CollectionIndex, Area>,
    /// The calls that have no answer yet.
    calls: BTreeMap<Mutation, Call>,
    /// The number of the last subscription.
    keys: u64,
    /// When the connection was lost. `None` while there is one.
    lost: Option<Duration>,
    /// Until then, peers of the last connection that are missing in a list stay.
    keep_until: Option<Duration>,
    /// A push waits for its answer.
    is_pushing: bool,
    is_connected: bool,
    is_leaving: bool,
}

/// A call that has no answer yet.
pub(super) struct Call {
    pub(super) collection: CollectionIndex,
    /// The scope may be another one when the answer comes.
    scope: Option<String>,
}

struct Area {
    scope: Option<String>,
    value: Option<Arc<str>>,
    /// The shortest time between two values that the app wants.
    interval: Duration,
    /// The last answer of this connection.
    pace: Option<Pace>,
    /// The value differs from the last one that was sent.
    is_new: bool,
    /// The deployment may show something of this app.
    is_shown: bool,
    sent: Option<Duration>,
    /// When the value is sent again, although it is the same.
    again: Option<Duration>,
    /// No value is sent before.
    held_until: Duration,
    calls: usize,
    subscription: Option<AreaKey>,
    /// What the last `setPresence` was refused for, which was reported.
    set_refused: Option<RefusalCode>,
    /// What the last `listPresence` was refused for, which was reported.
    list_refused: Option<RefusalCode>,
    /// The deployment has no such function.
    is_unknown: bool,
    peers: Vec<Peer>,
    /// The last list, if `peers` has peers of the last connection besides.
    listed: Option<Vec<Peer>>,
}

/// An instruction for the session.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// Call `setPresence`, and tell [`Areas::called`].
    Set { collection: CollectionIndex, scope: Option<String>, value: Option<Arc<str>> },
    /// Subscribe to `listPresence`.
    Follow { collection: CollectionIndex, key: AreaKey, scope: Option<String> },
    /// End that subscription.
    Unfollow { collection: CollectionIndex, key: AreaKey },
    /// These are the peers now.
    Peers { collection: CollectionIndex, peers: Vec<Peer> },
    /// The deployment refuses.
    Refused { collection: CollectionIndex, refusal: Refusal },
    /// Everything is left.
    Left,
}

impl Areas {
    pub(super) fn set_secret(&mut self, secret: String) {
        self.peer = Some(PeerId::of_session(&secret));
        self.secret = secret;
    }

    pub(super) fn secret(&self) -> &str {
        &self.secret
    }

    /// Shows another value from now on, and in another scope if that has changed.
    pub(super) fn show(&mut self, showing: Showing) -> Vec<Next> {
        let Showing { collection, scope, value, rate } = showing;
        // Not a number is no wish.
        let rate = if rate.is_nan() { PRESENCE_RATE } else { rate };
        let interval = Duration::from_secs_f64(1.0 / rate.clamp(1.0, PRESENCE_RATE));
        let area = self.areas.entry(collection).or_insert_with(|| Area::new(scope.clone(), interval));
        let mut next = Vec::new();
        if area.scope != scope {
            if let Some(key) = area.subscription.take() {
                next.push(Next::Unfollow { collection, key });
            }
            if std::mem::take(&mut area.is_shown) {
                next.push(Next::Set { collection, scope: area.scope.take(), value: None });
            }
            next.extend(area.see(collection, Vec::new()));
            let old = std::mem::replace(area, Area::new(scope, interval));
            (area.pace, area.sent, area.calls) = (old.pace, old.sent, old.calls);
        }
        area.is_new |= area.value != value;
        (area.value, area.interval) = (value, interval);
        next
    }

    /// Leaves all areas, for good.
    pub(super) fn leave(&mut self) {
        self.is_leaving = true;
        for area in self.areas.values_mut() {
            area.is_new = area.is_shown;
            area.value = None;
        }
    }

    /// What is due.
    pub(super) fn next(&mut self, is_open: bool, now: Duration) -> Vec<Next> {
        let mut next = Vec::new();
        if is_open != self.is_connected {
            self.is_connected = is_open;
            self.keep_until = is_open.then_some(now + GRACE);
            self.lost = (!is_open).then_some(now);
            self.calls.clear();
            self.areas.values_mut().for_each(Area::begin_connection);
        }
        if self.lost.is_some_and(|lost| lost + GRACE <= now) {
            self.lost = None;
            next.extend(self.areas.iter_mut().filter_map(|(collection, area)| area.see(*collection, Vec::new())));
        }
        if self.keep_until.is_some_and(|until| until <= now) {
            self.keep_until = None;
            next.extend(self.areas.iter_mut().filter_map(|(collection, area)| {
                let listed = area.listed.take()?;
                area.see(*collection, listed)
            }));
        }
        if !is_open {
            if std::mem::take(&mut self.is_leaving) {
                next.push(Next::Left);
            }
            return next;
        }
        let is_held = self.is_held();
        for (collection, area) in &mut self.areas {
            if area.subscription.is_none() && !self.is_leaving {
                self.keys += 1;
                let key = *area.subscription.insert(AreaKey(self.keys));
                next.push(Next::Follow { collection: *collection, key, scope: area.scope.clone() });
            }
            if (!is_held && area.due().is_some_and(|due| due <= now)) || (self.is_leaving && area.is_new) {
                area.sent = Some(now);
                area.again = None;
                area.is_new = false;
                area.is_shown = area.value.is_some();
                next.push(Next::Set { collection: *collection, scope: area.scope.clone(), value: area.value.clone() });
            }
        }
        let is_calling = !self.calls.is_empty() || next.iter().any(|next| matches!(next, Next::Set { .. }));
        if self.is_leaving && !is_calling {
            self.is_leaving = false;
            next.push(Next::Left);
        }
        next
    }

    /// The time at which [`Areas::next`] has something to do.
    pub(super) fn due(&self, is_open: bool) -> Option<Duration> {
        let sees = self.areas.values().any(|area| !area.peers.is_empty());
        let lost = self.lost.filter(|_| sees).map(|lost| lost + GRACE);
        let keeps = self.areas.values().any(|area| area.listed.is_some());
        let keep_until = self.keep_until.filter(|_| keeps);
        let areas = self.areas.values().filter(|_| is_open && !self.is_held()).filter_map(Area::due);
        areas.chain(lost).chain(keep_until).min()
    }

    /// Whether a push waits for its answer. Then few values go before the next one.
    pub(super) fn set_pushing(&mut self, is_pushing: bool) {
        self.is_pushing = is_pushing;
    }

    /// Values wait, because a push does.
    fn is_held(&self) -> bool {
        self.is_pushing && self.calls.len() >= CALLS_SLOW
    }

    /// A value of the collection is on its way.
    pub(super) fn called(&mut self, mutation: Mutation, collection: CollectionIndex, scope: Option<String>) {
        self.calls.insert(mutation, Call { collection, scope });
        if let Some(area) = self.areas.get_mut(&collection) {
            area.calls += 1;
        }
    }

    /// A call that has no answer yet. The caller has its answer.
    pub(super) fn take_call(&mut self, mutation: Mutation) -> Option<Call> {
        let call = self.calls.remove(&mutation)?;
        if let Some(area) = self.areas.get_mut(&call.collection) {
            area.calls = area.calls.saturating_sub(1);
        }
        Some(call)
    }

    /// Handles the answer to a call.
    pub(super) fn answered(&mut self, call: Call, answer: Result<Pace, Refusal>, now: Duration) -> Option<Next> {
        let Call { collection, scope } = call;
        // The answer of a scope that was left says nothing of the present one.
        let area = self.areas.get_mut(&collection).filter(|area| area.scope == scope)?;
        match answer {
            Ok(pace) => {
                area.pace = Some(pace);
                area.again = area.value.is_some().then(|| now + pace.ttl / PRESENCE_REFRESHES);
                area.set_refused = None;
                None
            }
            // The log's subscription is refused for the same reason, and decides whether to ask for another token.
            Err(refusal) if refusal.code == RefusalCode::Unauthenticated => {
                area.again = Some(now + AGAIN);
                None
            }
            Err(refusal) if refusal.code == RefusalCode::TooOften => {
                area.is_new = true;
                area.held_until = now + TOO_OFTEN;
                None
            }
            Err(refusal) => {
                area.again = area.value.is_some().then_some(now + AGAIN);
                area.is_unknown |= refusal.code == RefusalCode::UnknownFunction;
                refuse(&mut area.set_refused, collection, refusal)
            }
        }
    }

    /// Handles a result of `listPresence`, which may be the same as before.
    pub(super) fn listed(
        &mut self,
        collection: CollectionIndex,
        key: AreaKey,
        result: Result<Vec<Peer>, Refusal>,
    ) -> Option<Next> {
        let keeps = self.keep_until.is_some();
        let area = self.areas.get_mut(&collection).filter(|area| area.subscription == Some(key))?;
        match result {
            Ok(mut peers) => {
                area.list_refused = None;
                peers.retain(|peer| Some(&peer.id) != self.peer.as_ref());
                area.listed = None;
                if keeps {
                    let missing = |peer: &&Peer| !peers.iter().any(|listed| listed.id == peer.id);
                    let missing: Vec<_> = area.peers.iter().filter(missing).cloned().collect();
                    if !missing.is_empty() {
                        area.listed = Some(peers.clone());
                        peers.extend(missing);
                    }
                }
                area.see(collection, peers)
            }
            Err(refusal) => {
                area.listed = None;
                let gone = area.see(collection, Vec::new());
                // The log's subscription reports this.
                if refusal.code == RefusalCode::Unauthenticated {
                    return gone;
                }
                area.is_unknown |= refusal.code == RefusalCode::UnknownFunction;
                // Peers that are not seen are the smaller news.
                refuse(&mut area.list_refused, collection, refusal).or(gone)
            }
        }
    }
}

impl Area {
    fn new(scope: Option<String>, interval: Duration) -> Self {
        Self {
            scope,
            value: None,
            interval,
            pace: None,
            is_new: false,
            is_shown: false,
            sent: None,
            again: None,
            held_until: Duration::ZERO,
            calls: 0,
            subscription: None,
            set_refused: None,
            list_refused: None,
            is_unknown: false,
            peers: Vec::new(),
            listed: None,
        }
    }

    /// There is another connection, or none: the deployment may have forgotten everything.
    fn begin_connection(&mut self) {
        self.is_new = self.value.is_some();
        self.is_shown = false;
        self.is_unknown = false;
        self.calls = 0;
        (self.pace, self.again, self.subscription, self.listed) = (None, None, None, None);
        self.held_until = Duration::ZERO;
    }

    /// When the value is to be sent.
    fn due(&self) -> Option<Duration> {
        let most = match self.pace {
            // Before the first answer the pace is not known.
            None => 1,
            Some(pace) if pace.interval > SLOW => CALLS_SLOW,
            Some(_) => CALLS,
        };
        if self.is_unknown || self.calls >= most {
            return None;
        }
        let interval = self.pace.map_or(self.interval, |pace| pace.interval.max(self.interval));
        let paced = self.sent.map_or(Duration::ZERO, |sent| sent + interval).max(self.held_until);
        if self.is_new { Some(paced) } else { self.again.map(|again| again.max(paced)) }
    }

    /// Notes the peers. Returns them if they have changed.
    fn see(&mut self, collection: CollectionIndex, peers: Vec<Peer>) -> Option<Next> {
        if peers == self.peers {
            return None;
        }
        self.peers = peers;
        Some(Next::Peers { collection, peers: self.peers.clone() })
    }
}

/// Notes a refusal of a function. Returns it if it is for another reason than the last one.
fn refuse(last: &mut Option<RefusalCode>, collection: CollectionIndex, refusal: Refusal) -> Option<Next> {
    let is_other = last.replace(refusal.code.clone()) != Some(refusal.code.clone());
    is_other.then_some(Next::Refused { collection, refusal })
}

#[cfg(test)]
#[path = "presence_tests.rs"]
mod tests;
