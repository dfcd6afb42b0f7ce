//! Presence: what connected apps show each other. It is in memory only, and has no log, no store and no history.
//!
//! An area is a collection and a scope. [`Presence::set`] changes what a peer shows in it and [`Presence::list`] reads it,
//! both without the writer. A peer that came over a connection goes when that [`Seat`] is dropped. A peer that is not
//! heard of for its time to live goes with the next [`Presence::expire`].
//!
//! An area has a version that each change makes new, so a query runs again only if its area changed. Changes are not
//! queued: a reader gets the area as it is when there is room in its socket.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::limits::{PRESENCE_BURST, PRESENCE_PLACES};
use crate::{
    limits::{
        PRESENCE_BYTES, PRESENCE_PEERS, PRESENCE_RATE, PRESENCE_SESSION_BYTES, PRESENCE_SESSION_BYTES_MIN,
        PRESENCE_TTL_MS,
    },
    record::{Peer, PeerId, Refusal, RefusalCode, UserId},
    wire::{Pace, SetPresence},
};

/// How long a peer is shown that was not heard of.
pub(super) const TTL: Duration = Duration::from_millis(PRESENCE_TTL_MS);

/// A collection and a scope, in which peers see each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Area {
    pub collection: String,
    pub scope: Option<String>,
}

/// All areas.
#[derive(Default)]
pub(super) struct Presence(Mutex<Areas>);

#[derive(Default)]
struct Areas {
    areas: HashMap<Area, Shown>,
    /// The number of the last change of any area.
    changes: u64,
    /// The number of the last connection.
    seats: u64,
    /// The peers of all areas.
    places: usize,
}

/// An area with a peer or a follower.
#[derive(Default)]
struct Shown {
    version: u64,
    peers: BTreeMap<PeerId, Place>,
    /// The connections with an open query of this area.
    followers: HashMap<u64, Arc<Notify>>,
}

/// A peer in an area.
struct Place {
    value: Arc<str>,
    user: Option<UserId>,
    /// The connection that it came over last. `None`: an HTTP request.
    seat: Option<u64>,
    until: Instant,
    /// The time until which the peer has used up its rate.
    paid: Instant,
}

impl Presence {
    // The areas are whole whenever the lock is free.
    fn lock(&self) -> MutexGuard<'_, Areas> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection. `news` is told of changes in the areas that it [follows](Seat::follow).
    pub fn seat(self: &Arc<Self>, news: Arc<Notify>) -> Seat {
        let mut areas = self.lock();
        areas.seats += 1;
        Seat { presence: self.clone(), number: areas.seats, news, follows: BTreeSet::new(), was_in: BTreeSet::new() }
    }

    /// Changes what a peer shows, or lets it leave. The caller has asked the rule.
    pub fn set(
        &self,
        area: &Area,
        call: SetPresence,
        user: Option<UserId>,
        seat: Option<u64>,
        now: Instant,
    ) -> Result<convex::Value, Refusal> {
        let SetPresence { session, value, .. } = call;
        check(&session, value.as_deref())?;
        let peer = PeerId::of_session(&session);
        let mut areas = self.lock();
        match value {
            Some(value) => areas.show(area, peer.clone(), value, user, seat, now)?,
            None => areas.remove(area, &peer),
        }
        Ok(Pace::encode(PRESENCE_RATE, TTL, &peer))
    }

    /// The peers of an area, by name.
    pub fn list(&self, area: &Area) -> Vec<Peer> {
        let areas = self.lock();
        let peers = areas.areas.get(area).map(|shown| &shown.peers).into_iter().flatten();
        let peer = |(id, place): (&PeerId, &Place)| Peer {
            id: id.clone(),
            user: place.user.clone(),
            value: place.value.clone(),
        };
        peers.map(peer).collect()
    }

    /// Another number than before if the area has changed.
    pub fn version(&self, area: &Area) -> u64 {
        self.lock().areas.get(area).map_or(0, |shown| shown.version)
    }

    /// Removes the peers that were not heard of for too long.
    pub fn expire(&self, now: Instant) {
        self.lock().retain(None, |place| place.until > now);
    }
}

/// A value that is too long, or a secret of another length than is allowed.
fn check(session: &str, value: Option<&str>) -> Result<(), Refusal> {
    if !(PRESENCE_SESSION_BYTES_MIN..=PRESENCE_SESSION_BYTES).contains(&session.len()) {
        let message = format!(
            "the session has {} bytes; make a random one of {PRESENCE_SESSION_BYTES_MIN} to {PRESENCE_SESSION_BYTES}",
            session.len()
        );
        return Err(Refusal::new(RefusalCode::InvalidSession, message));
    }
    match value {
        Some(value) if value.len() > PRESENCE_BYTES => {
            Err(Refusal::too_large(format!("the presence has {} bytes", value.len()), PRESENCE_BYTES))
        }
        _ => Ok(()),
    }
}

