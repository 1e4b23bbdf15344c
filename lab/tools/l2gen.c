// SPDX-License-Identifier: BSD-2-Clause
/*
 * Sends small UDP frames out of an interface as fast as one CPU can: through AF_XDP (copy mode; the fastest on a veth), or
 * with --packet by sendmmsg on a packet socket without qdisc. All frames are equal but for the source port, which goes
 * through --flows values. With --queues the flows are dealt out to the transmit queues: flow f leaves by queue f mod N, and
 * on a veth arrives at the receive queue of that number. With --frame it is one frame of the caller's, byte for byte. Offered
 * packets per second are printed as JSON.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <linux/if_packet.h>
#include <linux/if_xdp.h>
#include <sys/mman.h>
#include <xdp/xsk.h>

#include "frame.h"

#define BATCH 64
#define FRAME_ROOM 2048
#define RING 2048
#define FRAMES (2 * RING)
#define QUEUES 16
#define IN_FLIGHT 1024 /* frames handed to the kernel and not yet completed */

static const char usage[] =
	"usage: l2gen [options] (--to-mac MAC --from ADDRESS --to ADDRESS | --frame HEX) INTERFACE\n"
	"  --for MS     how long (default 2000)\n"
	"  --size N     frame size in bytes without FCS (default 60)\n"
	"  --flows N    source ports to go through (default 1)\n"
	"  --queues N   transmit queues to use with AF_XDP (default 1); divides --flows\n"
	"  --frame HEX  the frame to send\n"
	"  --rate N     frames per second with AF_XDP (default: as many as go)\n"
	"  --packet     use a packet socket instead of AF_XDP\n"
	"  --cpu N      run on this CPU\n";

struct job {
	const char *interface;
	struct flow flow;
	uint64_t flows, queues, rate, end_ns;
	uint8_t *given; /* the frame to send, of flow.size bytes; NULL: made of the flow */
};

static void build(uint8_t *frame, const struct job *job, uint64_t index)
{
	struct probe probe = { htobe64(index), 0 };
	struct flow flow = job->flow;

	if (job->given) {
		memcpy(frame, job->given, flow.size);
		return;
	}
	flow.source_port = (uint16_t)(flow.source_port + index % job->flows);
	build_frame(frame, &flow, &probe);
}

/* An AF_XDP socket on one transmit queue, with frames of its own: those of the flows that leave by this queue. */
struct sender {
	struct xsk_ring_prod fill, tx;
	struct xsk_ring_cons completion;
	struct xsk_umem *umem;
	struct xsk_socket *socket;
	uint64_t next;
	uint64_t frames; /* one per flow, sent again and again: the kernel copies it, and it stays in the cache */
	uint32_t in_flight;
};

