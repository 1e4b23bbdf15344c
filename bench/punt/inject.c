// SPDX-License-Identifier: BSD-2-Clause
/*
 * The bare minimum that brings frames into Linux over a TAP device, as a measure for ours: the same frame again and again, 64 in a
 * system call through a packet socket (egress hook), or written to the TAP one by one (ingress hook). carrier.bpf.c is on the hooks.
 *
 *	inject egress|tap MILLISECONDS TAP TARGET FRAME		prints frames per second
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "carrier.h"

#define BATCH 64
#define LARGEST 1514

unsigned int if_nametoindex(const char *name); /* <net/if.h> and <linux/if.h> don't go together */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int fail(const char *what)
{
	perror(what);
	exit(1);
}

static double through_socket(const uint8_t *frame, size_t length, int carrier, double seconds)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET,
				       .sll_ifindex = carrier,
				       .sll_protocol = htons(ETH_P_IP) };
	struct iovec part = { (void *)(uintptr_t)frame, length };
	struct mmsghdr messages[BATCH] = { 0 };
	double start = now();
	long sent = 0;
	int fd = socket(AF_PACKET, SOCK_RAW, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)))
		fail("packet socket");
	for (int i = 0; i < BATCH; i++) {
		messages[i].msg_hdr.msg_iov = &part;
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	while (now() - start < seconds) {
		int n = sendmmsg(fd, messages, BATCH, 0);

		if (n > 0)
			sent += n;
	}
	return (double)sent / (now() - start);
}

static double through_tap(const uint8_t *frame, size_t length, const char *name, double seconds)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR);
	double start;
	long sent = 0;

	strncpy(request.ifr_name, name, IFNAMSIZ - 1);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request))
		fail("TAP device");
	start = now();
	while (now() - start < seconds) {
		for (int i = 0; i < BATCH; i++)
			sent += write(fd, frame, length) > 0;
	}
	return (double)sent / (now() - start);
}

int main(int argc, char **argv)
{
	static uint8_t frame[LARGEST + sizeof(struct carrier_trailer)];
	struct carrier_trailer trailer;
	size_t length = 0;
	double rate;

	if (argc != 6 || strlen(argv[5]) > 2 * LARGEST) {
		fputs("usage: inject egress|tap MILLISECONDS TAP TARGET FRAME\n", stderr);
		return 2;
	}
	for (; sscanf(argv[5] + 2 * length, "%2hhx", &frame[length]) == 1; length++)
		;
	trailer.magic = CARRIER_MAGIC;
	trailer.ifindex = if_nametoindex(argv[4]);
	memcpy(frame + length, &trailer, sizeof(trailer));
	length += sizeof(trailer);
	if (!strcmp(argv[1], "egress"))
		rate = through_socket(frame, length, (int)if_nametoindex(argv[3]), atof(argv[2]) / 1000);
	else
		rate = through_tap(frame, length, argv[3], atof(argv[2]) / 1000);
	printf("%.0f\n", rate);
	return 0;
}
