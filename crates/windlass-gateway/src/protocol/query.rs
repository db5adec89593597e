//! The parameters of a query: each route names its own, and refuses any other.

use std::collections::BTreeSet;

use axum::extract::Query;
use http::Uri;
use windlass_core::error::clip;
use windlass_core::fields::Fields;

use super::error::ApiError;
use super::problem::ProblemKind;

/// The parameters, in their order, each once: of two values nobody knows which was meant.
pub(crate) fn parameters(uri: &Uri) -> Result<Vec<(String, String)>, ApiError> {
    let Ok(Query(pairs)) = Query::<Vec<(String, String)>>::try_from_uri(uri) else {
        return Err(ApiError::new(ProblemKind::Query, "the query cannot be read"));
    };
    let mut names = BTreeSet::new();
    match pairs.iter().find(|(name, _)| !names.insert(name)) {
        Some((name, _)) => Err(invalid_parameter(&clip(name.clone(), 64), "is given twice")),
        None => Ok(pairs),
    }
}

/// The error of a value.
pub(crate) fn invalid_parameter(key: &str, why: &str) -> ApiError {
    ApiError::new(ProblemKind::Query, format!("{key}: {why}"))
}

/// The error of a parameter that does not exist.
pub(crate) fn unknown_parameter(key: String, known: &str) -> ApiError {
    let key = clip(key, 64);
    ApiError::new(
        ProblemKind::Query,
        format!("{key:?}: there is no such parameter; there are {known}"),
    )
}

/// Some fields of a job, in `?fields=`.
pub(crate) fn parse_fields(text: &str) -> Result<Fields, ApiError> {
    Fields::parse(text).map_err(|why| invalid_parameter("fields", &why))
}

/// The UID of the job that is meant, on a route with no other parameter than `?uid=`.
pub(crate) fn only_uid(uri: &Uri) -> Result<Option<String>, ApiError> {
    let mut uid = None;
    for (parameter, value) in parameters(uri)? {
        match parameter.as_str() {
            "uid" if value.is_empty() => return Err(invalid_parameter("uid", "is empty")),
            "uid" => uid = Some(value),
            _ => return Err(unknown_parameter(parameter, "uid")),
        }
    }
    Ok(uid)
}

/// The fields that are asked for, on a route with no other parameter than `?fields=`.
pub(crate) fn only_fields(uri: &Uri) -> Result<Option<Fields>, ApiError> {
    let mut selected = None;
    for (parameter, value) in parameters(uri)? {
        match parameter.as_str() {
            "fields" => selected = Some(parse_fields(&value)?),
            _ => return Err(unknown_parameter(parameter, "fields")),
        }
    }
    Ok(selected)
}
