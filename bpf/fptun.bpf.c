// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Takes exceptions off the carrier fpn0 and delivers them where their trailer says (see fptun_def.h).
 *
 * Hooks: tc egress of fpn0 (frames sent to it through a packet socket) and tc ingress (--punt tap: frames written to the
 * TAP, which only its owner can). Both always, since nothing but trailed frames has business there.
 * Maps: counters (per CPU, by command and fptun_counter), targets (the VRF's interfaces, and what may lead there).
 * Verdicts: redirect to the ingress of the trailer's interface; TC_ACT_OK for OUTPUT on egress, which the fast path then
 * reads from its TAP (CarrierOutput); what has no valid trailer is dropped. Everything is counted.
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

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, FPTUN_MAX_TARGETS);
	__type(key, __u32);
	__type(value, __u32);
} targets SEC(".maps");

static __always_inline void count(__u32 which)
{
	__u64 *counter = bpf_map_lookup_elem(&counters, &which);

	if (counter)
		*counter += 1;
}

static __always_inline int refuse(__u32 why)
{
	count(why);
	return TC_ACT_SHOT;
}

/* Cuts the trailer, or leaves the cookie in its place. */
static __always_inline long strip(struct __sk_buff *skb, const struct fptun_trailer *trailer)
{
	__u32 length = skb->len;

	if (trailer->flags & bpf_htons(FPTUN_F_COOKIE)) {
		__u64 cookie[2] = { constants.cookie[0], constants.cookie[1] };

		return bpf_skb_store_bytes(skb, length - sizeof(cookie), cookie, sizeof(cookie), 0);
	}
	return bpf_skb_change_tail(skb, length - sizeof(*trailer), 0);
}

/* To the TAP, with the sign that it has passed here. */
static __always_inline int let_through(struct __sk_buff *skb)
{
	__be32 magic = bpf_htonl(constants.output_magic);

	if (bpf_skb_store_bytes(skb, skb->len - sizeof(struct fptun_trailer), &magic, sizeof(magic), 0))
		return refuse(FPTUN_NO_TRAILER);
	count(FPTUN_OUTPUT);
	return TC_ACT_OK;
}

SEC("tc")
int fptun(struct __sk_buff *skb)
{
	struct fptun_trailer trailer;
	__u32 length = skb->len, ifindex, *allowed;

	if (length < ETH_HLEN + sizeof(trailer) ||
	    bpf_skb_load_bytes(skb, length - sizeof(trailer), &trailer, sizeof(trailer)) ||
	    trailer.magic != bpf_htonl(FPTUN_MAGIC))
		return refuse(FPTUN_NO_TRAILER);
	if (trailer.version != FPTUN_VERSION)
		return refuse(FPTUN_BAD_VERSION);
	if (trailer.command < FPTUN_BASIC || trailer.command >= FPTUN_COMMANDS)
		return refuse(FPTUN_BAD_COMMAND);

	ifindex = bpf_ntohl(trailer.ifindex);
	allowed = bpf_map_lookup_elem(&targets, &ifindex);
	if (!allowed || !(*allowed & FPTUN_ALLOWS(trailer.command)))
		return refuse(FPTUN_BAD_TARGET);

	/* On ingress of fpn0 is only what the fast path itself wrote; it never asks itself to send. */
	if (trailer.command == FPTUN_OUTPUT && skb->ingress_ifindex == skb->ifindex)
		return refuse(FPTUN_BAD_COMMAND);
	if (constants.secret && skb->ingress_ifindex != skb->ifindex && skb->mark != constants.secret)
		return refuse(FPTUN_FORGED);
	if (trailer.command == FPTUN_OUTPUT)
		return let_through(skb);

	if (strip(skb, &trailer))
		return refuse(FPTUN_NO_TRAILER);
	skb->mark = trailer.command == FPTUN_TAP ? constants.tap_mark : bpf_ntohl(trailer.mark);
	count(trailer.command);
	return bpf_redirect(ifindex, BPF_F_INGRESS);
}
