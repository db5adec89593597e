//! What the commands that serve share: the engine's configuration, who may call, and what the machine allows.

pub(crate) mod access;
pub(crate) mod address_file;
pub(crate) mod authorities;
pub(crate) mod builtin_functions;
pub(crate) mod descriptors;
pub(crate) mod engine_config;
pub(crate) mod first_process;
pub(crate) mod hosts;
mod keyring;
pub(crate) mod keys;
pub(crate) mod listen;
pub(crate) mod memory;
pub(crate) mod service_manager;
