/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What xdp_redirect.bpf.c and heartbeat.bpf.c share with src/FastPath (XdpLayout.cs). A test compiles both and compares. */
#ifndef XDP_DEF_H
#define XDP_DEF_H

#include <linux/types.h>

/* Why a packet was passed to Linux at once. The same numbers as PassReason in src/SharedMemory. */
enum pass_reason {
	PASS_ARP = 0,
	PASS_LINK_LOCAL = 1,
	PASS_NOT_IP = 2,
	PASS_MULTICAST = 3,
	PASS_OTHER_HOST = 4,
	PASS_LOCAL_ADDRESS = 5,
	PASS_TRUNCATED = 6,
	PASS_DEMOTED = 7,
	PASS_HEARTBEAT_LOST = 8,
	PASS_NO_SOCKET = 9,
	PASS_REINJECTED = 10,
	PASS_OVERSIZE = 11,
	PASS_COUNT = 12,
};

/*
 * A port's configuration is one 64-bit word, so that user space changes it by one store: bits 0-47 the port's MAC (first
 * byte lowest), bits 48-61 the longest frame that workers take (0: demoted, everything is Linux's), bits 62 and 63: all
 * IPv4, all IPv6 is Linux's.
 */
#define PORT_CONFIG_MAC(word) ((word)&0xffffffffffffull)
#define PORT_CONFIG_LENGTH_SHIFT 48
#define PORT_CONFIG_LENGTH(word) ((word) >> PORT_CONFIG_LENGTH_SHIFT & 0x3fff)
#define PORT_CONFIG_PASS_IPV4 (1ull << 62)
#define PORT_CONFIG_PASS_IPV6 (1ull << 63)

/* Receive queues of a port that can have a socket. */
#define MAX_QUEUES 64

/*
 * One bit per hash of a local address, one filter for each family; the same hashes as LocalAddressFilter in
 * src/SharedMemory. Addresses in host order, IPv6 as two halves.
 */
#define ADDRESS_FILTER_BITS 65536
#define ADDRESS_FILTER_HASH(host_order) (((__u32)(host_order)*0x9e3779b1u) >> 16)
#define ADDRESS_FILTER_HASH6(high, low) \
	((((__u64)(high) ^ ((__u64)(low) >> 32 | (__u64)(low) << 32)) * 0x9e3779b97f4a7c15ull) >> 48)

/* Set before load, constant for the verifier. */
struct xdp_constants {
	__u32 generic; /* 1: attached in generic mode, where injected packets pass this program again */
	__u32 reserved;
	__u64 cookie[2]; /* the tail by which it knows them; random at each start */
};

#define HEARTBEAT_WORKERS 16
#define HEARTBEAT_PERIOD_NS 10000000ull
#define HEARTBEAT_MISSES 6 /* periods without progress after which a worker counts as stuck */

struct heartbeat_beats {
	__u64 workers; /* how many of the slots below are watched */
	__u64 reserved[7];
	struct {
		__u64 count; /* bumped by the worker once per loop, and at least every 10 ms */
		__u64 reserved[7];
	} worker[HEARTBEAT_WORKERS];
};

#endif
