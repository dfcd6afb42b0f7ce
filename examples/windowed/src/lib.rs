//! This package contains the examples that open a window. See `examples/task_board.rs`.
