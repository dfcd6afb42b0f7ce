//! The proxy through which a deployment is reached, by the environment.

use base64::{Engine, engine::general_purpose::STANDARD};
use url::{Host, Url};

/// A proxy that makes tunnels (`CONNECT`).
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    /// The address for `TcpStream::connect`.
    pub(super) address: String,
    /// The value of the header `Proxy-Authorization`.
    pub(super) authorization: Option<String>,
}

/// The proxy for `https` deployments on this host, by the variables `HTTPS_PROXY` or `ALL_PROXY`, unless `NO_PROXY`
/// names the host. Each may be written in lower case. An error says what is wrong with the proxy, and repeats no
/// password.
pub(super) fn for_host(
    host: &str,
    port: u16,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Proxy>, String> {
    let named = |name: &str| {
        [name.to_ascii_lowercase(), name.to_owned()]
            .into_iter()
            .find_map(|name| variable(&name).map(|value| (name, value)))
            .filter(|(_, value)| !value.trim().is_empty())
    };
    let Some((name, value)) = named("HTTPS_PROXY").or_else(|| named("ALL_PROXY")) else { return Ok(None) };
    if named("NO_PROXY").is_some_and(|(_, list)| list.split(',').any(|entry| is_for(entry.trim(), host, port))) {
        return Ok(None);
    }
    let bad = |why: &str| format!("{name} {why}; it looks like http://proxy.example:3128");
    let value = value.trim();
    let url = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
    let url = Url::parse(&url).map_err(|error| bad(&format!("is no URL ({error})")))?;
    if url.scheme() != "http" {
        return Err(bad(&format!("is a proxy of the kind `{}:`, and only `http:` is known", url.scheme())));
    }
    let (Some(proxy), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return Err(bad("names no host"));
    };
    let decode = |text: &str| {
        url::form_urlencoded::parse(format!("x={}", text.replace('+', "%2B")).as_bytes())
            .next()
            .map_or_else(String::new, |(_, value)| value.into_owned())
    };
    let authorization = (!url.username().is_empty()).then(|| {
        let secret = format!("{}:{}", decode(url.username()), decode(url.password().unwrap_or_default()));
        format!("Basic {}", STANDARD.encode(secret))
    });
    Ok(Some(Proxy { address: format!("{proxy}:{port}"), authorization }))
}

/// Whether an entry of `NO_PROXY` names this host: `*`, a name with all names below it, or an address, each with a port
/// or for all ports.
fn is_for(entry: &str, host: &str, port: u16) -> bool {
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    let entry = entry.to_ascii_lowercase();
    if entry == "*" {
        return true;
    }
    let entry = match entry.rsplit_once(':') {
        Some((name, digits)) if !name.contains(':') || name.ends_with(']') => match digits.parse::<u16>() {
            Ok(only) if only == port => name.to_owned(),
            _ => return false,
        },
        _ => entry,
    };
    let entry = entry.trim_matches(['[', ']']).trim_start_matches('.');
    if entry.is_empty() {
        return false;
    }
    let is_address = matches!(Host::parse(&host), Ok(Host::Ipv4(_))) || host.contains(':');
    host == entry || (!is_address && host.strip_suffix(entry).is_some_and(|rest| rest.ends_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(host: &str, variables: &[(&str, &str)]) -> Result<Option<Proxy>, String> {
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        for_host(host, 443, variable)
    }

    #[test]
    fn a_proxy_is_found_by_the_usual_variables() {
        let address = |variables: &[_]| found("host", variables).unwrap().map(|proxy| proxy.address);
        assert_eq!(address(&[]), None);
        assert_eq!(address(&[("HTTPS_PROXY", "")]), None);
        assert_eq!(address(&[("HTTPS_PROXY", "http://proxy:3128")]), Some("proxy:3128".into()));
        assert_eq!(address(&[("https_proxy", "proxy:3128")]), Some("proxy:3128".into()));
        assert_eq!(address(&[("ALL_PROXY", "http://proxy/")]), Some("proxy:80".into()));
        assert_eq!(address(&[("HTTP_PROXY", "http://proxy:3128")]), None);
    }

    #[test]
    fn a_name_and_password_are_sent_as_a_header_and_never_shown() {
        let proxy = found("host", &[("HTTPS_PROXY", "http://me:p%40ss+1@proxy:1")]).unwrap().unwrap();
        assert_eq!(proxy.authorization.unwrap(), format!("Basic {}", STANDARD.encode("me:p@ss+1")));
        for url in ["socks5://me:secret@proxy:1", "https://me:secret@proxy:1", "http://me:secret@proxy:99999"] {
            let why = found("host", &[("HTTPS_PROXY", url)]).err().expect("it is refused");
            assert!(why.contains("HTTPS_PROXY") && !why.contains("secret"), "{why}");
        }
    }

    #[test]
    fn hosts_in_no_proxy_are_reached_directly() {
        for (list, host, is_direct) in [
            ("host", "host", true),
            ("other, host", "host", true),
            ("HOST", "host", true),
            ("example.org", "api.example.org", true),
            (".example.org", "api.example.org", true),
            ("example.org", "badexample.org", false),
            ("host:443", "host", true),
            ("host:80", "host", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("0.0.1", "10.0.0.1", false),
            ("::1", "[::1]", true),
            ("[::1]:443", "[::1]", true),
            ("*", "host", true),
            ("", "host", false),
            (",", "host", false),
        ] {
            let proxy = found(host, &[("HTTPS_PROXY", "http://proxy:1"), ("NO_PROXY", list)]).unwrap();
            assert_eq!(proxy.is_none(), is_direct, "{list:?} {host}");
        }
    }
}
