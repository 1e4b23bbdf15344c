/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What inject.c puts behind a frame and carrier.bpf.c takes off. */
#ifndef BENCH_CARRIER_H
#define BENCH_CARRIER_H

#include <linux/types.h>

#define CARRIER_MAGIC 0x46505431u

struct carrier_trailer {
	__u32 magic, command, ifindex, mark;
};

#endif
