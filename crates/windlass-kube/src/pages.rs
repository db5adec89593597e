//! Lists that come page by page.

use kube::api::ListParams;
use kube::core::ObjectList;
use windlass_core::Error;

/// Lists all objects of these parameters, whose limit is the size of a page.
pub(crate) async fn each_page<K: Clone, F: Future<Output = Result<ObjectList<K>, Error>>>(
    mut params: ListParams,
    list: impl Fn(ListParams) -> F,
    mut each: impl FnMut(K),
) -> Result<(), Error> {
    loop {
        let page = list(params.clone()).await?;
        page.items.into_iter().for_each(&mut each);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(()),
        }
    }
}
