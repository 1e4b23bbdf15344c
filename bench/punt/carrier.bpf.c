// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* The least that bpf/fptun.bpf.c could do: no counters, no table of targets, no secret. For inject.c. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "carrier.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tc")
int carrier(struct __sk_buff *skb)
{
	struct carrier_trailer trailer;

	if (skb->len < ETH_HLEN + sizeof(trailer) ||
	    bpf_skb_load_bytes(skb, skb->len - sizeof(trailer), &trailer, sizeof(trailer)) ||
	    trailer.magic != CARRIER_MAGIC || bpf_skb_change_tail(skb, skb->len - sizeof(trailer), 0))
		return TC_ACT_SHOT;
	return bpf_redirect(trailer.ifindex, BPF_F_INGRESS);
}
