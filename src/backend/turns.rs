//! Chooses which caller's mutations run next, so that a flood from one caller does not delay the few mutations of the
//! others.
//!
//! Each caller has a queue of its own, and pays for each mutation by its bytes. The caller that has paid least is next
//! (start-time fair queueing: <https://doi.org/10.1109/90.649569>). A caller that sends now and then has paid less than
//! one that always waits, so its turn comes at once. The mutations of a group are made durable together. A group is
//! bounded in bytes, so that the next caller waits for little.
//!
//! Turns alone would leave the disk and the processor busy with floods all the time. So a caller that has sent much
//! recently is *heavy*. After a group of heavy callers, all heavy callers rest for several times as long as the group
//! took, and leave that time to the others. They rest only while there are others: a large import that is alone, or
//! beside other imports, never rests. The server does not read from the socket of a caller that waits, so resting also
//! holds back the cost of reading its messages. A group has either heavy callers or others, and heavy groups are small:
//! another caller that arrives during a heavy group waits until the group is done.
//!
//! This file has no clock: the time is an argument.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    time::{Duration, Instant},
};

use super::limits::{
    CALLERS, GROUP, GROUP_BYTES, HEAVY_BYTES, HEAVY_GROUP_BYTES, LATELY, MUTATION_BYTES, REST_MOST, RESTS,
};
use crate::limits::or_tiny;

/// The sender of mutations: a connection, or all callers over HTTP together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Caller(pub u64);

/// The mutations that wait, and how much each caller has paid. `T` is a mutation.
pub(super) struct Turns<T> {
    queues: HashMap<Caller, Queue<T>>,
    /// Callers with waiting mutations, by what they have paid: those that are not heavy, and those that are.
    light: BTreeSet<(u64, Caller)>,
    heavy: BTreeSet<(u64, Caller)>,
    /// The amount that the caller served last had paid. A new or returning caller starts from there, so an idle caller
    /// does not collect turns.
    level: u64,
    most_paid: u64,
    /// The newest mutation of a caller that is not heavy.
    others: Option<(Caller, Instant)>,
    /// The time until which heavy callers rest.
    rest: Option<Instant>,
    /// From this many queues on, those that no longer matter are dropped.
    most_queues: usize,
}

struct Queue<T> {
    waiting: VecDeque<(u64, T)>,
    paid: u64,
    /// The bytes it has sent recently: each mutation adds its bytes, and [`HEAVY_BYTES`] are taken off in each
    /// [`LATELY`].
    asked: f64,
    asked_at: Instant,
    is_heavy: bool,
}

/// Mutations that run together.
pub(super) struct Group<T> {
    pub mutations: Vec<T>,
    /// The bytes they cost.
    pub bytes: u64,
    /// Whether they come from heavy callers.
    pub is_heavy: bool,
}

impl<T> Queue<T> {
    /// Adds the cost of a mutation, and decides anew whether the caller is heavy.
    fn ask(&mut self, cost: u64, now: Instant) {
        self.asked = self.asked_lately(now) + cost as f64;
        self.asked_at = now;
        self.is_heavy = self.asked > HEAVY_BYTES;
    }

    fn asked_lately(&self, now: Instant) -> f64 {
        let times = now.saturating_duration_since(self.asked_at).as_secs_f64() / LATELY.as_secs_f64();
        (self.asked - times * HEAVY_BYTES).max(0.0)
    }
}

