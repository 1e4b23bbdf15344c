// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The first stage of the fast path, on each port's XDP hook (native or generic); every port has its own instance.
 *
 * Maps: config (this port's word), passed (per CPU, by pass_reason), xsks (AF_XDP sockets by receive queue); shared by
 * all ports: alive (set by heartbeat.bpf.c), filter and local_addresses (our own IPv4 addresses).
 * Verdicts: XDP_REDIRECT into the queue's socket for unicast IPv4 to our MAC that isn't for ourselves; XDP_PASS, counted
 * by reason, for what is always Linux's. It drops nothing.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "xdp_def.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile struct xdp_constants constants SEC(".rodata.constants") = {};

volatile __u64 config SEC(".data.config") = 0;
volatile __u64 alive SEC(".data.alive") = 0;
volatile __u64 filter[ADDRESS_FILTER_BITS / 64] SEC(".data.filter") = {};

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, MAX_QUEUES);
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __be32);
	__type(value, __u8);
} local_addresses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u64);
} passed SEC(".maps");

static __always_inline int pass(__u32 reason)
{
	__u64 *counter = bpf_map_lookup_elem(&passed, &reason);

	if (counter)
		*counter += 1;
	return XDP_PASS;
}

/* Which of the reasons it is; off the path of forwarded packets. Its order is the law, not the fast path's. */
static __noinline int pass_classified(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	__u64 word = config;
	__u64 mac;

	if (!alive)
		return pass(PASS_HEARTBEAT_LOST);
	if (!(word >> PORT_CONFIG_LENGTH_SHIFT))
		return pass(PASS_DEMOTED);
	if ((void *)(eth + 1) > end)
		return pass(PASS_TRUNCATED);
	if (eth->h_dest[0] & 1)
		return pass(PASS_MULTICAST);
	mac = *(__u32 *)eth->h_dest | (__u64) * (__u16 *)(eth->h_dest + 4) << 32;
	if (mac != (word & 0xffffffffffffull))
		return pass(PASS_OTHER_HOST);
	if (eth->h_proto == bpf_htons(ETH_P_ARP))
		return pass(PASS_ARP);
	if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		return pass(PASS_IPV6);
	if (eth->h_proto != bpf_htons(ETH_P_IP))
		return pass(PASS_NOT_IP);
	if (data + sizeof(*eth) + sizeof(struct iphdr) > end)
		return pass(PASS_TRUNCATED);
	return pass(PASS_OVERSIZE);
}

/* A packet that we injected carries the cookie as its tail: cut that, and Linux has the packet as it came. */
static __always_inline int is_reinjected(struct xdp_md *ctx)
{
	__u32 length = ctx->data_end - ctx->data;
	__u64 tail[2];

	if (length < ETH_HLEN + sizeof(tail) || bpf_xdp_load_bytes(ctx, length - sizeof(tail), tail, sizeof(tail)))
		return 0;
	return tail[0] == constants.cookie[0] && tail[1] == constants.cookie[1] &&
	       !bpf_xdp_adjust_tail(ctx, -(int)sizeof(tail));
}

SEC("xdp")
int xdp_redirect(struct xdp_md *ctx)
{
	void *data, *end;
	struct ethhdr *eth;
	struct iphdr *ip;
	__u64 word, mac;
	__u32 queue, to, hash;

	if (constants.generic && is_reinjected(ctx))
		return pass(PASS_REINJECTED);

	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	eth = data;
	ip = data + sizeof(*eth);
	if (!alive || (void *)(ip + 1) > end)
		return pass_classified(ctx);

	word = config;
	mac = *(__u32 *)eth->h_dest | (__u64) * (__u16 *)(eth->h_dest + 4) << 32;
	if (mac != (word & 0xffffffffffffull) || eth->h_proto != bpf_htons(ETH_P_IP) ||
	    (__u64)(end - data) > word >> PORT_CONFIG_LENGTH_SHIFT)
		return pass_classified(ctx);

	to = bpf_ntohl(ip->daddr);
	if (to >> 28 == 0xe)
		return pass(PASS_MULTICAST);
	hash = ADDRESS_FILTER_HASH(to);
	if (filter[hash >> 6] >> (hash & 63) & 1 && bpf_map_lookup_elem(&local_addresses, &ip->daddr))
		return pass(PASS_LOCAL_ADDRESS);

	queue = ctx->rx_queue_index;
	if (!bpf_map_lookup_elem(&xsks, &queue))
		return pass(PASS_NO_SOCKET);
	return bpf_redirect_map(&xsks, queue, XDP_PASS);
}
