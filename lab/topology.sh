# shellcheck shell=bash
# A lab of three network namespaces, to be sourced by the demo, the benches and people:
#
#   client c0 10.1.0.2/24 ── 10.1.0.1 r0 router r1 10.2.0.1 ── 10.2.0.2/24 s0 server
#
# The namespaces are called fps-NAME-client, fps-NAME-router and fps-NAME-server. IPv6 stays as the system has it.
# LAB_QUEUES=N gives every interface N queues in each direction.

# lab_names NAME: sets lab_client, lab_router and lab_server.
lab_names() {
  if [[ ! $1 =~ ^[A-Za-z0-9._-]+$ ]]; then
    echo "lab: '$1' is no good as a name: letters, digits, dot, dash and underscore" >&2
    return 2
  fi
  lab_client=fps-$1-client lab_router=fps-$1-router lab_server=fps-$1-server
}

in_client() { ip netns exec "$lab_client" "$@"; }
in_router() { ip netns exec "$lab_router" "$@"; }
in_server() { ip netns exec "$lab_server" "$@"; }

# lab_up NAME: builds it; leaves nothing behind when it can't.
lab_up() {
  lab_names "$1" || return
  if [[ -e /run/netns/$lab_router ]]; then
    echo "lab: '$1' is up already: remove it with lab/topology down $1" >&2
    return 1
  fi
  if ! _lab_build; then
    echo "lab: '$1' could not be built" >&2
    lab_down "$1"
    return 1
  fi
}

_lab_build() {
  local namespace shape=(numrxqueues "${LAB_QUEUES:-1}" numtxqueues "${LAB_QUEUES:-1}")
  for namespace in "$lab_client" "$lab_router" "$lab_server"; do
    ip netns add "$namespace" && ip -n "$namespace" link set lo up || return
  done
  # rp_filter (a distribution may switch it on for new namespaces) makes the product leave packets to Linux. Before the
  # interfaces: they copy `default` when they are made.
  in_router sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.ipv4.ip_forward=1 &&
    ip -n "$lab_router" link add r0 "${shape[@]}" type veth peer name c0 "${shape[@]}" netns "$lab_client" &&
    ip -n "$lab_router" link add r1 "${shape[@]}" type veth peer name s0 "${shape[@]}" netns "$lab_server" &&
    ip -n "$lab_client" address add 10.1.0.2/24 dev c0 &&
    ip -n "$lab_router" address add 10.1.0.1/24 dev r0 &&
    ip -n "$lab_router" address add 10.2.0.1/24 dev r1 &&
    ip -n "$lab_server" address add 10.2.0.2/24 dev s0 &&
    ip -n "$lab_client" link set c0 up &&
    ip -n "$lab_router" link set r0 up &&
    ip -n "$lab_router" link set r1 up &&
    ip -n "$lab_server" link set s0 up &&
    ip -n "$lab_client" route add default via 10.1.0.1 &&
    ip -n "$lab_server" route add default via 10.2.0.1
}

# lab_down NAME: ends what runs in its namespaces, and removes them.
lab_down() {
  local namespace
  lab_names "$1" || return
  for namespace in "$lab_client" "$lab_server" "$lab_router"; do lab_remove "$namespace"; done
}

# lab_remove NAMESPACE: ends what runs in it, and removes it.
lab_remove() {
  local pids attempt
  [[ -e /run/netns/$1 ]] || return 0
  for attempt in TERM TERM KILL; do
    pids=$(ip netns pids "$1" 2>/dev/null) || break
    [[ -n $pids ]] || break
    # shellcheck disable=SC2086 # a list of numbers
    kill -s "$attempt" $pids 2>/dev/null
    _lab_wait_empty "$1"
  done
  ip netns delete "$1" 2>/dev/null
  return 0
}

_lab_wait_empty() {
  local i
  for ((i = 0; i < 20; i++)); do
    [[ -n $(ip netns pids "$1" 2>/dev/null) ]] || return 0
    sleep 0.05
  done
}

# lab_mac NAMESPACE INTERFACE
lab_mac() { ip -n "$1" -json link show dev "$2" | jq -r '.[0].address'; }

# lab_snmp NAMESPACE PROTOCOL COUNTER: the kernel's counter, e.g. lab_snmp "$lab_router" Ip ForwDatagrams
# shellcheck disable=SC2016 # awk's fields
lab_snmp() {
  ip netns exec "$1" awk -v protocol="$2:" -v counter="$3" '
    $1 == protocol && !seen { for (i = 2; i <= NF; i++) if ($i == counter) column = i; seen = 1; next }
    $1 == protocol { print $column; exit }' /proc/net/snmp
}
