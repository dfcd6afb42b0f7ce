//! Damaged files: nothing panics, nothing is deleted, and what cannot be read is told of.
