//! Who may do what.

use std::time::Duration;

use async_trait::async_trait;

/// Who may do what. One layer before every handler.
#[async_trait]
pub trait Access: Send + Sync + 'static {
    /// Lets a caller with this bearer token through, or says no. Fails closed: an error refuses.
    /// A world that knows no rights on functions and queues lets through who may do the same with jobs.
    async fn check(&self, token: Option<&str>, to: Permission, namespace: &str) -> Checked;
    /// The same for whoever wants to read the metrics, which tell of all namespaces.
    async fn check_metrics(&self, token: Option<&str>) -> Result<(), Denied>;
    /// Who holds this bearer token.
    async fn caller(&self, token: Option<&str>) -> Result<Caller, Denied>;
    /// Whether its holder may write the functions of this namespace, and so read the values of their
    /// variables.
    async fn may_write_functions(
        &self,
        token: Option<&str>,
        namespace: &str,
    ) -> Result<bool, Denied>;
    /// Whether its holder may use the function of this name that is for all namespaces, in this one.
    async fn may_use_function(
        &self,
        token: Option<&str>,
        namespace: &str,
        name: &str,
    ) -> Result<bool, Denied>;
    /// Lets whoever may end the server through, or says no. A world in which nobody may lets nobody through.
    async fn check_admin(&self, token: Option<&str>) -> Result<(), Denied> {
        let _ = token;
        Err(Denied::NotAdmin)
    }
    /// The same for whoever says to be another replica of this gateway. A world that has none lets
    /// nobody through.
    async fn check_peer(&self, token: Option<&str>) -> Result<(), Denied> {
        let _ = token;
        Err(Denied::Unauthenticated)
    }
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// One name for all the tokens of one caller. It is compared and never shown.
    pub name: String,
    /// Whether this is the one admin, for whom some room is kept. A cluster has none.
    pub is_admin: bool,
}

/// What [`Access::check`] says.
pub type Checked = Result<(), Denied>;

/// Something that a caller may or may not do in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Permission {
    /// With what.
    pub resource: Resource,
    /// What.
    pub verb: Verb,
}

impl Permission {
    /// Doing this with jobs.
    pub fn jobs(verb: Verb) -> Self {
        Self { resource: Resource::Jobs, verb }
    }
}

/// What a route is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// Jobs.
    Jobs,
    /// Functions.
    Functions,
    /// Queues.
    Queues,
}

impl Resource {
    /// The resource as Kubernetes spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jobs => "computejobs",
            Self::Functions => "computefunctions",
            Self::Queues => "computequeues",
        }
    }
}

/// What a caller wants to do in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Submit a job.
    Create,
    /// Read one job.
    Get,
    /// Read many.
    List,
    /// Follow one.
    Watch,
    /// Cancel a job, or hold a queue.
    Patch,
    /// Delete a job.
    Delete,
}

impl Verb {
    /// The verb as Kubernetes spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

/// Why a caller was not let through.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Denied {
    /// No token, or one that is not known.
    #[error("a valid bearer token is needed")]
    Unauthenticated,
    /// The token is good but does not allow this.
    #[error("the caller may not {} {} here", .0.verb.as_str(), .0.resource.as_str())]
    Forbidden(Permission),
    /// The token is good but not for the metrics.
    #[error("the caller may not get /metrics")]
    NoMetrics,
    /// The token is good but not its admin's.
    #[error("only the admin of the server may do this")]
    NotAdmin,
    /// It could not be found out.
    #[error("{message}")]
    Unavailable {
        /// For a person.
        message: String,
        /// When to try again.
        retry_after: Duration,
    },
}
