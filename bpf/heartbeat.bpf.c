// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Watches the workers: a timer, every 10 ms, clears `alive` while any watched worker makes no progress, and sets it
 * again when all do. xdp_redirect.bpf.c reads it, so a hung or stopped fast path costs 70 ms of traffic, and a packet
 * costs no clock read.
 *
 * Hook: none. `heartbeat_arm` is run once by BPF_PROG_TEST_RUN (a tc program: on older kernels the syscall type is
 * sleepable, and sleepable programs have no timers). The timer ends with the last descriptor of the map.
 * Maps: beats (mmapable, written by workers), alive (mmapable), watch (the timer and what it saw last).
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "xdp_def.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define CLOCK_MONOTONIC 1

volatile struct heartbeat_beats beats SEC(".data.beats") = {};
volatile __u64 alive SEC(".data.alive") = 0;

struct watch {
	struct bpf_timer timer;
	__u64 seen[HEARTBEAT_WORKERS];
	__u32 misses[HEARTBEAT_WORKERS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct watch);
} watches SEC(".maps");

static int tick(void *map, __u32 *key, struct watch *w)
{
	__u64 workers = beats.workers;
	__u64 all = workers != 0;

	for (__u32 i = 0; i < HEARTBEAT_WORKERS; i++) {
		__u64 count;

		if (i >= workers)
			break;
		count = beats.worker[i].count;
		if (count != w->seen[i]) {
			w->seen[i] = count;
			w->misses[i] = 0;
		} else if (w->misses[i] < HEARTBEAT_MISSES) {
			w->misses[i]++;
		}
		if (w->misses[i] >= HEARTBEAT_MISSES)
			all = 0;
	}
	if (alive != all)
		alive = all;
	bpf_timer_start(&w->timer, HEARTBEAT_PERIOD_NS, 0);
	return 0;
}

SEC("tc")
int heartbeat_arm(struct __sk_buff *skb)
{
	__u32 key = 0;
	struct watch *w = bpf_map_lookup_elem(&watches, &key);

	if (!w || bpf_timer_init(&w->timer, &watches, CLOCK_MONOTONIC) || bpf_timer_set_callback(&w->timer, tick))
		return 1;
	return bpf_timer_start(&w->timer, HEARTBEAT_PERIOD_NS, 0) ? 1 : 0;
}
