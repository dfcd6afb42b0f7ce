//! Damaged files: nothing panics, nothing is deleted or changed, and what cannot be read is told of.
//!
//! Damage is made by seed: `DAMAGE_CASES=10000 cargo test --test damage` tries that many of each, `DAMAGE_SEED=n` the same again.

mod app;
#[path = "../store/author.rs"]
#[allow(dead_code)]
mod author;
mod backend;
mod harm;
mod store;
#[path = "../backend/support.rs"]
#[allow(dead_code)]
mod support;
#[path = "../whole/mod.rs"]
mod whole;
