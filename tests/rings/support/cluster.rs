//! The cluster that KUBECONFIG names, on which `tests/run` has installed the chart.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;

use super::http::Client;

/// Namespace of the release.
pub(crate) const RELEASE: &str = "windlass";

/// Runs kubectl; its output when it succeeds, what it says on stderr otherwise.
pub(crate) fn kubectl(arguments: &[&str], input: &str) -> Result<String, String> {
    output_of(Command::new("kubectl").args(arguments), input)
}

/// What a Go program in this directory of the checkout says to these objects.
pub(crate) fn go_program(directory: &str, arguments: &[&str], objects: &[Value]) -> String {
    let input: String = objects.iter().map(Value::to_string).collect();
    let mut go = Command::new("go");
    go.current_dir(super::checkout().join(directory)).args(["run", "."]).args(arguments);
    output_of(&mut go, &input).unwrap_or_else(|error| panic!("{directory}: {error}"))
}

/// Runs a program with this input; its output when it succeeds, what it says on stderr otherwise.
fn output_of(program: &mut Command, input: &str) -> Result<String, String> {
    let program = program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = program.spawn().unwrap_or_else(|error| panic!("{program:?}: {error}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap_or_default();
    let output = child.wait_with_output().unwrap();
    if output.status.success() {
        Ok(super::text(&output.stdout))
    } else {
        Err(super::text(&output.stderr))
    }
}

pub(crate) fn get(arguments: &[&str]) -> Value {
    let all: Vec<_> = ["get", "-o", "json"].iter().chain(arguments).copied().collect();
    let found = kubectl(&all, "").unwrap_or_else(|error| panic!("kubectl {all:?}: {error}"));
    serde_json::from_str(&found).unwrap()
}

/// A namespace of one test, with the built-in functions and the misbehaving one. Deleted with it.
pub(crate) struct Namespace(pub(crate) String, Mutex<Option<Forward>>);

impl Namespace {
    pub(crate) fn new(test: &str) -> Self {
        let name = format!("{test}-{}", std::process::id());
        // Enforced: what does not meet the restricted standard is refused.
        let manifest = serde_json::json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": name, "labels": {
                "pod-security.kubernetes.io/enforce": "restricted" } },
        });
        kubectl(&["create", "-f", "-"], &manifest.to_string()).unwrap();
        let mut functions = get(&["cfn", "-n", RELEASE])["items"].take();
        let list = functions.as_array_mut().unwrap();
        for function in list.iter_mut() {
            function["metadata"] = serde_json::json!({ "name": function["metadata"]["name"] });
        }
        let image = list[0]["spec"]["image"].clone();
        list.push(serde_json::json!({
            "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeFunction",
            "metadata": { "name": "misbehave" },
            "spec": {
                "image": image, "command": ["misbehave"], "parallelism": { "max": 2 },
                "memory": { "base": "32Mi", "perCpu": "8Mi" }, "contentType": "text/plain",
                "maxResultBytes": 24 << 20,
            },
        }));
        let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": list });
        kubectl(&["apply", "-n", &name, "-f", "-"], &list.to_string()).unwrap();
        // The service account comes a moment after its namespace; pods need it.
        super::eventually("the default service account", Duration::from_secs(20), || {
            kubectl(&["get", "serviceaccount", "default", "-n", &name], "").ok()
        });
        Self(name, Mutex::new(None))
    }

    /// Applies a ComputeQueue.
    pub(crate) fn apply_queue(&self, name: &str, spec: &Value) {
        let queue = serde_json::json!({
            "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeQueue",
            "metadata": { "name": name }, "spec": spec,
        });
        kubectl(&["apply", "-n", &self.0, "-f", "-"], &queue.to_string()).unwrap();
    }

    /// Applies a ComputeJob.
    pub(crate) fn apply(&self, name: &str, spec: &Value) -> Result<String, String> {
        self.manifest("apply", name, spec)
    }

    /// Creates a ComputeJob that is too large for the annotation that `kubectl apply` leaves.
    pub(crate) fn apply_large(&self, name: &str, spec: &Value) {
        self.manifest("create", name, spec).unwrap();
    }

    /// Gives kubectl a ComputeJob.
    fn manifest(&self, verb: &str, name: &str, spec: &Value) -> Result<String, String> {
        let job = serde_json::json!({
            "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeJob",
            "metadata": { "name": name }, "spec": spec,
        });
        kubectl(&[verb, "-n", &self.0, "-f", "-"], &job.to_string())
    }

    pub(crate) fn job(&self, name: &str) -> Value {
        get(&["cjob", name, "-n", &self.0])
    }

    /// Waits as a user would: `kubectl wait --for=condition=Finished`.
    pub(crate) fn wait(&self, name: &str) -> Value {
        let job = format!("cjob/{name}");
        let wait = ["wait", "-n", &self.0, &job, "--for=condition=Finished", "--timeout=120s"];
        if let Err(error) = kubectl(&wait, "") {
            let state = kubectl(&["get", "-n", &self.0, "cjobs,jobs,pods", "-o", "wide"], "");
            panic!("{error}\n{}\n{state:?}", self.job(name));
        }
        self.job(name)
    }

    /// Changes a ComputeJob by a merge patch, with further arguments of kubectl.
    pub(crate) fn patch(&self, name: &str, more: &[&str], patch: &str) -> Result<String, String> {
        let patched = ["patch", "cjob", name, "-n", &self.0, "--type=merge", "-p", patch];
        kubectl(&[&patched, more].concat(), "")
    }

    /// Cancels a ComputeJob.
    pub(crate) fn cancel(&self, name: &str) {
        self.patch(name, &[], r#"{"spec":{"cancel":true}}"#).unwrap();
    }

    /// Waits until the namespace has no object of these kinds, such as `jobs,pods`.
    pub(crate) fn becomes_empty(&self, kinds: &str) {
        super::eventually(&format!("no {kinds} are left"), Duration::from_secs(60), || {
            (get(&[kinds, "-n", &self.0])["items"] == serde_json::json!([])).then_some(())
        });
    }

    /// A bare `batch/v1` Job with the image and the resources of an `echo`, to compare with.
    pub(crate) fn bare_job(&self, name: &str) -> Value {
        let image = get(&["cfn", "echo", "-n", &self.0])["spec"]["image"].take();
        let amount = serde_json::json!({ "cpu": "1", "memory": "64Mi" });
        let template = serde_json::json!({
            "metadata": { "labels": { "bare": "yes" } },
            "spec": {
                "restartPolicy": "Never", "automountServiceAccountToken": false,
                "securityContext": { "runAsNonRoot": true, "runAsUser": 65532,
                    "seccompProfile": { "type": "RuntimeDefault" } },
                "containers": [{
                    "name": "function", "image": image, "command": ["windlass", "--version"],
                    "resources": { "requests": amount, "limits": amount },
                    "securityContext": { "allowPrivilegeEscalation": false,
                        "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] } },
                }],
            },
        });
        serde_json::json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": name },
            "spec": { "backoffLimit": 0, "template": template },
        })
    }

    /// A client of the gateway with the rights of `edit` in this namespace.
    pub(crate) fn client(&self) -> Client {
        let token = self.caller();
        let forward = Forward::start();
        let address = forward.address.clone();
        *self.1.lock().unwrap() = Some(forward);
        Client { address, token, namespace: self.0.clone() }
    }

    /// The same by the address of the gateway's Service, without a forward that takes time of its own.
    pub(crate) fn direct_client(&self) -> Client {
        let service = get(&["service", &format!("{RELEASE}-gateway"), "-n", RELEASE]);
        let spec = &service["spec"];
        let address = host_and_port(&spec["clusterIP"], &spec["ports"][0]["port"]);
        Client { address, token: self.caller(), namespace: self.0.clone() }
    }

    /// The token of an account with the rights of `edit` here.
    fn caller(&self) -> String {
        let ns = &self.0;
        kubectl(&["create", "serviceaccount", "caller", "-n", ns], "").unwrap();
        let subject = format!("--serviceaccount={ns}:caller");
        kubectl(&["create", "rolebinding", "caller", "-n", ns, "--clusterrole=edit", &subject], "")
            .unwrap();
        let token = kubectl(&["create", "token", "caller", "-n", ns], "").unwrap();
        token.trim().to_owned()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Not waited for: its end is the cluster's work.
        kubectl(&["delete", "namespace", &self.0, "--wait=false"], "").unwrap_or_default();
    }
}

