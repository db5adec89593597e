//! `POST /v1/login-codes` and `POST /v1/login`: a browser gets the token of whoever opened it.
//!
//! The admin asks for a code and opens the dashboard with it; the page redeems it for the admin's token. A code is
//! good once and for a minute. It is sent as a bearer token, so that an address that tries many is kept waiting.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use crate::protocol::bearer::BearerToken;
use crate::protocol::error::ApiError;
use crate::protocol::login_codes::CODE_LIFE;
use crate::protocol::problem::ProblemKind;
use crate::state::GatewayState;

/// A code that is good once.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LoginCode {
    /// The code.
    code: String,
    /// How long it is good.
    expires_in_seconds: u64,
}

/// What a code is good for.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Login {
    /// The token of whoever asked for the code.
    token: String,
}

pub(crate) async fn issue_login_code(
    State(state): State<Arc<GatewayState>>,
    Extension(token): Extension<BearerToken>,
) -> Result<(StatusCode, Json<LoginCode>), ApiError> {
    let code = state.login_codes.issue(token, Instant::now()).map_err(|error| {
        tracing::error!(%error, "there is no random number");
        ApiError::internal()
    })?;
    let expires_in_seconds = CODE_LIFE.as_secs();
    Ok((StatusCode::CREATED, Json(LoginCode { code, expires_in_seconds })))
}

pub(crate) async fn redeem_login_code(
    State(state): State<Arc<GatewayState>>,
    Extension(code): Extension<BearerToken>,
) -> Result<Json<Login>, ApiError> {
    let token = state.login_codes.redeem(code.as_str(), Instant::now()).ok_or_else(|| {
        let why = "the link was used before or is older than a minute; `windlass dashboard` makes another";
        ApiError::new(ProblemKind::Unauthenticated, why)
    })?;
    Ok(Json(Login { token: token.as_str().to_owned() }))
}
