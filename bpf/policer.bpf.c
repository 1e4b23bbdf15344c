// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Polices what matches to Q packets per second with bursts of B, for a whole class or for each source: a two-colour
 * token bucket without a token counter, as an extended finite state machine (Open Packet Processor, arXiv 1605.01977).
 *
 * Hook: tc ingress or egress (cls_bpf, direct action) of any interface, with or without a link-layer header.
 * Maps: flows (the state table), totals (per CPU, by policer_total).
 * Verdicts: TC_ACT_SHOT; or TC_ACT_UNSPEC, so that the filters behind this one still run. TC_ACT_OK would end
 * classification and hide them. (TC_ACT_PIPE is none of cls_bpf's verdicts; the kernel takes it for TC_ACT_UNSPEC.) What
 * the fast path punts is dropped by TC_ACT_STOLEN: SHOT becomes ENOBUFS for who sends to fpn0, which means a full device
 * to the injector, and after some of them it would give up on the rest of its burst.
 *
 * The bucket. T = 1/Q is the time of one token. A flow has a window [start, end] of length L = (B - 1) x T; a packet
 * arrives at t:
 *
 *	start <= t <= end	inside:	forward, and shift the window right by T: a token is taken
 *	end < t			after:	nothing came for long. Place the window's end on t, and do as if inside
 *	t < start		before:	it has been shifted too far already. Drop, and leave it where it is
 *
 * start is when the bucket holds one token, end when it is full, so at t it holds min(B, floor((t - start) / T) + 1), and
 * none before start. L is B - 1 tokens long, not B: the packet on which the window is placed is the first of its burst,
 * and the window grants the B - 1 others. With L = B x T, B + 1 would pass at once.
 *
 * Burst: of the packets in any span of time d, at most B + floor(d x Q) are forwarded. For a packet forwarded at t1 leaves
 * start >= t1 - L + T, each later one shifts it by T or more, so the n-th finds start >= t1 + (n - B) x T, and passes at
 * tn >= start only: tn - t1 >= (n - B) x T, that is n <= B + (tn - t1) / T. B of them may come at one instant.
 * Rate: a drop moves nothing, so who sends too much is forwarded one packet in each T, Q a second, and who keeps to
 * Q loses none.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "fptun_def.h"
#include "policer_def.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile struct policer_constants constants SEC(".rodata.constants") = {};

/*
 * LRU: full of spoofed sources, it forgets the one unheard of for longest, whose next packet then finds a full bucket.
 * An entry may be given to another flow while a CPU still holds it: then one packet is counted on the new owner.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, POLICER_FLOWS);
	__type(key, struct policer_key);
	__type(value, struct efsm_state);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, POLICER_TOTALS);
	__type(key, __u32);
	__type(value, __u64);
} totals SEC(".maps");

static __always_inline int count(__u32 which, int verdict)
{
	__u64 *counter = bpf_map_lookup_elem(&totals, &which);

	if (counter)
		*counter += 1;
	return verdict;
}

/* --- the machine ------------------------------------------------------------------------------------------------------- */

/* The conditions on a packet: its time against the flow's registers. Both can't hold. */
#define BEFORE 1
#define AFTER 2
#define CONDITIONS 4

enum efsm_action { FORWARD, DROP };

enum efsm_update {
	KEEP,
	SHIFT, /* start += T, and end with it */
	PLACE, /* end = t, so start = t - L; then as SHIFT */
};

struct efsm_transition {
	__u8 next, action, update;
};

/* By state and conditions; what is not listed can't happen, and would begin anew. */
static const struct efsm_transition transitions[POLICER_STATES][CONDITIONS] = {
	[POLICER_DEFAULT] = {
		[0]	 = { POLICER_CONFORMING, FORWARD, PLACE },
		[BEFORE] = { POLICER_CONFORMING, FORWARD, PLACE },
		[AFTER]	 = { POLICER_CONFORMING, FORWARD, PLACE },
	},
	[POLICER_CONFORMING] = {
		[0]	 = { POLICER_CONFORMING, FORWARD, SHIFT },
		[BEFORE] = { POLICER_EXCEEDING,	 DROP,	  KEEP },
		[AFTER]	 = { POLICER_CONFORMING, FORWARD, PLACE },
	},
	[POLICER_EXCEEDING] = {
		[0]	 = { POLICER_CONFORMING, FORWARD, SHIFT },
		[BEFORE] = { POLICER_EXCEEDING,	 DROP,	  KEEP },
		[AFTER]	 = { POLICER_CONFORMING, FORWARD, PLACE },
	},
};

#define TRIES 64 /* a try fails only because another CPU's packet of this flow has just made its transition */

static __always_inline int step(struct efsm_state *flow, __s64 now)
{
	__s64 token = constants.token_ns, window = constants.window_ns;

	for (int i = 0; i < TRIES; i++) {
		__s64 word = *(volatile __s64 *)&flow->word, start = POLICER_START(word), next;
		__u32 conditions = (now < start ? BEFORE : 0) | (now > start + window ? AFTER : 0);
		const struct efsm_transition *taken = &transitions[POLICER_STATE(word)][conditions & (CONDITIONS - 1)];

		if (taken->update == PLACE)
			start = now - window;
		if (taken->update != KEEP)
			start += token;
		next = POLICER_WORD(taken->next, start);
		if (next != word && __sync_val_compare_and_swap(&flow->word, word, next) != word)
			continue;
		__sync_fetch_and_add(taken->action == DROP ? &flow->dropped : &flow->forwarded, 1);
		return taken->action;
	}
	__sync_fetch_and_add(&flow->dropped, 1);
	return DROP;
}

/* The flow's row; a new one is in POLICER_DEFAULT. NULL: there was no room. */
static __always_inline struct efsm_state *row_of(const struct policer_key *key)
{
	struct efsm_state *flow = bpf_map_lookup_elem(&flows, key);

	if (!flow) {
		struct efsm_state fresh = {};

		/* If another CPU makes it first, this fails, and that one's is found. */
		bpf_map_update_elem(&flows, key, &fresh, BPF_NOEXIST);
		flow = bpf_map_lookup_elem(&flows, key);
	}
	return flow;
}

/* --- the packet -------------------------------------------------------------------------------------------------------- */

#define HEADERS 256	   /* bytes that hold the headers we read */
#define EXTENSIONS 8	   /* IPv6 extension headers that we follow */
#define IPV4_OFFSET 0x1fff /* RFC 791: of a fragment, in units of 8 */
#define IPV6_OFFSET 0xfff8 /* RFC 8200 section 4.5 */

struct packet {
	struct policer_key key;
	__u32 upper; /* offset of the upper-layer header from the IP header; 0: it has none here (a later fragment) */
	__u8 protocol;
	__u8 ttl;
};

/* From the network header on. Where the headers are not in the linear part (some drivers), they are brought there first. */
static __always_inline int load(struct __sk_buff *skb, __u32 offset, void *to, __u32 length)
{
	if (!bpf_skb_load_bytes_relative(skb, offset, to, length, BPF_HDR_START_NET))
		return 0;
	if (bpf_skb_pull_data(skb, skb->len < HEADERS ? skb->len : HEADERS))
		return -1;
	return bpf_skb_load_bytes_relative(skb, offset, to, length, BPF_HDR_START_NET);
}

static __always_inline int parse_ipv4(struct __sk_buff *skb, struct packet *p)
{
	struct iphdr ip;

	if (load(skb, 0, &ip, sizeof(ip)))
		return -1;
	p->key.family = POLICER_IPV4;
	p->key.source[0] = ip.saddr;
	p->protocol = ip.protocol;
	p->ttl = ip.ttl;
	p->upper = ip.frag_off & bpf_htons(IPV4_OFFSET) ? 0 : ip.ihl * 4;
	return 0;
}

static __always_inline int parse_ipv6(struct __sk_buff *skb, struct packet *p)
{
	struct ipv6hdr ip;
	__u32 at = sizeof(ip);

	if (load(skb, 0, &ip, sizeof(ip)))
		return -1;
	p->key.family = POLICER_IPV6;
	__builtin_memcpy(p->key.source, &ip.saddr, sizeof(p->key.source));
	p->protocol = ip.nexthdr;
	p->ttl = ip.hop_limit;
	for (int i = 0; i < EXTENSIONS; i++) {
		__u8 extension[4];
		__u32 units;

		if (p->protocol != IPPROTO_HOPOPTS && p->protocol != IPPROTO_ROUTING &&
		    p->protocol != IPPROTO_DSTOPTS && p->protocol != IPPROTO_FRAGMENT && p->protocol != IPPROTO_AH)
			break;
		if (load(skb, at, extension, sizeof(extension)))
			return 0; /* without an upper-layer header */
		/* RFC 8200 section 4: 8 bytes and so many times 8 more; a fragment header has 8; RFC 4302: 8 and so many times 4. */
		units = p->protocol == IPPROTO_FRAGMENT ? 0 : extension[1] * (p->protocol == IPPROTO_AH ? 4u : 8u);
		if (p->protocol == IPPROTO_FRAGMENT && (extension[2] << 8 | extension[3]) & IPV6_OFFSET) {
			p->protocol = extension[0];
			return 0;
		}
		p->protocol = extension[0];
		at += 8 + units;
	}
	p->upper = at;
	return 0;
}

/* The frame's own EtherType, also on fpn0's egress. */
static __always_inline __be16 ethertype(struct __sk_buff *skb)
{
	__be16 type = skb->protocol;

	if (type == bpf_htons(FPTUN_ETHERTYPE))
		bpf_skb_load_bytes_relative(skb, 2 * ETH_ALEN, &type, sizeof(type), BPF_HDR_START_MAC);
	return type;
}

/* Whether it is policed at all. */
static __always_inline int matches(struct __sk_buff *skb, __be16 type, const struct packet *p)
{
	__u32 match = constants.match;

	if (match & POLICER_MATCH_ARP)
		return type == bpf_htons(ETH_P_ARP);
	if (match && !p->key.family)
		return 0;
	if (match & POLICER_MATCH_TTL && p->ttl > constants.ttl)
		return 0;
	if (match & POLICER_MATCH_PROTO && p->protocol != constants.protocol)
		return 0;
	if (match & POLICER_MATCH_ICMP &&
	    p->protocol != (p->key.family == POLICER_IPV4 ? IPPROTO_ICMP : IPPROTO_ICMPV6))
		return 0;
	if (match & POLICER_MATCH_ND) {
		__u8 type;

		if (p->key.family != POLICER_IPV6 || p->protocol != IPPROTO_ICMPV6 || !p->upper ||
		    load(skb, p->upper, &type, sizeof(type)) || type < 133 || type > 137)
			return 0;
	}
	if (match & POLICER_MATCH_DPORT) {
		__be16 ports[2];

		if ((p->protocol != IPPROTO_TCP && p->protocol != IPPROTO_UDP) || !p->upper ||
		    load(skb, p->upper, ports, sizeof(ports)) || ports[1] != bpf_htons(constants.dport))
			return 0;
	}
	return 1;
}

SEC("tc")
int fps_policer(struct __sk_buff *skb)
{
	struct packet packet = {};
	struct policer_key class = {};
	struct efsm_state *flow;
	__be16 type = ethertype(skb);

	/* What is too short for its IP header is no IP. */
	if (type == bpf_htons(ETH_P_IP))
		parse_ipv4(skb, &packet);
	else if (type == bpf_htons(ETH_P_IPV6))
		parse_ipv6(skb, &packet);
	if (!matches(skb, type, &packet))
		return count(POLICER_UNMATCHED, TC_ACT_UNSPEC);

	flow = row_of(constants.per == POLICER_PER_SOURCE ? &packet.key : &class);
	if (!flow)
		return count(POLICER_UNTRACKED, TC_ACT_UNSPEC);
	if (step(flow, constants.packet_clock ? (__s64)skb->tstamp : (__s64)bpf_ktime_get_ns()) == DROP)
		return count(POLICER_DROPPED,
			     skb->protocol == bpf_htons(FPTUN_ETHERTYPE) ? TC_ACT_STOLEN : TC_ACT_SHOT);
	return count(POLICER_FORWARDED, TC_ACT_UNSPEC);
}