/// An address of the cluster and a port, as they are in a URL: an IPv6 address in brackets.
pub(crate) fn host_and_port(address: &Value, port: &Value) -> String {
    let address: IpAddr = address.as_str().unwrap().parse().unwrap();
    let port = port.as_u64().unwrap().try_into().unwrap();
    SocketAddr::new(address, port).to_string()
}

/// kubectl forwards a free port of this machine to the gateway, until this is dropped.
pub(crate) struct Forward {
    pub(crate) address: String,
    child: Child,
}

impl Forward {
    fn start() -> Self {
        Self::to(&format!("service/{RELEASE}-gateway"))
    }

    /// To this gateway, such as `pod/NAME`.
    pub(crate) fn to(target: &str) -> Self {
        let mut child = Command::new("kubectl")
            .args(["port-forward", "-n", RELEASE, "--address=127.0.0.1", target, ":7070"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("kubectl is needed");
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        // Forwarding from 127.0.0.1:41234 -> 7070
        let address = line.split_whitespace().nth(2).unwrap_or_else(|| panic!("{line}")).to_owned();
        // It says a line for each connection.
        std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
        Self { address, child }
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

/// The bucket of large results.
pub(crate) struct Bucket {
    /// Host and port of the S3 server that `tests/cluster/s3` has started.
    address: String,
    /// Bucket and prefix.
    bucket: String,
    prefix: String,
}

impl Bucket {
    /// The one that `tests/in-cluster/install` gave the release; none on a cluster of somebody else's,
    /// whose bucket cannot be looked into without credentials.
    pub(crate) fn of_the_release() -> Option<Self> {
        let gateway = get(&["deployment", &format!("{RELEASE}-gateway"), "-n", RELEASE]);
        let variables = &gateway["spec"]["template"]["spec"]["containers"][0]["env"];
        let variable = |name: &str| {
            let found = variables.as_array()?.iter().find(|variable| variable["name"] == name)?;
            Some(found["value"].as_str()?.to_owned())
        };
        let address = variable("AWS_ENDPOINT_URL")?.strip_prefix("http://")?.to_owned();
        let results = variable("WINDLASS_RESULTS")?;
        let (bucket, prefix) = results.strip_prefix("s3://")?.split_once('/')?;
        Some(Self { address, bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }

    /// How many objects are stored of a job.
    pub(crate) fn keys_of(&self, namespace: &str, uid: &str) -> usize {
        let Self { bucket, prefix, .. } = self;
        let path = format!("/{bucket}?list-type=2&prefix={prefix}/{namespace}/{uid}/");
        let answer = self.client().get(&path);
        assert_eq!(answer.status, 200, "{answer:?}");
        super::text(&answer.body).matches("<Key>").count()
    }

    /// Stores an object that is nobody's of the release.
    pub(crate) fn put_object(&self, key: &str, bytes: &[u8]) {
        let everybody = [("x-amz-acl", "public-read")];
        let path = format!("/{}/{key}", self.bucket);
        let answer = self.client().send("PUT", &path, &everybody, bytes);
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// The bytes of such an object.
    pub(crate) fn get(&self, key: &str) -> Vec<u8> {
        self.client().get(&format!("/{}/{key}", self.bucket)).body
    }

    fn client(&self) -> Client {
        let address = self.address.clone();
        Client { address, token: String::new(), namespace: String::new() }
    }
}

/// The CPUs of the largest node.
pub(crate) fn node_cpus() -> u64 {
    let nodes = get(&["nodes"]);
    let of_node = |node: &Value| node["status"]["allocatable"]["cpu"].as_str()?.parse().ok();
    nodes["items"].as_array().unwrap().iter().filter_map(of_node).max().unwrap()
}
