//! What values mean when two people, or two versions of an app, edit them: the laws of docs/format.md, a file for each,
//! with whole replicas.

use std::collections::BTreeMap;

use bevy_convex_replicate::format::{Bytes, Counter, KeyedList, Scalar, Value, Whole};
use serde::{Deserialize, Serialize};

use app::{App, Log, at_once, meet, pair, versions};

mod additions;
mod app;
mod closed;
mod defaults;
mod items;
mod registers;
mod renamed;
mod unchanged;

fn scalar(text: &str) -> Scalar {
    Scalar(text.to_owned())
}

fn texts<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(str::to_owned).to_vec()
}
