//! The promises, checked with complete apps: real Bevy apps with real stores, and a real backend over real sockets. The
//! backend is the embedded one or the functions for Convex (see [`host`]). There is one file for each promise.

mod apps;
mod authorizes_every_call;
mod converges;
#[path = "../host/mod.rs"]
mod host;
mod idempotent;
mod loses_nothing;
mod never_blocks;
mod no_echo;
mod no_revert;
mod one_bad_document;
mod read_means_shown;
mod rows_equal_documents;
mod rows_never_stop_the_log;
mod skips_nothing;
mod starts_over;
