//! What every request passes before its handler, from the outside in: [`response`], [`origin`],
//! [`guard`], which passes on the body as a [`permitted_body`].

pub(crate) mod guard;
pub(crate) mod origin;
pub(crate) mod path_target;
pub(crate) mod permissions;
mod permitted_body;
pub(crate) mod response;
