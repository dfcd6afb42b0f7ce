//! The store, on real files.

mod author;
mod compaction;
mod files;
mod model;
mod processes;
mod repair;
mod unsent;
mod writes;
