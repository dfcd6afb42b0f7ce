//! The arguments of a call, as the text in which they travel.

use std::sync::LazyLock;

use super::{arguments::Arguments, function::FunctionName, original, presence, pull, push, validator::Validator};

/// Reads the arguments of a call, and checks that they have the shape that the function requires. The error has
/// Convex's text.
pub(crate) fn arguments(function: FunctionName, json: &str) -> Result<Arguments, String> {
    Arguments::read(json, validator(function))
}

fn validator(function: FunctionName) -> &'static Validator {
    static PUSH_CHANGES: LazyLock<Validator> = LazyLock::new(push::validator);
    static PULL_DELTAS: LazyLock<Validator> = LazyLock::new(pull::validator);
    static PUT_DOCUMENT: LazyLock<Validator> = LazyLock::new(original::put_validator);
    static DELETE_DOCUMENT: LazyLock<Validator> = LazyLock::new(original::delete_validator);
    static PULL_CHANGES: LazyLock<Validator> = LazyLock::new(original::pull_validator);
    static CHANGE_STREAM: LazyLock<Validator> = LazyLock::new(original::stream_validator);
    static SET_PRESENCE: LazyLock<Validator> = LazyLock::new(presence::set_validator);
    static LIST_PRESENCE: LazyLock<Validator> = LazyLock::new(presence::list_validator);
    match function {
        FunctionName::PushChanges => &PUSH_CHANGES,
        FunctionName::PullDeltas => &PULL_DELTAS,
        FunctionName::InsertDocument | FunctionName::UpdateDocument => &PUT_DOCUMENT,
        FunctionName::DeleteDocument => &DELETE_DOCUMENT,
        FunctionName::PullChanges => &PULL_CHANGES,
        FunctionName::ChangeStream => &CHANGE_STREAM,
        FunctionName::SetPresence => &SET_PRESENCE,
        FunctionName::ListPresence => &LIST_PRESENCE,
    }
}
