//! `GET /v1/namespaces/{namespace}/jobs/{name}/logs`: what the function says on stdout and stderr.
//!
//! The end of it, as it is now: it can be read while the function runs. With `attempt` that of an earlier attempt. With
//! `follow=true` all that it says until the job has ended. Like a result it is hostile.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderName, Method, Uri, header};
use windlass_core::jobs::Verb;
use windlass_core::log_tail::{LogRange, MAX_LOG_BYTES, WantedLog};
use windlass_core::{AttemptNumber, JobKey};

use super::stream_end::{broken_off_by, stream_over};
use crate::middleware::path_target::Target;
use crate::protocol::deadline::within;
use crate::protocol::error::ApiError;
use crate::protocol::query::{invalid_parameter, parameters, unknown_parameter};
use crate::state::GatewayState;

/// What is asked for.
struct LogQuery {
    follows: bool,
    attempt: Option<AttemptNumber>,
    range: LogRange,
}

/// `?attempt=&follow=&tailBytes=&timestamps=`
pub(crate) async fn read_logs(
    Target { state, of: key, token, .. }: Target<JobKey>,
    method: Method,
    uri: Uri,
) -> Result<Response, ApiError> {
    let LogQuery { follows, attempt, range } = query_of(&uri)?;
    let wanted = WantedLog { attempt, range };
    let (jobs, limits) = (&state.gateway.jobs, &state.gateway.limits);
    let body = match (follows, &method) {
        (false, _) => within(limits.request, jobs.logs(&key, wanted)).await??.into(),
        (true, &Method::HEAD) => {
            within(limits.request, jobs.get(&key)).await??;
            Body::empty()
        }
        // What an earlier attempt has said goes on no more.
        (true, _) if is_earlier(&state, &key, attempt).await? => {
            within(limits.request, jobs.logs(&key, wanted)).await??.into()
        }
        (true, _) => {
            let said = within(limits.request, jobs.follow_logs(&key, range)).await??;
            let over = stream_over(&state, &token, Verb::Get, &key.namespace);
            Body::from_stream(broken_off_by(over, said))
        }
    };
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"),
        (header::CACHE_CONTROL, "private, no-store"),
        // Proxies of the nginx family hold lines back without it.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, body).into_response())
}

/// Whether this attempt of a job is not the latest, or was never made.
async fn is_earlier(
    state: &GatewayState,
    key: &JobKey,
    attempt: Option<AttemptNumber>,
) -> Result<bool, ApiError> {
    let Some(attempt) = attempt else { return Ok(false) };
    let job = within(state.gateway.limits.request, state.gateway.jobs.get(key)).await??;
    Ok(job.status.attempt != Some(attempt))
}

fn query_of(uri: &Uri) -> Result<LogQuery, ApiError> {
    let (mut follows, mut attempt) = (false, None);
    let mut range = LogRange { tail: MAX_LOG_BYTES, timestamps: false };
    let yes_or_no = |key: &'static str, value: &str| {
        value.parse().map_err(|_| invalid_parameter(key, "true or false"))
    };
    for (key, value) in parameters(uri)? {
        match key.as_str() {
            "attempt" => match value.parse() {
                Ok(number @ 1..) => attempt = Some(number),
                _ => return Err(invalid_parameter("attempt", "a number from 1 on")),
            },
            "follow" => follows = yes_or_no("follow", &value)?,
            "timestamps" => range.timestamps = yes_or_no("timestamps", &value)?,
            "tailBytes" => match value.parse() {
                Ok(bytes @ 0..=MAX_LOG_BYTES) => range.tail = bytes,
                _ => return Err(invalid_parameter("tailBytes", "a number from 0 to 1048576")),
            },
            _ => return Err(unknown_parameter(key, "attempt, follow, tailBytes, timestamps")),
        }
    }
    Ok(LogQuery { follows, attempt, range })
}
