//! `POST /v1/reports`: what the workers of attempts tell.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use windlass_core::jobs::Verdict;
use windlass_core::{Report, parse};

use crate::guard::Token;
use crate::limits::MAX_REPORT_BYTES;
use crate::refusal::Refusal;
use crate::{Shared, body};

/// 204 when the report counts, 409 when it never will, 503 when it should be sent again.
pub(crate) async fn report(
    State(shared): State<Arc<Shared>>,
    Extension(token): Extension<Token>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let Some(reports) = &shared.gateway.reports else {
        return Err(Refusal::no_such_path());
    };
    let limit = shared.gateway.limits.body;
    let bytes = body::json(&headers, body, MAX_REPORT_BYTES, limit).await?;
    let report: Report = parse::json(&bytes)?;
    let verdict = reports.report(Some(token.as_str()), report).await;
    shared.gateway.meters.reported(match &verdict {
        Ok(Verdict::Accepted) => "accepted",
        Ok(Verdict::Refused(_)) => "refused",
        Err(_) => "unjudged",
    });
    match verdict? {
        Verdict::Accepted => Ok(StatusCode::NO_CONTENT),
        Verdict::Refused(reason) => Err(Refusal::refused(reason)),
    }
}
