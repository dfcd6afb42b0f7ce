//! The limit on the size of the log.

use super::store::Store;
use crate::record::{Refusal, RefusalCode};

/// The used part of the log's largest size.
pub(super) struct Capacity {
    most: u64,
    /// Bytes of the file when its size was last read, and of the messages accepted since then. Without a file, the
    /// bytes of all messages.
    used: u64,
}

impl Capacity {
    pub fn new(most: u64, store: Option<&Store>) -> Self {
        let mut capacity = Self { most, used: 0 };
        capacity.look(store);
        capacity
    }

    /// Accepts a mutation whose message has `bytes` bytes, unless the log is full.
    pub fn take(&mut self, bytes: usize, store: Option<&Store>) -> Result<(), Refusal> {
        let bytes = bytes as u64;
        if self.used.saturating_add(bytes) > self.most {
            // Compaction may have freed space, and a mutation takes fewer bytes in the file than in its message.
            self.look(store);
        }
        let used = self.used.saturating_add(bytes);
        if used > self.most {
            let problem =
                format!("the log is full: it has {} bytes, and may have {}. Raise its limit", self.used, self.most);
            return Err(Refusal::new(RefusalCode::LogFull, problem).over(self.most));
        }
        self.used = used;
        Ok(())
    }

    fn look(&mut self, store: Option<&Store>) {
        // If the size cannot be read, the next write reports why.
        if let Some(Ok(used)) = store.map(Store::used_bytes) {
            self.used = used;
        }
    }
}
