//! Presence: what connected apps show each other. It is in memory only, and has no log, no store and no history.
//!
//! An area is a collection and a scope. [`Presence::set`] changes what a peer shows in it and [`Presence::list`] reads it,
//! both without the writer. A peer that came over a connection goes soon after that [`Seat`] is dropped. A peer that is
//! not heard of for its time to live goes with the next [`Presence::expire`].
//!
//! A peer that leaves keeps its place, without a value, until it has used up its rate. So leaving and coming back is no
//! way to show more.
//!
//! An area has a version that each change makes new, so a query runs again only if its area changed. Changes are not
//! queued: a reader gets the area as it is when there is room in its socket.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::limits::{PRESENCE_BURST, PRESENCE_LOST, PRESENCE_PLACES, PRESENCE_PLACES_OF_HOLDER};
use crate::{
    limits::{
        PRESENCE_BYTES, PRESENCE_PEERS, PRESENCE_PEERS_OF_USER, PRESENCE_RATE, PRESENCE_SESSION_BYTES,
        PRESENCE_SESSION_BYTES_MIN, PRESENCE_TTL_MS,
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
    /// The places of all areas.
    places: usize,
    /// The places of each holder.
    held: HashMap<Holder, usize>,
}

/// The caller that a place is counted for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Holder {
    /// A connection.
    Seat(u64),
    /// A verified user, by HTTP requests.
    User(UserId),
    /// All others, by HTTP requests.
    Anyone,
}

impl Holder {
    fn new(seat: Option<u64>, user: Option<&UserId>) -> Self {
        match (seat, user) {
            (Some(seat), _) => Self::Seat(seat),
            (None, Some(user)) => Self::User(user.clone()),
            (None, None) => Self::Anyone,
        }
    }
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
    /// `None`: the peer has left.
    value: Option<Arc<str>>,
    user: Option<UserId>,
    /// The connection or the caller that it came from last.
    holder: Holder,
    until: Instant,
    /// The time until which the peer has used up its rate.
    paid: Instant,
}

impl Place {
    fn is_shown(&self) -> bool {
        self.value.is_some()
    }

    /// Whether the place has to be kept: the peer was heard of, or it has left and has not used up its rate.
    fn lasts(&self, now: Instant) -> bool {
        now < if self.is_shown() { self.until } else { self.paid }
    }

    /// Lets the peer leave. That is a change for the others, so it costs as much as a value.
    fn leave(&mut self, now: Instant) {
        self.value = None;
        self.paid = self.paid.max(now) + every();
    }
}

