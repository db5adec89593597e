//! What every request passes before its handler, from the outside in: [`response`], [`origin`],
//! [`guard`].

pub(crate) mod guard;
pub(crate) mod origin;
pub(crate) mod path_target;
pub(crate) mod permissions;
pub(crate) mod response;
