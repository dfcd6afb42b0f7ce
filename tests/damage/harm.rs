//! Ways to damage a file.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use rand::{Rng, SeedableRng, rngs::SmallRng};

/// The bytes of a database's file and of its log; `None` if the file does not exist.
#[derive(Clone)]
pub struct Files {
    pub main: Option<Vec<u8>>,
    pub log: Option<Vec<u8>>,
}

fn log(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

impl Files {
    pub fn read(path: &Path) -> Self {
        Self { main: fs::read(path).ok(), log: fs::read(log(path)).ok() }
    }

    /// Whether the file on disk is equal to this one. An empty log counts as no log, because SQLite makes one when it
    /// reads a file.
    pub fn are_at(&self, path: &Path) -> bool {
        let there = Self::read(path);
        let log = |files: &Self| files.log.clone().unwrap_or_default();
        self.main == there.main && log(self) == log(&there)
    }

    pub fn write(&self, path: &Path) {
        for (path, bytes) in [(path.to_owned(), &self.main), (log(path), &self.log)] {
            if let Some(bytes) = bytes {
                fs::write(path, bytes).unwrap();
            }
        }
    }
}

/// A description of the damage.
pub type Harm = String;

/// Runs `attempt` with files that are damaged in different ways.
pub fn each(name: &str, whole: &Files, mut attempt: impl FnMut(&str, &Files, &mut SmallRng)) {
    let cases: u64 = env::var("DAMAGE_CASES").map_or(100, |cases| cases.parse().expect("a number of cases"));
    let seed: u64 = env::var("DAMAGE_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().expect("a seed"));
    println!("{name}: {cases} cases from seed {seed}");
    for case in 0..cases {
        let mut random = SmallRng::seed_from_u64(seed.wrapping_add(case));
        let mut files = whole.clone();
        let harm = damage(&mut files, &mut random);
        attempt(&format!("DAMAGE_SEED={} DAMAGE_CASES=1: {harm}", seed.wrapping_add(case)), &files, &mut random);
    }
}

fn damage(files: &mut Files, random: &mut SmallRng) -> Harm {
    let hits_log = files.log.is_some() && random.random_bool(0.4);
    let (name, file) = if hits_log { ("log", &mut files.log) } else { ("file", &mut files.main) };
    let Some(bytes) = file else { return "nothing".into() };
    let at = random.random_range(0..bytes.len());
    let length = random.random_range(1..=4096).min(bytes.len() - at);
    match random.random_range(0..16) {
        0 => {
            *file = None;
            format!("no {name}")
        }
        1 => {
            bytes.clear();
            format!("an empty {name}")
        }
        2..=4 => {
            bytes.truncate(at);
            format!("the {name} cut off at {at}")
        }
        5 => {
            bytes[at..at + length].fill(0);
            format!("zeros at {at} of the {name}, {length} bytes")
        }
        6 => {
            random.fill(&mut bytes[at..at + length]);
            format!("noise at {at} of the {name}, {length} bytes")
        }
        7 => {
            let (from, to) = (at / 4096 * 4096, random.random_range(0..bytes.len()) / 4096 * 4096);
            let page = bytes[from..(from + 4096).min(bytes.len())].to_vec();
            let end = (to + page.len()).min(bytes.len());
            bytes[to..end].copy_from_slice(&page[..end - to]);
            format!("the page at {from} of the {name} written to {to} as well")
        }
        _ => {
            let flips = random.random_range(1..=3);
            let mut places = Vec::new();
            for _ in 0..flips {
                let (at, bit) = (random.random_range(0..bytes.len()), random.random_range(0..8));
                bytes[at] ^= 1 << bit;
                places.push(format!("{at}.{bit}"));
            }
            format!("flipped bits of the {name}: {}", places.join(", "))
        }
    }
}
