//! Refusing what a web page of somebody else sends to a server on the user's own machine.
//!
//! A page can make a browser send requests to any address, and by DNS rebinding even read the
//! answers under its own name. With a list of hosts, a request must name one of them exactly, and
//! an `Origin`, which browsers always add to what a page may not read freely, must be that host.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, Uri, header};

use crate::protocol::error::ApiError;
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
    Ok(next.run(request).await)
}

fn validate_origin(
    hosts: &[String],
    scheme: &str,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), ApiError> {
    let host =
        single_value(headers, header::HOST).filter(|host| hosts.iter().any(|good| good == host));
    let Some(host) = host else {
        return Err(ApiError::new(ProblemKind::Host, "this server does not answer for that host"));
    };
    // A request line with an authority of its own outranks Host (RFC 9112, 3.2.2).
    if uri.authority().is_some_and(|authority| authority.as_str() != host) {
        return Err(ApiError::new(ProblemKind::Host, "the request line and Host differ"));
    }
    let own = format!("{scheme}://{host}");
    if headers.contains_key(header::ORIGIN)
        && single_value(headers, header::ORIGIN) != Some(own.as_str())
    {
        return Err(ApiError::new(ProblemKind::Origin, "requests from other origins are refused"));
    }
    Ok(())
}

/// The value of a header that is there exactly once.
fn single_value(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) => line.to_str().ok(),
        _ => None,
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
        let hosts = ["127.0.0.1:8080".to_owned(), "localhost:8080".to_owned()];
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
}
