//! Groups of flags that several commands share. A command's own flags are beside the command.

pub(crate) mod backend;
pub(crate) mod bad_usage;
pub(crate) mod config_file;
pub(crate) mod duration;
pub(crate) mod function;
pub(crate) mod function_user;
pub(crate) mod job;
pub(crate) mod kubectl_plugin;
pub(crate) mod listener;
pub(crate) mod machine;
pub(crate) mod media_type;
pub(crate) mod names;
pub(crate) mod new_job;
pub(crate) mod objects;
pub(crate) mod output_form;
pub(crate) mod quantity;
pub(crate) mod wait;
