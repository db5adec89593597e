//! What the watches have brought: one store a kind, and the streams that drive the controller.
//!
//! Watches select what is ours by label, objects are pruned of what nobody reads, and one malformed
//! object is an error of that object only.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::core::v1 as core_v1;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tracing::warn;
use windlass_core::{Function, Job, Queue};

use crate::attempt::{LABEL_JOB_UID, LABEL_QUEUE};
use crate::crd::{ComputeFunction, ComputeJob, ComputeQueue};

/// A watch whose server is dead is noticed after this many seconds.
const WATCH_SECONDS: u32 = 50;

/// The stores.
#[derive(Clone)]
pub struct Cache {
    /// ComputeJobs.
    pub jobs: Store<ComputeJob>,
    /// ComputeFunctions.
    pub functions: Store<ComputeFunction>,
    /// ComputeQueues.
    pub queues: Store<ComputeQueue>,
    /// Our batch Jobs.
    pub carriers: Store<batch::Job>,
    /// Our pods.
    pub pods: Store<core_v1::Pod>,
}

/// Objects of one kind, each time one has changed or is gone.
pub type Changes<K> = futures::stream::BoxStream<'static, Result<K, watcher::Error>>;

/// The streams that fill the stores. Each must be polled.
pub struct Streams {
    /// ComputeJobs.
    pub jobs: Changes<ComputeJob>,
    /// ComputeFunctions.
    pub functions: Changes<ComputeFunction>,
    /// ComputeQueues.
    pub queues: Changes<ComputeQueue>,
    /// Our batch Jobs.
    pub carriers: Changes<batch::Job>,
    /// Our pods.
    pub pods: Changes<core_v1::Pod>,
}

/// Stores and streams over all namespaces that the client may watch, or over one.
pub fn open(client: &Client, namespace: Option<&str>) -> (Cache, Streams) {
    let ours = watcher::Config::default().timeout(WATCH_SECONDS).labels(LABEL_JOB_UID);
    let all = watcher::Config::default().timeout(WATCH_SECONDS);
    let (jobs, job_changes) = watch(client, namespace, all.clone(), |_: &mut ComputeJob| ());
    let (functions, function_changes) = watch(client, namespace, all.clone(), |_| ());
    let (queues, queue_changes) = watch(client, namespace, all, |_| ());
    let (carriers, carrier_changes) =
        watch(client, namespace, ours.clone(), |carrier: &mut batch::Job| {
            // The template holds the input; nobody reads it back.
            if let Some(spec) = &mut carrier.spec {
                spec.template = core_v1::PodTemplateSpec::default();
            }
        });
    let (pods, pod_changes) = watch(client, namespace, ours, |pod: &mut core_v1::Pod| {
        pod.metadata.annotations = None;
        if let Some(spec) = &mut pod.spec {
            let node_name = spec.node_name.take();
            *spec = core_v1::PodSpec { node_name, ..Default::default() };
        }
    });
    let cache = Cache { jobs, functions, queues, carriers, pods };
    let streams = Streams {
        jobs: job_changes,
        functions: function_changes,
        queues: queue_changes,
        carriers: carrier_changes,
        pods: pod_changes,
    };
    (cache, streams)
}

fn watch<K>(
    client: &Client,
    namespace: Option<&str>,
    config: watcher::Config,
    prune: impl Fn(&mut K) + Send + Sync + 'static,
) -> (Store<K>, Changes<K>)
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K: Resource<Scope = kube::core::NamespaceResourceScope>,
    K::DynamicType: Default + Eq + Hash + Clone + Send + Sync + Unpin,
{
    let api: Api<DeserializeGuard<K>> = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let (store, writer) = reflector::store();
    let events = sound(watcher(api, config)).modify(move |object: &mut K| {
        object.meta_mut().managed_fields = None;
        prune(object);
    });
    let changes = reflector::reflector(writer, events).default_backoff().touched_objects();
    (store, changes.boxed())
}

/// The events without the objects that cannot be read, each of which is logged.
fn sound<K: Resource>(
    events: impl Stream<Item = watcher::Result<watcher::Event<DeserializeGuard<K>>>>,
) -> impl Stream<Item = watcher::Result<watcher::Event<K>>>
where
    K::DynamicType: Default,
{
    use watcher::Event;
    events.filter_map(async |event| {
        Some(Ok(match event {
            Ok(Event::Apply(object)) => Event::Apply(readable(object)?),
            Ok(Event::Delete(object)) => Event::Delete(readable(object)?),
            Ok(Event::InitApply(object)) => Event::InitApply(readable(object)?),
            Ok(Event::Init) => Event::Init,
            Ok(Event::InitDone) => Event::InitDone,
            Err(error) => return Some(Err(error)),
        }))
    })
}

fn readable<K: Resource>(object: DeserializeGuard<K>) -> Option<K>
where
    K::DynamicType: Default,
{
    match object.0 {
        Ok(object) => Some(object),
        Err(invalid) => {
            let kind = K::kind(&K::DynamicType::default()).into_owned();
            let name = invalid.metadata.name.unwrap_or_default();
            let namespace = invalid.metadata.namespace.unwrap_or_default();
            warn!(kind, namespace, name, error = %invalid.error, "an object cannot be read");
            None
        }
    }
}

impl Cache {
    /// Waits until every store holds the state of the world at some time after now.
    pub async fn ready(&self) -> Result<(), reflector::store::WriterDropped> {
        self.jobs.wait_until_ready().await?;
        self.functions.wait_until_ready().await?;
        self.queues.wait_until_ready().await?;
        self.carriers.wait_until_ready().await?;
        self.pods.wait_until_ready().await
    }

    /// The function that a job names.
    pub fn function(&self, job: &Job) -> Option<Function> {
        let key = ObjectRef::new(&job.spec.function).within(&job.metadata.namespace);
        self.functions.get(&key).map(|function| function.to_core())
    }

    /// The queue that a job names, if there is such an object.
    pub fn queue(&self, namespace: &str, name: &str) -> Option<Queue> {
        let key = ObjectRef::new(name).within(namespace);
        self.queues.get(&key).map(|queue| queue.to_core())
    }

    /// Batch Jobs with the UID of this job in their label.
    pub fn carriers_of(&self, job: &Job) -> Vec<Arc<batch::Job>> {
        self.carriers.state_filter(|carrier| labelled(carrier, LABEL_JOB_UID, &job.metadata.uid))
    }

    /// Pods with the UID of this job in their label.
    pub fn pods_of(&self, job: &Job) -> Vec<Arc<core_v1::Pod>> {
        self.pods.state_filter(|pod| labelled(pod, LABEL_JOB_UID, &job.metadata.uid))
    }
}

/// Whether an object is in this namespace and labelled with this queue.
pub(crate) fn in_queue<K: Resource>(object: &K, namespace: &str, queue: &str) -> bool {
    object.meta().namespace.as_deref() == Some(namespace) && labelled(object, LABEL_QUEUE, queue)
}

fn labelled<K: Resource>(object: &K, key: &str, value: &str) -> bool {
    object.meta().labels.as_ref().and_then(|labels| labels.get(key)).is_some_and(|v| v == value)
}
