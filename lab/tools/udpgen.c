// SPDX-License-Identifier: BSD-2-Clause
/*
 * Sends N numbered UDP packets at a steady rate, from a UDP socket (so that ARP, routes and path MTU are the kernel's), or
 * as raw frames out of an interface (--raw IF --to-mac MAC: any TTL, any source address). What was sent is told as JSON.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <linux/if_packet.h>
#include <sys/prctl.h>

#include "frame.h"

/* Packets sent in one go when the clock says that several are due: bounds the burst after a late wake-up. */
#define BURST 64

static const char usage[] = "usage: udpgen [options] ADDRESS\n"
			    "  --count N     packets to send (default 1000; 0: until stopped)\n"
			    "  --rate N      packets per second (default 1000; 0: as fast as it goes)\n"
			    "  --tick N      microseconds between two bursts (default 0: packets go one by one)\n"
			    "  --port N      destination port (default 5001)\n"
			    "  --from A      source address\n"
			    "  --from-port N source port\n"
			    "  --size N      frame size in bytes without FCS (default 60)\n"
			    "  --ttl N       time to live (default 64)\n"
			    "  --raw IF      as raw frames out of IF; needs --to-mac and --from\n"
			    "  --to-mac MAC  next hop of --raw\n"
			    "  --cpu N       run on this CPU\n";

static int open_udp(const struct flow *flow)
{
	struct sockaddr_in local = { .sin_family = AF_INET,
				     .sin_addr = flow->source,
				     .sin_port = htons(flow->source_port) };
	struct sockaddr_in remote = { .sin_family = AF_INET,
				      .sin_addr = flow->destination,
				      .sin_port = htons(flow->destination_port) };
	int ttl = flow->ttl;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (fd < 0)
		die("socket");
	if (setsockopt(fd, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl)))
		die("TTL %d", ttl);
	if (bind(fd, (struct sockaddr *)&local, sizeof(local)))
		die("bind to %s", inet_ntoa(flow->source));
	if (connect(fd, (struct sockaddr *)&remote, sizeof(remote)))
		die("connect to %s", inet_ntoa(flow->destination));
	return fd;
}

static int open_raw(const char *interface)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET,
				       .sll_protocol = htons(ETH_P_IP),
				       .sll_ifindex = (int)if_nametoindex(interface) };
	/* Protocol 0: this socket only sends. */
	int fd = socket(AF_PACKET, SOCK_RAW, 0);

	if (fd < 0)
		die("packet socket");
	if (address.sll_ifindex == 0)
		die("interface %s", interface);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)))
		die("bind to %s", interface);
	return fd;
}

/* True when the packet left. A full queue is waited for; an ICMP error of an earlier packet (ECONNREFUSED …) is not ours. */
static int send_one(int fd, const void *data, size_t length)
{
	for (int attempt = 0; attempt < 1000 && !stop_wanted; attempt++) {
		if (send(fd, data, length, 0) == (ssize_t)length)
			return 1;
		if (errno == ENOBUFS || errno == EAGAIN)
			usleep(50);
		else if (errno != ECONNREFUSED && errno != EHOSTUNREACH && errno != ENETUNREACH && errno != EINTR)
			return 0;
	}
	return 0;
}

static void sleep_until(uint64_t when)
{
	struct timespec t = { .tv_sec = (time_t)(when / NSEC_PER_SEC), .tv_nsec = (long)(when % NSEC_PER_SEC) };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "count", required_argument, NULL, 'c' }, { "rate", required_argument, NULL, 'r' },
		{ "tick", required_argument, NULL, 't' },  { "port", required_argument, NULL, 'p' },
		{ "from", required_argument, NULL, 'f' },  { "from-port", required_argument, NULL, 'F' },
		{ "size", required_argument, NULL, 's' },  { "ttl", required_argument, NULL, 'T' },
		{ "raw", required_argument, NULL, 'R' },   { "to-mac", required_argument, NULL, 'm' },
		{ "cpu", required_argument, NULL, 'C' },   { NULL, 0, NULL, 0 },
	};
	static uint8_t frame[FRAME_LARGEST];
	struct flow flow = { .destination_port = 5001, .ttl = 64, .size = FRAME_SMALLEST };
	uint64_t count = 1000, rate = 1000, tick = 0, sent = 0, errors = 0, sequence = 0, start, end;
	const char *raw = NULL, *mac = NULL;
	int option, fd, cpu = -1;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			count = number(optarg, "count");
			break;
		case 'r':
			rate = number(optarg, "rate");
			break;
		case 't':
			tick = number(optarg, "tick") * 1000;
			break;
		case 'p':
			flow.destination_port = (uint16_t)number(optarg, "port");
			break;
		case 'f':
			flow.source = parse_address(optarg);
			break;
		case 'F':
			flow.source_port = (uint16_t)number(optarg, "from-port");
			break;
		case 's':
			flow.size = number(optarg, "size");
			break;
		case 'T':
			flow.ttl = (uint8_t)number(optarg, "ttl");
			break;
		case 'R':
			raw = optarg;
			break;
		case 'm':
			mac = optarg;
			break;
		case 'C':
			cpu = (int)number(optarg, "cpu");
			break;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (optind + 1 != argc || (raw && (!mac || !flow.source.s_addr))) {
		fputs(usage, stderr);
		return 2;
	}
	if (flow.size < FRAME_HEADERS + sizeof(struct probe) || flow.size > FRAME_LARGEST) {
		errno = 0;
		die("--size is %zu to %d", FRAME_HEADERS + sizeof(struct probe), FRAME_LARGEST);
	}
	flow.destination = parse_address(argv[optind]);
	if (raw) {
		parse_mac(mac, flow.destination_mac);
		interface_mac(raw, flow.source_mac);
		if (!flow.source_port)
			flow.source_port = 40000;
		fd = open_raw(raw);
	} else {
		fd = open_udp(&flow);
	}
	pin_to_cpu(cpu);
	stop_on_signals();
	/* The default slack of 50 µs is half the distance of two packets at 10 kpps. */
	prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);

	start = now_ns();
	while (!stop_wanted && (!count || sequence < count)) {
		uint64_t now = now_ns();
		uint64_t due = rate ? (uint64_t)((unsigned __int128)(now - start) * rate / NSEC_PER_SEC) + 1
				    : sequence + BURST;

		if (due <= sequence) {
			uint64_t next = start + (uint64_t)((unsigned __int128)sequence * NSEC_PER_SEC / rate);

			sleep_until(next > now + tick ? next : now + tick);
			continue;
		}
		if (count && due > count)
			due = count;
		for (int i = 0; i < BURST && sequence < due && !stop_wanted; i++, sequence++) {
			struct probe probe = { htobe64(sequence), htobe64(now_ns()) };
			int left;

			if (raw) {
				build_frame(frame, &flow, &probe);
				left = send_one(fd, frame, flow.size);
			} else {
				memcpy(frame, &probe, sizeof(probe));
				left = send_one(fd, frame, flow.size - FRAME_HEADERS);
			}
			if (left)
				sent++;
			else
				errors++;
		}
	}
	end = now_ns();
	printf("{\"sent\":%llu,\"errors\":%llu,\"seconds\":%.3f,\"pps\":%.0f}\n", (unsigned long long)sent,
	       (unsigned long long)errors, (double)(end - start) / NSEC_PER_SEC,
	       end > start ? (double)sent * NSEC_PER_SEC / (double)(end - start) : 0.0);
	return errors ? 1 : 0;
}
