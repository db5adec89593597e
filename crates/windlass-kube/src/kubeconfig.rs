//! The cluster of a kubeconfig's context, found as kubectl finds it. The command line uses this.
//!
//! In: the file and the context that the user named. Out: a client, or `None` when there is no cluster. A name that
//! is wrong is refused: it never leads to another cluster.

use std::io;
use std::path::PathBuf;

use kube::config::{Config, KubeConfigOptions, Kubeconfig, KubeconfigError};
use windlass_core::{Error, Problem};

use crate::client::from_config;

/// Most contexts that are listed to somebody who names one that does not exist.
const SHOWN: usize = 20;

/// What was named on the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// A file, instead of `KUBECONFIG` and `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// A context of it, instead of the current one.
    pub context: Option<String>,
}

/// A client for that cluster. `None` when nothing was named, there is no current context and this is
/// no pod of a cluster.
pub async fn client(named: &Named) -> Result<Option<kube::Client>, Error> {
    match config(named).await? {
        Some(config) => from_config(config, None).map(Some),
        None => Ok(None),
    }
}

async fn config(named: &Named) -> Result<Option<Config>, Error> {
    let options = KubeConfigOptions { context: named.context.clone(), ..Default::default() };
    let read = match &named.kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let any = *named != Named::default();
    let kubeconfig = match read {
        Ok(kubeconfig) => kubeconfig,
        Err(error) if !any && is_absent(&error) => return Ok(Config::incluster().ok()),
        Err(error) => return Err(wrong(&error)),
    };
    if let Some(context) = &named.context
        && !kubeconfig.contexts.iter().any(|known| known.name == *context)
    {
        let known: Vec<_> = kubeconfig.contexts.iter().map(|known| known.name.as_str()).collect();
        let shown = &known[..known.len().min(SHOWN)];
        let message = match shown {
            [] => format!("there is no context {context:?}; the kubeconfig has none"),
            shown => format!("there is no context {context:?}; there are: {}", shown.join(", ")),
        };
        return Err(Error::Invalid(vec![Problem::at("", message)]));
    }
    match Config::from_custom_kubeconfig(kubeconfig, &options).await {
        Ok(config) => Ok(Some(config)),
        Err(error) if !any && is_absent(&error) => Ok(Config::incluster().ok()),
        Err(error) => Err(wrong(&error)),
    }
}

/// Whether there is no kubeconfig, or none that says which cluster.
fn is_absent(error: &KubeconfigError) -> bool {
    match error {
        KubeconfigError::FindPath | KubeconfigError::CurrentContextNotSet => true,
        KubeconfigError::ReadConfig(error, _) => error.kind() == io::ErrorKind::NotFound,
        _ => false,
    }
}

fn wrong(error: &KubeconfigError) -> Error {
    let mut message = format!("the kubeconfig cannot be used: {error}");
    if let Some(cause) = std::error::Error::source(error) {
        let cause = cause.to_string();
        if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    Error::Invalid(vec![Problem::at("", message)])
}

#[cfg(test)]
mod tests {
    use super::*;

    const KUBECONFIG: &str = "
apiVersion: v1
kind: Config
clusters: [{name: here, cluster: {server: 'http://127.0.0.1:1'}}]
users: [{name: me, user: {}}]
contexts:
- {name: one, context: {cluster: here, user: me, namespace: first}}
- {name: two, context: {cluster: here, user: me}}
current-context: one
";

    fn named(path: &std::path::Path, context: Option<&str>) -> Named {
        Named { kubeconfig: Some(path.to_owned()), context: context.map(str::to_owned) }
    }

    #[tokio::test]
    async fn a_context_that_is_named_is_taken_and_one_that_is_not_there_refused() {
        let path = std::env::temp_dir().join(format!("windlass-context-{}", std::process::id()));
        std::fs::write(&path, KUBECONFIG).unwrap();
        let current = config(&named(&path, None)).await.unwrap().unwrap();
        assert_eq!(current.default_namespace, "first");
        let other = config(&named(&path, Some("two"))).await.unwrap().unwrap();
        assert_eq!(other.default_namespace, "default");
        let missing = config(&named(&path, Some("three"))).await.unwrap_err().to_string();
        assert!(missing.contains("\"three\"; there are: one, two"), "{missing}");
        std::fs::write(&path, "kind: [").unwrap();
        assert!(matches!(config(&named(&path, None)).await, Err(Error::Invalid(_))));
        std::fs::remove_file(&path).unwrap();
        // What was named is never passed over for another cluster.
        assert!(matches!(config(&named(&path, None)).await, Err(Error::Invalid(_))));
    }
}
