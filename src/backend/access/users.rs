//! The backend's own tokens: made, listed and revoked in a file beside the log, which a running backend watches.
//!
//! The file holds SHA-256 hashes. A token has 256 random bits, so that nobody can find it from its hash by trying, and
//! a slow hash with a salt would add nothing. Such a hash is for passwords that people choose.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use sha2::{Digest, Sha256};

use crate::{
    backend::limits::{SUBJECT_BYTES, TOKEN_FILE_EVERY, TOKEN_FILE_WAIT},
    record::UserId,
};

const FILE: &str = "tokens.sqlite";
/// Marks the file as this program's: `bcrt`.
const APPLICATION: i64 = 0x6263_7274;
/// The format of the file.
const FORMAT: i64 = 1;
const SCHEMA: &str = "
CREATE TABLE token (
    id TEXT NOT NULL PRIMARY KEY, user TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE, -- SHA-256 of the token
    created INTEGER NOT NULL, expires INTEGER -- seconds since 1970
) STRICT;
";
/// The prefix of every token. People, and scanners for leaked secrets, recognise tokens by it.
const PREFIX: &str = "replicate_";

/// The tokens of a backend's users, in the backend's data directory. The backend may run meanwhile: it notices a change
/// within a second, and ends the connections of a token that was revoked.
///
/// While the file of tokens exists, the backend requires a token from every caller, even if all tokens were revoked.
pub struct UserTokens {
    path: PathBuf,
    connection: Connection,
    /// Which file was opened.
    identity: Option<(u64, u64)>,
}

/// A token that was made earlier. The token itself cannot be shown again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserToken {
    /// Names the token when it is revoked. It is not secret.
    pub id: String,
    /// The user.
    pub user: UserId,
    /// When it was made, e.g. `2027-01-31T12:00:00Z`.
    pub created: String,
    /// When it ends, if ever.
    pub expires: Option<String>,
}

/// The reason why tokens cannot be made, listed or revoked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UserTokensError {
    /// The name is empty, too long, or has control characters.
    #[error("a user's name has 1 to {SUBJECT_BYTES} bytes and no control characters")]
    Name,
    /// The time at which a token ends cannot be read, or has passed.
    #[error("{0:?} is not a time in the future: write 30d, 12h, 2027-01-31 or 2027-01-31T12:00:00Z")]
    Expires(String),
    /// There is no token with this id.
    #[error("there is no token {0:?}: list the tokens to see their ids")]
    Unknown(String),
    /// The file belongs to another program, or to a newer version of this one.
    #[error("{0} is not a file of tokens that this program knows")]
    Foreign(PathBuf),
    /// The file cannot be read or written.
    #[error("cannot use {path}: {source}")]
    Database {
        /// The file.
        path: PathBuf,
        /// SQLite's error.
        source: rusqlite::Error,
    },
}

impl UserTokens {
    /// Whether the backend with this data directory has a file of tokens.
    pub fn exist(data: &Path) -> bool {
        data.join(FILE).exists()
    }

    /// Opens the tokens of the backend with this data directory, which has to exist. If there is no file of tokens yet,
    /// this makes one, and from then on the backend asks every caller for a token.
    pub fn open(data: &Path) -> Result<Self, UserTokensError> {
        let path = data.join(FILE);
        let connect = || {
            let mut connection = Connection::open(&path)?;
            connection.busy_timeout(TOKEN_FILE_WAIT)?;
            crate::sqlite::sync_commits(&connection)?;
            // Another process may be making the file.
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let application: i64 = transaction.pragma_query_value(None, "application_id", |row| row.get(0))?;
            let format: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
            let tables: i64 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
            let is_new = (application, format, tables) == (0, 0, 0);
            if is_new {
                transaction.execute_batch(SCHEMA)?;
                transaction.pragma_update(None, "application_id", APPLICATION)?;
                transaction.pragma_update(None, "user_version", FORMAT)?;
            }
            transaction.commit()?;
            Ok((connection, is_new || (application, format) == (APPLICATION, FORMAT)))
        };
        match connect() {
            Ok((connection, true)) => Ok(Self { identity: identity(&path), path, connection }),
            Ok((_, false)) => Err(UserTokensError::Foreign(path)),
            Err(source) => Err(UserTokensError::Database { path, source }),
        }
    }

