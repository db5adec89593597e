# Sourced by `up`: the run's own certificate authority, certificates and kubeconfig files.
# shellcheck shell=bash disable=SC2154 # the names are those of `up` and lib.sh

key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }

# certificate NAME SUBJECT USE [ALTERNATIVE NAMES]: $dir/pki/NAME.crt and .key. USE: clientAuth or serverAuth.
certificate() {
  local file=$dir/pki/$1
  key "$file.key"
  openssl req -new -key "$file.key" -subj "$2" |
    openssl x509 -req -days 30 -CA "$dir/pki/ca.crt" -CAkey "$dir/pki/ca.key" -out "$file.crt" \
      -set_serial "0x$(openssl rand -hex 8)" -extfile <(
        echo "basicConstraints=critical,CA:FALSE"
        echo "keyUsage=critical,digitalSignature"
        echo "extendedKeyUsage=$3"
        [ -z "${4:-}" ] || echo "subjectAltName=$4"
      ) 2>/dev/null
}

# kubeconfig NAME FILE: for the holder of the certificate NAME; all in one file, so that it can be moved.
kubeconfig() {
  local p=$dir/pki
  (
    umask 077
    cat >"$2" <<Y
apiVersion: v1
kind: Config
clusters:
- name: windlass
  cluster:
    server: https://$(in_url "$node_ip"):6443
    certificate-authority-data: $(base64 -w0 "$p/ca.crt")
users:
- name: $1
  user:
    client-certificate-data: $(base64 -w0 "$p/$1.crt")
    client-key-data: $(base64 -w0 "$p/$1.key")
contexts:
- name: $1
  context: {cluster: windlass, user: $1, namespace: default}
current-context: $1
Y
  )
}

make_pki() {
  local p=$dir/pki name
  mkdir -m 700 "$p"
  key "$p/ca.key"
  openssl req -x509 -new -key "$p/ca.key" -subj /CN=windlass-test-ca -days 30 -out "$p/ca.crt" \
    -addext keyUsage=critical,keyCertSign,cRLSign
  key "$p/sa.key" # signs the tokens of service accounts
  openssl pkey -in "$p/sa.key" -pubout -out "$p/sa.pub"
  local k=DNS:kubernetes
  certificate apiserver /CN=kube-apiserver serverAuth \
    "IP:$node_ip,IP:$api_ip,IP:$loopback_ip,DNS:localhost,$k,$k.default,$k.default.svc,$k.default.svc.cluster.local"
  certificate kubelet-server "/CN=$node" serverAuth "IP:$node_ip,DNS:$node"
  certificate apiserver-kubelet /O=system:masters/CN=kube-apiserver-kubelet-client clientAuth
  certificate admin /O=system:masters/CN=admin clientAuth
  certificate controller-manager /CN=system:kube-controller-manager clientAuth
  certificate scheduler /CN=system:kube-scheduler clientAuth
  certificate kubelet "/O=system:nodes/CN=system:node:$node" clientAuth
  certificate proxy /CN=system:kube-proxy clientAuth
  certificate dns /CN=windlass-dns clientAuth
  certificate kwok /O=system:masters/CN=kwok clientAuth # a name of its own in the audit log
  for name in controller-manager scheduler kubelet proxy dns kwok; do kubeconfig "$name" "$dir/$name.kubeconfig"; done
  kubeconfig admin "$dir/kubeconfig.new"
}
