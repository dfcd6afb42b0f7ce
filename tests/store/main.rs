//! The store on real files.

mod author;
mod compaction;
mod files;
mod model;
mod processes;
mod rebuild;
mod refused;
mod repair;
mod unsent;
mod writes;
