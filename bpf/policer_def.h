/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What policer.bpf.c shares with src/Fpctl/Features/Policer (PolicerLayout.cs). A test compiles both and compares. */
#ifndef POLICER_DEF_H
#define POLICER_DEF_H

#include <linux/types.h>

#define POLICER_FLOWS 65536 /* entries of the state table, if nobody says otherwise */

enum policer_per {
	POLICER_PER_CLASS = 0,	/* one flow: all that matches */
	POLICER_PER_SOURCE = 1, /* a flow for each source address */
};

/* What a packet must be; all that are set must hold. */
#define POLICER_MATCH_ARP 0x01
#define POLICER_MATCH_ND 0x02	 /* neighbour and router discovery, RFC 4861: ICMPv6 133 to 137 */
#define POLICER_MATCH_ICMP 0x04	 /* ICMP over IPv4, ICMPv6 over IPv6 */
#define POLICER_MATCH_PROTO 0x08 /* this protocol, over either */
#define POLICER_MATCH_DPORT 0x10 /* TCP or UDP to this port */
#define POLICER_MATCH_TTL 0x20	 /* TTL or hop limit of at most this */

/* The machine's global registers and the options it was made with. Set before load, constant for the verifier. */
struct policer_constants {
	__s64 token_ns;	 /* T */
	__s64 window_ns; /* L */
	__u32 rate;	 /* packets per second */
	__u32 burst;	 /* B, packets */
	__u32 per;	 /* enum policer_per */
	__u32 match;	 /* POLICER_MATCH_* */
	__u16 dport;
	__u8 protocol;
	__u8 ttl;
	__u32 packet_clock; /* 1, in tests only: a packet's time is its tstamp */
};

enum policer_family {
	POLICER_SHARED = 0, /* the one flow of a class; with POLICER_PER_SOURCE, that of all that is not IP */
	POLICER_IPV4 = 4,
	POLICER_IPV6 = 6,
};

/* What a flow is known by. */
struct policer_key {
	__u32 family;	  /* enum policer_family */
	__be32 source[4]; /* IPv4: the first word */
};

/* The states of a flow. */
enum policer_state {
	POLICER_DEFAULT = 0,	/* no packet yet */
	POLICER_CONFORMING = 1, /* its last packet was forwarded */
	POLICER_EXCEEDING = 2,	/* its last packet was dropped */
	POLICER_STATES = 4,	/* a power of two: the table's index is masked */
};

/*
 * A row of the state table. The state and the register are one word, so that a transition is one compare-and-exchange (the
 * kernel has no bpf_spin_lock in an LRU hash: EOPNOTSUPP): the start of the window in ns of CLOCK_MONOTONIC, 62 bits with
 * sign (73 years), above the state. The window's end is no register of its own: start + L.
 */
struct efsm_state {
	__s64 word; /* 0: POLICER_DEFAULT */
	__u64 forwarded;
	__u64 dropped;
};

#define POLICER_STATE_BITS 2
#define POLICER_STATE(word) ((word) & (POLICER_STATES - 1))
#define POLICER_START(word) ((word) >> POLICER_STATE_BITS)
#define POLICER_WORD(state, start) ((__s64)((__u64)(start) << POLICER_STATE_BITS | (state)))

/* Over all flows, per CPU. */
enum policer_total {
	POLICER_FORWARDED = 0,
	POLICER_DROPPED = 1,
	POLICER_UNMATCHED = 2, /* passed untouched */
	POLICER_UNTRACKED = 3, /* forwarded, because the state table had no room for their flow */
	POLICER_TOTALS = 4,
};

#endif
