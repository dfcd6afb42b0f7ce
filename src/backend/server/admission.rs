//! Admission: strangers get a small share of the sockets, and little memory and time on each.
//!
//! A socket belongs to a *stranger* until it shows that its client may call functions: with a valid token, or, where
//! the backend requires none, with a complete request. Then it is a *member*. Strangers have [`STRANGERS`] places, and
//! the strangers of one address a part of them. A client with the token is a stranger at first, too. So when all places
//! are taken, a new socket still gets one: the address with the most strangers loses its oldest. A WebSocket is a
//! member for as long as it is authenticated, an HTTP connection during each request.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::Duration,
};

use futures::task::AtomicWaker;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::frames::Frames;
use crate::backend::{
    limits::{
        CONNECTIONS, FREE_BYTES, STRANGER_BYTES, STRANGER_GRACE, STRANGER_HEAD_BYTES, STRANGER_PATIENCE, STRANGERS,
        STRANGERS_PER_ADDRESS, UNFINISHED_BYTES, UNFINISHED_STEP,
    },
    metrics::{Metrics, Refused},
};

/// The bytes that end the head of an HTTP request.
const END_OF_HEAD: u32 = u32::from_be_bytes(*b"\r\n\r\n");

/// Identifies the sockets that share a part of the places: an IPv4 address, or the 64 bits of an IPv6 address that its
/// network chose. A single machine has all addresses of such a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Party(IpAddr);

impl Party {
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            address => address,
        })
    }
}

/// The places of strangers and of members.
pub(in crate::backend) struct Doors {
    strangers: Mutex<Strangers>,
    members: Arc<Semaphore>,
    /// Steps of unfinished messages, of all members together.
    unfinished: Arc<Semaphore>,
    /// A stranger has left its place.
    pub left: Notify,
    /// The time that a stranger may take to show a token.
    patience: Duration,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Strangers {
    next: u64,
    /// The strangers in the order in which they came.
    places: BTreeMap<u64, Place>,
}

struct Place {
    party: Party,
    since: Instant,
    standing: Arc<Standing>,
}

impl Doors {
    pub fn new(patience: Duration, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            strangers: Mutex::default(),
            members: Arc::new(Semaphore::new(CONNECTIONS)),
            unfinished: Arc::new(Semaphore::new(UNFINISHED_BYTES / UNFINISHED_STEP)),
            left: Notify::new(),
            patience: patience.min(STRANGER_PATIENCE),
            metrics,
        })
    }

    /// Gives a new socket a place. If there is none, another stranger loses its place. `None` if this socket has to
    /// wait, because the others have only just come.
    pub(super) fn admit(self: &Arc<Self>, address: SocketAddr, now: Instant) -> Option<Arc<Standing>> {
        let party = Party::of(address.ip());
        let mut strangers = lock(&self.strangers);
        if let Some(place) = strangers.in_the_way(party, now)?
            && let Some(victim) = strangers.places.remove(&place)
        {
            self.metrics.refused(Refused::Evicted);
            victim.standing.evict();
        }
        let standing = Arc::new(Standing {
            doors: self.clone(),
            address,
            state: Mutex::new(State {
                rank: Rank::Evicted,
                unfinished: 0,
                claimed: None,
                last: 0,
                has_head: false,
                frames: None,
            }),
            reading: AtomicWaker::new(),
            writing: AtomicWaker::new(),
        });
        standing.be_stranger(&mut strangers, now, false);
        Some(standing)
    }

    /// The number of strangers.
    pub fn strangers(&self) -> usize {
        lock(&self.strangers).places.len()
    }

    /// The number of members.
    pub fn members(&self) -> usize {
        CONNECTIONS - self.members.available_permits()
    }
}

impl Strangers {
    /// The place that a newcomer gets: `Some(None)` is a free place, and `Some(Some(..))` that of a stranger who loses
    /// it. `None` if the newcomer has to wait.
    fn in_the_way(&self, party: Party, now: Instant) -> Option<Option<u64>> {
        let mut counts = HashMap::<Party, usize>::new();
        self.places.values().for_each(|place| *counts.entry(place.party).or_default() += 1);
        let own = counts.get(&party).copied().unwrap_or(0);
        let (at, has_grace) = if own >= STRANGERS_PER_ADDRESS {
            (party, true)
        } else if self.places.len() < STRANGERS {
            return Some(None);
        } else {
            let (busiest, most) = counts.into_iter().max_by_key(|(_, count)| *count)?;
            // An address with several more places than the newcomer's loses one at once.
            (busiest, most <= own + 1)
        };
        let (number, oldest) = self.places.iter().find(|(_, place)| place.party == at)?;
        let is_new = now.saturating_duration_since(oldest.since) < STRANGER_GRACE;
        (!has_grace || !is_new).then_some(Some(*number))
    }
}

