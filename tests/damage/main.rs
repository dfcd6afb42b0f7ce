//! Damaged files: nothing panics, nothing is deleted or changed, and unreadable data is reported.
//!
//! The damage is a function of a seed. `DAMAGE_CASES=10000 cargo test --test damage` runs this many cases of each
//! kind; `DAMAGE_SEED=n` repeats a run.

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
