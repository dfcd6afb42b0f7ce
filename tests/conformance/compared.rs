//! The embedded backend for `npm run compare` in `convex/`: it is served over HTTP and prints its tables on request.
//!
//! It prints `listening on URL`. Each input line is the name of a collection; the answer is one line with the rows of
//! its table as JSON in Convex's encoding. The program ends when its standard input ends, so that it does not outlive
//! the process that started it.

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
