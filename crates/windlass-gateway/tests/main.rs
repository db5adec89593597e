//! The gateway over real sockets, in front of a fake back end.
//!
//! The back end in `fake` exists for its faults; what a back end must do is tested elsewhere, on the
//! real ones.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fake;
mod http;

mod blobs;
mod call;
mod changes;
mod crowds;
mod errors;
mod events;
mod form;
mod guard;
mod half_closed;
mod hosts;
mod idempotency;
mod jobs;
mod labels;
mod login;
mod logs;
mod metrics;
mod openapi;
mod overload;
mod peers;
mod reports;
mod shutdown;
mod submit;
mod tls;