static void open_sender(struct sender *sender, const struct job *job, uint32_t queue)
{
	struct xsk_umem_config umem_config = { .fill_size = RING, .comp_size = RING, .frame_size = FRAME_ROOM };
	struct xsk_socket_config config = { .tx_size = RING,
					    .libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
					    .bind_flags = XDP_COPY | XDP_USE_NEED_WAKEUP };
	uint8_t *area = mmap(NULL, FRAMES * FRAME_ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int error;

	if (area == MAP_FAILED)
		die("memory for frames");
	error = xsk_umem__create(&sender->umem, area, FRAMES * FRAME_ROOM, &sender->fill, &sender->completion,
				 &umem_config);
	if (!error)
		error = xsk_socket__create(&sender->socket, job->interface, queue, sender->umem, NULL, &sender->tx,
					   &config);
	if (error) {
		errno = -error;
		die("AF_XDP socket on %s, queue %u", job->interface, queue);
	}
	sender->frames = job->flows / job->queues < FRAMES ? job->flows / job->queues : FRAMES;
	for (uint64_t i = 0; i < sender->frames; i++)
		build(area + i * FRAME_ROOM, job, i * job->queues + queue);
}

/* Offers a batch when there is room; how many were completed meanwhile. */
static uint32_t send_batch(struct sender *sender, size_t size)
{
	uint32_t done, index;

	if (sender->in_flight <= IN_FLIGHT && xsk_ring_prod__reserve(&sender->tx, BATCH, &index) == BATCH) {
		for (uint32_t i = 0; i < BATCH; i++, sender->next++) {
			struct xdp_desc *descriptor = xsk_ring_prod__tx_desc(&sender->tx, index + i);

			descriptor->addr = sender->next % sender->frames * FRAME_ROOM;
			descriptor->len = (uint32_t)size;
			descriptor->options = 0;
		}
		xsk_ring_prod__submit(&sender->tx, BATCH);
		sender->in_flight += BATCH;
	}
	sendto(xsk_socket__fd(sender->socket), NULL, 0, MSG_DONTWAIT, NULL, 0);
	done = xsk_ring_cons__peek(&sender->completion, 256, &index);
	if (done)
		xsk_ring_cons__release(&sender->completion, done);
	sender->in_flight -= done;
	return done;
}

/* Busy; returns the time that was meant, or if that is long past, now: what was missed is not made up for. */
static uint64_t wait_until(uint64_t time_ns)
{
	uint64_t now;

	while ((now = now_ns()) < time_ns)
		;
	return now - time_ns > NSEC_PER_SEC / 1000 ? now : time_ns;
}

static uint64_t send_af_xdp(const struct job *job)
{
	static struct sender senders[QUEUES];
	uint64_t sent = 0, next = now_ns();

	for (uint32_t q = 0; q < job->queues; q++)
		open_sender(&senders[q], job, q);
	while (!stop_wanted && now_ns() < job->end_ns) {
		/* The clock is read once per 64 batches: it costs as much as a packet. */
		for (int round = 0; round < 64; round++) {
			uint32_t done;

			next = job->rate ? wait_until(next) : 0;
			done = send_batch(&senders[(uint64_t)round % job->queues], job->flow.size);
			next += job->rate ? done * NSEC_PER_SEC / job->rate : 0;
			sent += done;
		}
	}
	for (uint32_t q = 0; q < job->queues; q++) {
		xsk_socket__delete(senders[q].socket);
		xsk_umem__delete(senders[q].umem);
	}
	return sent;
}

static uint64_t send_packet_socket(const struct job *job)
{
	static uint8_t frames[BATCH][FRAME_LARGEST];
	struct sockaddr_ll address = { .sll_family = AF_PACKET,
				       .sll_protocol = htons(ETH_P_IP),
				       .sll_ifindex = (int)if_nametoindex(job->interface) };
	struct mmsghdr messages[BATCH] = { 0 };
	struct iovec vectors[BATCH];
	int fd = socket(AF_PACKET, SOCK_RAW, 0), one = 1;
	uint64_t sent = 0;

	if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)))
		die("packet socket on %s", job->interface);
	for (uint64_t i = 0; i < BATCH; i++) {
		build(frames[i], job, i);
		vectors[i] = (struct iovec){ frames[i], job->flow.size };
		messages[i].msg_hdr.msg_iov = &vectors[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	while (!stop_wanted && now_ns() < job->end_ns) {
		for (int round = 0; round < 32; round++) {
			int n = sendmmsg(fd, messages, BATCH, 0);

			if (n > 0)
				sent += (uint64_t)n;
		}
	}
	close(fd);
	return sent;
}

/* The bytes that TEXT writes in hexadecimal; their number in *SIZE. */
static uint8_t *parse_frame(const char *text, size_t *size)
{
	static uint8_t bytes[FRAME_LARGEST];
	size_t length = strlen(text) / 2;

	errno = 0;
	if (strlen(text) % 2 || length < ETH_HLEN || length > FRAME_LARGEST)
		die("--frame: give %d to %d bytes in hexadecimal", ETH_HLEN, FRAME_LARGEST);
	for (size_t i = 0; i < length; i++) {
		if (sscanf(text + 2 * i, "%2hhx", &bytes[i]) != 1)
			die("--frame: '%.2s' is no byte in hexadecimal", text + 2 * i);
	}
	*size = length;
	return bytes;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "to-mac", required_argument, NULL, 'm' }, { "from", required_argument, NULL, 'f' },
		{ "to", required_argument, NULL, 't' },	    { "for", required_argument, NULL, 's' },
		{ "size", required_argument, NULL, 'S' },   { "flows", required_argument, NULL, 'n' },
		{ "queues", required_argument, NULL, 'q' }, { "packet", no_argument, NULL, 'P' },
		{ "cpu", required_argument, NULL, 'C' },    { "frame", required_argument, NULL, 'F' },
		{ "rate", required_argument, NULL, 'R' },   { NULL, 0, NULL, 0 },
	};
	struct job job = { .flow = { .source_port = 1000, .destination_port = 9, .ttl = 64, .size = FRAME_SMALLEST },
			   .flows = 1,
			   .queues = 1 };
	uint64_t duration_ms = 2000, sent, start;
	int option, cpu = -1, packet = 0, complete = 0;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'm':
			parse_mac(optarg, job.flow.destination_mac);
			complete |= 1;
			break;
		case 'f':
			job.flow.source = parse_address(optarg);
			complete |= 2;
			break;
		case 't':
			job.flow.destination = parse_address(optarg);
			complete |= 4;
			break;
		case 's':
			duration_ms = number(optarg, "for");
			break;
		case 'S':
			job.flow.size = number(optarg, "size");
			break;
		case 'n':
			job.flows = number(optarg, "flows");
			break;
		case 'q':
			job.queues = number(optarg, "queues");
			break;
		case 'P':
			packet = 1;
			break;
		case 'F':
			job.given = parse_frame(optarg, &job.flow.size);
			complete = 7;
			break;
		case 'R':
			job.rate = number(optarg, "rate");
			break;
		case 'C':
			cpu = (int)number(optarg, "cpu");
			break;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (optind + 1 != argc || complete != 7 || job.flows == 0 || job.queues == 0 || job.queues > QUEUES ||
	    job.flows % job.queues || job.flow.size > FRAME_LARGEST ||
	    (!job.given && job.flow.size < FRAME_HEADERS + sizeof(struct probe))) {
		fputs(usage, stderr);
		return 2;
	}
	job.interface = argv[optind];
	interface_mac(job.interface, job.flow.source_mac);
	pin_to_cpu(cpu);
	stop_on_signals();
	start = now_ns();
	job.end_ns = start + duration_ms * 1000000;
	sent = packet ? send_packet_socket(&job) : send_af_xdp(&job);
	printf("{\"sent\":%llu,\"pps\":%.0f}\n", (unsigned long long)sent,
	       (double)sent * NSEC_PER_SEC / (double)(now_ns() - start));
	return 0;
}
