//! `GET /v1/namespaces/{namespace}/jobs/{name}/logs`: what the function says on stdout and stderr, in the
//! order in which it was said.
//!
//! The end of it as it is now, or with `?follow=true` that and all that comes until the job has ended, a
//! further attempt after the one before. `?tailBytes=` bounds what is shown of what was said before. Like
//! a result it is hostile.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use http::{HeaderName, Uri, header};
use windlass_core::JobKey;
use windlass_core::error::clip;

use crate::Shared;
use crate::guard::in_time;
use crate::problem::Kind;
use crate::refusal::Refusal;

/// Most of a log that is given of what was said before, in bytes: the last MiB.
const MAX_BYTES: u64 = 1 << 20;

pub(crate) async fn logs(
    State(shared): State<Arc<Shared>>,
    Extension(key): Extension<JobKey>,
    uri: Uri,
) -> Result<Response, Refusal> {
    let Asked { follow, tail_bytes } = read(&uri)?;
    let (jobs, limits) = (&shared.gateway.jobs, &shared.gateway.limits);
    let body = if follow {
        let said = in_time(limits.request, jobs.follow_logs(&key, tail_bytes)).await??;
        Body::from_stream(said.take_until(Box::pin(shared.stream_over())))
    } else {
        in_time(limits.request, jobs.logs(&key, tail_bytes)).await??.into()
    };
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"),
        (header::CACHE_CONTROL, "private, no-store"),
        // Proxies of the nginx family hold a stream back without it.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, body).into_response())
}

struct Asked {
    follow: bool,
    tail_bytes: u64,
}

fn read(uri: &Uri) -> Result<Asked, Refusal> {
    let wrong = |key: &str, why: &str| Refusal::new(Kind::Query, format!("{key}: {why}"));
    let Ok(Query(pairs)) = Query::<Vec<(String, String)>>::try_from_uri(uri) else {
        return Err(Refusal::new(Kind::Query, "the query cannot be read"));
    };
    let mut asked = Asked { follow: false, tail_bytes: MAX_BYTES };
    for (key, value) in pairs {
        match key.as_str() {
            "follow" => {
                asked.follow = value.parse().map_err(|_| wrong("follow", "true or false"))?;
            }
            "tailBytes" => {
                asked.tail_bytes = value
                    .parse()
                    .ok()
                    .filter(|bytes| *bytes <= MAX_BYTES)
                    .ok_or_else(|| wrong("tailBytes", "a number from 0 to 1048576"))?;
            }
            _ => {
                let known = "there is no such parameter; there are follow and tailBytes";
                return Err(wrong(&format!("{:?}", clip(key, 64)), known));
            }
        }
    }
    Ok(asked)
}
