//! Figures for the operators of a backend, in Prometheus' text format.

use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// The reason why a connection or a request was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// A stranger's place was needed for another.
    Evicted,
    /// There was no place, and no place to wait for one.
    NoPlace,
    /// A stranger showed no token in time.
    LateStranger,
    /// A stranger sent more than strangers may.
    LargeStranger,
    /// A client sent or received nothing for too long.
    Silent,
    /// The unfinished messages of all clients take too much memory.
    Memory,
    /// There are too many clients.
    Full,
    /// The token is wrong, or missing.
    Unauthenticated,
    /// The page's origin is not allowed.
    Origin,
}

const REASONS: [(Refused, &str); 9] = [
    (Refused::Evicted, "evicted"),
    (Refused::NoPlace, "no_place"),
    (Refused::LateStranger, "late_stranger"),
    (Refused::LargeStranger, "large_stranger"),
    (Refused::Silent, "silent"),
    (Refused::Memory, "memory"),
    (Refused::Full, "full"),
    (Refused::Unauthenticated, "unauthenticated"),
    (Refused::Origin, "origin"),
];

/// The upper bounds of the histogram of commits, in microseconds: from a fast disk to one that is about to fail.
const BUCKETS: [u64; 12] =
    [500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000];

/// The counters. Each only grows.
#[derive(Default)]
pub(super) struct Metrics {
    refused: [AtomicU64; REASONS.len()],
    received: AtomicU64,
    sent: AtomicU64,
    /// Commits by the first bucket that holds them, the last one without bound.
    commits: [AtomicU64; BUCKETS.len() + 1],
    commit_microseconds: AtomicU64,
    failed: AtomicU64,
}

/// The figures of this moment.
pub(super) struct Gauges {
    pub connections: usize,
    pub strangers: usize,
    pub members: usize,
    pub documents: usize,
    pub rows: usize,
    pub bytes: usize,
}

impl Metrics {
    pub fn refused(&self, why: Refused) {
        self.refused[why as usize].fetch_add(1, Relaxed);
    }

    pub fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Relaxed);
    }

    pub fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Relaxed);
    }

    /// A mutation was answered this long after it arrived.
    pub fn committed(&self, after: Duration, succeeded: bool) {
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS.iter().position(|most| micros <= *most).unwrap_or(BUCKETS.len());
        self.commits[bucket].fetch_add(1, Relaxed);
        self.commit_microseconds.fetch_add(micros, Relaxed);
        if !succeeded {
            self.failed.fetch_add(1, Relaxed);
        }
    }

    /// All figures as text.
    pub fn text(&self, now: &Gauges) -> String {
        let mut text = String::new();
        let mut one = |name: &str, kind: &str, help: &str, value: u64| {
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "# HELP replicate_{name} {help}\n# TYPE replicate_{name} {kind}\nreplicate_{name} {value}\n"
            );
        };
        one("connections", "gauge", "Open WebSockets.", now.connections as u64);
        one("strangers", "gauge", "Sockets that have shown no valid token.", now.strangers as u64);
        one("members", "gauge", "WebSockets and requests that may call functions.", now.members as u64);
        one("documents", "gauge", "Documents in the log, tombstones included.", now.documents as u64);
        one("log_rows", "gauge", "Rows of the log.", now.rows as u64);
        one("log_bytes", "gauge", "Bytes of the rows.", now.bytes as u64);
        one("received_bytes_total", "counter", "Bytes from clients, without TLS.", self.received.load(Relaxed));
        one("sent_bytes_total", "counter", "Bytes to clients, without TLS.", self.sent.load(Relaxed));
        one("failed_pushes_total", "counter", "Mutations answered with an error.", self.failed.load(Relaxed));
        let counts = self.commits.each_ref().map(|count| count.load(Relaxed));
        let all: u64 = counts.iter().sum();
        one("pushes_total", "counter", "Mutations answered.", all);
        text.push_str("# HELP replicate_refused_total Connections and requests turned away.\n");
        text.push_str("# TYPE replicate_refused_total counter\n");
        for (why, name) in REASONS {
            let count = self.refused[why as usize].load(Relaxed);
            let _ = writeln!(text, "replicate_refused_total{{reason=\"{name}\"}} {count}");
        }
        text.push_str("# HELP replicate_commit_seconds From a mutation's arrival to its durable answer.\n");
        text.push_str("# TYPE replicate_commit_seconds histogram\n");
        let mut sum = 0;
        for (most, count) in BUCKETS.iter().zip(counts) {
            sum += count;
            let most = Duration::from_micros(*most).as_secs_f64();
            let _ = writeln!(text, "replicate_commit_seconds_bucket{{le=\"{most}\"}} {sum}");
        }
        let _ = writeln!(text, "replicate_commit_seconds_bucket{{le=\"+Inf\"}} {all}");
        let seconds = Duration::from_micros(self.commit_microseconds.load(Relaxed)).as_secs_f64();
        let _ = write!(text, "replicate_commit_seconds_sum {seconds}\nreplicate_commit_seconds_count {all}\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_place() {
        for (index, (why, name)) in REASONS.into_iter().enumerate() {
            assert_eq!(why as usize, index, "{name}");
        }
    }

    #[test]
    fn a_histogram_is_cumulative() {
        let metrics = Metrics::default();
        for millis in [1, 3, 3, 20_000] {
            metrics.committed(Duration::from_millis(millis), millis < 1_000);
        }
        let now = Gauges { connections: 1, strangers: 2, members: 3, documents: 4, rows: 5, bytes: 6 };
        let text = metrics.text(&now);
        for line in [
            "replicate_commit_seconds_bucket{le=\"0.0005\"} 0",
            "replicate_commit_seconds_bucket{le=\"0.001\"} 1",
            "replicate_commit_seconds_bucket{le=\"0.005\"} 3",
            "replicate_commit_seconds_bucket{le=\"5\"} 3",
            "replicate_commit_seconds_bucket{le=\"+Inf\"} 4",
            "replicate_commit_seconds_sum 20.007",
            "replicate_pushes_total 4",
            "replicate_failed_pushes_total 1",
            "replicate_log_bytes 6",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
