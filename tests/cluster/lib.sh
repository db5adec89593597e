# Sourced by the scripts beside it: where a run keeps its things, what they are called, and how to
# tell its processes from others. All names follow from the run's id, so that `down` can clear away a
# run of which `up` wrote down nothing.
# shellcheck shell=bash disable=SC2034 # the names are for those who source this

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
default_runs=$(realpath -m /var/lib/windlass-test)
runs=$(realpath -m "${WINDLASS_CLUSTER_RUNS:-$default_runs}") # as the kernel spells it in its list of mounts
program=$(basename "$0")
PATH=$PATH:/usr/sbin:/sbin

say() { echo "cluster $program: $*" >&2; }
die() {
  say "$*"
  exit 1
}

# use_run ID: sets the names of a run.
use_run() {
  run=$1
  [[ $run =~ ^[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?$ ]] ||
    die "'$run' cannot name a run: up to 30 of a-z, 0-9 and '-' can"
  [[ $runs != *[[:space:]]* ]] || die "WINDLASS_CLUSTER_RUNS must be without spaces"
  dir=$runs/$run
  # These names are the machine's: runs of one id in two directories must not clear away each other.
  netns=windlass-$run
  [ "$runs" = "$default_runs" ] || netns=$netns-$(sha256sum <<<"$runs" | cut -c1-6)
  cgroup=$netns
  veth=wl-$(sha256sum <<<"${netns#windlass-}" | cut -c1-8) # 15 characters at most
  socket=$dir/containerd.sock
  shims=/run/$veth # their sockets: a path of one is too long in the run's directory
  etcd_dir=${WINDLASS_CLUSTER_ETCD_DIR:-$dir}/etcd-$veth
}

# use_addresses FAMILY SLOT: sets the addresses of a run, of IPv4 or of IPv6 alone. Runs of a family differ in their slot.
use_addresses() {
  local net
  family=$1
  case $family in
    ipv4)
      net=10.218.$(($2 * 4))
      all_runs=10.218.0.0/16 run_cidr=$net.0/22 link_bits=29 address_flags=
      host_ip=$net.1 node_ip=$net.2 other_ip=$net.3
      net=10.218.$(($2 * 4 + 1))
      service_cidr=$net.0/24 api_ip=$net.1 dns_ip=$net.10
      pod_cidr=10.218.$(($2 * 4 + 2)).0/24 node_pods_bits=24
      any_ip=0.0.0.0 loopback_ip=127.0.0.1 all_cidr=0.0.0.0/0 reverse_zone=in-addr.arpa
      forwarding=/proc/sys/net/ipv4/ip_forward
      ;;
    ipv6)
      # As Kubernetes spells them: the only zeros are those before an address' last part. The other address is of
      # another /64: those of one count as one caller.
      net=fd10:218:$(printf %x $(($2 + 1)))
      all_runs=fd10:218::/32 run_cidr=$net::/48 link_bits=62 address_flags=nodad
      host_ip=$net:1::1 node_ip=$net:1::2 other_ip=$net:2::3
      service_cidr=$net:4::/112 api_ip=$net:4::1 dns_ip=$net:4::a
      pod_cidr=$net:5::/64 node_pods_bits=64
      any_ip=:: loopback_ip=::1 all_cidr=::/0 reverse_zone=ip6.arpa
      forwarding=/proc/sys/net/ipv6/conf/all/forwarding
      ;;
    *) die "there are the families ipv4 and ipv6, and not '$family'" ;;
  esac
}

# recorded_addresses: sets those that `up` gave the run.
recorded_addresses() {
  local words
  read -ra words <"$dir/addresses"
  use_addresses "${words[@]}"
}

# in_url ADDRESS: as it stands before a port.
in_url() {
  if [[ $1 == *:* ]]; then echo "[$1]"; else echo "$1"; fi
}

