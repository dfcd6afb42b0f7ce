//! The measurements of a long run, and whether they grow.

use std::{fmt, fs, path::Path, process::Command, time::Duration};

use automerge::Automerge;
use bevy_convex_replicate::store::Store;

use crate::Failure;

/// Bytes of memory that an edit may take permanently, in every process that has its document. Automerge keeps the
/// history, which takes some 300 to 600 bytes an edit.
const MOST_PER_EDIT: f64 = 1024.0;
/// Further bytes of memory that a process may take in a minute, because an allocator's use of its pages varies.
const MOST_PER_MINUTE: f64 = 256.0 * 1024.0;

/// The measurements at one time.
#[derive(Clone, Copy)]
pub struct Sample {
    pub at: Duration,
    pub edits: u64,
    /// Memory of the app that lives for as long as all, of the largest of the others, and of this process with the
    /// backend, in KiB.
    pub lasting: u64,
    pub others: u64,
    pub backend: u64,
    pub latency: u64,
}

/// The growth of a process's memory, by the line that fits its samples best.
pub struct Growth {
    per_minute: f64,
    most: f64,
}

impl Growth {
    /// The growth over the second half of the run, because caches fill in the first half.
    pub fn of(samples: &[Sample], memory: fn(&Sample) -> u64) -> Self {
        let late = &samples[samples.len() / 2..];
        let minutes = |sample: &Sample| sample.at.as_secs_f64() / 60.0;
        let per_minute = slope(late, minutes, |sample| memory(sample) as f64 * 1024.0);
        let edits = slope(late, minutes, |sample| sample.edits as f64);
        Self { per_minute, most: MOST_PER_MINUTE + edits * MOST_PER_EDIT }
    }

    pub fn is_bounded(&self) -> bool {
        self.per_minute <= self.most
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:+.0} of at most {:.0} KiB", self.per_minute / 1024.0, self.most / 1024.0)
    }
}

/// By least squares. 0 if there is only one `x`.
fn slope<T>(samples: &[T], x: impl Fn(&T) -> f64, y: impl Fn(&T) -> f64) -> f64 {
    let count = samples.len().max(1) as f64;
    let mean = |of: &dyn Fn(&T) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (x_mean, y_mean) = (mean(&x), mean(&y));
    let together: f64 = samples.iter().map(|sample| (x(sample) - x_mean) * (y(sample) - y_mean)).sum();
    let square: f64 = samples.iter().map(|sample| (x(sample) - x_mean).powi(2)).sum();
    if square > 0.0 { together / square } else { 0.0 }
}

/// The documents of a store.
fn documents(path: &Path) -> Result<Vec<Automerge>, Failure> {
    let store = Store::open(path)?;
    let mut documents = Vec::new();
    for document in store.documents("tasks", None, usize::MAX)? {
        let chunks = store.chunks("tasks", &document.id)?;
        let all: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.bytes.iter().copied()).collect();
        documents.push(Automerge::load(&all)?);
    }
    Ok(documents)
}

/// Bytes that they take as one snapshot each.
pub fn snapshots(path: &Path) -> Result<u64, Failure> {
    Ok(documents(path)?.iter().map(|document| document.save().len() as u64).sum())
}

/// KiB of memory that they take, in a process that has had nothing else in it.
pub fn documents_memory(path: &Path) -> Result<u64, Failure> {
    let told = Command::new(std::env::current_exe()?).arg("--weigh").arg(path).output()?;
    Ok(String::from_utf8(told.stdout)?.trim().parse()?)
}

/// The main function of that process.
pub fn weigh(path: &Path) -> Result<(), Failure> {
    let before = memory(std::process::id()).unwrap_or_default();
    let documents = documents(path)?;
    println!("{}", memory(std::process::id()).unwrap_or_default().saturating_sub(before));
    drop(documents);
    Ok(())
}

/// A database with its write-ahead log.
pub fn size(path: &Path) -> u64 {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    [path.to_owned(), wal.into()].iter().filter_map(|path| fs::metadata(path).ok()).map(|file| file.len()).sum()
}

/// Resident memory in KiB without the pages of files, if the system reports it.
pub fn memory(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten minutes of an app that makes 1,000 edits a minute, with the given KiB at each minute.
    fn run(memory: impl Fn(u64) -> u64) -> Vec<Sample> {
        let sample = |minute: u64| Sample {
            at: Duration::from_secs(60 * minute),
            edits: 1_000 * minute,
            lasting: memory(minute),
            others: 0,
            backend: 50_000,
            latency: 1_000,
        };
        (0..10).map(sample).collect()
    }

    fn is_bounded(samples: &[Sample]) -> bool {
        Growth::of(samples, |sample| sample.lasting).is_bounded()
    }

    #[test]
    fn memory_may_grow_with_its_edits_and_settle_at_the_start_but_not_leak() {
        assert!(is_bounded(&run(|_| 50_000)));
        assert!(is_bounded(&run(|minute| 50_000 + 900 * minute)), "what 1,000 edits take");
        assert!(is_bounded(&run(|minute| if minute < 2 { 10_000 } else { 90_000 })), "caches fill");
        assert!(!is_bounded(&run(|minute| 50_000 + 1_400 * minute)));
    }

    #[test]
    fn a_slope_is_that_of_the_line_through_its_points() {
        let points = [(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)];
        assert!((slope(&points, |point| point.0, |point| point.1) - 2.0).abs() < 1e-9);
        assert!(slope(&points[..1], |point| point.0, |point| point.1).abs() < 1e-9);
    }
}
