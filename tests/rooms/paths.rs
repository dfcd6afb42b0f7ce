//! The module structure of a file: the paths in it, its imports, and its test modules.

use std::collections::BTreeSet;

use crate::words::{Word, words};

/// A path as it is written, e.g. `super::record::Page`.
#[derive(Clone, Debug)]
pub struct Path {
    pub line: usize,
    /// The modules within the file that it is in.
    pub within: Vec<String>,
    pub segments: Vec<String>,
}

/// A name that a `use` makes.
#[derive(Clone, Debug)]
pub struct Import {
    pub path: Path,
    pub name: String,
    pub is_public: bool,
}

/// A module that is only there for tests, and lies in a file of its own.
#[derive(Clone, Debug)]
pub struct TestModule {
    pub name: Vec<String>,
    /// The value of `#[path]`.
    pub file: Option<String>,
}

/// A file without its items for tests.
#[derive(Clone, Debug, Default)]
pub struct File {
    /// Outside of imports.
    pub paths: Vec<Path>,
    pub imports: Vec<Import>,
    pub tests: Vec<TestModule>,
    /// All of it is for tests.
    pub is_test: bool,
    /// Lines of `#[path]` on a module that is no test.
    pub moved: Vec<usize>,
    /// The names that the module defines.
    pub definitions: BTreeSet<String>,
    /// All words outside of imports.
    pub words: BTreeSet<String>,
}

pub fn read(source: &str) -> File {
    let words = words(source);
    let mut reader =
        Reader { words: &words, at: 0, depth: 0, within: Vec::new(), moved_to: None, file: File::default() };
    while reader.at < words.len() && !reader.file.is_test {
        reader.step();
    }
    reader.file
}

struct Reader<'a> {
    words: &'a [Word],
    at: usize,
    depth: usize,
    /// The enclosing modules, each with the depth of its content.
    within: Vec<(String, usize)>,
    /// The last `#[path]`, and the line it is on.
    moved_to: Option<(String, usize)>,
    file: File,
}

const DEFINES: [&str; 9] = ["fn", "struct", "enum", "trait", "type", "const", "static", "union", "macro_rules"];

