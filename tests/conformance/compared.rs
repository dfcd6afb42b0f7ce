//! The embedded backend as `npm run compare` in `convex/` wants it: served over HTTP, and its tables shown on request.
//!
//! It says `listening on URL`. For each line that it is sent, the name of a collection, it answers with a line: the rows of its table as JSON, in
//! Convex's encoding. It ends when its standard input does, so that it never outlives who started it.

use std::io::{BufRead, Write, stdin, stdout};

use bevy_convex_replicate::backend::{Backend, BackendConfig};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let backend = Backend::start(BackendConfig::new())?;
    println!("listening on {}", backend.url());
    for collection in stdin().lock().lines() {
        let rows: Vec<serde_json::Value> =
            backend.rows(collection?.trim()).into_iter().map(|(_, row)| row.into()).collect();
        let mut out = stdout().lock();
        serde_json::to_writer(&mut out, &rows)?;
        writeln!(out)?;
        out.flush()?;
    }
    Ok(())
}
