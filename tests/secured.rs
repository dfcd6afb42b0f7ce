//! Apps that reach a backend over TLS, below a path, or through a proxy.
//!
//! The certificates that an app trusts, and its proxy, are variables of its process. So these apps run in processes of
//! their own: this program, started again for the test `an_app_is_a_process`.
#![cfg(all(feature = "bevy", feature = "backend"))]

mod whole;

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bevy::prelude::*;
use bevy_convex_replicate::{
    backend::{Backend, BackendConfig, BackendError},
    prelude::*,
};
use whole::{failures, is_quiet, status, until};

const TOKEN: &str = "open sesame";
/// The deployment that the process's app connects to.
const URL: &str = "SECURED_URL";
/// What the app has to see before its process ends.
const EXPECT: &str = "SECURED_EXPECT";

#[derive(Component, Serialize, Deserialize, Clone)]
struct Task {
    text: String,
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name)
}

fn config() -> BackendConfig {
    BackendConfig::new().token(TOKEN)
}

fn secured() -> BackendConfig {
    config().tls(fixture("one.pem"), fixture("one-key.pem"))
}

fn app(url: &str, folder: &Path) -> App {
    whole::app(|app| {
        let plugin = ReplicatePlugin::new("secured").store(folder.join("app.sqlite3")).deployment(url).token(TOKEN);
        app.add_plugins(plugin).replicate::<Task>("tasks");
        app.world_mut().spawn((Task { text: "from afar".into() }, DocumentId::random()));
    })
}

#[test]
fn an_app_is_a_process() {
    let (Ok(url), Ok(expect)) = (std::env::var(URL), std::env::var(EXPECT)) else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut app = app(&url, folder.path());
    match expect.as_str() {
        "sent" => until("it is sent", &mut [&mut app], |apps| is_quiet(apps[0]).then_some(())),
        problem => until("the problem is shown", &mut [&mut app], |apps| {
            let status = format!("{:?} {:?}", status(apps[0]), failures(apps[0]));
            status.contains(problem).then_some(())
        }),
    }
}

/// Runs an app in a process of its own until it sees what it has to.
fn run(url: &str, expect: &str, variables: &[(&str, &str)]) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["an_app_is_a_process", "--exact", "--nocapture"]).env(URL, url).env(EXPECT, expect);
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"] {
        command.env_remove(name);
    }
    let output = command.envs(variables.iter().copied()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn authority() -> String {
    fixture("authority.pem").to_str().unwrap().to_owned()
}

/// The same backend by the name in its certificate.
fn by_name(url: &str) -> String {
    url.replace("127.0.0.1", "localhost")
}

#[test]
fn an_app_that_trusts_the_authority_connects_over_tls() {
    let backend = Backend::start(secured()).unwrap();
    assert!(backend.url().starts_with("https://127.0.0.1:"), "{}", backend.url());
    run(&by_name(backend.url()), "sent", &[("SSL_CERT_FILE", &authority())]);
    assert_eq!(backend.rows("tasks").len(), 1);
}

#[test]
fn an_app_that_does_not_trust_the_authority_says_that_the_certificate_is_not_trusted() {
    let backend = Backend::start(secured()).unwrap();
    // Another authority: a certificate that signs nothing.
    let other = fixture("two.pem").to_str().unwrap().to_owned();
    run(&by_name(backend.url()), "certificate is not trusted", &[("SSL_CERT_FILE", &other)]);
    assert!(backend.rows("tasks").is_empty());
}

#[test]
fn an_app_connects_below_a_path_and_the_root_is_empty() {
    let backend = Backend::start(config().path_prefix("/sync/")).unwrap();
    assert!(backend.url().ends_with("/sync"), "{}", backend.url());
    let folder = tempfile::tempdir().unwrap();
    let mut app = app(backend.url(), folder.path());
    until("it is sent", &mut [&mut app], |apps| is_quiet(apps[0]).then_some(()));
    assert_eq!(backend.rows("tasks").len(), 1);
    assert_eq!(get(backend.address(), "/sync/healthz", &[]).0, 200);
    assert_eq!(get(backend.address(), "/healthz", &[]).0, 404);
    assert_eq!(get(backend.address(), "/version", &[]).0, 404);
}

/// A proxy that makes tunnels and keeps the heads of the requests.
fn proxy() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let kept = kept.clone();
            std::thread::spawn(move || serve(&stream.unwrap(), &kept));
        }
    });
    (address, asked)
}

