//! All files of `src/`, and the arrows between them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, path,
};

use crate::paths::{self, Import, Path};

/// `from` uses `to`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrow {
    /// File and line.
    pub place: String,
    pub from: String,
    pub to: String,
}

pub struct Sources {
    files: Vec<SourceFile>,
    /// The names that `lib.rs` re-exports, and the room each comes from.
    root: BTreeMap<String, String>,
    /// Paths that cannot be followed.
    pub problems: Vec<String>,
}

struct SourceFile {
    /// Below `src/`.
    path: String,
    module: Vec<String>,
    file: paths::File,
}

impl SourceFile {
    fn place(&self, line: usize) -> String {
        format!("src/{}:{line}", self.path)
    }

    fn is_door(&self) -> bool {
        self.module.is_empty() || self.path.starts_with("bin/")
    }

    fn all_paths(&self) -> impl Iterator<Item = &Path> {
        self.file.imports.iter().map(|import| &import.path).chain(&self.file.paths)
    }

    /// The module in which a path begins, and the rest of the path. `None` if it begins with neither `crate`, `self`
    /// nor `super`.
    fn begin<'a>(&self, path: &'a Path) -> Option<(Vec<String>, &'a [String])> {
        let mut module = [&self.module[..], &path.within].concat();
        let mut known = 0;
        for segment in &path.segments {
            match &**segment {
                "crate" => module.clear(),
                "self" => {}
                "super" => drop(module.pop()),
                _ => break,
            }
            known += 1;
        }
        (known > 0).then(|| (module, &path.segments[known..]))
    }
}

impl Sources {
    pub fn read(folder: &path::Path) -> Self {
        let mut files = Vec::new();
        collect(folder, "", &mut files);
        Self::of(&files.iter().map(|(path, text)| (&**path, &**text)).collect::<Vec<_>>())
    }

    /// Makes sources of files by their paths below `src/`.
    pub fn of(files: &[(&str, &str)]) -> Self {
        let mut all: Vec<_> = files
            .iter()
            .map(|(path, text)| SourceFile { path: (*path).to_owned(), module: module(path), file: paths::read(text) })
            .collect();
        all.sort_by(|a, b| a.path.cmp(&b.path));
        let tests: Vec<_> = all.iter().flat_map(|file| file.file.tests.iter().map(move |test| (file, test))).collect();
        let is_test = |file: &SourceFile| {
            file.file.is_test
                || tests.iter().any(|(parent, test)| match &test.file {
                    Some(moved) => file.path == beside(&parent.path, moved),
                    None => file.module.starts_with(&[&parent.module[..], &test.name].concat()),
                })
        };
        let tests: BTreeSet<String> = all.iter().filter(|file| is_test(file)).map(|file| file.path.clone()).collect();
        all.retain(|file| !tests.contains(&file.path));
        let mut sources = Self { files: all, root: BTreeMap::new(), problems: Vec::new() };
        sources.read_root();
        sources.find_problems();
        sources
    }

    fn read_root(&mut self) {
        let rooms = self.rooms();
        let imports = self.files.iter().filter(|file| file.module.is_empty()).flat_map(|file| &file.file.imports);
        for Import { path, name, .. } in imports.filter(|import| import.path.within.is_empty()) {
            let from = path.segments.iter().find(|segment| !matches!(&***segment, "crate" | "self"));
            if let Some(room) = from.filter(|room| rooms.contains(*room)) {
                if name == "*" {
                    self.problems.push(format!("src/lib.rs:{}: name what is re-exported", path.line));
                }
                self.root.insert(name.clone(), room.clone());
            }
        }
    }

    fn find_problems(&mut self) {
        for file in &self.files {
            for line in &file.file.moved {
                self.problems.push(format!("{}: a module elsewhere cannot be followed", file.place(*line)));
            }
            for path in file.all_paths().filter(|_| !file.is_door()) {
                if let Some((module, rest)) = file.begin(path)
                    && module.is_empty()
                    && rest.first().is_none_or(|first| first == "*")
                {
                    self.problems.push(format!("{}: names the whole crate: name the room", file.place(path.line)));
                }
            }
        }
    }

    pub fn rooms(&self) -> BTreeSet<String> {
        self.files.iter().filter(|file| !file.is_door()).map(|file| file.module[0].clone()).collect()
    }

