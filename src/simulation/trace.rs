//! The steps of a schedule, in words.

/// A schedule's steps, in order.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    lines: Vec<String>,
    print: bool,
}

impl Trace {
    /// With `print`, each step goes to the standard output as it happens.
    pub(super) fn new(print: bool) -> Self {
        Self { lines: Vec::new(), print }
    }

    pub(super) fn add(&mut self, line: String) {
        if self.print {
            println!("{:>5}  {line}", self.lines.len());
        }
        self.lines.push(line);
    }

    /// The steps.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}
