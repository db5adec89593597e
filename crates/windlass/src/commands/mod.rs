//! One file a command: its flags, and what it does.

pub(crate) mod blobs;
pub(crate) mod call;
pub(crate) mod cancel;
pub(crate) mod completion;
pub(crate) mod controller;
pub(crate) mod dashboard;
pub(crate) mod delete;
pub(crate) mod drain;
pub(crate) mod each_name;
pub(crate) mod explain;
pub(crate) mod functions;
pub(crate) mod gateway;
pub(crate) mod get;
pub(crate) mod keys;
pub(crate) mod lambda;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod print;
pub(crate) mod queues;
pub(crate) mod result;
pub(crate) mod retry;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod submit;
pub(crate) mod watch;
