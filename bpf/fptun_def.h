/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The FPTUN trailer: the last 16 bytes of a frame handed to Linux. Big-endian. C# side: src/FastPath/Exceptions. */
#ifndef FPTUN_DEF_H
#define FPTUN_DEF_H

#include <linux/types.h>

#define FPTUN_MAGIC 0x46505431u /* "FPT1" */
#define FPTUN_VERSION 1

/* What skb->protocol says on fpn0's egress, whatever the frame is (Injector.NobodysProtocol has the reason). */
#define FPTUN_ETHERTYPE 0x88b5 /* IEEE 802, Local Experimental */

enum fptun_command {
	FPTUN_BASIC = 1, /* deliver as received on ifindex */
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
};

enum fptun_counter {
	FPTUN_INJECTED = 0,
	FPTUN_INVALID = 1,
	FPTUN_COUNTERS = 2,
};

#endif