impl<'a> Reader<'a> {
    fn word(&self, ahead: usize) -> &'a str {
        self.words.get(self.at + ahead).map_or("", |word| &word.text)
    }

    fn is_name(&self, ahead: usize) -> bool {
        self.word(ahead).starts_with(|letter: char| letter.is_alphabetic() || letter == '_')
    }

    fn step(&mut self) {
        match self.word(0) {
            "#" if self.word(1) == "[" => self.attribute(1),
            "#" if self.word(1) == "!" && self.word(2) == "[" => self.attribute(2),
            "{" => (self.depth, self.at) = (self.depth + 1, self.at + 1),
            "}" => {
                self.within.pop_if(|(_, depth)| *depth == self.depth);
                (self.depth, self.at) = (self.depth.saturating_sub(1), self.at + 1);
            }
            "mod" if self.is_name(1) => self.module(),
            "use" if self.word(1) != "<" => {
                let is_public = self.at > 0 && matches!(&*self.words[self.at - 1].text, "pub" | ")");
                self.at += 1;
                self.import(&mut Vec::new(), is_public);
            }
            // A visibility names modules that this file is in.
            "pub" if self.word(1) == "(" => {
                while !matches!(self.word(0), ")" | "") {
                    self.at += 1;
                }
                self.at += 1;
            }
            _ if self.is_name(0) => self.name(),
            _ => self.at += 1,
        }
    }

    /// An attribute whose bracket is `ahead`. An item that is only there for tests is passed over with it.
    fn attribute(&mut self, ahead: usize) {
        let end = self.closing(self.at + ahead);
        let inside = &self.words[self.at + ahead + 1..end];
        let texts: Vec<&str> = inside.iter().map(|word| &*word.text).collect();
        if texts.first() == Some(&"cfg") && is_for_tests(&texts[1..]) {
            if ahead == 2 {
                self.file.is_test = true;
                return;
            }
            self.at = end + 1;
            return self.pass_item();
        }
        if let ["path", "=", file] = &texts[..] {
            self.moved_to = Some((file.trim_start_matches('"').to_owned(), inside[0].line));
        }
        // The rest of it may be a path.
        self.at += ahead + 1;
    }

    /// Where the bracket at `open` is closed.
    fn closing(&self, open: usize) -> usize {
        let mut depth = 0;
        for (at, word) in self.words.iter().enumerate().skip(open) {
            match &*word.text {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return at;
            }
        }
        self.words.len() - 1
    }

    fn pass_item(&mut self) {
        let mut file = None;
        while self.word(0) == "#" {
            let end = self.closing(self.at + 1);
            if self.word(2) == "path" {
                file = Some(self.word(4).trim_start_matches('"').to_owned());
            }
            self.at = end + 1;
        }
        if self.word(0) == "pub" {
            self.at += 1;
            if self.word(0) == "(" {
                self.at = self.closing(self.at) + 1;
            }
        }
        if self.word(0) == "mod" && self.word(2) == ";" {
            let mut name = self.modules();
            name.push(self.word(1).to_owned());
            self.file.tests.push(TestModule { name, file });
        }
        let is_item = self.word(0) == "mod"
            || matches!(self.word(0), "use" | "impl" | "unsafe" | "async" | "extern")
            || DEFINES.contains(&self.word(0));
        let is_use = self.word(0) == "use";
        while self.at < self.words.len() {
            match self.word(0) {
                ";" => return self.at += 1,
                // A field, a variant, an arm.
                "," if !is_item => return self.at += 1,
                ")" | "]" | "}" => return,
                "{" if !is_use => return self.at = self.closing(self.at) + 1,
                "(" | "[" | "{" => self.at = self.closing(self.at) + 1,
                _ => self.at += 1,
            }
        }
    }

    fn module(&mut self) {
        let name = self.word(1).to_owned();
        let moved = self.moved_to.take();
        match self.word(2) {
            "{" => {
                self.depth += 1;
                self.within.push((name, self.depth));
                self.at += 3;
            }
            _ => {
                self.file.moved.extend(moved.map(|(_, line)| line));
                self.at += 2;
            }
        }
    }

    fn modules(&self) -> Vec<String> {
        self.within.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Unfolds the tree after `use`, with the path before it.
    fn import(&mut self, before: &mut Vec<String>, is_public: bool) {
        let known = before.len();
        if self.word(0) == "::" {
            self.at += 1;
        }
        while self.is_name(0) || self.word(0) == "*" {
            before.push(self.word(0).to_owned());
            if self.word(1) != "::" {
                break;
            }
            self.at += 2;
        }
        if self.word(0) == "{" {
            self.at += 1;
            while !matches!(self.word(0), "}" | "") {
                self.import(before, is_public);
                if self.word(0) == "," {
                    self.at += 1;
                }
            }
            self.at += 1;
        } else if before.len() > known {
            let line = self.words[self.at].line;
            let mut segments = before.clone();
            self.at += 1;
            segments.pop_if(|last| last == "self" && known > 0);
            let mut name = segments.last().cloned().unwrap_or_default();
            if self.word(0) == "as" {
                name = self.word(1).to_owned();
                self.at += 2;
            }
            let path = Path { line, within: self.modules(), segments };
            self.file.imports.push(Import { path, name, is_public });
        } else {
            // No other token is valid here.
            self.at += 1;
        }
        before.truncate(known);
    }

    /// A name in an expression, a type or a pattern, and all of the path that it begins.
    fn name(&mut self) {
        let line = self.words[self.at].line;
        if DEFINES.contains(&self.word(0)) {
            let name = if self.word(1) == "!" { self.word(2) } else { self.word(1) };
            self.file.definitions.insert(name.to_owned());
        }
        let mut segments = Vec::new();
        loop {
            segments.push(self.word(0).to_owned());
            self.file.words.insert(self.word(0).to_owned());
            self.at += 1;
            if self.word(0) != "::" || !self.is_name(1) {
                break;
            }
            self.at += 1;
        }
        if segments.len() > 1 {
            self.file.paths.push(Path { line, within: self.modules(), segments });
        }
    }
}

/// Whether a predicate of `cfg`, with its brackets, is true in tests alone.
fn is_for_tests(predicate: &[&str]) -> bool {
    let Some(inside) = predicate.get(1..predicate.len().saturating_sub(1)) else { return false };
    let mut parts = Vec::new();
    let mut rest = inside;
    while !rest.is_empty() {
        let mut depth = 0;
        let end = rest.iter().position(|word| {
            depth += i32::from(*word == "(") - i32::from(*word == ")");
            depth == 0 && *word == ","
        });
        let (part, after) = rest.split_at(end.unwrap_or(rest.len()));
        parts.push(match part {
            ["test"] => true,
            ["all", inner @ ..] => split(inner).iter().any(|part| is_for_tests(part)),
            ["any", inner @ ..] => split(inner).iter().all(|part| is_for_tests(part)),
            _ => false,
        });
        rest = after.get(1..).unwrap_or(&[]);
    }
    parts == [true]
}

/// The predicates between these brackets, each in brackets of its own.
fn split<'a>(list: &[&'a str]) -> Vec<Vec<&'a str>> {
    let mut parts = vec![vec!["("]];
    let mut depth = 0;
    for word in &list[1..list.len() - 1] {
        depth += i32::from(*word == "(") - i32::from(*word == ")");
        if depth == 0 && *word == "," {
            parts.push(vec!["("]);
        } else if let Some(part) = parts.last_mut() {
            part.push(word);
        }
    }
    parts.iter_mut().for_each(|part| part.push(")"));
    parts.retain(|part| part.len() > 2);
    parts
}
