//! The table of rooms in ARCHITECTURE.md: `| room | stands on |`.

use std::collections::{BTreeMap, BTreeSet};

pub struct Table {
    pub rows: BTreeMap<String, Row>,
}

pub enum Row {
    /// The folder may use everything, because it exists to try out all other rooms.
    Everything,
    Rooms(BTreeSet<String>),
}

impl Row {
    pub fn rooms(&self) -> impl Iterator<Item = &String> {
        match self {
            Self::Everything => None,
            Self::Rooms(rooms) => Some(rooms),
        }
        .into_iter()
        .flatten()
    }
}

impl Table {
    pub fn read(text: &str) -> Result<Self, String> {
        let mut lines = text.lines().skip_while(|line| !line.starts_with("| room | stands on |"));
        if lines.next().is_none() {
            return Err("there is no table that begins with | room | stands on |".into());
        }
        let mut rows = BTreeMap::new();
        for line in lines.skip(1).take_while(|line| line.starts_with('|')) {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [room, stands_on, ..] = cells[..] else { return Err(format!("no row: {line}")) };
            let row = match stands_on {
                "everything" => Row::Everything,
                "nothing" => Row::Rooms(BTreeSet::new()),
                rooms => Row::Rooms(rooms.split(',').map(name).collect()),
            };
            if rows.insert(name(room), row).is_some() {
                return Err(format!("two rows for {room}"));
            }
        }
        if rows.is_empty() { Err("the table of rooms is empty".into()) } else { Ok(Self { rows }) }
    }

    pub fn allows(&self, from: &str, to: &str) -> bool {
        match self.rows.get(from) {
            Some(Row::Everything) => true,
            Some(Row::Rooms(rooms)) => rooms.contains(to),
            None => false,
        }
    }

    pub fn stands_on_everything(&self, room: &str) -> bool {
        matches!(self.rows.get(room), Some(Row::Everything))
    }
}

fn name(cell: &str) -> String {
    cell.trim().trim_matches('`').to_owned()
}
