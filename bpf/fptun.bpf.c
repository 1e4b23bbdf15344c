// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Takes exceptions off the carrier fpn0 and delivers them as received on the port they came in on.
 *
 * Hooks: tc egress of fpn0 (--punt egress: frames sent to it through a packet socket) and tc ingress (--punt tap: frames
 * written to the TAP). Both always, since nothing but trailed frames has business there.
 * Maps: counters (per CPU, by fptun_counter).
 * Verdicts: redirect to the ingress of the trailer's interface; what has no valid trailer is dropped, and counted.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "fptun_def.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile struct fptun_constants constants SEC(".rodata.constants") = {};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FPTUN_COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

static __always_inline void count(__u32 which)
{
	__u64 *counter = bpf_map_lookup_elem(&counters, &which);

	if (counter)
		*counter += 1;
}

SEC("tc")
int fptun(struct __sk_buff *skb)
{
	struct fptun_trailer trailer;
	__u32 length = skb->len;

	if (length < ETH_HLEN + sizeof(trailer) ||
	    bpf_skb_load_bytes(skb, length - sizeof(trailer), &trailer, sizeof(trailer)) ||
	    trailer.magic != bpf_htonl(FPTUN_MAGIC) || trailer.version != FPTUN_VERSION ||
	    trailer.command != FPTUN_BASIC || !trailer.ifindex)
		goto invalid;

	if (trailer.flags & bpf_htons(FPTUN_F_COOKIE)) {
		__u64 cookie[2] = { constants.cookie[0], constants.cookie[1] };

		if (bpf_skb_store_bytes(skb, length - sizeof(cookie), cookie, sizeof(cookie), 0))
			goto invalid;
	} else if (bpf_skb_change_tail(skb, length - sizeof(trailer), 0)) {
		goto invalid;
	}

	skb->mark = bpf_ntohl(trailer.mark);
	count(FPTUN_INJECTED);
	return bpf_redirect(bpf_ntohl(trailer.ifindex), BPF_F_INGRESS);

invalid:
	count(FPTUN_INVALID);
	return TC_ACT_SHOT;
}
