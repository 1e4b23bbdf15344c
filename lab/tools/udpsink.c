// SPDX-License-Identifier: BSD-2-Clause
/*
 * Receives what udpgen sends and tells as JSON what became of it: received, missing, duplicate and reordered packets, and the
 * longest silence. Times are the kernel's receive stamps: a sink that is scheduled late measures no gap that was not there.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <getopt.h>
#include <sys/socket.h>

#include "common.h"

#define BATCH 64
#define LARGEST_SEQUENCE (1ull << 30) /* a payload that is not ours can't make us allocate without bound */

static const char usage[] =
	"usage: udpsink [options]\n"
	"  --port N      port to listen on (default 5001)\n"
	"  --expect N    packets that were or will be sent: ends when all are here\n"
	"  --idle MS     ends after this silence, once the first packet came (default 1000; 0: never)\n"
	"  --wait MS     ends when no first packet came in this time (default 10000; 0: never)\n"
	"  --ready FILE  made when listening\n";

struct tally {
	uint64_t received, distinct, duplicates, reordered, foreign;
	uint64_t next; /* highest sequence number seen, plus one */
	uint64_t longest_gap_ns, longest_gap_after;
	uint64_t first_ns, last_ns;
	uint64_t *seen; /* bitmap by sequence number */
	uint64_t seen_bits;
};

static void grow(struct tally *tally, uint64_t sequence)
{
	uint64_t bits = tally->seen_bits ? tally->seen_bits : 1 << 20;

	if (sequence < tally->seen_bits)
		return;
	while (bits <= sequence)
		bits *= 2;
	tally->seen = realloc(tally->seen, bits / 8);
	if (!tally->seen)
		die("memory for %llu packets", (unsigned long long)bits);
	memset(tally->seen + tally->seen_bits / 64, 0, (bits - tally->seen_bits) / 8);
	tally->seen_bits = bits;
}

static void count(struct tally *tally, const struct probe *probe, size_t length, uint64_t when)
{
	uint64_t sequence = be64toh(probe->sequence), bit;

	if (length < sizeof(*probe) || sequence >= LARGEST_SEQUENCE) {
		tally->foreign++;
		return;
	}
	if (!tally->received) {
		tally->first_ns = when;
	} else if (when > tally->last_ns && when - tally->last_ns > tally->longest_gap_ns) {
		tally->longest_gap_ns = when - tally->last_ns;
		tally->longest_gap_after = tally->next;
	}
	tally->last_ns = when;
	tally->received++;
	grow(tally, sequence);
	bit = 1ull << (sequence % 64);
	if (tally->seen[sequence / 64] & bit) {
		tally->duplicates++;
		return;
	}
	tally->seen[sequence / 64] |= bit;
	tally->distinct++;
	if (sequence >= tally->next)
		tally->next = sequence + 1;
	else
		tally->reordered++;
}

/* Longest run of sequence numbers below `end` that never came. */
static uint64_t longest_run_missing(const struct tally *tally, uint64_t end)
{
	uint64_t run = 0, longest = 0;

	for (uint64_t i = 0; i < end; i++) {
		int seen = i < tally->seen_bits && (tally->seen[i / 64] >> (i % 64) & 1);

		run = seen ? 0 : run + 1;
		if (run > longest)
			longest = run;
	}
	return longest;
}

static uint64_t receive_time(struct msghdr *message)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
			struct timespec t;

			memcpy(&t, CMSG_DATA(c), sizeof(t));
			return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
		}
	}
	return 0;
}

static int open_socket(uint16_t port)
{
	struct sockaddr_in local = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_DGRAM, 0), one = 1, buffer = 64 << 20;
	struct timeval tick = { .tv_usec = 10000 };

	if (fd < 0)
		die("socket");
	/* RCVBUFFORCE needs CAP_NET_ADMIN; without it the system's limit has to do. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer)))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer));
	if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(one)))
		die("receive time stamps");
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tick, sizeof(tick)))
		die("receive timeout");
	if (bind(fd, (struct sockaddr *)&local, sizeof(local)))
		die("bind to port %u", port);
	return fd;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "port", required_argument, NULL, 'p' },  { "expect", required_argument, NULL, 'e' },
		{ "idle", required_argument, NULL, 'i' },  { "wait", required_argument, NULL, 'w' },
		{ "ready", required_argument, NULL, 'r' }, { NULL, 0, NULL, 0 },
	};
	static union {
		struct probe probe;
		uint8_t bytes[2048];
	} data[BATCH];
	static union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(sizeof(struct timespec))];
	} control[BATCH];
	struct mmsghdr messages[BATCH];
	struct iovec vectors[BATCH];
	struct tally tally = { 0 };
	uint64_t expect = 0, idle = 1000, wait = 10000, last_heard, missing, end;
	const char *ready = NULL;
	uint16_t port = 5001;
	int option, fd;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'p':
			port = (uint16_t)number(optarg, "port");
			break;
		case 'e':
			expect = number(optarg, "expect");
			break;
		case 'i':
			idle = number(optarg, "idle");
			break;
		case 'w':
			wait = number(optarg, "wait");
			break;
		case 'r':
			ready = optarg;
			break;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (optind != argc) {
		fputs(usage, stderr);
		return 2;
	}
	fd = open_socket(port);
	stop_on_signals();
	if (ready) {
		FILE *file = fopen(ready, "w");

		if (!file)
			die("%s", ready);
		fclose(file);
	}

	last_heard = now_ns();
	while (!stop_wanted && !(expect && tally.distinct >= expect)) {
		uint64_t limit = tally.received ? idle : wait;
		int n;

		for (int i = 0; i < BATCH; i++) {
			vectors[i] = (struct iovec){ &data[i], sizeof(data[i]) };
			messages[i].msg_hdr = (struct msghdr){ .msg_iov = &vectors[i],
							       .msg_iovlen = 1,
							       .msg_control = &control[i],
							       .msg_controllen = sizeof(control[i]) };
		}
		n = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			die("receive");
		for (int i = 0; i < n; i++)
			count(&tally, &data[i].probe, messages[i].msg_len, receive_time(&messages[i].msg_hdr));
		if (n > 0)
			last_heard = now_ns();
		else if (limit && now_ns() - last_heard > limit * 1000000)
			break;
	}

	end = expect > tally.next ? expect : tally.next;
	missing = end - tally.distinct;
	printf("{\"received\":%llu,\"distinct\":%llu,\"missing\":%llu,\"duplicates\":%llu,\"reordered\":%llu,\"foreign\":%llu,"
	       "\"longestGapMs\":%.3f,\"longestGapAt\":%llu,\"longestGapPackets\":%llu,\"seconds\":%.3f}\n",
	       (unsigned long long)tally.received, (unsigned long long)tally.distinct, (unsigned long long)missing,
	       (unsigned long long)tally.duplicates, (unsigned long long)tally.reordered,
	       (unsigned long long)tally.foreign, (double)tally.longest_gap_ns / 1e6,
	       (unsigned long long)tally.longest_gap_after, (unsigned long long)longest_run_missing(&tally, end),
	       (double)(tally.last_ns - tally.first_ns) / NSEC_PER_SEC);
	return 0;
}