impl<T> Turns<T> {
    pub fn new() -> Self {
        Self {
            queues: HashMap::new(),
            light: BTreeSet::new(),
            heavy: BTreeSet::new(),
            level: 0,
            most_paid: 0,
            others: None,
            rest: None,
            most_queues: CALLERS,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.light.is_empty() && self.heavy.is_empty()
    }

    /// The number of mutations that wait.
    #[cfg(feature = "simulation")]
    pub fn len(&self) -> usize {
        self.queues.values().map(|queue| queue.waiting.len()).sum()
    }

    /// Adds a mutation whose message has `bytes` bytes, behind the others of its caller.
    pub fn push(&mut self, caller: Caller, bytes: usize, mutation: T, now: Instant) {
        self.forget(now);
        let cost = (bytes as u64).max(MUTATION_BYTES);
        let level = self.level;
        let queue = self.queues.entry(caller).or_insert_with(|| Queue {
            waiting: VecDeque::new(),
            paid: level,
            asked: 0.0,
            asked_at: now,
            is_heavy: false,
        });
        if queue.waiting.is_empty() {
            queue.paid = queue.paid.max(level);
        }
        let place = (queue.paid, caller);
        self.light.remove(&place);
        self.heavy.remove(&place);
        queue.ask(cost, now);
        queue.waiting.push_back((cost, mutation));
        if queue.is_heavy {
            self.heavy.insert(place);
            // The caller is heavy now, so it does not count as one of the others.
            self.others.take_if(|(other, _)| *other == caller);
        } else {
            self.light.insert(place);
            self.others = Some((caller, now));
        }
    }

    /// The next group. `None`: no caller waits, or only callers that rest.
    pub fn next(&mut self, now: Instant) -> Option<Group<T>> {
        let rests = self.rest.is_some_and(|rest| rest > now);
        self.group(!rests, if self.has_others(now) { HEAVY_GROUP_BYTES } else { GROUP_BYTES })
    }

    /// The next group, also of callers that rest. `None`: no caller waits.
    pub fn next_at_once(&mut self) -> Option<Group<T>> {
        self.group(true, GROUP_BYTES)
    }

    /// When to call [`next`](Self::next) again if no mutation comes. `None`: no caller waits.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        match (self.light.is_empty(), self.heavy.is_empty()) {
            (true, true) => None,
            (true, false) => Some(self.rest.unwrap_or(now)),
            (false, _) => Some(now),
        }
    }

    /// Notes that a group of heavy callers, with `bytes` bytes, has just ended and took `took`.
    pub fn ran_heavy(&mut self, bytes: u64, took: Duration, now: Instant) {
        // The other callers wait longest for one large mutation, and it fills the disk. So its bytes add to the rest.
        let times = u32::try_from(bytes / HEAVY_GROUP_BYTES).unwrap_or(u32::MAX).max(1);
        let rest = took.min(REST_MOST).saturating_mul(RESTS.saturating_mul(times));
        self.rest = self.has_others(now).then(|| now + rest.min(REST_MOST));
    }

    /// Whether a caller that is not heavy sent something recently.
    fn has_others(&self, now: Instant) -> bool {
        self.others.is_some_and(|(_, at)| now.saturating_duration_since(at) < LATELY)
    }

    /// A group of heavy callers or of others, never of both.
    fn group(&mut self, with_heavy: bool, heavy_bytes: u64) -> Option<Group<T>> {
        let mut group = Group { mutations: Vec::new(), bytes: 0, is_heavy: false };
        while group.mutations.len() < or_tiny(GROUP, 2) {
            let place = match (self.light.first(), self.heavy.first().filter(|_| with_heavy)) {
                (Some(light), Some(heavy)) if heavy.0 < light.0 => heavy,
                (Some(place), _) | (None, Some(place)) => place,
                (None, None) => break,
            };
            let &(paid, caller) = place;
            let Some(queue) = self.queues.get_mut(&caller) else { break };
            let Some(cost) = queue.waiting.front().map(|(cost, _)| *cost) else { break };
            let most = if queue.is_heavy { heavy_bytes } else { GROUP_BYTES };
            if !group.mutations.is_empty() && (queue.is_heavy != group.is_heavy || group.bytes + cost > most) {
                break;
            }
            let places = if queue.is_heavy { &mut self.heavy } else { &mut self.light };
            places.remove(&(paid, caller));
            group.mutations.extend(queue.waiting.pop_front().map(|(_, mutation)| mutation));
            group.is_heavy = queue.is_heavy;
            group.bytes += cost;
            self.level = self.level.max(paid);
            queue.paid = paid + cost;
            self.most_paid = self.most_paid.max(queue.paid);
            if !queue.waiting.is_empty() {
                places.insert((queue.paid, caller));
            }
        }
        if self.is_empty() {
            // Now no caller has paid less than the level.
            self.level = self.level.max(self.most_paid);
        }
        (!group.mutations.is_empty()).then_some(group)
    }

    /// When there are many queues, drops those whose callers would start in the same state if they were new.
    fn forget(&mut self, now: Instant) {
        if self.queues.len() < self.most_queues {
            return;
        }
        let level = self.level;
        self.queues.retain(|_, queue| !queue.waiting.is_empty() || queue.paid > level || queue.asked_lately(now) > 0.0);
        self.most_queues = CALLERS.max(self.queues.len() * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOD: Caller = Caller(1);
    const OTHER_FLOOD: Caller = Caller(2);
    const SOMEONE: Caller = Caller(3);
    const LARGE: usize = 500_000;

    /// The groups that run one after the other at the same moment, as lists of their callers. Each mutation is named
    /// after its caller.
    fn groups(turns: &mut Turns<Caller>, now: Instant) -> Vec<Vec<Caller>> {
        std::iter::from_fn(|| turns.next(now)).map(|group| group.mutations).collect()
    }

    #[test]
    fn a_new_caller_is_next_after_the_running_mutation() {
        let now = Instant::now();
        let mut turns = Turns::new();
        for _ in 0..10 {
            turns.push(FLOOD, LARGE, FLOOD, now);
            turns.push(OTHER_FLOOD, LARGE, OTHER_FLOOD, now);
        }
        assert_eq!(turns.next(now).unwrap().mutations, [FLOOD]);
        turns.push(SOMEONE, 300, SOMEONE, now);
        assert_eq!(turns.next(now).unwrap().mutations, [SOMEONE]);
        turns.push(SOMEONE, 300, SOMEONE, now);
        // The other flood has paid nothing yet.
        assert_eq!(turns.next(now).unwrap().mutations, [OTHER_FLOOD]);
        assert_eq!(turns.next(now).unwrap().mutations, [SOMEONE]);
    }

    #[test]
    fn floods_take_turns_and_nobody_waits_forever() {
        let now = Instant::now();
        let mut turns = Turns::new();
        for _ in 0..3 {
            turns.push(FLOOD, LARGE, FLOOD, now);
        }
        for _ in 0..3 {
            turns.push(OTHER_FLOOD, 2 * LARGE, OTHER_FLOOD, now);
        }
        // Two small mutations run for each large one.
        let order: Vec<_> = groups(&mut turns, now).concat();
        assert_eq!(order, [FLOOD, OTHER_FLOOD, FLOOD, FLOOD, OTHER_FLOOD, OTHER_FLOOD]);
        assert!(turns.is_empty());
    }

    #[test]
    fn mutations_of_one_caller_keep_their_order() {
        let now = Instant::now();
        let mut turns = Turns::new();
        for number in 0..1_000 {
            // The callers become light and heavy in turn.
            turns.push(Caller(number % 7), (number as usize * 7_919) % 50_000, number, now);
        }
        let order: Vec<u64> = std::iter::from_fn(|| turns.next_at_once()).flat_map(|group| group.mutations).collect();
        assert_eq!(order.len(), 1_000);
        for caller in 0..7 {
            let its: Vec<_> = order.iter().filter(|number| **number % 7 == caller).collect();
            assert!(its.is_sorted(), "{caller}: {its:?}");
        }
    }

    #[test]
    fn a_batch_is_bounded_in_number_and_bytes() {
        let now = Instant::now();
        let mut turns = Turns::new();
        for number in 0..1_000 {
            turns.push(Caller(number), 10, Caller(number), now);
        }
        let sizes: Vec<_> = groups(&mut turns, now).iter().map(Vec::len).collect();
        assert_eq!(sizes.iter().sum::<usize>(), 1_000);
        assert!(sizes.iter().all(|size| *size <= GROUP), "{sizes:?}");
        for number in 0..100 {
            turns.push(Caller(number), 50_000, Caller(number), now);
        }
        let sizes: Vec<_> = groups(&mut turns, now).iter().map(Vec::len).collect();
        assert!(sizes.iter().all(|size| *size as u64 * 50_000 <= GROUP_BYTES), "{sizes:?}");
    }

    #[test]
    fn a_flood_has_small_groups_of_its_own_while_there_are_others() {
        let mut now = Instant::now();
        let mut turns = Turns::new();
        turns.push(SOMEONE, 300, SOMEONE, now);
        for _ in 0..1_000 {
            turns.push(FLOOD, 300, FLOOD, now);
        }
        for _ in 0..10 {
            turns.push(SOMEONE, 300, SOMEONE, now);
            let groups = groups(&mut turns, now);
            let its: Vec<_> = groups.iter().filter(|group| group.contains(&FLOOD)).collect();
            assert!(its.iter().all(|group| group.iter().all(|caller| *caller == FLOOD)), "{groups:?}");
            assert!(its.iter().all(|group| group.len() as u64 * MUTATION_BYTES <= HEAVY_GROUP_BYTES), "{groups:?}");
            now += LATELY / 20;
            for _ in 0..1_000 {
                turns.push(FLOOD, 300, FLOOD, now);
            }
        }
        // When the flood is alone, its groups may be as large as any other.
        let sizes: Vec<_> = groups(&mut turns, now + LATELY).iter().map(Vec::len).collect();
        assert_eq!(sizes.iter().max(), Some(&GROUP));
    }

    #[test]
    fn floods_rest_while_there_are_others_who_do_not() {
        let now = Instant::now();
        let mut turns = Turns::new();
        turns.push(SOMEONE, 300, SOMEONE, now);
        assert!(!turns.next(now).unwrap().is_heavy);
        turns.push(FLOOD, LARGE, FLOOD, now);
        turns.push(FLOOD, LARGE, FLOOD, now);
        assert!(turns.next(now).unwrap().is_heavy);
        let took = Duration::from_millis(10);
        turns.ran_heavy(4 * HEAVY_GROUP_BYTES, took, now);
        assert_eq!(turns.due(now), Some(now + 4 * took * RESTS), "a large one costs more than its time");
        turns.ran_heavy(HEAVY_GROUP_BYTES, took, now);
        assert!(turns.next(now).is_none(), "it rests");
        let until = turns.due(now).expect("it waits");
        assert_eq!(until, now + took * RESTS);
        turns.push(SOMEONE, 300, SOMEONE, now);
        assert_eq!(turns.due(now), Some(now));
        assert_eq!(groups(&mut turns, now), [[SOMEONE]]);
        assert_eq!(groups(&mut turns, until), [[FLOOD]]);
        assert_eq!(turns.due(until), None);
    }

    #[test]
    fn a_rest_has_an_end_however_long_the_disk_took() {
        let now = Instant::now();
        let mut turns = Turns::new();
        turns.push(SOMEONE, 300, SOMEONE, now);
        turns.push(FLOOD, LARGE, FLOOD, now);
        turns.push(FLOOD, LARGE, FLOOD, now);
        turns.ran_heavy(HEAVY_GROUP_BYTES, Duration::from_secs(3_600), now);
        assert_eq!(groups(&mut turns, now), [[SOMEONE]]);
        assert_eq!(turns.due(now), Some(now + REST_MOST));
        // When the backend stops, waiting mutations do not rest.
        assert_eq!(turns.next_at_once().unwrap().mutations, [FLOOD]);
    }

    #[test]
    fn an_import_that_is_alone_or_beside_another_never_rests() {
        let now = Instant::now();
        let mut turns = Turns::new();
        // A single small mutation does not make a caller heavy.
        turns.push(FLOOD, 300, FLOOD, now);
        turns.push(OTHER_FLOOD, 300, OTHER_FLOOD, now);
        for _ in 0..100 {
            turns.push(FLOOD, LARGE, FLOOD, now);
            turns.push(OTHER_FLOOD, LARGE, OTHER_FLOOD, now);
        }
        while let Some(group) = turns.next(now) {
            assert!(group.is_heavy);
            turns.ran_heavy(HEAVY_GROUP_BYTES, Duration::from_millis(10), now);
        }
        assert!(turns.is_empty());
    }

    #[test]
    fn the_cost_of_a_heavy_caller_is_forgotten_after_a_while() {
        let now = Instant::now();
        let mut turns = Turns::new();
        turns.push(SOMEONE, 300, SOMEONE, now);
        turns.push(FLOOD, LARGE, FLOOD, now);
        groups(&mut turns, now);
        turns.push(FLOOD, 300, FLOOD, now);
        assert!(turns.next(now).unwrap().is_heavy);
        let later = now + LATELY * 10;
        turns.push(FLOOD, LARGE, FLOOD, later);
        assert!(turns.next(later).unwrap().is_heavy);
        turns.ran_heavy(HEAVY_GROUP_BYTES, Duration::from_millis(10), later);
        turns.push(FLOOD, LARGE, FLOOD, later);
        assert!(turns.next(later).is_some(), "nobody else was there lately");
        let much_later = later + LATELY * 10;
        turns.push(FLOOD, 300, FLOOD, much_later);
        assert!(!turns.next(much_later).unwrap().is_heavy);
    }

    #[test]
    fn a_pace_that_a_game_keeps_up_is_never_heavy() {
        let mut now = Instant::now();
        let mut turns = Turns::new();
        for _ in 0..10_000 {
            now += Duration::from_secs(1) / 60;
            turns.push(SOMEONE, 1_500, SOMEONE, now);
            assert!(!turns.next(now).unwrap().is_heavy);
        }
    }

    #[test]
    fn callers_who_left_are_forgotten() {
        let mut now = Instant::now();
        let mut turns = Turns::new();
        for number in 0..10 * CALLERS as u64 {
            now += Duration::from_millis(100);
            turns.push(Caller(number), 300, (), now);
            assert!(turns.next(now).is_some());
        }
        assert!(turns.queues.len() <= CALLERS, "{}", turns.queues.len());
    }
}
