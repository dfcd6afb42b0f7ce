//! Contains panics of an app's own types.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::FormatError;

/// Runs the code of an app's own type: its `Serialize` or `Deserialize`. A panic becomes an error of the document, with
/// the name of the method `what`, the type `of` and the message of the panic.
///
/// The only value that a panic leaves incomplete is the one being written or read, and it is dropped.
pub(crate) fn guarded_type<T>(
    what: &str,
    of: &str,
    run: impl FnOnce() -> Result<T, FormatError>,
) -> Result<T, FormatError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let message =
            panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let message = message.unwrap_or("without a message");
        Err(FormatError::new(format!("the {what} of `{of}` panicked ({message}); have it return an error")))
    })
}
