#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Two hosts on one machine: network namespaces with host names of their own, ha (10.77.0.1) and hb (10.77.0.2), joined by a pair of virtual
# links. Sourced by tests; mpirun calls it as its remote shell. Needs root and iproute2.

# in_host NAME COMMAND…: as a process of that host.
in_host() {
    local name=$1
    shift
    ip netns exec "$TWO_HOSTS-$name" unshare --uts bash -c "hostname $name; exec \"\$@\"" bash "$@"
}

hosts_up() {
    export TWO_HOSTS=sluice$$
    two_hosts_agent=$(readlink -f "${BASH_SOURCE[0]}")
    hosts_down
    local name
    for name in ha hb; do
        ip netns add "$TWO_HOSTS-$name" && ip -n "$TWO_HOSTS-$name" link set lo up || return 1
    done
    ip -n "$TWO_HOSTS-ha" link add link-a type veth peer name link-b netns "$TWO_HOSTS-hb" &&
        ip -n "$TWO_HOSTS-ha" addr add 10.77.0.1/24 dev link-a && ip -n "$TWO_HOSTS-hb" addr add 10.77.0.2/24 dev link-b &&
        ip -n "$TWO_HOSTS-ha" link set link-a up && ip -n "$TWO_HOSTS-hb" link set link-b up || return 1
    in_host hb true
}
# With whatever runs there.
hosts_down() {
    local name pid
    for name in ha hb; do
        for pid in $(ip netns pids "$TWO_HOSTS-$name" 2>/dev/null); do kill -KILL "$pid" 2>/dev/null; done
        ip netns del "$TWO_HOSTS-$name" 2>/dev/null
    done
    return 0
}
link_cut() { ip -n "$TWO_HOSTS-hb" link set link-b down; }
link_join() { ip -n "$TWO_HOSTS-hb" link set link-b up; }
# Packets are lost without a word, in one direction or in both.
packets_drop() {
    ip netns exec "$TWO_HOSTS-hb" nft -f - <<'RULES'
table inet cut {
    chain in { type filter hook input priority 0; iifname "link-b" drop; }
    chain out { type filter hook output priority 0; oifname "link-b" drop; }
}
RULES
}
# Late and now and then lost; where the kernel has no netem, lost alone. Fails where neither can be had.
packets_slow() {
    local pair host link
    for pair in ha:link-a hb:link-b; do
        host=$TWO_HOSTS-${pair%:*} link=${pair#*:}
        ip netns exec "$host" tc qdisc add dev "$link" root netem delay 50ms loss 1% 2>/dev/null || ip netns exec "$host" nft -f - <<RULES || return 1
table inet lossy {
    chain in { type filter hook input priority 0; iifname "$link" numgen random mod 100 < 3 drop; }
}
RULES
    done
}
# The ranks of a host: processes of the program in its namespace.
ranks_of() {
    local pid
    for pid in $(ip netns pids "$TWO_HOSTS-$1"); do
        if [ "/proc/$pid/exe" -ef "$SLUICE" ]; then echo "$pid"; fi
    done
}

# As mpirun's remote shell: HOST COMMAND…
if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    name=ha
    [ "$1" = 10.77.0.2 ] && name=hb
    shift
    in_host "$name" bash -c "$*"
fi
