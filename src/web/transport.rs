//! How browsers reach the pages, and what follows from it: who a request is from, under which name we were asked, and
//! whether anybody could have listened.

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderMap, HeaderName};
use ipnet::IpNet;

/// Set by proxies; believed of those that are trusted alone.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// How the HTTP port is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// From this machine alone.
    Loopback,
    /// By HTTPS, which we speak ourselves.
    Tls,
    /// Through proxies at these addresses, which say who asked them.
    Proxy(Vec<IpNet>),
    /// By plain HTTP from anywhere, because the administrator said so.
    Plain,
}

/// The other end of a request, as far as it can be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its address.
    pub address: IpAddr,
    /// `name:port` or `name` that it asked for.
    pub host: String,
    /// `https` or `http`, as the browser shows it.
    pub scheme: &'static str,
    /// What a proxy takes from the beginning of each path, `/pacs`; empty otherwise.
    pub prefix: String,
}

impl Transport {
    /// Who is asking.
    pub fn client(&self, request: &HttpRequest) -> Client {
        let peer = request.peer_addr().map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.ip().to_canonical());
        let host = text(request.headers(), &header::HOST);
        let host = host.or(request.uri().authority().map(|authority| authority.as_str())).unwrap_or_default();
        self.client_of(peer, host, request.headers())
    }

    fn client_of(&self, peer: IpAddr, host: &str, headers: &HeaderMap) -> Client {
        let mut prefix = String::new();
        let (address, host, scheme) = match self {
            Transport::Loopback | Transport::Plain => (peer, host, "http"),
            Transport::Tls => (peer, host, "https"),
            Transport::Proxy(trusted) if is_in(trusted, peer) => {
                let is_https =
                    last(headers, &FORWARDED_PROTO).is_some_and(|proto| proto.eq_ignore_ascii_case("https"));
                let host = last(headers, &FORWARDED_HOST).unwrap_or(host);
                prefix = last(headers, &FORWARDED_PREFIX).and_then(path).unwrap_or_default();
                (forwarded_for(trusted, peer, headers), host, if is_https { "https" } else { "http" })
            }
            Transport::Proxy(_) => (peer, host, "http"),
        };
        Client { address, host: host.to_owned(), scheme, prefix }
    }

    /// Whether requests for this name are ours to answer. A page of another site can have its own name point here
    /// (DNS rebinding); where browsers are on this machine only names of this machine count.
    pub fn serves(&self, client: &Client) -> bool {
        is_host(&client.host) && (*self != Transport::Loopback || names_this_machine(&client.host))
    }

    /// Whether nobody on the way could have listened, as far as that was promised: behind a proxy what came to it by
    /// plain HTTP, and what did not come through it, is not answered.
    pub fn is_open_to(&self, client: &Client) -> bool {
        !matches!(self, Transport::Proxy(_)) || client.scheme == "https"
    }
}

impl Client {
    /// The beginning of every address of ours, as the browser shows it.
    pub fn site(&self) -> String {
        format!("{}://{}", self.scheme, self.host)
    }

    /// Whether cookies come back when they are marked as secure: over HTTPS, and to the machine itself, which browsers
    /// trust as much.
    pub fn keeps_secure_cookies(&self) -> bool {
        self.scheme == "https" || names_this_machine(&self.host)
    }

    /// Whether an Origin header names the site that was asked.
    pub fn is_origin(&self, origin: &str) -> bool {
        origin
            .split_once("://")
            .is_some_and(|(scheme, host)| scheme == self.scheme && host.eq_ignore_ascii_case(&self.host))
    }
}

/// The address the nearest trusted proxy saw: the last of the list that is no trusted proxy's itself. What stands before
/// it anybody may have written.
fn forwarded_for(trusted: &[IpNet], peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let mut hops: Vec<&str> = Vec::new();
    for value in headers.get_all(FORWARDED_FOR) {
        hops.extend(value.to_str().unwrap_or_default().split(','));
    }
    let mut address = peer;
    for hop in hops.into_iter().rev() {
        let Some(hop) = address_of(hop.trim()) else { break };
        address = hop;
        if !is_in(trusted, hop) {
            break;
        }
    }
    address
}

/// An address that may have a port behind it.
fn address_of(text: &str) -> Option<IpAddr> {
    let bare = text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    bare.or_else(with_port).map(|address| address.to_canonical())
}

fn is_in(nets: &[IpNet], address: IpAddr) -> bool {
    nets.iter().any(|net| net.contains(&address))
}

