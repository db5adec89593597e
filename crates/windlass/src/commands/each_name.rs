//! The same for several names: one that is not there keeps no other from its turn.

use windlass_core::Error;

use crate::output::log;

/// Does it for each name. What was done, and what was said of the last name that is not there; of an earlier one it is
/// told here.
pub(crate) async fn each_name<T>(
    names: &[String],
    mut done: impl AsyncFnMut(&str) -> Result<T, Error>,
) -> Result<(Vec<T>, Option<Error>), Error> {
    let (mut all, mut missing) = (Vec::new(), None);
    for name in names {
        match done(name).await {
            Ok(one) => all.push(one),
            Err(error @ Error::NotFound { .. }) => {
                if let Some(earlier) = missing.replace(error) {
                    log::print_line(&format!("windlass: {earlier}"));
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok((all, missing))
}
