# Sourced by `up`: the configuration files of the components.
# shellcheck shell=bash disable=SC2154 # the names are those of `up` and lib.sh

write_config() {
  # Later tests count writes in the audit log, so it has each write once, and nothing else.
  cat >"$dir/audit.yaml" <<Y
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
$([ -z "${WINDLASS_AUDIT_BODIES:-}" ] || cat <<R
# What a batch Job or a pod became by each write: from these, what was granted and when it was free again.
- level: RequestResponse
  omitManagedFields: true
  verbs: [create, update, patch, delete]
  resources:
  - {group: batch, resources: [jobs]}
  - {group: "", resources: [pods, pods/status, pods/resize]}
R
  )
- level: Metadata
  verbs: [create, update, patch, delete, deletecollection]
- level: None
Y

  # An overlay cannot lie on an overlay, which is what a container's own root is.
  local snapshotter=overlayfs
  [ "$(stat -f -c %T "$dir")" != overlayfs ] || snapshotter=native
  # restrict_oom_score_adj: where CAP_SYS_RESOURCE is missing no sandbox would start without it.
  cat >"$dir/containerd.toml" <<T
version = 4
root = "$dir/containerd"
state = "$dir/containerd-state"
# Those of other file systems, and those that have places of the whole machine.
disabled_plugins = [
  "io.containerd.image-verifier.v1.bindir", "io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri",
  "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.erofs", "io.containerd.snapshotter.v1.zfs",
]
[plugins."io.containerd.server.v1.grpc"]
  address = "$socket"
[plugins."io.containerd.server.v1.ttrpc"]
  address = "$socket.ttrpc"
[plugins."io.containerd.shim.v1.manager"]
  socket_dir = "$shims"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "$snapshotter"
  pinned_images = { sandbox = "windlass.test/pause:1" }
  # A directory for each registry that is to be asked otherwise than by its name: tests/install/image has one.
  registry = { config_path = "$dir/registries" }
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  disable_apparmor = true
  netns_mounts_under_state_dir = true
  cdi_spec_dirs = []
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["$cni_bin"]
    conf_dir = "$dir/cni"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    runtime_path = "$bin/containerd-shim-runc-v2"
    options = { Root = "$dir/runc" }
T

  # ptp routes each pod: a bridge would hide the traffic between pods from kube-proxy where the kernel
  # lacks br_netfilter. No masquerading: the host has a route back to the pods.
  mkdir -p "$dir/cni"
  cat >"$dir/cni/10-windlass.conflist" <<J
{"cniVersion": "1.0.0", "name": "$veth", "plugins": [
  {"type": "ptp", "mtu": 1500,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "$pod_cidr"}]],
            "routes": [{"dst": "$all_cidr"}], "dataDir": "$dir/ipam"}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
J

  echo "nameserver $dns_ip" >"$dir/resolv.conf"
  cat >"$dir/kubelet.yaml" <<Y
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: "$any_ip"
healthzBindAddress: "$loopback_ip"
cgroupDriver: cgroupfs
cgroupRoot: /$cgroup
failCgroupV1: false
failSwapOn: false
containerRuntimeEndpoint: unix://$socket
clusterDNS: ["$dns_ip"]
clusterDomain: cluster.local
resolvConf: $dir/resolv.conf
podLogsDir: $dir/pods
volumePluginDir: $dir/volume-plugins
# A Secret that is replaced is in its volumes at the pod's next look, which is once a minute by default.
syncFrequency: 10s
tlsCertFile: $dir/pki/kubelet-server.crt
tlsPrivateKeyFile: $dir/pki/kubelet-server.key
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $dir/pki/ca.crt}
authorization: {mode: Webhook}
# A test machine's disk may be nearly full; no image may go, as none could be pulled again.
evictionHard: {memory.available: 50Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}
imageGCHighThresholdPercent: 100
oomScoreAdj: 0
Y

  cat >"$dir/proxy.yaml" <<Y
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $dir/proxy.kubeconfig}
mode: iptables
bindAddress: "$any_ip"
clusterCIDR: "$pod_cidr"
hostnameOverride: $node
oomScoreAdj: 0
conntrack: {maxPerCore: 0, min: 0} # the kernel's limit is the whole machine's
Y

  cat >"$dir/Corefile" <<C
.:53 {
  bind $node_ip
  ready $(in_url "$node_ip"):8181
  errors
  cache 5
  kubernetes cluster.local $reverse_zone {
    kubeconfig $dir/dns.kubeconfig dns
  }
}
C
  # CoreDNS is a process beside the kubelet; a Service without a selector gives it its address.
  cat >"$dir/dns.yaml" <<Y
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: windlass-dns}
rules:
- {apiGroups: [""], resources: [services, pods, namespaces], verbs: [list, watch]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: windlass-dns}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: windlass-dns}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: windlass-dns}]
---
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec:
  clusterIP: "$dns_ip"
  ports:
  - {name: dns, port: 53, protocol: UDP}
  - {name: dns-tcp, port: 53, protocol: TCP}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kube-dns, namespace: kube-system, labels: {kubernetes.io/service-name: kube-dns}}
addressType: ${family/ip/IP}
endpoints: [{addresses: ["$node_ip"], conditions: {ready: true}}]
ports:
- {name: dns, port: 53, protocol: UDP}
- {name: dns-tcp, port: 53, protocol: TCP}
Y
}