/// The present rights of a socket's client. The socket and the requests on it share this.
pub(super) struct Standing {
    doors: Arc<Doors>,
    address: SocketAddr,
    state: Mutex<State>,
    /// The task that reads the socket.
    reading: AtomicWaker,
    /// The task that writes to it. For a WebSocket this is another one.
    writing: AtomicWaker,
}

struct State {
    rank: Rank,
    /// The bytes read since the last complete message or request.
    unfinished: usize,
    /// The steps of them that count in the bound of all members.
    claimed: Option<OwnedSemaphorePermit>,
    /// The last bytes that were read before there were frames.
    last: u32,
    /// The bytes read since the last inspected request may contain the whole head of another.
    has_head: bool,
    /// The frames of a WebSocket.
    frames: Option<Frames>,
}

enum Rank {
    Stranger {
        place: u64,
        /// The end of its patience.
        until: Instant,
        /// The bytes that it may still send.
        left: usize,
        /// It has sent more.
        is_over: bool,
        /// It has been a member on this socket: answers may still be on their way.
        was_member: bool,
    },
    Member,
    /// It lost its place.
    Evicted,
}

/// The unfinished messages of all members take too much memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Excess;

impl Standing {
    /// The address of the socket's other end.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes this a member until the pass is dropped. `None` if there is no place for another member.
    pub fn enter(self: &Arc<Self>) -> Option<Pass> {
        let place = self.doors.members.clone().try_acquire_owned().ok()?;
        let mut strangers = lock(&self.doors.strangers);
        let mut state = lock(&self.state);
        match state.rank {
            Rank::Stranger { place, .. } => drop(strangers.places.remove(&place)),
            // Pipelined requests are served one after the other, so no socket enters twice.
            Rank::Member => {}
            Rank::Evicted => return None,
        }
        state.rank = Rank::Member;
        self.reading.wake();
        self.doors.left.notify_one();
        Some(Pass { standing: self.clone(), _place: place })
    }

    /// A stranger's request begins: it may send one more head and body. A member's bytes so far are counted anew.
    pub fn begin(&self, bytes: usize) {
        let mut state = lock(&self.state);
        if let Rank::Stranger { left, is_over, .. } = &mut state.rank {
            (*left, *is_over) = (bytes, false);
        }
        state.has_head = false;
        state.finish();
        drop(state);
        self.reading.wake();
    }

    /// The client asks for a WebSocket. Its bytes are frames from now on. Returns false if it has sent more than its
    /// request.
    pub fn begin_frames(&self) -> bool {
        self.begin(STRANGER_BYTES);
        let mut state = lock(&self.state);
        state.frames = Some(Frames::default());
        state.last == END_OF_HEAD
    }

    /// A message is complete.
    pub fn finish(&self) {
        lock(&self.state).finish();
    }

    /// Counts bytes that were read. Only before the next read does [`is_over`](Self::is_over) decide whether a stranger
    /// has sent too much, because these bytes may contain a whole request with its token, or a message with it.
    pub fn take(&self, bytes: &[u8]) -> Result<(), Excess> {
        let mut state = lock(&self.state);
        let announced = state.follow(bytes);
        let bytes = bytes.len();
        state.unfinished += bytes;
        match &mut state.rank {
            Rank::Stranger { left, is_over, .. } => {
                *is_over |= *left < bytes || announced > STRANGER_BYTES;
                *left = left.saturating_sub(bytes);
                Ok(())
            }
            Rank::Evicted => Ok(()),
            Rank::Member => {
                let bytes = state.unfinished.max(announced);
                state.claim(bytes, &self.doors.unfinished)
            }
        }
    }

    /// Whether this is still a stranger, and it has sent more than strangers may. Nothing more may be read then.
    pub fn is_over(&self) -> bool {
        matches!(lock(&self.state).rank, Rank::Stranger { is_over: true, .. })
    }

    /// Whether a request may have been read whose token has not been inspected yet ([`begin`](Self::begin)).
    pub fn has_head(&self) -> bool {
        lock(&self.state).has_head
    }

