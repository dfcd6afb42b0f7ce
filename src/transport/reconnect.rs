use std::{collections::BTreeSet, time::Duration};

use super::{Notice, Reason, backoff::Backoff};
use crate::CollectionIndex;

/// A connection that answered and lasted this long was healthy. The next failure is then counted from the beginning.
const HEALTHY_AFTER: Duration = Duration::from_secs(5);

/// How an attempt or a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The URL is invalid, so there is nothing to connect to.
    BadUrl(String),
    /// No server answers.
    Unreachable(String),
    /// The callback gave no token.
    NoToken(String),
    /// The connection was closed.
    Lost(String),
    /// A function requires another token, and the callback has not been asked for a fresh one.
    Stale(String),
    /// A function requires another token, and the callback has no other.
    Unauthenticated(String),
    /// The callback gave a token of another user. Nothing was sent.
    OtherUser {
        /// The user who is signed in; empty for nobody.
        user: String,
        /// The user whose token it is.
        token_of: String,
    },
}

/// The part of the session whose token was refused. Each source may cause one refresh until it works again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// Reading a collection.
    Pull(CollectionIndex),
    /// Any push.
    Push,
}

/// How to react to a function that says `unauthenticated`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Connects again with a fresh token.
    Refresh,
    /// Gives the connection up, because nothing works without another token.
    GiveUp,
    /// Reports this failure and goes on, because other things work.
    Report,
}

/// Decides when to connect, with which kind of token, and what a failure means. This type uses no clock and no socket.
pub(super) struct ReconnectPolicy {
    has_auth: bool,
    backoff: Backoff,
    /// Attempts since a connection last answered.
    attempt: u32,
    /// The reason why the last connection or attempt ended.
    reason: Option<Reason>,
    /// Whether the callback must be asked for a fresh token.
    refresh: bool,
    /// Whether this connection has sent a token.
    token_sent: bool,
    /// Whether this connection has answered anything.
    answered: bool,
    /// Connections in a row that took a token and ended without an answer.
    silent_ends: u32,
    /// The sources that have caused a refresh.
    refreshed: BTreeSet<Source>,
}

impl ReconnectPolicy {
    pub(super) fn new(seed: u64, has_auth: bool) -> Self {
        Self {
            has_auth,
            backoff: Backoff::new(seed),
            attempt: 0,
            reason: None,
            refresh: false,
            token_sent: false,
            answered: false,
            silent_ends: 0,
            refreshed: BTreeSet::new(),
        }
    }

    /// Starts an attempt. The returned `bool` tells whether the callback must be asked for a fresh token.
    pub(super) fn begin(&mut self) -> (Notice, bool) {
        self.attempt = self.attempt.saturating_add(1);
        self.token_sent = false;
        self.answered = false;
        let notice = Notice::Connecting { attempt: self.attempt, reason: self.reason.clone() };
        (notice, self.refresh)
    }

    /// Notes that the deployment accepted the connection.
    pub(super) fn connected(&mut self, token_sent: bool) {
        self.token_sent = token_sent;
    }

    /// Notes that something was answered, even if only a count. A deployment that answers has not refused the token.
    pub(super) fn heard(&mut self) {
        self.answered = true;
        self.silent_ends = 0;
    }

    /// Notes that a collection was read or a push was accepted.
    pub(super) fn worked(&mut self, source: Source) {
        self.proved();
        self.refreshed.remove(&source);
    }

    /// Notes that the deployment works, even if it only refuses something.
    pub(super) fn proved(&mut self) {
        self.heard();
        self.attempt = 0;
        self.backoff.forgive();
    }

    /// Whether this connection has answered anything.
    pub(super) fn has_answered(&self) -> bool {
        self.answered
    }

    /// Handles a function that said `unauthenticated`. `alone` means that nothing else works either.
    pub(super) fn unauthenticated(&mut self, source: Source, alone: bool) -> Verdict {
        self.heard();
        if self.has_auth && self.refreshed.insert(source) {
            Verdict::Refresh
        } else if alone {
            Verdict::GiveUp
        } else {
            Verdict::Report
        }
    }

