//! `kubectl windlass`.

use std::path::Path;

/// Whether this program was started as `kubectl windlass`: kubectl runs the program of that name.
/// Then the cluster of the kube context is meant, always.
pub(crate) fn is_kubectl_plugin() -> bool {
    std::env::args_os()
        .next()
        .is_some_and(|program| Path::new(&program).file_stem() == Some("kubectl-windlass".as_ref()))
}