    /// Claims the memory of a whole request before it is read.
    pub fn reserve(&self, bytes: usize) -> Result<(), Excess> {
        lock(&self.state).claim(bytes, &self.doors.unfinished)
    }

    /// The end of a stranger's patience. `None` for a member.
    pub fn until(&self) -> Option<Instant> {
        match lock(&self.state).rank {
            Rank::Stranger { until, .. } => Some(until),
            Rank::Member | Rank::Evicted => None,
        }
    }

    /// Something was written. An answer to a member may take longer than a stranger's patience.
    pub fn wrote(&self, now: Instant) {
        if let Rank::Stranger { until, was_member: true, .. } = &mut lock(&self.state).rank {
            *until = now + self.doors.patience;
        }
    }

    /// Whether the socket has lost its place. If not, the task that reads is woken when it does.
    pub fn is_evicted(&self, waker: &Waker) -> bool {
        self.reading.register(waker);
        matches!(lock(&self.state).rank, Rank::Evicted)
    }

    /// The same for the task that writes.
    pub fn is_evicted_in_writing(&self, waker: &Waker) -> bool {
        self.writing.register(waker);
        matches!(lock(&self.state).rank, Rank::Evicted)
    }

    /// The socket is gone.
    pub fn leave(&self) {
        let mut strangers = lock(&self.doors.strangers);
        let mut state = lock(&self.state);
        if let Rank::Stranger { place, .. } = state.rank {
            strangers.places.remove(&place);
        }
        state.rank = Rank::Evicted;
        state.finish();
        self.doors.left.notify_one();
    }

    /// The socket loses its place.
    pub(super) fn evict(&self) {
        lock(&self.state).rank = Rank::Evicted;
        self.reading.wake();
        self.writing.wake();
    }

    fn be_stranger(self: &Arc<Self>, strangers: &mut Strangers, now: Instant, was_member: bool) {
        let place = strangers.next;
        strangers.next += 1;
        let party = Party::of(self.address.ip());
        strangers.places.insert(place, Place { party, since: now, standing: self.clone() });
        let (until, left) = (now + self.doors.patience, STRANGER_HEAD_BYTES + STRANGER_BYTES);
        lock(&self.state).rank = Rank::Stranger { place, until, left, is_over: false, was_member };
    }
}

impl State {
    /// Follows the frames. Returns the bytes of the message that is on its way, as far as it is announced.
    fn follow(&mut self, bytes: &[u8]) -> usize {
        if let Some(frames) = &mut self.frames {
            return usize::try_from(frames.pass(bytes)).unwrap_or(usize::MAX);
        }
        let unseen = if self.has_head { bytes.len().saturating_sub(4) } else { 0 };
        for byte in &bytes[unseen..] {
            self.last = self.last << 8 | u32::from(*byte);
            self.has_head |= self.last == END_OF_HEAD;
        }
        0
    }

    fn finish(&mut self) {
        self.unfinished = 0;
        self.claimed = None;
    }

    fn claim(&mut self, bytes: usize, all: &Arc<Semaphore>) -> Result<(), Excess> {
        let needed = bytes.saturating_sub(FREE_BYTES).div_ceil(UNFINISHED_STEP);
        let have = self.claimed.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let Some(more) = needed.checked_sub(have).filter(|more| *more > 0) else { return Ok(()) };
        let more = u32::try_from(more).map_err(|_| Excess)?;
        let more = all.clone().try_acquire_many_owned(more).map_err(|_| Excess)?;
        match &mut self.claimed {
            Some(claimed) => claimed.merge(more),
            None => self.claimed = Some(more),
        }
        Ok(())
    }
}

/// A member's place. When it is dropped, the socket belongs to a stranger again, who has just come.
pub(super) struct Pass {
    standing: Arc<Standing>,
    _place: OwnedSemaphorePermit,
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut strangers = lock(&self.standing.doors.strangers);
        {
            let mut state = lock(&self.standing.state);
            state.finish();
            if matches!(state.rank, Rank::Evicted) {
                return;
            }
        }
        // The places may be exceeded by sockets that were members. The next newcomer takes the place of one.
        self.standing.be_stranger(&mut strangers, Instant::now(), true);
        // The tasks have another deadline now.
        self.standing.reading.wake();
        self.standing.writing.wake();
    }
}

/// Locks. A panic elsewhere leaves these values consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
