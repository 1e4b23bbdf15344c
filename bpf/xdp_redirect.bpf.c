// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The first stage of the fast path, on each port's XDP hook (native or generic); every port has its own instance.
 *
 * Maps: config (this port's word), passed (per CPU, by pass_reason), xsks (AF_XDP sockets by receive queue); shared by
 * all ports: alive (set by heartbeat.bpf.c), filter and local_addresses (our own IPv4 addresses), filter6 and
 * local_addresses6 (IPv6).
 * Verdicts: XDP_REDIRECT into the queue's socket for unicast IPv4 and IPv6 to our MAC that isn't for ourselves; XDP_PASS,
 * counted by reason, for what is always Linux's. It drops nothing.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "xdp_def.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile struct xdp_constants constants SEC(".rodata.constants") = {};

volatile __u64 config SEC(".data.config") = 0;
volatile __u64 alive SEC(".data.alive") = 0;
volatile __u64 filter[ADDRESS_FILTER_BITS / 64] SEC(".data.filter") = {};
volatile __u64 filter6[ADDRESS_FILTER_BITS / 64] SEC(".data.filter6") = {};

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
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct in6_addr);
	__type(value, __u8);
} local_addresses6 SEC(".maps");

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

/* The destination MAC as the configuration word has it. */
static __always_inline __u64 destination_mac(const struct ethhdr *eth)
{
	return *(__u32 *)eth->h_dest | (__u64) * (__u16 *)(eth->h_dest + 4) << 32;
}

/* Its header claims to be longer than the frame: such a one could not be injected (see CarrierQueue.cs), and is Linux's. */
static __always_inline int lies_about_length(void *header, void *end)
{
	__u8 first = *(__u8 *)header;

	return header + (first & 15) * 4 > end;
}

/* Which of the reasons it is; off the path of forwarded packets. Its order is the law, not the fast path's. */
static __noinline int pass_classified(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	void *ip = eth + 1;
	__u64 word = config;

	if (!alive)
		return pass(PASS_HEARTBEAT_LOST);
	if (!PORT_CONFIG_LENGTH(word))
		return pass(PASS_DEMOTED);
	if (ip > end)
		return pass(PASS_TRUNCATED);
	if (eth->h_dest[0] & 1)
		return pass(PASS_MULTICAST);
	if (destination_mac(eth) != PORT_CONFIG_MAC(word))
		return pass(PASS_OTHER_HOST);
	switch (eth->h_proto) {
	case bpf_htons(ETH_P_ARP):
		return pass(PASS_ARP);
	case bpf_htons(ETH_P_IP):
		if (word & PORT_CONFIG_PASS_IPV4)
			return pass(PASS_DEMOTED);
		if (ip + sizeof(struct iphdr) > end || lies_about_length(ip, end))
			return pass(PASS_TRUNCATED);
		return pass(PASS_OVERSIZE);
	case bpf_htons(ETH_P_IPV6):
		if (word & PORT_CONFIG_PASS_IPV6)
			return pass(PASS_DEMOTED);
		if (ip + sizeof(struct ipv6hdr) > end)
			return pass(PASS_TRUNCATED);
		return pass(PASS_OVERSIZE);
	default:
		return pass(PASS_NOT_IP);
	}
}

/* Why this packet is Linux's; PASS_COUNT: it isn't. */
static __always_inline __u32 linuxs_ipv4(const struct iphdr *ip)
{
	__u32 to = bpf_ntohl(ip->daddr), hash = ADDRESS_FILTER_HASH(to);

	if (to >> 28 == 0xe)
		return PASS_MULTICAST;
	if (filter[hash >> 6] >> (hash & 63) & 1 && bpf_map_lookup_elem(&local_addresses, &ip->daddr))
		return PASS_LOCAL_ADDRESS;
	return PASS_COUNT;
}

/* fe80::/10, RFC 4291 section 2.5.6 */
static __always_inline int is_link_local(const struct in6_addr *a)
{
	return (a->s6_addr32[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

static __always_inline __u32 linuxs_ipv6(const struct ipv6hdr *ip)
{
	const __be64 *to = (const __be64 *)&ip->daddr;
	__u32 hash = ADDRESS_FILTER_HASH6(bpf_be64_to_cpu(to[0]), bpf_be64_to_cpu(to[1]));

	if (ip->daddr.s6_addr[0] == 0xff)
		return PASS_MULTICAST;
	if (is_link_local(&ip->saddr) || is_link_local(&ip->daddr))
		return PASS_LINK_LOCAL;
	if (filter6[hash >> 6] >> (hash & 63) & 1 && bpf_map_lookup_elem(&local_addresses6, &ip->daddr))
		return PASS_LOCAL_ADDRESS;
	return PASS_COUNT;
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
	void *data, *end, *ip;
	struct ethhdr *eth;
	__u64 word;
	__u32 reason;

	if (constants.generic && is_reinjected(ctx))
		return pass(PASS_REINJECTED);

	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	eth = data;
	ip = eth + 1;
	if (!alive || ip + sizeof(struct iphdr) > end)
		return pass_classified(ctx);

	word = config;
	if (destination_mac(eth) != PORT_CONFIG_MAC(word) || (__u64)(end - data) > PORT_CONFIG_LENGTH(word))
		return pass_classified(ctx);

	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		if (word & PORT_CONFIG_PASS_IPV4 || lies_about_length(ip, end))
			return pass_classified(ctx);
		reason = linuxs_ipv4(ip);
	} else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		if (word & PORT_CONFIG_PASS_IPV6 || ip + sizeof(struct ipv6hdr) > end)
			return pass_classified(ctx);
		reason = linuxs_ipv6(ip);
	} else {
		return pass_classified(ctx);
	}
	if (reason != PASS_COUNT)
		return pass(reason);

	if (bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_PASS) != XDP_REDIRECT)
		return pass(PASS_NO_SOCKET);
	return XDP_REDIRECT;
}
