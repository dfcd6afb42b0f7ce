use std::panic::{AssertUnwindSafe, catch_unwind};

use super::FormatError;

/// Runs the code of an app's own type: its `Serialize` or `Deserialize`. A panic there becomes an error of the document
/// that it was run for, with `what` was run, the type `of` the app, and the panic's message.
///
/// Only the value that was being written or read is left half done, and it is dropped.
pub(crate) fn guarded_type<T>(
    what: &str,
    of: &str,
    run: impl FnOnce() -> Result<T, FormatError>,
) -> Result<T, FormatError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let words =
            panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let words = words.unwrap_or("without words");
        Err(FormatError {
            path: String::new(),
            message: format!("the {what} of `{of}` panicked ({words}); have it return an error"),
        })
    })
}
