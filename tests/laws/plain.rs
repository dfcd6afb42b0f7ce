//! Small cases, spelled out.