    /// Handles the end of an attempt or a connection. Returns the reason, and the pause before the next attempt; `None`
    /// waits until an attempt is requested.
    pub(super) fn ended(&mut self, end: End, lasted: Duration) -> (Reason, Option<Duration>) {
        if self.answered && lasted >= HEALTHY_AFTER {
            self.backoff.reset();
        }
        self.refresh |= self.token_sent;
        let mut pause = None;
        let reason = match end {
            End::BadUrl(why) => {
                let reason = Reason::BadUrl(why);
                self.reason = Some(reason.clone());
                return (reason, None);
            }
            End::Unreachable(why) => Reason::Unreachable(why),
            End::NoToken(why) => {
                self.refresh = true;
                Reason::Unauthenticated(why)
            }
            End::Lost(why) if self.token_sent && !self.answered => {
                self.silent_ends += 1;
                // The client does not say why a connection ended. If a deployment takes a token and closes without a
                // word, twice and the second time with a fresh token, it has refused the token.
                if self.silent_ends >= 2 {
                    Reason::Unauthenticated(
                        "the deployment closed the connection after receiving the token, and again after receiving a fresh one: sign in again, or correct the token".into(),
                    )
                } else {
                    Reason::Lost(why)
                }
            }
            End::Lost(why) => Reason::Lost(why),
            End::Stale(why) => {
                self.refresh = true;
                pause = Some(Duration::ZERO);
                Reason::Lost(format!("a fresh token is needed: {why}"))
            }
            End::OtherUser { user, token_of } => {
                self.refresh = true;
                Reason::OtherUser { user, token_of }
            }
            End::Unauthenticated(why) => {
                self.refresh = self.has_auth;
                Reason::Unauthenticated(why)
            }
        };
        self.reason = Some(reason.clone());
        let pause = pause.unwrap_or_else(|| self.backoff.fail());
        (reason, Some(pause))
    }

    /// Forgets earlier failures, because an attempt was requested.
    pub(super) fn restart(&mut self) {
        self.backoff.reset();
        self.attempt = 0;
        self.silent_ends = 0;
        self.refreshed.clear();
    }

