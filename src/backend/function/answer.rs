//! Answers of queries.

use convex::Value;

use crate::backend::log::StreamState;
use crate::wire::{DocumentPage, LogPage, change_stream};

/// The answer of a query.
pub(in crate::backend) enum Answer {
    /// A page of the log, and the log's epoch.
    Deltas(LogPage, String),
    Documents(DocumentPage),
    /// The time of the newest change in microseconds, and the number of documents.
    Stream {
        timestamp: f64,
        count: f64,
    },
}

impl Answer {
    /// The bytes of the chunks in it.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Deltas(page, _) => page.rows.iter().map(|row| row.bytes.len()).sum(),
            Self::Documents(page) => page.documents.iter().map(|document| document.bytes.len()).sum(),
            Self::Stream { .. } => 0,
        }
    }

    pub(super) fn stream(state: StreamState) -> Self {
        Self::Stream { timestamp: state.timestamp.div_euclid(1_000) as f64, count: state.count as f64 }
    }
}

impl From<Answer> for Value {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Deltas(page, epoch) => page.encode(&epoch),
            Answer::Documents(page) => page.encode(),
            Answer::Stream { timestamp, count } => change_stream(timestamp, count),
        }
    }
}
