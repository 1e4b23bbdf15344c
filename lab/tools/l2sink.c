// SPDX-License-Identifier: BSD-2-Clause
/*
 * Counts the UDP packets that an interface receives, in an XDP program (l2sink.bpf.c): the cheapest receiver there is, so that
 * it measures what comes before it. Counts for a while after a warm-up and prints packets and packets per second as JSON.
 */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <unistd.h>

#include "common.h"

static const char usage[] = "usage: l2sink [options] INTERFACE\n"
			    "  --for MS      how long to count (default 2000)\n"
			    "  --warm-up MS  time before the count (default 500)\n"
			    "  --ready FILE  made when the program is attached\n";

static uint64_t packets(int map)
{
	int cpus = libbpf_num_possible_cpus();
	uint64_t sum = 0, *values = calloc((size_t)cpus, sizeof(*values));
	uint32_t key = 0;

	if (!values || bpf_map_lookup_elem(map, &key, values))
		die("reading the counter");
	for (int i = 0; i < cpus; i++)
		sum += values[i];
	free(values);
	return sum;
}

static void wait_ns(uint64_t duration)
{
	uint64_t end = now_ns() + duration;
	struct timespec t = { .tv_sec = (time_t)(end / NSEC_PER_SEC), .tv_nsec = (long)(end % NSEC_PER_SEC) };

	while (!stop_wanted && clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

static struct bpf_object *load(void)
{
	char path[PATH_MAX], object_path[PATH_MAX + 16];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
	struct bpf_object *object;

	if (length < 0)
		die("/proc/self/exe");
	path[length] = '\0';
	snprintf(object_path, sizeof(object_path), "%s/l2sink.bpf.o", dirname(path));
	object = bpf_object__open_file(object_path, NULL);
	if (!object)
		die("%s", object_path);
	if (bpf_object__load(object))
		die("loading %s", object_path);
	return object;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "for", required_argument, NULL, 's' },
		{ "warm-up", required_argument, NULL, 'w' },
		{ "ready", required_argument, NULL, 'r' },
		{ NULL, 0, NULL, 0 },
	};
	LIBBPF_OPTS(bpf_link_create_opts, create, .flags = XDP_FLAGS_DRV_MODE);
	uint64_t count_ms = 2000, warm_up = 500, before, start, counted, duration;
	const char *ready = NULL;
	struct bpf_object *object;
	unsigned int interface;
	int option, link, map;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 's':
			count_ms = number(optarg, "for");
			break;
		case 'w':
			warm_up = number(optarg, "warm-up");
			break;
		case 'r':
			ready = optarg;
			break;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (optind + 1 != argc) {
		fputs(usage, stderr);
		return 2;
	}
	interface = if_nametoindex(argv[optind]);
	if (!interface)
		die("interface %s", argv[optind]);
	stop_on_signals();
	object = load();
	link = bpf_link_create(bpf_program__fd(bpf_object__find_program_by_name(object, "count_udp")), (int)interface,
			       BPF_XDP, &create);
	if (link < 0)
		die("attaching to %s", argv[optind]);
	map = bpf_object__find_map_fd_by_name(object, "received");
	if (ready) {
		FILE *file = fopen(ready, "w");

		if (!file)
			die("%s", ready);
		fclose(file);
	}
	wait_ns(warm_up * 1000000);
	before = packets(map);
	start = now_ns();
	wait_ns(count_ms * 1000000);
	counted = packets(map) - before;
	duration = now_ns() - start;
	printf("{\"packets\":%llu,\"seconds\":%.3f,\"pps\":%.0f}\n", (unsigned long long)counted,
	       (double)duration / NSEC_PER_SEC, (double)counted * NSEC_PER_SEC / (double)duration);
	/* The link's descriptor is its only reference: leaving detaches the program. */
	close(link);
	bpf_object__close(object);
	return 0;
}
