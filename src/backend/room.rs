//! How large the log may become.

use super::store::Store;
use crate::record::{Refusal, RefusalCode};

/// How much may still be written.
pub(super) struct Room {
    most: u64,
    /// Bytes of the file when it was last looked at, and of the messages taken in since. Without a file, of all messages.
    used: u64,
}

impl Room {
    pub fn new(most: u64, store: Option<&Store>) -> Self {
        let mut room = Self { most, used: 0 };
        room.look(store);
        room
    }

    /// Lets a mutation in that came as so many bytes.
    pub fn take(&mut self, bytes: usize, store: Option<&Store>) -> Result<(), Refusal> {
        let bytes = bytes as u64;
        if self.used.saturating_add(bytes) > self.most {
            // Compaction may have made room, and what is written has fewer bytes than its messages.
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
        // Where the disk does not tell, the next write will say why.
        if let Some(Ok(used)) = store.map(Store::used_bytes) {
            self.used = used;
        }
    }
}