    /// Makes a token for the user with this name. Returns its id and the token, which is not kept: only its hash is.
    /// `expires` is a time such as `30d`, `12h`, `2027-01-31` or `2027-01-31T12:00:00Z`.
    pub fn create(&self, name: &str, expires: Option<&str>) -> Result<(String, String), UserTokensError> {
        if name.is_empty() || name.len() > SUBJECT_BYTES || name.chars().any(char::is_control) {
            return Err(UserTokensError::Name);
        }
        let expires = expires.map(|text| self.time(text)).transpose()?;
        let secret: [u8; 32] = rand::random();
        let token = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(secret));
        let id = format!("{:08x}", rand::random::<u32>());
        let made = self.connection.execute(
            "INSERT INTO token (id, user, hash, created, expires) VALUES (?1, ?2, ?3, unixepoch('now'), ?4)",
            params![id, UserId::new(UserId::OWN_ISSUER, name).as_str(), hash(&token), expires],
        );
        made.map_err(|source| self.failed(source))?;
        Ok((id, token))
    }

    /// The tokens that were made and not revoked, the oldest first.
    pub fn list(&self) -> Result<Vec<UserToken>, UserTokensError> {
        let list = || {
            let mut statement = self.connection.prepare(
                "SELECT id, user, strftime('%Y-%m-%dT%H:%M:%SZ', created, 'unixepoch'),
                    strftime('%Y-%m-%dT%H:%M:%SZ', expires, 'unixepoch')
                 FROM token ORDER BY created, rowid",
            )?;
            let rows = statement.query_map([], |row| {
                let user = UserId::recorded(row.get::<_, String>(1)?);
                Ok(UserToken { id: row.get(0)?, user, created: row.get(2)?, expires: row.get(3)? })
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        list().map_err(|source| self.failed(source))
    }

    /// Revokes a token.
    pub fn revoke(&self, id: &str) -> Result<(), UserTokensError> {
        match self.connection.execute("DELETE FROM token WHERE id = ?1", [id]) {
            Ok(0) => Err(UserTokensError::Unknown(id.to_owned())),
            Ok(_) => Ok(()),
            Err(source) => Err(self.failed(source)),
        }
    }

    /// Reads a time in the future, in seconds since 1970. SQLite reads the dates.
    fn time(&self, text: &str) -> Result<i64, UserTokensError> {
        let span = |unit, name| {
            let number = text.strip_suffix(unit)?.parse::<u32>().ok()?;
            Some(("now", format!("+{number} {name}")))
        };
        let (from, step) = span('d', "days").or_else(|| span('h', "hours")).unwrap_or_else(|| {
            (if text.starts_with(|first: char| first.is_ascii_digit()) { text } else { "" }, "+0 days".into())
        });
        let time = self.connection.query_row(
            "SELECT time FROM (SELECT unixepoch(?1, ?2) AS time) WHERE time > unixepoch('now')",
            [from, &step],
            |row| row.get(0),
        );
        let time = time.optional().map_err(|source| self.failed(source))?;
        time.ok_or_else(|| UserTokensError::Expires(text.to_owned()))
    }

    /// Reads the tokens that are valid, or will be judged by their time.
    fn users(&self) -> rusqlite::Result<Users> {
        let mut statement = self.connection.prepare("SELECT hash, user, expires FROM token")?;
        let rows = statement.query_map([], |row| {
            let expires = row.get::<_, Option<i64>>(2)?.map(|at| Duration::from_secs(at.max(0).unsigned_abs()));
            Ok((row.get(0)?, (UserId::recorded(row.get::<_, String>(1)?), expires)))
        })?;
        Ok(Users(rows.collect::<rusqlite::Result<_>>()?))
    }

    /// A number that changes when another connection has changed the file.
    fn version(&self) -> rusqlite::Result<i64> {
        self.connection.pragma_query_value(None, "data_version", |row| row.get(0))
    }

    fn failed(&self, source: rusqlite::Error) -> UserTokensError {
        UserTokensError::Database { path: self.path.clone(), source }
    }
}

/// The users of the tokens, by the tokens' hashes.
#[derive(Default, PartialEq)]
pub(in crate::backend) struct Users(HashMap<[u8; 32], (UserId, Option<Duration>)>);

impl Users {
    /// One user with one token, which ends at a time since 1970.
    #[cfg(test)]
    pub fn one(token: &str, user: UserId, expires: Duration) -> Self {
        Self(HashMap::from([(hash(token), (user, Some(expires)))]))
    }

    /// The user of the token with this hash, and when the token ends. `now` is the time since 1970.
    ///
    /// The search may take longer for some hashes than for others. That tells a caller nothing, because it cannot
    /// choose the hash of a token that it makes up.
    pub fn find(&self, hash: &[u8; 32], now: Duration) -> Option<(UserId, Option<Duration>)> {
        self.0.get(hash).filter(|(_, expires)| expires.is_none_or(|expires| now < expires)).cloned()
    }
}

pub(super) fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Follows the tokens in a data directory. Gives `tell` the users at once, if there is a file of tokens, and returns
/// what follows the file from then on until `stop` is closed.
pub(in crate::backend) fn watch(
    data: PathBuf,
    stop: Receiver<()>,
    mut tell: impl FnMut(Arc<Users>) + Send,
) -> Result<impl FnOnce() + Send, UserTokensError> {
    let path = data.join(FILE);
    let mut opened = None;
    if path.exists() {
        let tokens = UserTokens::open(&data)?;
        let read = || Ok((tokens.version()?, tokens.users()?));
        let (version, users) = read().map_err(|source| tokens.failed(source))?;
        tell(Arc::new(users));
        opened = Some((tokens, version));
    }
    Ok(move || {
        while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(TOKEN_FILE_EVERY) {
            if let Err(error) = look(&data, &path, &mut opened, &mut tell) {
                // The tokens that were read before stay valid.
                tracing::error!(target: "bevy_convex_replicate::backend", %error, "cannot read the users' tokens");
            }
        }
    })
}

/// Names the file that is at a path. Where a file cannot be replaced while it is open, there is no name.
fn identity(path: &Path) -> Option<(u64, u64)> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

fn look(
    data: &Path,
    path: &Path,
    opened: &mut Option<(UserTokens, i64)>,
    tell: &mut impl FnMut(Arc<Users>),
) -> Result<(), UserTokensError> {
    // If another file took the place of the one that is open, tokens are revoked there.
    if path.exists() {
        opened.take_if(|(tokens, _)| tokens.identity != identity(path));
    }
    let (tokens, known) = match opened {
        Some((tokens, known)) => (tokens, known),
        None if !path.exists() => return Ok(()),
        // No version is negative.
        None => {
            let (tokens, known) = opened.insert((UserTokens::open(data)?, -1));
            (tokens, known)
        }
    };
    let version = tokens.version().map_err(|source| tokens.failed(source))?;
    if version != *known {
        let users = tokens.users().map_err(|source| tokens.failed(source))?;
        tell(Arc::new(users));
        *known = version;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_by_its_hash_until_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = UserTokens::open(folder.path()).unwrap();
        let (id, token) = tokens.create("ada", Some("2d")).unwrap();
        let users = tokens.users().unwrap();
        let now = crate::backend::access::since_1970();
        let day = Duration::from_secs(24 * 60 * 60);
        let found = |at| users.find(&hash(&token), at).map(|(user, _)| user);
        assert_eq!(found(now), Some(UserId::new("replicate", "ada")));
        assert_eq!(found(now + day), Some(UserId::new("replicate", "ada")));
        assert_eq!(found(now + 2 * day), None);
        assert_eq!(users.find(&hash("another"), now), None);
        let file = std::fs::read(folder.path().join(FILE)).unwrap();
        let secret = token.strip_prefix(PREFIX).unwrap().as_bytes();
        assert!(!file.windows(secret.len()).any(|window| window == secret), "the file holds the token");
        tokens.revoke(&id).unwrap();
        assert!(tokens.users().unwrap() == Users::default());
        assert!(matches!(tokens.revoke(&id), Err(UserTokensError::Unknown(_))));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_of_tokens_that_was_replaced_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let (_, former) = UserTokens::open(folder.path()).unwrap().create("ada", None).unwrap();
        let (mut opened, mut told) = (None, Vec::new());
        look(folder.path(), &path, &mut opened, &mut |users| told.push(users)).unwrap();
        std::fs::remove_file(&path).unwrap();
        // Without a file the tokens stay as they were, whether the one that is open can still be read or not.
        let _ = look(folder.path(), &path, &mut opened, &mut |users| told.push(users));
        let (_, present) = UserTokens::open(folder.path()).unwrap().create("ada", None).unwrap();
        look(folder.path(), &path, &mut opened, &mut |users| told.push(users)).unwrap();
        let now = crate::backend::access::since_1970();
        let valid = |users: &Users| [&former, &present].map(|token| users.find(&hash(token), now).is_some());
        assert_eq!(told.iter().map(|users| valid(users)).collect::<Vec<_>>(), [[true, false], [false, true]]);
    }

    #[test]
    fn a_token_ends_only_at_a_time_to_come() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = UserTokens::open(folder.path()).unwrap();
        for wrong in
            ["", "now", "soon", "0d", "0h", "-1d", "1970-01-01", "2020-02-02T02:02:02Z", "30", "3x", "99999999999d"]
        {
            assert!(matches!(tokens.create("ada", Some(wrong)), Err(UserTokensError::Expires(_))), "{wrong:?}");
        }
        for right in ["1h", "30d", "2999-01-31", "2999-01-31T12:00:00Z"] {
            tokens.create("ada", Some(right)).unwrap_or_else(|error| panic!("{right}: {error}"));
        }
        assert_eq!(tokens.list().unwrap()[3].expires.as_deref(), Some("2999-01-31T12:00:00Z"));
        for wrong in ["", "a\nb", &"x".repeat(SUBJECT_BYTES + 1)] {
            assert!(matches!(tokens.create(wrong, None), Err(UserTokensError::Name)), "{wrong:?}");
        }
    }
}
