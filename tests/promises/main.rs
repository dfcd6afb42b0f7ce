//! The promises, checked with complete apps: real Bevy apps with real stores, and a real backend over real sockets. The
//! backend is the embedded one or the functions for Convex (see [`host`]). There is one file for each promise.

mod apps;
mod converges;
#[path = "../host/mod.rs"]
mod host;
mod idempotent;
mod lets_no_one_in;
mod loses_nothing;
mod never_blocks;
mod no_echo;
mod no_revert;
mod one_bad_document;
mod reads_all_before_it_says_so;
mod row_holds_up_nothing;
mod skips_nothing;
mod starts_over;
mod table_tells_the_truth;