/// Whether a Host header can be a name or an address with a port. It stands in addresses that others read.
fn is_host(host: &str) -> bool {
    host.chars().all(|letter| letter.is_ascii_alphanumeric() || "-._~:[]%".contains(letter))
}

/// A path without a slash at its end, if it can be the beginning of ours.
fn path(text: &str) -> Option<String> {
    let text = text.trim_end_matches('/');
    let is_known = |letter: char| letter.is_ascii_alphanumeric() || "-._~/".contains(letter);
    let is_path = text.starts_with('/') && !text.contains("//") && text.chars().all(is_known);
    (is_path && text.len() <= 200).then(|| text.to_owned())
}

/// The last value of a list: what the proxy nearest to us wrote.
fn last<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let value = headers.get_all(name).last()?.to_str().ok()?;
    value.rsplit(',').next().map(str::trim).filter(|value| !value.is_empty())
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Whether a Host header is `localhost` or a loopback address, with any port.
pub fn names_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(address, _)| address),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn headers(headers: &[(&HeaderName, &'static str)]) -> HeaderMap {
        headers.iter().map(|&(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn only_names_of_this_machine_are_served_to_it() {
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "127.0.0.1", "[::1]:8080", "[::1]"] {
            assert!(names_this_machine(host), "{host}");
        }
        for host in [
            "",
            "example.org",
            "localhost.example.org",
            "127.0.0.1.example.org",
            "192.168.1.4:80",
            "[::2]",
            "[",
            "::1",
        ] {
            assert!(!names_this_machine(host), "{host}");
        }
    }

    #[test]
    fn a_proxy_that_is_trusted_says_who_asked() {
        let transport = Transport::Proxy(vec!["10.0.0.0/24".parse().expect("a net")]);
        let said = headers(&[
            (&FORWARDED_FOR, "1.1.1.1, 203.0.113.7, 10.0.0.9"),
            (&FORWARDED_PROTO, "https"),
            (&FORWARDED_HOST, "pacs.example.org"),
            (&FORWARDED_PREFIX, "/x/pacs/"),
        ]);
        let client = transport.client_of(ip("10.0.0.2"), "inside:8080", &said);
        let expected = Client {
            address: ip("203.0.113.7"),
            host: "pacs.example.org".into(),
            scheme: "https",
            prefix: "/x/pacs".into(),
        };
        assert_eq!(client, expected);

        let stranger = transport.client_of(ip("192.0.2.1"), "inside:8080", &said);
        let expected = Client {
            address: ip("192.0.2.1"),
            host: "inside:8080".into(),
            scheme: "http",
            prefix: String::new(),
        };
        assert_eq!(stranger, expected);
        assert!(Transport::Plain.serves(&stranger));
        assert!(!Transport::Plain.serves(&Client { host: "a\"b".into(), ..stranger.clone() }));
        for wrong in ["pacs", "//example.org", "/a b", "/a\"", "/a?b"] {
            assert_eq!(path(wrong), None, "{wrong}");
        }

        assert!(transport.is_open_to(&client));
        assert!(!transport.is_open_to(&stranger), "whoever goes round the proxy");
        let plain = transport.client_of(ip("10.0.0.2"), "inside", &headers(&[(&FORWARDED_PROTO, "http")]));
        assert!(!transport.is_open_to(&plain), "what came to the proxy by plain HTTP");
        assert!(Transport::Plain.is_open_to(&stranger) && Transport::Loopback.is_open_to(&stranger));
    }

    #[test]
    fn without_a_proxy_nobody_says_who_asked() {
        let said = headers(&[(&FORWARDED_FOR, "1.1.1.1"), (&FORWARDED_PROTO, "https")]);
        for transport in [Transport::Loopback, Transport::Plain] {
            let client = transport.client_of(ip("192.0.2.1"), "here", &said);
            assert_eq!((client.address, client.scheme), (ip("192.0.2.1"), "http"));
        }
        assert_eq!(Transport::Tls.client_of(ip("192.0.2.1"), "here", &said).scheme, "https");
    }

    #[test]
    fn an_origin_is_scheme_and_host() {
        let client = Client {
            address: ip("127.0.0.1"),
            host: "pacs:8080".into(),
            scheme: "https",
            prefix: String::new(),
        };
        assert!(client.is_origin("https://pacs:8080"));
        for other in ["http://pacs:8080", "https://pacs", "https://pacs:8080.example.org", "null", ""] {
            assert!(!client.is_origin(other), "{other}");
        }
    }
}