/// The time that a value takes of a peer's rate.
fn every() -> Duration {
    Duration::from_secs_f64(1.0 / PRESENCE_RATE)
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
        Seat { presence: self.clone(), number: areas.seats, news, follows: BTreeSet::new(), has_shown: false }
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
            Some(value) => areas.show(area, &peer, value, user, seat, now)?,
            None => areas.leave(area, &peer, now),
        }
        Ok(Pace::encode(PRESENCE_RATE, TTL, &peer))
    }

    /// The peers of an area, by name.
    pub fn list(&self, area: &Area) -> Vec<Peer> {
        let areas = self.lock();
        let peers = areas.areas.get(area).map(|shown| &shown.peers).into_iter().flatten();
        let peer = |(id, place): (&PeerId, &Place)| {
            Some(Peer { id: id.clone(), user: place.user.clone(), value: place.value.clone()? })
        };
        peers.filter_map(peer).collect()
    }

    /// Another number than before if the area has changed.
    pub fn version(&self, area: &Area) -> u64 {
        self.lock().areas.get(area).map_or(0, |shown| shown.version)
    }

    /// Removes the peers that were not heard of for too long.
    pub fn expire(&self, now: Instant) {
        self.lock().expire(now);
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
        peer: &PeerId,
        value: String,
        user: Option<UserId>,
        seat: Option<u64>,
        now: Instant,
    ) -> Result<(), Refusal> {
        let holder = Holder::new(seat, user.as_ref());
        self.check_room(area, peer, user.as_ref(), &holder)?;
        let shown = match self.areas.get_mut(area) {
            Some(shown) => shown,
            None => self.areas.entry(area.clone()).or_default(),
        };
        let old = shown.peers.get(peer);
        // The same value again only says that the peer is still there.
        let is_new = old.is_none_or(|old| old.value.as_deref() != Some(&*value) || old.user != user);
        let paid = old.map_or(now, |old| old.paid);
        let paid = if is_new { paid.max(now) + every() } else { paid };
        if is_new && paid > now + PRESENCE_BURST {
            return Err(too_often());
        }
        let place = Place { value: Some(value.into()), user, holder: holder.clone(), until: now + TTL, paid };
        let old = shown.peers.insert(peer.clone(), place);
        if is_new {
            self.changes += 1;
            shown.changed(self.changes);
        }
        *self.held.entry(holder).or_default() += 1;
        match old {
            Some(old) => give_back(&mut self.held, &old.holder),
            None => self.places += 1,
        }
        Ok(())
    }

    /// Refuses a place beyond those of the area, of all areas, of the holder and of the user. A peer that is there
    /// already counts only where it was not counted.
    fn check_room(&self, area: &Area, peer: &PeerId, user: Option<&UserId>, holder: &Holder) -> Result<(), Refusal> {
        let peers = self.areas.get(area).map(|shown| &shown.peers);
        let old = peers.and_then(|peers| peers.get(peer));
        let is_shown = old.is_some_and(Place::is_shown);
        if old.is_none_or(|old| old.holder != *holder)
            && self.held.get(holder).is_some_and(|held| *held >= PRESENCE_PLACES_OF_HOLDER)
        {
            return Err(full(PRESENCE_PLACES_OF_HOLDER, "peers are shown by this caller"));
        }
        if old.is_none() && self.places >= PRESENCE_PLACES {
            return Err(full(PRESENCE_PLACES, "peers are shown by this backend"));
        }
        let others = || peers.into_iter().flatten().filter(|(other, place)| *other != peer && place.is_shown());
        if !is_shown && others().count() >= PRESENCE_PEERS {
            return Err(full(PRESENCE_PEERS, "peers are in this area"));
        }
        // Only a peer that comes, or whose user is another one, is one more of that user.
        if let Some(user) = user
            && !(is_shown && old.is_some_and(|old| old.user.as_ref() == Some(user)))
            && others().filter(|(_, place)| place.user.as_ref() == Some(user)).count() >= PRESENCE_PEERS_OF_USER
        {
            return Err(full(PRESENCE_PEERS_OF_USER, "peers of this user are in this area"));
        }
        Ok(())
    }

    fn leave(&mut self, area: &Area, peer: &PeerId, now: Instant) {
        let Some(shown) = self.areas.get_mut(area) else { return };
        if let Some(place) = shown.peers.get_mut(peer).filter(|place| place.is_shown()) {
            place.leave(now);
            self.changes += 1;
            shown.changed(self.changes);
        }
    }

    /// Lets all peers of a connection leave.
    fn leave_all(&mut self, seat: u64, now: Instant) {
        self.changes += 1;
        for shown in self.areas.values_mut() {
            let mut changes = false;
            for place in shown.peers.values_mut() {
                if place.is_shown() && place.holder == Holder::Seat(seat) {
                    place.leave(now);
                    changes = true;
                }
            }
            if changes {
                shown.changed(self.changes);
            }
        }
    }

    /// A connection is lost. Its peers stay for a moment, in which they may connect again.
    fn lose(&mut self, seat: u64, now: Instant) {
        let places = self.areas.values_mut().flat_map(|shown| shown.peers.values_mut());
        for place in places.filter(|place| place.holder == Holder::Seat(seat)) {
            place.until = place.until.min(now + PRESENCE_LOST);
        }
    }

    fn expire(&mut self, now: Instant) {
        let changes = self.changes + 1;
        for shown in self.areas.values_mut() {
            let mut is_changed = false;
            shown.peers.retain(|_, place| {
                let lasts = place.lasts(now);
                if !lasts {
                    is_changed |= place.is_shown();
                    self.places -= 1;
                    give_back(&mut self.held, &place.holder);
                }
                lasts
            });
            if is_changed {
                self.changes = changes;
                shown.changed(changes);
            }
        }
        self.areas.retain(|_, shown| !shown.is_empty());
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

fn give_back(held: &mut HashMap<Holder, usize>, holder: &Holder) {
    if let Some(count) = held.get_mut(holder) {
        *count -= 1;
        if *count == 0 {
            held.remove(holder);
        }
    }
}

fn too_often() -> Refusal {
    let message =
        format!("at most {PRESENCE_RATE} values a second are shown of a peer: keep the newest, and send it later");
    Refusal { limit: Some(PRESENCE_RATE as u64), ..Refusal::new(RefusalCode::TooOften, message) }
}

fn full(limit: usize, what: &str) -> Refusal {
    let message = format!("{limit} {what}, which is the most");
    Refusal { limit: Some(limit as u64), ..Refusal::new(RefusalCode::AreaFull, message) }
}

/// A connection's part in presence. Its peers go soon after it is dropped.
pub(super) struct Seat {
    presence: Arc<Presence>,
    number: u64,
    news: Arc<Notify>,
    follows: BTreeSet<Area>,
    has_shown: bool,
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
        self.has_shown |= answer.is_ok();
        answer
    }

    /// Lets all peers of this connection leave, because its caller is another one or may not call any more.
    pub fn leave(&mut self, now: Instant) {
        if std::mem::take(&mut self.has_shown) {
            self.presence.lock().leave_all(self.number, now);
        }
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
        if self.has_shown {
            areas.lose(self.number, Instant::now());
        }
    }
}

#[cfg(test)]
#[path = "presence_tests.rs"]
mod tests;