    /// Goes offline, because that was requested.
    pub(super) fn stop(&mut self) {
        self.restart();
        self.reason = Some(Reason::Asked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(10);
    const TASKS: Source = Source::Pull(CollectionIndex(0));
    const NOTES: Source = Source::Pull(CollectionIndex(1));

    fn lost() -> End {
        End::Lost("closed".into())
    }

    fn begin(policy: &mut ReconnectPolicy) -> (u32, Option<Reason>, bool) {
        match policy.begin() {
            (Notice::Connecting { attempt, reason }, refresh) => (attempt, reason, refresh),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn attempts_count_up_with_the_last_reason_until_something_is_answered() {
        let mut policy = ReconnectPolicy::new(1, false);
        assert_eq!(begin(&mut policy), (1, None, false));
        let unreachable = Reason::Unreachable("refused".into());
        let (reason, retry) = policy.ended(End::Unreachable("refused".into()), SHORT);
        assert_eq!(reason, unreachable);
        assert!(retry.is_some());
        assert_eq!(begin(&mut policy), (2, Some(unreachable), false));
        policy.connected(false);
        policy.worked(TASKS);
        let (reason, _) = policy.ended(lost(), SHORT);
        assert_eq!(reason, Reason::Lost("closed".into()));
        assert_eq!(begin(&mut policy), (1, Some(reason), false));
    }

    #[test]
    fn a_bad_url_is_not_tried_again() {
        let mut policy = ReconnectPolicy::new(1, false);
        policy.begin();
        assert_eq!(policy.ended(End::BadUrl("no host".into()), SHORT), (Reason::BadUrl("no host".into()), None));
    }

    #[test]
    fn two_silent_ends_after_a_token_mean_that_it_is_refused() {
        let mut policy = ReconnectPolicy::new(1, true);
        assert!(!begin(&mut policy).2);
        policy.connected(true);
        assert_eq!(policy.ended(lost(), SHORT).0, Reason::Lost("closed".into()));
        assert!(begin(&mut policy).2, "the second attempt has a fresh token");
        policy.connected(true);
        assert!(matches!(policy.ended(lost(), SHORT), (Reason::Unauthenticated(_), Some(_))));
        assert!(begin(&mut policy).2, "and so do all later ones");
        policy.connected(true);
        assert!(matches!(policy.ended(lost(), SHORT), (Reason::Unauthenticated(_), Some(_))));
    }

    #[test]
    fn an_answer_between_silent_ends_clears_the_token() {
        let mut policy = ReconnectPolicy::new(1, true);
        for _ in 0..5 {
            policy.begin();
            policy.connected(true);
            assert_eq!(policy.ended(lost(), SHORT).0, Reason::Lost("closed".into()));
            policy.begin();
            policy.connected(true);
            policy.heard();
            assert_eq!(policy.ended(lost(), SHORT).0, Reason::Lost("closed".into()));
        }
    }

    #[test]
    fn failures_before_the_token_was_sent_do_not_speak_against_it() {
        let mut policy = ReconnectPolicy::new(1, true);
        for _ in 0..5 {
            policy.begin();
            assert_eq!(
                policy.ended(End::Unreachable("refused".into()), SHORT).0,
                Reason::Unreachable("refused".into())
            );
        }
        assert!(!begin(&mut policy).2);
        policy.connected(false);
        for _ in 0..5 {
            assert_eq!(policy.ended(lost(), SHORT).0, Reason::Lost("closed".into()));
        }
    }

    #[test]
    fn a_callback_that_fails_is_asked_again_for_a_fresh_token() {
        let mut policy = ReconnectPolicy::new(1, true);
        policy.begin();
        let (reason, retry) = policy.ended(End::NoToken("signed out".into()), SHORT);
        assert_eq!(reason, Reason::Unauthenticated("signed out".into()));
        assert!(retry.is_some());
        assert!(begin(&mut policy).2);
    }

    #[test]
    fn a_refusal_leads_to_one_refresh_and_then_to_giving_up() {
        let mut policy = ReconnectPolicy::new(1, true);
        policy.begin();
        policy.connected(true);
        assert_eq!(policy.unauthenticated(TASKS, true), Verdict::Refresh);
        let (_, retry) = policy.ended(End::Stale("expired".into()), SHORT);
        assert_eq!(retry, Some(Duration::ZERO));
        assert!(begin(&mut policy).2);
        policy.connected(true);
        assert_eq!(policy.unauthenticated(TASKS, true), Verdict::GiveUp);
        let (reason, retry) = policy.ended(End::Unauthenticated("expired".into()), SHORT);
        assert_eq!(reason, Reason::Unauthenticated("expired".into()));
        assert!(retry.is_some());
    }

    #[test]
    fn subscriptions_beside_a_refused_one_go_on() {
        let mut policy = ReconnectPolicy::new(1, true);
        policy.begin();
        policy.connected(true);
        policy.worked(TASKS);
        assert_eq!(policy.unauthenticated(NOTES, false), Verdict::Refresh);
        policy.ended(End::Stale("no".into()), SHORT);
        policy.begin();
        policy.connected(true);
        policy.worked(TASKS);
        assert_eq!(policy.unauthenticated(NOTES, false), Verdict::Report);
        assert_eq!(policy.unauthenticated(Source::Push, false), Verdict::Refresh);
        assert_eq!(policy.unauthenticated(Source::Push, false), Verdict::Report);
    }

    #[test]
    fn a_token_that_worked_and_expired_is_refreshed_again() {
        let mut policy = ReconnectPolicy::new(1, true);
        policy.begin();
        policy.connected(true);
        assert_eq!(policy.unauthenticated(TASKS, true), Verdict::Refresh);
        policy.ended(End::Stale("expired".into()), SHORT);
        policy.begin();
        policy.worked(TASKS);
        assert_eq!(policy.unauthenticated(TASKS, true), Verdict::Refresh);
    }

    #[test]
    fn without_a_callback_there_is_nothing_to_refresh() {
        let mut policy = ReconnectPolicy::new(1, false);
        policy.begin();
        policy.connected(false);
        assert_eq!(policy.unauthenticated(TASKS, false), Verdict::Report);
        assert_eq!(policy.unauthenticated(TASKS, true), Verdict::GiveUp);
        policy.ended(End::Unauthenticated("who are you".into()), SHORT);
        assert!(!begin(&mut policy).2);
    }

    #[test]
    fn giving_up_again_and_again_takes_longer_and_longer() {
        let mut policy = ReconnectPolicy::new(3, false);
        let mut longest = Duration::ZERO;
        for _ in 0..40 {
            policy.begin();
            policy.connected(false);
            policy.heard();
            policy.unauthenticated(TASKS, true);
            longest = longest.max(policy.ended(End::Unauthenticated("no".into()), SHORT).1.unwrap());
        }
        assert!(longest > Duration::from_secs(5));
        policy.restart();
        policy.begin();
        assert!(policy.ended(lost(), SHORT).1.unwrap() <= Duration::from_millis(100));
    }

    #[test]
    fn a_healthy_connection_starts_the_pauses_over() {
        let mut policy = ReconnectPolicy::new(3, false);
        for _ in 0..40 {
            policy.begin();
            policy.ended(lost(), SHORT);
        }
        policy.begin();
        policy.worked(TASKS);
        assert!(policy.ended(lost(), HEALTHY_AFTER).1.unwrap() <= Duration::from_millis(100));
    }
}
