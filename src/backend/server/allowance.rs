//! A limit on how much of a connection is read, so that a client that floods does not take the others' time.

use std::time::Duration;

use crate::backend::limits::{BYTES_AT_ONCE, BYTES_PER_SECOND, MESSAGES_AT_ONCE, MESSAGES_PER_SECOND};

/// The number of bytes and messages that a connection may send, at once and per second. Beyond that the connection is
/// not read, which in the end makes its sender wait. Nothing is thrown away. Time is a [`Duration`] since a moment that
/// the caller has chosen.
pub(super) struct Allowance {
    messages: f64,
    bytes: f64,
    at: Duration,
}

impl Allowance {
    pub fn new(now: Duration) -> Self {
        Self { messages: MESSAGES_AT_ONCE, bytes: BYTES_AT_ONCE, at: now }
    }

    /// Takes a message of `bytes` bytes. If it was too much, returns the time until which no other message must be
    /// read.
    pub fn take(&mut self, bytes: usize, now: Duration) -> Option<Duration> {
        let seconds = now.saturating_sub(self.at).as_secs_f64();
        self.at = now;
        self.messages = (self.messages + seconds * MESSAGES_PER_SECOND).min(MESSAGES_AT_ONCE) - 1.0;
        self.bytes = (self.bytes + seconds * BYTES_PER_SECOND).min(BYTES_AT_ONCE) - bytes as f64;
        let debt = (-self.messages / MESSAGES_PER_SECOND).max(-self.bytes / BYTES_PER_SECOND);
        (debt > 0.0).then(|| now + Duration::from_secs_f64(debt))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_within_the_rate_are_never_held_back() {
        let start = Duration::from_secs(1);
        let mut allowance = Allowance::new(start);
        for number in 0..100_000_u32 {
            let now = start + Duration::from_secs_f64(f64::from(number) / MESSAGES_PER_SECOND);
            assert_eq!(allowance.take(1_000, now), None, "message {number}");
        }
    }

    #[test]
    fn a_flood_is_held_back_to_the_rate() {
        let start = Duration::from_secs(1);
        let mut allowance = Allowance::new(start);
        let mut now = start;
        let messages = 4 * MESSAGES_AT_ONCE as u32;
        for _ in 0..messages {
            now = allowance.take(10, now).unwrap_or(now);
        }
        let seconds = (now - start).as_secs_f64();
        let due = (f64::from(messages) - MESSAGES_AT_ONCE) / MESSAGES_PER_SECOND;
        assert!((seconds - due).abs() < 0.1, "{seconds} instead of {due}");
        // Bytes count too, even if the messages are few.
        let until = Allowance::new(start).take(3 * BYTES_AT_ONCE as usize, start).expect("it is held back");
        assert!((until - start).as_secs_f64() > BYTES_AT_ONCE / BYTES_PER_SECOND);
    }
}
