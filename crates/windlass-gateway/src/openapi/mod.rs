//! What the API is: [`operations`] has the words for each route, [`document`] makes an OpenAPI
//! document from them and the routes, and [`page`] a page from the document.

pub(crate) mod document;
mod html;
mod operation;
mod operations;
mod page;
mod schemas;
#[cfg(test)]
mod tests;