impl Areas {
    fn show(
        &mut self,
        area: &Area,
        peer: PeerId,
        value: String,
        user: Option<UserId>,
        seat: Option<u64>,
        now: Instant,
    ) -> Result<(), Refusal> {
        let every = Duration::from_secs_f64(1.0 / PRESENCE_RATE);
        self.changes += 1;
        let shown = match self.areas.get_mut(area) {
            Some(shown) => shown,
            None => self.areas.entry(area.clone()).or_default(),
        };
        if let Some(place) = shown.peers.get_mut(&peer) {
            // The same value again only says that the peer is still there.
            let is_new = *place.value != *value || place.user != user;
            let paid = if is_new { place.paid.max(now) + every } else { place.paid };
            if paid > now + PRESENCE_BURST && is_new {
                return Err(too_often());
            }
            *place = Place { value: value.into(), user, seat, until: now + TTL, paid };
            if is_new {
                shown.changed(self.changes);
            }
            return Ok(());
        }
        if shown.peers.len() >= PRESENCE_PEERS || self.places >= PRESENCE_PLACES {
            self.forget_if_empty(area);
            return Err(full());
        }
        let place = Place { value: value.into(), user, seat, until: now + TTL, paid: now + every };
        shown.peers.insert(peer, place);
        shown.changed(self.changes);
        self.places += 1;
        Ok(())
    }

    fn remove(&mut self, area: &Area, peer: &PeerId) {
        let Some(shown) = self.areas.get_mut(area) else { return };
        if shown.peers.remove(peer).is_some() {
            self.changes += 1;
            self.places -= 1;
            shown.changed(self.changes);
            self.forget_if_empty(area);
        }
    }

    /// Removes the peers for which `keeps` is false, in one area or in all.
    fn retain(&mut self, area: Option<&Area>, keeps: impl Fn(&Place) -> bool) {
        let mut removed = 0;
        let changes = self.changes + 1;
        let mut clean = |shown: &mut Shown| {
            let before = shown.peers.len();
            shown.peers.retain(|_, place| keeps(place));
            if shown.peers.len() < before {
                removed += before - shown.peers.len();
                shown.changed(changes);
            }
        };
        match area {
            Some(area) => {
                if let Some(shown) = self.areas.get_mut(area) {
                    clean(shown);
                }
                self.forget_if_empty(area);
            }
            None => {
                self.areas.values_mut().for_each(clean);
                self.areas.retain(|_, shown| !shown.is_empty());
            }
        }
        self.changes = changes;
        self.places -= removed;
    }

    fn forget_if_empty(&mut self, area: &Area) {
        if self.areas.get(area).is_some_and(Shown::is_empty) {
            self.areas.remove(area);
        }
    }
}

impl Shown {
    fn changed(&mut self, version: u64) {
        self.version = version;
        self.followers.values().for_each(|news| news.notify_one());
    }

    fn is_empty(&self) -> bool {
        self.peers.is_empty() && self.followers.is_empty()
    }
}

fn too_often() -> Refusal {
    let message =
        format!("at most {PRESENCE_RATE} values a second are shown of a peer: keep the newest, and send it later");
    Refusal { limit: Some(PRESENCE_RATE as u64), ..Refusal::new(RefusalCode::TooOften, message) }
}

fn full() -> Refusal {
    let message = format!("{PRESENCE_PEERS} peers are in this area, which is the most: divide them by scopes");
    Refusal { limit: Some(PRESENCE_PEERS as u64), ..Refusal::new(RefusalCode::AreaFull, message) }
}

/// A connection's part in presence. Its peers go when it is dropped.
pub(super) struct Seat {
    presence: Arc<Presence>,
    number: u64,
    news: Arc<Notify>,
    follows: BTreeSet<Area>,
    /// The areas in which it has shown something.
    was_in: BTreeSet<Area>,
}

impl Seat {
    /// Changes what a peer of this connection shows.
    pub fn set(
        &mut self,
        area: Area,
        call: SetPresence,
        user: Option<UserId>,
        now: Instant,
    ) -> Result<convex::Value, Refusal> {
        let answer = self.presence.set(&area, call, user, Some(self.number), now);
        if answer.is_ok() {
            self.was_in.insert(area);
        }
        answer
    }

    /// From now on, the connection is told of changes in these areas alone.
    pub fn follow(&mut self, follows: BTreeSet<Area>) {
        if follows == self.follows {
            return;
        }
        let mut areas = self.presence.lock();
        for area in self.follows.difference(&follows) {
            areas.unfollow(area, self.number);
        }
        for area in follows.difference(&self.follows) {
            areas.areas.entry(area.clone()).or_default().followers.insert(self.number, self.news.clone());
        }
        drop(areas);
        self.follows = follows;
    }
}

impl Areas {
    fn unfollow(&mut self, area: &Area, seat: u64) {
        if let Some(shown) = self.areas.get_mut(area) {
            shown.followers.remove(&seat);
        }
        self.forget_if_empty(area);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut areas = self.presence.lock();
        for area in &self.follows {
            areas.unfollow(area, self.number);
        }
        // A peer that has connected again since is of its new connection.
        for area in &self.was_in {
            areas.retain(Some(area), |place| place.seat != Some(self.number));
        }
    }
}

#[cfg(test)]
#[path = "presence_tests.rs"]
mod tests;
