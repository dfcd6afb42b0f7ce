//! The meaning of a document after concurrent edits by two people or by two versions of an app. There is one file for
//! each law of docs/format.md. The tests use complete replicas.

use std::collections::BTreeMap;

use bevy_convex_replicate::format::{Bytes, Counter, KeyedList, Scalar, Value, Whole};
use serde::{Deserialize, Serialize};

use app::Log;
use typed::{App, at_once, meet, pair, versions};

mod additions;
mod app;
mod closed;
mod defaults;
mod items;
mod registers;
mod renamed;
mod typed;
mod unchanged;

fn scalar(text: &str) -> Scalar {
    Scalar(text.to_owned())
}

fn texts<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(str::to_owned).to_vec()
}
