//! What to do about an error of a back end.

use windlass_core::jobs::Denied;
use windlass_core::{Error, Job};

/// What answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BackendKind {
    /// A server that was named.
    Server,
    /// The server of this machine, since nothing was named.
    ThisMachine,
    /// The API server of a cluster.
    Cluster,
}

/// An error, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{error:#}\n{advice}")]
pub(crate) struct Advised {
    pub(crate) error: anyhow::Error,
    pub(super) advice: String,
}

/// What to do where nothing answers.
fn unavailable(message: &str, kind: &BackendKind) -> &'static str {
    match kind {
        BackendKind::Server | BackendKind::ThisMachine if message.contains("certificate") => {
            "--ca FILE names the authority that has signed the server's certificate, which is for the \
             names that the server was given (`windlass serve --host`)."
        }
        BackendKind::ThisMachine => {
            "Is it running? `windlass serve` starts a server here; --server or WINDLASS_SERVER \
             names another, --context a cluster."
        }
        BackendKind::Server => {
            "Is it running, and is that its address? --server or WINDLASS_SERVER names it."
        }
        BackendKind::Cluster => {
            "Is it the right cluster? `kubectl config current-context` tells, --context names \
             another, --server a Windlass server."
        }
    }
}

/// What to do about an error.
pub(super) fn advice(
    error: &anyhow::Error,
    kind: &BackendKind,
    namespace: &str,
    program: &str,
) -> Option<String> {
    Some(match (error.downcast_ref::<Error>()?, kind) {
        (Error::Unavailable { message, .. }, kind) => unavailable(message, kind).into(),
        (Error::Denied(why), BackendKind::Server | BackendKind::ThisMachine)
            if *why == Denied::Unauthenticated.to_string() =>
        {
            "The token comes from WINDLASS_TOKEN, from the file that WINDLASS_TOKEN_FILE names or, for \
             a server on this machine, from the file `token` in its data directory (--data DIR); for a \
             cluster's gateway, `kubectl create token ACCOUNT` makes one."
                .into()
        }
        (Error::Denied(_), BackendKind::Server | BackendKind::ThisMachine) => {
            "On one machine there is only the namespace `default`, and `windlass keys list` shows what \
             a key may do; on a cluster `kubectl auth can-i` tells. WINDLASS_TOKEN is who asks."
                .into()
        }
        (Error::Denied(_), BackendKind::Cluster) => format!(
            "`kubectl auth can-i --list -n {namespace}` tells what you may do there; -n names \
             another namespace, --context another cluster."
        ),
        (Error::Busy { retry_after, .. }, _) => {
            format!("Try again in {} s.", retry_after.as_secs().max(1))
        }
        (Error::NotFound { kind: Job::KIND, name }, BackendKind::Cluster) if name.is_empty() => {
            "Windlass is not installed on this cluster: `helm install windlass charts/windlass` \
             does it. --context names another cluster, --server a Windlass server."
                .into()
        }
        (Error::NotFound { kind: Job::KIND, .. }, kind) => {
            let other = match kind {
                BackendKind::Cluster => "-n names another namespace, --context another cluster",
                BackendKind::Server | BackendKind::ThisMachine => "-n names another namespace",
            };
            format!(
                "`{program} list` shows the jobs of namespace {namespace:?}; a job is forgotten \
                 some time after its end. {other}."
            )
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_is_to_come_back_later_is_told_when_and_not_asked_whether_the_server_runs() {
        let full =
            Error::Busy { message: "the disk is full".into(), retry_after: Duration::from_secs(5) };
        for kind in [BackendKind::Server, BackendKind::ThisMachine, BackendKind::Cluster] {
            let full = anyhow::Error::new(full.clone());
            let advice = advice(&full, &kind, "default", "windlass").unwrap();
            assert_eq!(advice, "Try again in 5 s.", "{kind:?}");
        }
    }
}
