//! Rust's text as words: identifiers, `::`, strings and single signs. Comments, characters and lifetimes are left out.

/// A word, and the line it is on. A string begins with `"` and has no other quotation mark around it.
#[derive(Clone, Debug, PartialEq)]
pub struct Word {
    pub text: String,
    pub line: usize,
}

pub fn words(source: &str) -> Vec<Word> {
    let mut reader = Reader { rest: source, line: 1, words: Vec::new() };
    while let Some(next) = reader.rest.chars().next() {
        reader.word(next);
    }
    reader.words
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    words: Vec<Word>,
}

impl Reader<'_> {
    fn word(&mut self, next: char) {
        let rest = self.rest;
        if rest.starts_with("//") {
            self.pass(rest.find('\n').unwrap_or(rest.len()));
        } else if rest.starts_with("/*") {
            self.pass(comment(rest));
        } else if let Some((length, text)) = string(rest) {
            let line = self.line;
            self.words.push(Word { text: format!("\"{text}"), line });
            self.pass(length);
        } else if next == '\'' {
            self.pass(character(rest));
        } else if next.is_alphanumeric() || next == '_' {
            let rest = rest.strip_prefix("r#").unwrap_or(rest);
            let length = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len());
            self.words.push(Word { text: rest[..length].to_owned(), line: self.line });
            self.pass(self.rest.len() - rest.len() + length);
        } else {
            let length = if rest.starts_with("::") { 2 } else { next.len_utf8() };
            if !next.is_whitespace() {
                self.words.push(Word { text: rest[..length].to_owned(), line: self.line });
            }
            self.pass(length);
        }
    }

    fn pass(&mut self, length: usize) {
        self.line += self.rest[..length].matches('\n').count();
        self.rest = &self.rest[length..];
    }
}

/// The length of the comment at the start; comments lie within comments.
fn comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    loop {
        match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            [_, ..] => at += 1,
            [] => return at,
        }
        if depth == 0 {
            return at;
        }
    }
}

/// The length and the content of the string at the start, if there is one: `".."`, `b".."`, `r#".."#` and the like.
fn string(rest: &str) -> Option<(usize, &str)> {
    let prefix = rest.find(|letter| !matches!(letter, 'b' | 'c' | 'r')).filter(|length| *length <= 2)?;
    let is_raw = rest[..prefix].ends_with('r');
    let marks = if is_raw { rest[prefix..].len() - rest[prefix..].trim_start_matches('#').len() } else { 0 };
    let start = prefix + marks + 1;
    if !rest[prefix + marks..].starts_with('"') {
        return None;
    }
    let mut at = start;
    loop {
        match rest.as_bytes().get(at) {
            Some(b'\\') if !is_raw => at += 2,
            Some(b'"') if rest[at + 1..].starts_with(&"#".repeat(marks)) => {
                return Some((at + 1 + marks, &rest[start..at]));
            }
            Some(_) => at += 1,
            None => return Some((rest.len(), &rest[start..])),
        }
    }
}

/// The length of the character (`'a'`, `'\n'`) or lifetime (`'a`) at the start.
fn character(rest: &str) -> usize {
    if rest.starts_with("'\\") {
        // The character after the backslash may be a quotation mark.
        return rest[3..].find('\'').map_or(rest.len(), |end| 3 + end + 1);
    }
    let mut letters = rest.char_indices().skip(2);
    match letters.next() {
        Some((at, '\'')) => at + 1,
        _ => 1,
    }
}
