// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Ends the copies of forwarded packets that the fast path made for packet sockets (FPTUN TAP): they have seen them before
 * this hook, and nobody behind it may.
 *
 * Hook: tcx ingress of a port, before all others there, while a packet socket is served on it.
 * Verdicts: TC_ACT_SHOT for a copy, TC_ACT_UNSPEC (go on) for all else.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include "fptun_def.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile struct fptun_constants constants SEC(".rodata.constants") = {};

SEC("tc")
int fps_tap_drop(struct __sk_buff *skb)
{
	return skb->mark == constants.tap_mark ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}
