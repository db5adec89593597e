//! The handlers: for each route one function, named after its `operationId` in the API document.

pub(crate) mod api_document;
pub(crate) mod assignment;
pub(crate) mod blobs;
pub(crate) mod call;
pub(crate) mod capacity;
pub(crate) mod dashboard;
pub(crate) mod drain;
pub(crate) mod estimates;
pub(crate) mod form;
pub(crate) mod functions;
pub(crate) mod health;
pub(crate) mod history;
pub(crate) mod input;
pub(crate) mod jobs;
pub(crate) mod login;
pub(crate) mod metrics;
pub(crate) mod peers;
pub(crate) mod queues;
pub(crate) mod reports;
