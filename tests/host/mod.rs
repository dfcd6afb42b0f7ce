//! A host of the functions for Convex, to test against. With `REPLICATE_TEST_BACKEND=convex` each test starts
//! `convex/host`, which needs Node and `npm ci` in `convex/`. Otherwise tests start the embedded backend.
#![allow(dead_code)]

pub mod http;

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use serde_json::{Value as Json, json};

/// Whether to test against the functions for Convex.
pub fn is_wanted() -> bool {
    match std::env::var("REPLICATE_TEST_BACKEND").as_deref() {
        Err(_) | Ok("" | "embedded") => false,
        Ok("convex") => true,
        Ok(other) => panic!("REPLICATE_TEST_BACKEND is `embedded` or `convex`, not {other:?}"),
    }
}

/// A host process with empty tables. It runs while this is kept, and forgets everything when it ends.
pub struct Host {
    process: Child,
    address: SocketAddr,
}

impl Host {
    /// Starts a host with these collections on a port of this machine. Port 0 chooses a free port.
    pub fn start(port: u16, collections: &[&str], options: &[&str]) -> Self {
        let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "..", "convex"].iter().collect();
        let mut process = Command::new("node")
            .args(["--import", "tsx", "tests/whole.ts", "--listen", &format!("127.0.0.1:{port}")])
            .args(["--collections", &collections.join(",")])
            .args(options)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let mut lines = BufReader::new(process.stdout.take().expect("it was asked for")).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("listening on http://")?.parse().ok())
            .expect("the host says where it listens; run `npm ci` in convex/ first");
        // The rest of its output is read too, so that it never waits for a reader.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| println!("host: {line}")));
        Self { process, address }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The app's table.
    pub fn rows(&self, collection: &str) -> Vec<Json> {
        match http::call(self.address, "query", &format!("{collection}:rows"), &json!({}), None) {
            http::Outcome::Returned(Json::Array(rows)) => rows,
            http::Outcome::Returned(other) => panic!("no rows: {other}"),
            http::Outcome::Failed { message, .. } => panic!("{message}"),
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have ended already; if not, it ends with its standard input.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