    pub fn arrows_between_rooms(&self) -> BTreeSet<Arrow> {
        let rooms = self.rooms();
        let mut arrows = BTreeSet::new();
        for file in self.files.iter().filter(|file| !file.is_door()) {
            for path in file.all_paths() {
                let Some((module, rest)) = file.begin(path) else { continue };
                // Below the root we are in our own room.
                let Some(to) = rest.first().filter(|first| module.is_empty() && *first != "*") else { continue };
                let to = if rooms.contains(to) { to } else { self.root.get(to).unwrap_or(to) };
                let from = &file.module[0];
                if from != to {
                    arrows.insert(Arrow { place: file.place(path.line), from: from.clone(), to: to.clone() });
                }
            }
        }
        arrows
    }

    pub fn count_files(&self, room: &str) -> usize {
        let room: Vec<&str> = room.split('/').collect();
        self.files
            .iter()
            .filter(|file| file.module.iter().map(String::as_str).take(room.len()).eq(room.iter().copied()))
            .count()
    }

    /// Arrows between the files of a room, e.g. `ecs` or `backend/log`. A re-export is no arrow, since it is followed:
    /// to use what the room's door re-exports is to use the file that defines it.
    pub fn arrows_between_files(&self, room: &str) -> Vec<Arrow> {
        let room: Vec<String> = room.split('/').map(str::to_owned).collect();
        let mut arrows = BTreeSet::new();
        for file in self.files.iter().filter(|file| file.module.starts_with(&room)) {
            let imports =
                file.file.imports.iter().filter(|import| !import.is_public || file.file.words.contains(&import.name));
            for path in imports.map(|import| &import.path).chain(&file.file.paths) {
                let Some(to) = self.file_of(file, path, 8) else { continue };
                if to.path != file.path && to.module.starts_with(&room) {
                    let (from, to) = (file.path.clone(), to.path.clone());
                    arrows.insert(Arrow { place: file.place(path.line), from, to });
                }
            }
        }
        arrows.into_iter().collect()
    }

    /// The file that defines the target of a path, as far as it can be found.
    fn file_of(&self, file: &SourceFile, path: &Path, most: usize) -> Option<&SourceFile> {
        let absolute = match file.begin(path) {
            Some((module, rest)) => [&module[..], rest].concat(),
            // A module of this one, or a name from elsewhere.
            None => [&file.module[..], &path.within, &path.segments].concat(),
        };
        let is_named = file.begin(path).is_some();
        let known = (1..=absolute.len()).rev().find(|known| self.at(&absolute[..*known]).is_some())?;
        let found = self.at(&absolute[..known])?;
        if !is_named && found.module.len() <= file.module.len() {
            return None;
        }
        let Some(name) = absolute.get(known).filter(|name| *name != "*") else { return Some(found) };
        if most == 0 || found.file.definitions.contains(name) {
            return Some(found);
        }
        let imports = &found.file.imports;
        let named = imports.iter().find(|import| import.name == *name).map(|import| import.path.clone());
        let by_star = || {
            imports.iter().filter(|import| import.name == "*").find_map(|import| {
                let mut path = import.path.clone();
                path.segments.pop();
                path.segments.push(name.clone());
                self.file_of(found, &path, most - 1).filter(|to| to.file.definitions.contains(name)).map(|_| path)
            })
        };
        let Some(mut path) = named.or_else(by_star) else { return Some(found) };
        path.segments.extend_from_slice(&absolute[known + 1..]);
        self.file_of(found, &path, most - 1)
    }

    fn at(&self, module: &[String]) -> Option<&SourceFile> {
        self.files.iter().find(|file| file.module == module && !file.is_door())
    }
}

fn collect(folder: &path::Path, below: &str, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{below}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            collect(&path, &format!("{name}/"), files);
        } else if name.ends_with(".rs") {
            files.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The module that a file below `src/` is; nothing for the root.
fn module(path: &str) -> Vec<String> {
    let path = path.trim_end_matches(".rs");
    let mut module: Vec<String> = path.split('/').map(str::to_owned).collect();
    module.pop_if(|last| last == "mod" || path == "lib");
    module
}

fn beside(path: &str, file: &str) -> String {
    match path.rsplit_once('/') {
        Some((folder, _)) => format!("{folder}/{file}"),
        None => file.to_owned(),
    }
}