fn serve(here: &TcpStream, kept: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(here.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap() == 0 {
            return;
        }
    }
    kept.lock().unwrap().push(head.clone());
    let mut here = here.try_clone().unwrap();
    if !head.contains("Proxy-Authorization: Basic bWU6c2VjcmV0\r\n") {
        here.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").unwrap();
        return;
    }
    let there = TcpStream::connect(head.split(' ').nth(1).unwrap()).unwrap();
    here.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
    let (mut from, mut to) = (there.try_clone().unwrap(), here.try_clone().unwrap());
    std::thread::spawn(move || {
        // Either side may end the connection.
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
    let _ = std::io::copy(&mut reader, &mut { there });
}

#[test]
fn an_app_connects_through_a_proxy_with_a_password_and_to_a_path() {
    let backend = Backend::start(secured().path_prefix("/sync")).unwrap();
    let (address, asked) = proxy();
    let (trusted, url) = (authority(), by_name(backend.url()));
    let through = format!("http://me:secret@{address}");
    run(&url, "sent", &[("SSL_CERT_FILE", &trusted), ("HTTPS_PROXY", &through)]);
    assert_eq!(backend.rows("tasks").len(), 1);
    let expected = format!("CONNECT localhost:{} HTTP/1.1", backend.address().port());
    let heads = std::mem::take(&mut *asked.lock().unwrap());
    assert!(!heads.is_empty() && heads.iter().all(|head| head.starts_with(&expected)), "{heads:?}");
    // Without the password it is told what is missing.
    let through = format!("http://{address}");
    run(&url, "name and password", &[("SSL_CERT_FILE", &trusted), ("HTTPS_PROXY", &through)]);
    asked.lock().unwrap().clear();
    run(&url, "sent", &[("SSL_CERT_FILE", &trusted), ("HTTPS_PROXY", &through), ("NO_PROXY", "localhost")]);
    assert!(asked.lock().unwrap().is_empty(), "it went around the proxy");
}

#[test]
fn a_certificate_that_cannot_be_used_is_an_error_at_the_start() {
    let start = |certificate: &str, key: &str| {
        let started = Backend::start(BackendConfig::new().tls(fixture(certificate), fixture(key)));
        let error = started.err().expect("it does not start");
        assert!(matches!(error, BackendError::Tls { .. }), "{error}");
        error.to_string()
    };
    let missing = start("three.pem", "one-key.pem");
    assert!(missing.contains("three.pem") && missing.contains("No such file"), "{missing}");
    let missing = start("one.pem", "three-key.pem");
    assert!(missing.contains("three-key.pem"), "{missing}");
    let wrong = start("README.md", "one-key.pem");
    assert!(wrong.contains("README.md") && wrong.contains("BEGIN CERTIFICATE"), "{wrong}");
    let wrong = start("one.pem", "one.pem");
    assert!(wrong.contains("BEGIN PRIVATE KEY"), "{wrong}");
    let other = start("one.pem", "two-key.pem");
    assert!(other.contains("two-key.pem") && other.contains("does not fit"), "{other}");
}

/// The certificate that the backend shows.
fn shown(backend: &Backend) -> Vec<u8> {
    use tokio_rustls::rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    };
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(fixture("authority.pem")).unwrap()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(backend.address()).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    })
}

#[test]
fn a_new_certificate_is_used_without_a_restart() {
    use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let put = |name: &str| {
        std::fs::copy(fixture(&format!("{name}.pem")), &certificate).unwrap();
        std::fs::copy(fixture(&format!("{name}-key.pem")), &key).unwrap();
    };
    let of = |name: &str| CertificateDer::from_pem_file(fixture(name)).unwrap().to_vec();
    put("one");
    let backend = Backend::start(config().tls(&certificate, &key)).unwrap();
    assert_eq!(shown(&backend), of("one.pem"));
    put("two");
    let deadline = Instant::now() + Duration::from_secs(60);
    while shown(&backend) != of("two.pem") {
        assert!(Instant::now() < deadline, "the new certificate is not used");
        std::thread::yield_now();
    }
}

/// `GET`. Returns the status and the body.
fn get(address: std::net::SocketAddr, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let headers: BTreeMap<_, _> = headers.iter().copied().collect();
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n{headers}Connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn operators_see_health_and_figures_and_no_secret() {
    let backend = Backend::start(config()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut app = app(backend.url(), folder.path());
    until("it is sent", &mut [&mut app], |apps| is_quiet(apps[0]).then_some(()));
    assert_eq!(get(backend.address(), "/healthz", &[]), (200, "ok\n".into()));
    // A web page of another origin is refused, which is counted.
    assert_eq!(get(backend.address(), "/healthz", &[("Origin", "https://example.org")]).0, 403);
    let (status, text) = get(backend.address(), "/metrics", &[]);
    assert_eq!(status, 200);
    let value = |name: &str| -> f64 {
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")))
            .unwrap_or_else(|| panic!("{name} is not in\n{text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(value("replicate_connections"), 1.0);
    assert_eq!(value("replicate_documents"), 1.0);
    assert!(value("replicate_pushes_total") >= 1.0);
    assert!(value("replicate_log_bytes") > 0.0);
    assert!(value("replicate_received_bytes_total") > 100.0 && value("replicate_sent_bytes_total") > 100.0);
    assert_eq!(value("replicate_refused_total{reason=\"origin\"}"), 1.0);
    assert_eq!(value("replicate_commit_seconds_count"), value("replicate_pushes_total"));
    assert!(!text.contains("sesame") && !text.contains("tasks"));
    // From another machine, or by way of a proxy, it needs the token.
    let passed_on = ("X-Forwarded-For", "192.0.2.1");
    assert_eq!(get(backend.address(), "/metrics", &[passed_on]).0, 401);
    let bearer = format!("Bearer {TOKEN}");
    assert_eq!(get(backend.address(), "/metrics", &[passed_on, ("Authorization", &bearer)]).0, 200);
    assert!(failures(&app).iter().all(|failure| failure.kind != FailureKind::Unauthenticated));
}

#[test]
fn an_origin_that_no_browser_sends_is_an_error_at_the_start() {
    for (origin, instead) in [
        ("http://localhost:5173/", "write http://localhost:5173 "),
        ("https://Example.org", "write https://example.org "),
        ("*", "--allow-any-origin"),
    ] {
        let error = Backend::start(BackendConfig::new().allow_origin(origin)).err().expect("it does not start");
        assert!(matches!(error, BackendError::Origin { .. }));
        assert!(error.to_string().contains(instead), "{error}");
    }
    let any = Backend::start(config().allow_any_origin()).unwrap();
    assert_eq!(get(any.address(), "/healthz", &[("Origin", "https://example.org")]).0, 200);
}
