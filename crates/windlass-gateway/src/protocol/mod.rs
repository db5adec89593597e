//! What HTTP itself asks for: bodies, queries, ranges, preferences, tokens, bounds, and errors as
//! problem documents. Nothing here knows of jobs that are stored somewhere.

pub(crate) mod address;
mod address_rates;
mod bad_tokens;
pub(crate) mod bearer;
pub(crate) mod body;
pub(crate) mod deadline;
pub(crate) mod error;
pub(crate) mod headers;
pub(crate) mod limits;
pub(crate) mod login_codes;
pub(crate) mod multipart;
pub(crate) mod prefer;
pub(crate) mod problem;
pub(crate) mod query;
pub(crate) mod range;
pub(crate) mod rate_limit;
pub(crate) mod rate_table;
pub(crate) mod resource_list;
pub(crate) mod route;
pub(crate) mod secret;