# chosen_run: the run that a script is about: the environment's, that of KUBECONFIG, or the only one that
# this checkout started.
chosen_run() {
  local config found
  if [ -n "${WINDLASS_CLUSTER_RUN:-}" ]; then
    echo "$WINDLASS_CLUSTER_RUN"
    return
  fi
  config=$(readlink -f "${KUBECONFIG:-/dev/null}")
  if [[ $config == "$runs"/*/kubeconfig ]]; then
    basename "$(dirname "$config")"
    return
  fi
  found=$(checkout_runs)
  [ -n "$found" ] || die "no run is up"
  [ "$(wc -l <<<"$found")" = 1 ] || die "name one of these runs: ${found//$'\n'/ }"
  echo "$found"
}

# checkout_runs: the runs that were started from this checkout.
checkout_runs() {
  local file
  for file in "$runs"/*/checkout; do
    if [ -f "$file" ] && [ "$(cat "$file")" = "$here" ]; then
      basename "$(dirname "$file")"
    fi
  done
}

# lock_run SECONDS: holds the run's directory, on descriptor 9, until this script ends.
lock_run() {
  exec 9<"$dir" || return 1
  flock -w "$1" 9 && [ "$(stat -Lc %i /proc/self/fd/9)" = "$(stat -c %i "$dir" 2>/dev/null)" ]
}

# start_time PID: when a process began, in clock ticks; with the id it names a process for good.
start_time() {
  local line
  { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
  line=${line##*) } # the name, in parentheses, may hold spaces
  [ "${line%% *}" != Z ] || return 1 # has ended and waits for its parent
  read -ra line <<<"$line"
  echo "${line[19]}"
}

# recorded: the processes of the run that `up` wrote down and that still are the same: "NAME PID".
recorded() {
  local name pid began
  [ ! -f "$dir/processes" ] || while read -r name pid began; do
    [ "$(start_time "$pid")" != "$began" ] || echo "$name $pid"
  done <"$dir/processes"
}

# start NAME PROGRAM...: a component, by a command line that is written down, so that it can be started again.
start() {
  printf '%s\0' "${@:2}" >"$dir/commands/$1"
  launch "$1"
}

# launch NAME: starts a component in the run's network namespace, with none of the caller's environment.
# Not by `ip netns exec`: that mounts a new /sys, without the cgroups.
launch() {
  local name=$1 words
  mapfile -d '' -t words <"$dir/commands/$name"
  setsid env -i PATH="$PATH" HOME="$dir" nsenter --net="/run/netns/$netns" -- "${words[@]}" \
    >>"$dir/log/$name" 2>&1 </dev/null 9<&- &
  # Its earlier line goes, if there is one; the file is always whole.
  {
    [ ! -f "$dir/processes" ] || sed "/^$name /d" "$dir/processes"
    echo "$name $! $(start_time $!)"
  } >"$dir/processes.new"
  mv "$dir/processes.new" "$dir/processes"
  disown $!
}

# end NAME SIGNAL: signals a component and waits until it is gone.
end() {
  local name=$1 pid deadline=$((SECONDS + 60))
  [ -f "$dir/commands/$name" ] || die "no such component; there are: $(cd "$dir/commands" && echo *)"
  pid=$(recorded | sed -n "s/^$name //p")
  [ -n "$pid" ] || return 0
  kill "-$2" "$pid"
  # Its first thread may be dead while others still hold its sockets.
  while recorded | grep -q "^$name " || [ "$(find "/proc/$pid/task" -mindepth 1 -maxdepth 1 2>/dev/null | wc -l)" -gt 1 ]; do
    [ "$SECONDS" -lt "$deadline" ] || die "$name does not end on $2"
    sleep 0.02
  done
}

cgroup_mounts() { awk '$3 ~ /^cgroup2?$/ { print $2 }' /proc/self/mounts; }

ctr_run() { "$dir/bin/ctr" --address "$socket" --namespace k8s.io "$@"; }

# make_cpus COUNT: what /sys/devices/system/node is to show: one node with so many CPUs. Each is one of the machine's, by a
# name with more zeros: the kubelet counts them all, and hands none to a cgroup that the machine lacks.
make_cpus() {
  local cpu own name node=$dir/cpus/node0
  own=$(nproc)
  mkdir -p "$node/hugepages"
  rm -rf "$node"/cpu*
  cat /sys/devices/system/node/node0/meminfo >"$node/meminfo"
  echo 10 >"$node/distance"
  for ((cpu = 0; cpu < $1; cpu++)); do
    name=cpu$(printf '%0*d' $((cpu / own + 1)) $((cpu % own)))
    mkdir -p "$node/$name/topology"
    echo "$cpu" >"$node/$name/topology/core_id"
    echo 0 >"$node/$name/topology/physical_package_id"
  done
}
