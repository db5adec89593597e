//! Refusing what a web page of somebody else sends to a server on the user's own machine.
//!
//! A page can make a browser send requests to any address, and by DNS rebinding even read the
//! answers under its own name. With a list of hosts, a request must name one of them, in any spelling, and
//! an `Origin`, which browsers always add to what a page may not read freely, must be that host.

use std::net::Ipv6Addr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, Method, Uri, header};

use crate::protocol::error::ApiError;
use crate::protocol::headers::single_value;
use crate::protocol::problem::ProblemKind;
use crate::state::GatewayState;

pub(crate) async fn check_origin(
    State(state): State<Arc<GatewayState>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if let Some(hosts) = &state.gateway.allowed_hosts {
        let scheme = if state.gateway.tls.is_some() { "https" } else { "http" };
        validate_origin(hosts, scheme, request.uri(), request.headers())?;
    }
    if state.gateway.ingress_signs_in {
        refuse_other_sites(request.method(), request.headers())?;
    }
    Ok(next.run(request).await)
}

/// Who is signed in by an ingress is so in whatever page a browser has: only the gateway's own may change something.
/// A browser says where a request comes from in `Sec-Fetch-Site`, but only over HTTPS, and in `Origin` with all that may
/// change something. No script can change either. What comes with a cookie and says neither is refused.
fn refuse_other_sites(method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    let is_known = |name: &str| headers.contains_key(name);
    let is_same_site = single_value(headers, "sec-fetch-site")
        .is_some_and(|site| matches!(site, "same-origin" | "none"));
    let is_same_host = single_value(headers, header::ORIGIN)
        .and_then(|origin| origin.split_once("://"))
        .zip(single_value(headers, header::HOST))
        .is_some_and(|((scheme, origin), host)| {
            Host::read(origin, scheme).is_some_and(|read| Host::read(host, scheme) == Some(read))
        });
    let is_other = is_known("sec-fetch-site") && !is_same_site
        || is_known("origin") && !is_same_host
        || is_known("cookie") && !is_known("sec-fetch-site") && !is_known("origin");
    if is_other {
        return Err(ApiError::new(ProblemKind::Origin, "requests from other sites are refused"));
    }
    Ok(())
}

fn validate_origin(
    hosts: &[String],
    scheme: &str,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), ApiError> {
    let named = |host: &str| Host::read(host, scheme);
    let host = single_value(headers, header::HOST).and_then(named);
    let Some(host) =
        host.filter(|host| hosts.iter().any(|good| named(good).as_ref() == Some(host)))
    else {
        return Err(ApiError::new(ProblemKind::Host, "this server does not answer for that host"));
    };
    // A request line with an authority of its own outranks Host (RFC 9112, 3.2.2).
    if uri.authority().is_some_and(|authority| named(authority.as_str()).as_ref() != Some(&host)) {
        return Err(ApiError::new(ProblemKind::Host, "the request line and Host differ"));
    }
    let origin = single_value(headers, header::ORIGIN).and_then(|origin| {
        let (of, host) = origin.split_once("://")?;
        named(host).filter(|_| of.eq_ignore_ascii_case(scheme))
    });
    if headers.contains_key(header::ORIGIN) && origin.as_ref() != Some(&host) {
        return Err(ApiError::new(ProblemKind::Origin, "requests from other origins are refused"));
    }
    Ok(())
}

/// A host and its port, however they are spelled: names compare without case, IPv6 addresses have several forms, and the
/// usual port of a scheme need not be said. A name with the dot of the root is another one, as it is for browsers.
#[derive(PartialEq, Eq)]
struct Host {
    name: HostName,
    port: u16,
}

#[derive(PartialEq, Eq)]
enum HostName {
    V6(Ipv6Addr),
    /// In lower case; also an IPv4 address.
    Other(String),
}

