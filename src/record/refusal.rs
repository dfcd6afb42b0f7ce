//! Why a call or a document is refused. Both ends of the wire have this type; `docs/wire.md` lists the codes that cross
//! it.

use std::fmt;

/// A refusal of a whole call, or of one document of a push.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct Refusal {
    /// The kind of the refusal.
    pub code: RefusalCode,
    /// A description for people.
    pub message: String,
    /// The document it is about. The backend says it of a whole call; a client does not read it.
    pub document: Option<String>,
    /// The bound that was crossed. The backend says it; a client does not read it.
    pub limit: Option<u64>,
}

impl Refusal {
    /// A refusal with this code, and a message for people.
    pub fn new(code: impl Into<RefusalCode>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), document: None, limit: None }
    }
}

/// Declares the codes, each once with its text.
macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident = $text:literal,)*) => {
        /// The kinds of refusal.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum RefusalCode {
            $($(#[$doc])* $code,)*
            /// A code that this version does not know.
            Other(UnknownCode),
        }

        impl RefusalCode {
            /// The code with this text.
            pub fn parse(text: &str) -> Self {
                match text {
                    $($text => Self::$code,)*
                    _ => Self::Other(UnknownCode(text.to_owned())),
                }
            }

            /// The text of the code on the wire.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$code => $text,)*
                    Self::Other(UnknownCode(text)) => text,
                }
            }
        }

        #[cfg(test)]
        const KNOWN: &[RefusalCode] = &[$(RefusalCode::$code),*];
    };
}

codes! {
    /// The log lacks a change that a pushed one depends on.
    MissingDependencies = "missingDependencies",
    /// A chunk is not one valid Automerge change, or makes no sense in its document.
    InvalidChange = "invalidChange",
    /// The log has another change of the same document, actor and sequence number.
    ReusedSequence = "reusedSequence",
    /// A chunk or a document is over a limit.
    TooLarge = "tooLarge",
    /// The fields of a pushed document are not an object.
    ForbiddenField = "forbiddenField",
    /// The app's rules refuse this read or write.
    NotAuthorized = "notAuthorized",
    /// The app's schema refuses the row.
    RowRefused = "rowRefused",
    /// The document was deleted longer ago than the retention.
    Pruned = "pruned",
    /// The function wants a token, or another one.
    Unauthenticated = "unauthenticated",
    /// A push is over a limit as a whole.
    PushTooLarge = "pushTooLarge",
    /// The log does not have the document.
    UnknownDocument = "unknownDocument",
    /// The log never gave out this checkpoint, or has pruned rows after it.
    CheckpointUnknown = "checkpointUnknown",
    /// The log has reached its largest size.
    LogFull = "logFull",
    /// A peer shows new values too often.
    TooOften = "tooOften",
    /// There are as many peers in the area as it holds.
    AreaFull = "areaFull",
    /// The secret of a peer is too short or too long.
    InvalidSession = "invalidSession",
    /// A function failed and gave no code. A client makes this code, and those that follow.
    Failed = "failed",
    /// The deployment has no such function.
    UnknownFunction = "unknownFunction",
    /// The collection's name cannot be the name of a Convex module.
    BadName = "badName",
    /// The deployment's answer has a shape that `docs/wire.md` does not allow.
    BadAnswer = "badAnswer",
}

/// The text of a code that this version does not know. Only [`RefusalCode::parse`] makes one, so that a known code has
/// one form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UnknownCode(String);

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<&str> for RefusalCode {
    fn from(text: &str) -> Self {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_read_back_from_its_text() {
        for code in KNOWN {
            assert_eq!(RefusalCode::parse(code.as_str()), *code);
            assert_eq!(code.to_string(), code.as_str());
        }
    }

    #[test]
    fn a_code_of_a_later_version_keeps_its_text() {
        for text in ["", "own", "Pruned", "pruned ", "notYetKnown"] {
            let code = RefusalCode::parse(text);
            assert!(matches!(code, RefusalCode::Other(_)), "{text:?}");
            assert_eq!(code.as_str(), text);
        }
    }

    #[test]
    fn the_documentation_has_every_code_that_crosses_the_wire() {
        let documented = include_str!("../../docs/wire.md");
        let made_here =
            [RefusalCode::Failed, RefusalCode::UnknownFunction, RefusalCode::BadName, RefusalCode::BadAnswer];
        for code in KNOWN.iter().filter(|code| !made_here.contains(code)) {
            assert!(documented.contains(&format!("`{code}`")), "{code}");
        }
    }
}
