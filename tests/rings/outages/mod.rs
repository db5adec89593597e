//! What may go wrong around the controller on a real cluster: each fault with its stated outcome. After the
//! last of them everything converges within a minute, nothing is lost, done twice or left, and then
//! nothing is written.
//!
//! Pods are kwok's but for the last tests; API server, etcd, controller-manager and scheduler are real.
//! Each test breaks the whole cluster, so they run one after the other. `tests/run outages` runs the
//! long forms, `tests/run cluster` short ones.

mod components;
mod controllers;
mod malformed;
mod nodes;
mod objects;
mod requests;
mod times;
mod upgrades;
mod uploads;