impl Host {
    fn read(text: &str, scheme: &str) -> Option<Self> {
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']')?;
                (HostName::V6(address.parse().ok()?), port)
            }
            None => {
                let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                (HostName::Other(name.to_ascii_lowercase()), port)
            }
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => "",
            None => return None,
            Some(port) => port,
        };
        let port = match port {
            "" if scheme == "https" => 443,
            "" => 80,
            port if port.bytes().all(|byte| byte.is_ascii_digit()) => port.parse().ok()?,
            _ => return None,
        };
        Some(Self { name, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(lines: &[(&'static str, &'static str)], uri: &str) -> Option<u16> {
        verdict_over("http", lines, uri)
    }

    fn verdict_over(
        scheme: &str,
        lines: &[(&'static str, &'static str)],
        uri: &str,
    ) -> Option<u16> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        let hosts = ["127.0.0.1:8080", "localhost:8080", "[::1]:8080"].map(str::to_owned);
        validate_origin(&hosts, scheme, &uri.parse().unwrap(), &headers)
            .err()
            .map(|error| axum::response::IntoResponse::into_response(error).status().as_u16())
    }

    #[test]
    fn only_the_listed_hosts_and_their_own_pages_are_answered() {
        let host = ("host", "localhost:8080");
        assert_eq!(verdict(&[host], "/"), None);
        assert_eq!(verdict(&[host, ("origin", "http://localhost:8080")], "/"), None);
        for origin in ["http://evil.example", "null", "https://localhost:8080", ""] {
            assert_eq!(verdict(&[host, ("origin", origin)], "/"), Some(403), "{origin}");
        }
        for bad in ["evil.example", "localhost", "localhost:80", "localhost:8080.evil.example"] {
            assert_eq!(verdict(&[("host", bad)], "/"), Some(421), "{bad}");
        }
        assert_eq!(verdict(&[], "/"), Some(421));
        let secure = [host, ("origin", "https://localhost:8080")];
        assert_eq!(verdict_over("https", &secure, "/"), None);
        assert_eq!(
            verdict_over("https", &[host, ("origin", "http://localhost:8080")], "/"),
            Some(403)
        );
        assert_eq!(verdict(&[host, host], "/"), Some(421));
        assert_eq!(verdict(&[host], "http://evil.example/"), Some(421));
    }

    #[test]
    fn who_is_signed_in_by_an_ingress_changes_nothing_from_another_site() {
        let verdict = |method, lines: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, value.parse().unwrap());
            }
            refuse_other_sites(&method, &headers).is_ok()
        };
        let (host, cookie) = (("host", "windlass.example"), ("cookie", "session=1"));
        let origin = |origin| ("origin", origin);
        let site = |site| ("sec-fetch-site", site);
        for good in [
            vec![host, cookie, origin("https://windlass.example"), site("same-origin")],
            vec![host, cookie, origin("http://windlass.example")],
            vec![host, cookie, site("same-origin")],
            // No browser, and nobody whom a cookie signs in.
            vec![host],
        ] {
            assert!(verdict(Method::POST, &good), "{good:?}");
        }
        for bad in [
            vec![host, cookie, origin("http://wiki.example")],
            vec![host, cookie, origin("http://windlass.example:8080")],
            vec![host, cookie, origin("null")],
            vec![
                host,
                cookie,
                origin("https://windlass.example"),
                origin("https://windlass.example"),
            ],
            vec![host, cookie, origin("https://windlass.example"), site("same-site")],
            vec![host, cookie, site("same-origin"), site("same-origin")],
            vec![cookie, origin("https://windlass.example")],
            vec![host, cookie],
        ] {
            assert!(!verdict(Method::POST, &bad), "{bad:?}");
            assert!(!verdict(Method::DELETE, &bad), "{bad:?}");
            assert!(verdict(Method::GET, &bad), "{bad:?}");
        }
    }

    #[test]
    fn a_host_may_be_spelled_in_any_way() {
        for host in ["LOCALHOST:8080", "LocalHost:08080", "[::1]:8080", "[0:0:0:0:0:0:0:1]:8080"] {
            assert_eq!(verdict(&[("host", host)], "/"), None, "{host}");
        }
        let host = ("host", "LOCALHOST:8080");
        assert_eq!(verdict(&[host, ("origin", "HTTP://Localhost:8080")], "/"), None);
        assert_eq!(verdict(&[host], "http://localhost:8080/"), None);
        for bad in [
            "localhost.:8080",
            "localhost:8080:8080",
            "localhost:",
            "localhost:+8080",
            "::1:8080",
            "[::1]8080",
            "[::2]:8080",
            "[localhost]:8080",
            "user@localhost:8080",
            "localhost:73616",
        ] {
            assert_eq!(verdict(&[("host", bad)], "/"), Some(421), "{bad}");
        }
    }

    #[test]
    fn the_usual_port_goes_without_saying() {
        let hosts = ["compute.example:443".to_owned()];
        let verdict = |host: &'static str, origin: &'static str| {
            let lines = [("host", host), ("origin", origin)].map(|(name, value)| {
                (header::HeaderName::from_static(name), http::HeaderValue::from_static(value))
            });
            validate_origin(&hosts, "https", &Uri::from_static("/"), &lines.into_iter().collect())
        };
        assert!(verdict("compute.example", "https://compute.example:443").is_ok());
        assert!(verdict("compute.example:443", "https://compute.example").is_ok());
        assert!(verdict("compute.example", "https://compute.example:80").is_err());
    }
}
