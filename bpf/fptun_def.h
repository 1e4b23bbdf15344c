/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The FPTUN trailer: the last 16 bytes of a frame on the carrier fpn0. Big-endian. C# side: src/FastPath/Exceptions. */
#ifndef FPTUN_DEF_H
#define FPTUN_DEF_H

#include <linux/types.h>

#define FPTUN_MAGIC 0x46505431u /* "FPT1" */
#define FPTUN_VERSION 1

/* What skb->protocol says on fpn0's egress, whatever the frame is (CarrierQueue.NobodysProtocol has the reason). */
#define FPTUN_ETHERTYPE 0x88b5 /* IEEE 802, Local Experimental */

enum fptun_command {
	FPTUN_BASIC = 1,       /* the frame as it came: deliver as received on the port ifindex */
	FPTUN_IFACE_INPUT = 2, /* what was inside: deliver as received on the virtual interface ifindex */
	FPTUN_TAP = 3,	       /* a copy for packet sockets on the port ifindex, and for nobody else */
	FPTUN_IPSEC_DONE = 4, /* decrypted: deliver as received on ifindex, past the policies that ask for encryption */
	FPTUN_OUTPUT = 5,     /* from Linux: the fast path is asked to send the frame through the port ifindex */
	FPTUN_COMMANDS = 6,
};

/* The target runs XDP in generic mode, which sees the packet again: leave the cookie tail for it. */
#define FPTUN_F_COOKIE 0x0001

struct fptun_trailer {
	__be32 magic;
	__u8 version;
	__u8 command;
	__be16 flags;
	__be32 ifindex;
	__be32 mark;
};

/* Set before load. */
struct fptun_constants {
	__u64 cookie[2]; /* the same as in struct xdp_constants */

	/*
	 * skb->mark of what the fast path sends to the carrier through its packet socket (SO_MARK, which takes
	 * CAP_NET_ADMIN): who may merely open packet sockets can't have Linux believe that a frame was received
	 * elsewhere. 0: not asked for.
	 */
	__u32 secret;

	/* skb->mark of a TAP copy, by which bpf/tap_drop.bpf.c knows it. */
	__u32 tap_mark;

	/*
	 * Stands for the magic in the trailer of an OUTPUT frame that was let through to the TAP, big-endian:
	 * PACKET_QDISC_BYPASS and XDP_REDIRECT lead there past the hook, and what came so isn't sent.
	 */
	__u32 output_magic;
	__u32 unused;
};

/* The counters: what was done by command (at its number), then what was refused, and why. */
enum fptun_counter {
	FPTUN_NO_TRAILER = 8, /* too short for one, or no magic: somebody else's frame */
	FPTUN_BAD_VERSION = 9,
	FPTUN_BAD_COMMAND = 10,
	FPTUN_BAD_TARGET = 11, /* the VRF has no such interface, or the command isn't for it */
	FPTUN_FORGED = 12,     /* sent by somebody else than the fast path */
	FPTUN_COUNTERS = 16,   /* the last three are the fast path's own: enum FptunOutput in C# */
};

/* Value of the map `targets`, by ifindex: bit C is set where command C may lead. */
#define FPTUN_ALLOWS(command) (1u << (command))
#define FPTUN_MAX_TARGETS 8192

#endif
