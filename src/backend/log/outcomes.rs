//! The outcomes of mutations that clients may send again.
//!
//! A client whose connection ends before a mutation is answered sends the mutation again over its next connection, with
//! the same session id and request id. If the log has an outcome under these ids, that outcome is the answer, and the
//! mutation does not run a second time. Without this, a repeated delete would undo a restore that came in between.
//!
//! Convex does the same (`crates/model/src/session_requests/mod.rs` of get-convex/convex-backend, and
//! `check_mutation_status` in `crates/application/src/application_function_runner/mod.rs`): the outcome is written in
//! the mutation's own transaction, failed mutations have none and run again, and old outcomes are deleted.

use std::collections::{BTreeMap, HashMap};

use super::record::{Outcome, Record, RequestKey};
use crate::backend::limits::{OUTCOME_BYTES, OUTCOME_RETENTION, SESSION_OUTCOMES};

/// Bytes that count for an outcome in addition to its value: its ids and times, here and in the file.
const OVERHEAD_BYTES: usize = 128;

impl Outcome {
    fn bytes(&self) -> usize {
        self.value.len() + OVERHEAD_BYTES
    }
}

/// The outcomes that the log still has.
#[derive(Default)]
pub(super) struct Outcomes {
    /// In the order in which the mutations ran.
    by_age: BTreeMap<u64, Outcome>,
    /// For each session, the places of its requests in `by_age`.
    by_session: HashMap<[u8; 16], BTreeMap<u32, u64>>,
    /// The place of the next outcome.
    next: u64,
    bytes: usize,
}

impl Outcomes {
    /// The outcome of a mutation that has run under this name.
    pub(super) fn find(&self, key: RequestKey) -> Option<&Outcome> {
        let place = self.by_session.get(&key.session)?.get(&key.request)?;
        self.by_age.get(place)
    }

    pub(super) fn insert(&mut self, outcome: Outcome) {
        self.remove(outcome.key);
        let key = outcome.key;
        self.bytes += outcome.bytes();
        self.by_session.entry(key.session).or_default().insert(key.request, self.next);
        self.by_age.insert(self.next, outcome);
        self.next += 1;
    }

    fn remove(&mut self, key: RequestKey) {
        let Some(requests) = self.by_session.get_mut(&key.session) else { return };
        let Some(place) = requests.remove(&key.request) else { return };
        if requests.is_empty() {
            self.by_session.remove(&key.session);
        }
        if let Some(outcome) = self.by_age.remove(&place) {
            self.bytes -= outcome.bytes();
        }
    }

    /// Remembers the outcome of a mutation, and forgets outcomes beyond the limits. The records belong in the
    /// transaction of the mutation.
    pub(super) fn remember(&mut self, outcome: Outcome, records: &mut Vec<Record>) {
        let (session, now) = (outcome.key.session, outcome.at);
        records.push(Record::Outcome(outcome.clone()));
        self.insert(outcome);
        while let Some(key) = self.surplus(session, now) {
            self.remove(key);
            records.push(Record::OutcomeGone(key));
        }
    }

    /// An outcome that has to go: the first of a session that has too many, or the oldest of all.
    fn surplus(&self, session: [u8; 16], now: i64) -> Option<RequestKey> {
        if let Some(requests) = self.by_session.get(&session)
            && requests.len() > SESSION_OUTCOMES
            && let Some((&request, _)) = requests.first_key_value()
        {
            return Some(RequestKey { session, request });
        }
        let (_, oldest) = self.by_age.first_key_value()?;
        let age = u128::try_from(now.saturating_sub(oldest.at)).unwrap_or_default();
        (self.bytes > OUTCOME_BYTES || age > OUTCOME_RETENTION.as_nanos()).then_some(oldest.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3_600 * 1_000_000_000;

    fn remember(log: &mut Outcomes, session: u8, request: u32, at: i64, value: &str) -> Vec<Record> {
        let key = RequestKey { session: [session; 16], request };
        let mut records = Vec::new();
        log.remember(Outcome { key, at, ts: at, value: value.into() }, &mut records);
        records
    }

    fn has(log: &Outcomes, session: u8, request: u32) -> bool {
        log.find(RequestKey { session: [session; 16], request }).is_some()
    }

    #[test]
    fn a_busy_session_displaces_its_own_outcomes_only() {
        let mut log = Outcomes::default();
        remember(&mut log, 1, 0, 0, "null");
        let surplus = 3;
        for request in 0..(SESSION_OUTCOMES as u32 + surplus) {
            let records = remember(&mut log, 2, request, 0, "null");
            let goes = request >= SESSION_OUTCOMES as u32;
            assert_eq!(records.len(), 1 + usize::from(goes), "each one that is forgotten is deleted from the disk");
        }
        assert!(has(&log, 1, 0));
        assert!(!has(&log, 2, surplus - 1));
        assert!(has(&log, 2, surplus));
        assert_eq!(log.by_age.len(), 1 + SESSION_OUTCOMES);
    }

    #[test]
    fn outcomes_are_forgotten_when_they_are_old_and_not_before() {
        let mut log = Outcomes::default();
        remember(&mut log, 1, 0, 0, "null");
        remember(&mut log, 2, 0, 14 * DAY, "null");
        assert!(has(&log, 1, 0));
        remember(&mut log, 2, 1, 14 * DAY + 1, "null");
        assert!(!has(&log, 1, 0));
        assert!(has(&log, 2, 0));
    }

    #[test]
    fn all_outcomes_together_stay_within_their_bytes() {
        let mut log = Outcomes::default();
        let value = "x".repeat(OUTCOME_BYTES / 10);
        for session in 0..20 {
            remember(&mut log, session, 0, 0, &value);
            assert!(log.bytes <= OUTCOME_BYTES);
        }
        assert!(!has(&log, 10, 0));
        assert!((11..20).all(|session| has(&log, session, 0)));
        // An outcome that takes the place of another is counted once.
        remember(&mut log, 19, 0, 0, "null");
        assert_eq!(log.bytes, 8 * (value.len() + OVERHEAD_BYTES) + 4 + OVERHEAD_BYTES);
    }
}
