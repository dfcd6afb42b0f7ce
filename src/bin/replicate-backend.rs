//! The embedded backend as a program of its own.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

#[cfg(feature = "oidc")]
use bevy_convex_replicate::backend::OidcProvider;
use bevy_convex_replicate::backend::{Backend, BackendConfig, UserTokens};
use clap::{Parser, Subcommand};
use tracing_subscriber::{EnvFilter, filter::filter_fn, layer::SubscriberExt, util::SubscriberInitExt};

/// Serves collections to apps that use bevy_convex_replicate, as Convex would.
#[derive(Parser)]
#[command(name = "replicate-backend", version, args_conflicts_with_subcommands = true)]
struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    /// The address to listen at. An address that other machines can connect to needs a token.
    #[arg(long, default_value = "127.0.0.1:3210")]
    listen: String,
    /// The directory to keep data in. Without it the data are lost when the program ends.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Give the log in that directory a new id. Use this once, at the first start after a backup was restored there.
    /// Clients then offer again the changes that they have and the backup lacks.
    #[arg(long, requires = "data")]
    new_epoch: bool,
    /// How large the log may become. All of it is held in memory.
    #[arg(long, value_name = "MIB", default_value_t = 2048)]
    max_log_mib: u64,
    /// The token that callers must send. It is better to set REPLICATE_TOKEN, because other users of this machine can
    /// see a program's arguments.
    #[arg(long)]
    token: Option<String>,
    /// Accept signed tokens of this OpenID Connect provider: the claim `iss`.
    #[cfg(feature = "oidc")]
    #[arg(long, value_name = "URL", requires_all = ["oidc_audience", "oidc_keys"])]
    oidc_issuer: Option<String>,
    /// The claim `aud` of these tokens.
    #[cfg(feature = "oidc")]
    #[arg(long, value_name = "NAME", requires = "oidc_issuer")]
    oidc_audience: Option<String>,
    /// A file with the provider's JSON Web Key Set. It is read again when it changes.
    #[cfg(feature = "oidc")]
    #[arg(long, value_name = "FILE", requires = "oidc_issuer")]
    oidc_keys: Option<PathBuf>,
    /// The origin of a web page that may connect, as its browser sends it, e.g. http://localhost:5173. The option can
    /// be repeated.
    #[arg(long = "allow-origin", value_name = "ORIGIN")]
    origins: Vec<String>,
    /// Let every web page connect. Use this with a token only.
    #[arg(long)]
    allow_any_origin: bool,
    /// Serve over TLS with this certificate, a PEM file that begins with the server's own. It is read again when it
    /// changes.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of the certificate, a PEM file.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Serve everything below this path, e.g. /sync, for a reverse proxy that passes requests on as they are.
    #[arg(long, value_name = "PATH")]
    path_prefix: Option<String>,
    /// The number of days for which deleted documents are kept. A client that was away for longer starts over.
    #[arg(long, value_name = "DAYS", default_value_t = 90)]
    retention: u32,
}

#[derive(Subcommand)]
enum Command {
    /// Make, list and revoke the tokens of users. The backend may run meanwhile.
    #[command(subcommand)]
    Token(TokenCommand),
}

#[derive(Subcommand)]
enum TokenCommand {
    /// Make a token for a user, and print it. It cannot be shown again. From then on the backend asks for a token.
    New {
        /// The backend's data directory.
        #[arg(long)]
        data: PathBuf,
        /// The user's name. In the log the user is called `replicate|NAME`.
        #[arg(long)]
        user: String,
        /// When the token ends: 30d, 12h, 2027-01-31 or 2027-01-31T12:00:00Z. Without it, the token ends when it is
        /// revoked.
        #[arg(long)]
        expires: Option<String>,
    },
    /// List the tokens that were not revoked: id, user, when it was made, and when it ends.
    List {
        /// The backend's data directory.
        #[arg(long)]
        data: PathBuf,
    },
    /// Revoke a token. A running backend ends its connections within a second.
    Revoke {
        /// The backend's data directory.
        #[arg(long)]
        data: PathBuf,
        /// The token's id, as `new` and `list` print it.
        id: String,
    },
}

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::registry()
        .with(filter)
        .with(filter_fn(shows_no_token))
        .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr))
        .init();
    let mut options = Options::parse();
    let done = match options.command.take() {
        Some(Command::Token(command)) => token(command),
        None => run(options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("replicate-backend: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The WebSocket library logs every message at `trace`, and the message that authenticates has the token in it.
fn shows_no_token(event: &tracing::Metadata<'_>) -> bool {
    let is_about_messages =
        event.target().starts_with("tungstenite") || event.target().starts_with("tokio_tungstenite");
    !is_about_messages || *event.level() <= tracing::Level::INFO
}

fn token(command: TokenCommand) -> Result<(), Box<dyn std::error::Error>> {
    match command {
        TokenCommand::New { data, user, expires } => {
            std::fs::create_dir_all(&data)?;
            let (id, token) = UserTokens::open(&data)?.create(&user, expires.as_deref())?;
            eprintln!("made token {id}, which is shown only now:");
            println!("{token}");
        }
        TokenCommand::List { data } => {
            for token in existing(&data)?.list()? {
                let expires = token.expires.as_deref().unwrap_or("-");
                println!("{}\t{}\t{}\t{expires}", token.id, token.user, token.created);
            }
        }
        TokenCommand::Revoke { data, id } => existing(&data)?.revoke(&id)?,
    }
    Ok(())
}

/// The tokens in a directory. Does not make a file of tokens, because the backend would ask for tokens from then on.
fn existing(data: &Path) -> Result<UserTokens, Box<dyn std::error::Error>> {
    match UserTokens::exist(data) {
        true => Ok(UserTokens::open(data)?),
        false => Err(format!("no token was made in {}", data.display()).into()),
    }
}

fn run(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    let retention = Duration::from_secs(u64::from(options.retention) * 24 * 60 * 60);
    let most = options.max_log_mib.saturating_mul(1024 * 1024);
    let mut config = BackendConfig::new().listen(options.listen).retention(retention).max_log_bytes(most);
    if let Some(data) = options.data {
        config = config.data(data);
    }
    if options.new_epoch {
        config = config.new_epoch();
    }
    if let Some(token) = options.token.or_else(|| std::env::var("REPLICATE_TOKEN").ok()) {
        config = config.token(token);
    }
    #[cfg(feature = "oidc")]
    if let (Some(issuer), Some(audience), Some(keys)) = (options.oidc_issuer, options.oidc_audience, options.oidc_keys)
    {
        config = config.oidc(OidcProvider::new(issuer, audience, keys));
    }
    for origin in options.origins {
        config = config.allow_origin(origin);
    }
    if options.allow_any_origin {
        config = config.allow_any_origin();
    }
    if let (Some(certificate), Some(key)) = (options.tls_cert, options.tls_key) {
        config = config.tls(certificate, key);
    }
    if let Some(prefix) = options.path_prefix {
        config = config.path_prefix(prefix);
    }
    // `asked_to_stop` handles signals before the backend acknowledges anything, so that no signal ends the program at
    // once.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let asked_to_stop = asked_to_stop()?;
        let backend = Backend::start(config)?;
        println!("listening on {}", backend.url());
        asked_to_stop.await;
        backend.stop();
        Ok(())
    })
}

/// Waits for ctrl-c, or for the system to end the program.
fn asked_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    #[cfg(unix)]
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    Ok(async move {
        #[cfg(unix)]
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        #[cfg(not(unix))]
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::error!(%error, "cannot wait for ctrl-c");
            std::future::pending::<()>().await;
        }
    })
}
