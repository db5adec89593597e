//! The parameters of a query: each route names its own, and refuses any other.

use axum::extract::Query;
use http::Uri;
use windlass_core::error::clip;
use windlass_core::fields::Fields;

use crate::problem::Kind;
use crate::refusal::Refusal;

/// The parameters, in their order.
pub(crate) fn pairs(uri: &Uri) -> Result<Vec<(String, String)>, Refusal> {
    match Query::try_from_uri(uri) {
        Ok(Query(pairs)) => Ok(pairs),
        Err(_) => Err(Refusal::new(Kind::Query, "the query cannot be read")),
    }
}

/// The refusal of a value.
pub(crate) fn wrong(key: &str, why: &str) -> Refusal {
    Refusal::new(Kind::Query, format!("{key}: {why}"))
}

/// The refusal of a parameter that there is not.
pub(crate) fn unknown(key: String, known: &str) -> Refusal {
    let key = clip(key, 64);
    Refusal::new(Kind::Query, format!("{key:?}: there is no such parameter; there are {known}"))
}

/// Some fields of a job, in `?fields=`.
pub(crate) fn fields(text: &str) -> Result<Fields, Refusal> {
    Fields::parse(text).map_err(|why| wrong("fields", &why))
}
