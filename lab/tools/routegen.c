// SPDX-License-Identifier: BSD-2-Clause
/*
 * Puts many routes into the kernel by raw netlink, or takes them out again, and says how fast that went.
 *
 *   routegen [-4 N] [-6 N] [-d] [-b PER_SEND] [-s SEED] [-f PERCENT] DEV GATEWAY4,… [GATEWAY6,…]
 *
 * -d deletes the same routes, the longest prefixes first: in the order of their making Linux needs 29 s for a million, nearly all of it
 * in update_suffix (net/ipv4/fib_trie.c). -f PERCENT works on every so-many-th route only (flapping). Lengths are about as the Internet
 * has them; the same seed gives the same routes. Prints {"routes":N,"seconds":S,"perSecond":R,"end":NANOSECONDS of
 * CLOCK_MONOTONIC}.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common.h"

#define MAX_GATEWAYS 64
#define BUFFER (1 << 16)

struct prefix {
	uint8_t address[16];
	uint8_t length;
};

struct gateways {
	uint8_t address[MAX_GATEWAYS][16];
	unsigned count;
};

static uint64_t state;

static uint64_t next_random(void)
{
	/* splitmix64 */
	uint64_t z = (state += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static void parse_gateways(char *text, int family, struct gateways *g)
{
	for (char *word = strtok(text, ","); word; word = strtok(NULL, ",")) {
		if (g->count == MAX_GATEWAYS || inet_pton(family, word, g->address[g->count]) != 1)
			die("gateway %s: not an address, or one too many", word);
		g->count++;
	}
	if (!g->count)
		die("no gateway");
}

/* Spread over all of unicast IPv4; distinct, since within a length the numbering is a permutation. */
static struct prefix ipv4_prefix(unsigned i)
{
	static uint32_t used[33];
	uint64_t kind = next_random() % 100;
	struct prefix p = { .length = 24 };
	uint32_t address;

	if (!i)
		memset(used, 0, sizeof(used));
	if (kind >= 60)
		p.length = kind < 98 ? 17 + next_random() % 7 : 25 + next_random() % 8;
	do {
		address = used[p.length]++ * 2654435761u << (32 - p.length);
	} while (address < 0x0b000000u || address >= 0xe0000000u || address >> 24 == 127);
	address = htonl(address);
	memcpy(p.address, &address, 4);
	return p;
}

/* Distinct by number, and by length where the number is shared. */
static struct prefix ipv6_prefix(unsigned i)
{
	struct prefix p = { .length = 48 };
	uint64_t kind = next_random() % 100;
	uint64_t bits;

	if (kind >= 50)
		p.length = kind < 70 ? 32 : kind < 95 ? 36 + next_random() % 12 : 56;
	bits = 0x2a00000000000000ull | (uint64_t)i << 20 << 8;
	if (p.length == 32)
		bits = 0x2000000000000000ull | (uint64_t)(i + 0x10000) << 32;
	else if (p.length != 48)
		bits = 0x2c00000000000000ull | (uint64_t)i << (64 - p.length);
	bits &= ~0ull << (64 - p.length);
	for (int b = 0; b < 8; b++)
		p.address[b] = bits >> (56 - 8 * b);
	return p;
}

static void put(struct nlmsghdr *m, unsigned short type, const void *data, unsigned length)
{
	struct rtattr *a = (void *)((char *)m + NLMSG_ALIGN(m->nlmsg_len));

	a->rta_type = type;
	a->rta_len = RTA_LENGTH(length);
	memcpy(RTA_DATA(a), data, length);
	m->nlmsg_len = NLMSG_ALIGN(m->nlmsg_len) + RTA_ALIGN(a->rta_len);
}

struct job {
	int socket, family, delete, device;
	unsigned batch, every;
	struct gateways gateways;
	unsigned errors;
	int first_error;
};

static void take_answers(struct job *j, int flags)
{
	static char answers[1 << 20];
	ssize_t n;

	while ((n = recv(j->socket, answers, sizeof(answers), flags)) > 0) {
		for (struct nlmsghdr *m = (void *)answers; NLMSG_OK(m, n); m = NLMSG_NEXT(m, n)) {
			struct nlmsgerr *e = NLMSG_DATA(m);

			if (m->nlmsg_type == NLMSG_ERROR && e->error && !j->errors++)
				j->first_error = -e->error;
		}
		flags = MSG_DONTWAIT;
	}
}

/* The numbers of the routes to work on, in the order in which that is done. */
static unsigned *choose(const struct job *j, const struct prefix *all, unsigned count, unsigned *chosen)
{
	unsigned *these = malloc((count + 1) * sizeof(*these));

	if (!these)
		die("memory");
	*chosen = 0;
	for (int length = j->delete ? 128 : 0; length >= 0; length--)
		for (unsigned i = 0; i < count; i += j->every)
			if (!j->delete || all[i].length == length)
				these[(*chosen)++] = i;
	return these;
}

static void run(struct job *j, const struct prefix *all, const unsigned *these, unsigned chosen)
{
	static char buffer[BUFFER * 4];
	unsigned length = j->family == AF_INET ? 4 : 16, waiting = 0;
	size_t used = 0;

	for (unsigned k = 0; k < chosen; k++) {
		const struct prefix *p = all + these[k];
		struct nlmsghdr *m = (void *)(buffer + used);
		struct rtmsg *r = NLMSG_DATA(m);

		memset(m, 0, NLMSG_LENGTH(sizeof(*r)));
		m->nlmsg_len = NLMSG_LENGTH(sizeof(*r));
		m->nlmsg_type = j->delete ? RTM_DELROUTE : RTM_NEWROUTE;
		m->nlmsg_flags = NLM_F_REQUEST | (j->delete ? 0 : NLM_F_CREATE | NLM_F_REPLACE);
		r->rtm_family = j->family;
		r->rtm_dst_len = p->length;
		r->rtm_table = RT_TABLE_MAIN;
		r->rtm_protocol = RTPROT_BGP;
		r->rtm_type = RTN_UNICAST;
		put(m, RTA_DST, p->address, length);
		put(m, RTA_GATEWAY, j->gateways.address[these[k] % j->gateways.count], length);
		put(m, RTA_OIF, &j->device, 4);
		used += NLMSG_ALIGN(m->nlmsg_len);
		if (++waiting == j->batch || k + 1 == chosen) {
			m->nlmsg_flags |= NLM_F_ACK;
			if (send(j->socket, buffer, used, 0) < 0)
				die("send");
			take_answers(j, MSG_DONTWAIT);
			used = waiting = 0;
		}
	}
}

int main(int argc, char **argv)
{
	unsigned counts[2] = { 0 }, chosen[2] = { 0 }, *these[2], done = 0, errors = 0, batch = 256, every = 1;
	struct prefix *all[2];
	uint64_t seed = 1, begin, end;
	struct job j = { 0 };
	int option, size = 8 << 20, delete = 0;

	while ((option = getopt(argc, argv, "4:6:db:s:f:")) >= 0) {
		switch (option) {
		case '4':
			counts[0] = strtoul(optarg, NULL, 0);
			break;
		case '6':
			counts[1] = strtoul(optarg, NULL, 0);
			break;
		case 'd':
			delete = 1;
			break;
		case 'b':
			batch = strtoul(optarg, NULL, 0);
			break;
		case 's':
			seed = strtoull(optarg, NULL, 0);
			break;
		case 'f':
			every = 100 / strtoul(optarg, NULL, 0);
			break;
		default:
			die("usage: routegen [-4 N] [-6 N] [-d] [-b PER_SEND] [-s SEED] [-f PERCENT] DEV GATEWAY4,... [GATEWAY6,...]");
		}
	}
	if (argc - optind < 2 || !batch || batch > 1000 || !every || (counts[1] && argc - optind < 3))
		die("usage: routegen [-4 N] [-6 N] [-d] [-b PER_SEND] [-s SEED] [-f PERCENT] DEV GATEWAY4,... [GATEWAY6,...]");
	j.device = if_nametoindex(argv[optind]);
	if (!j.device)
		die("interface %s", argv[optind]);
	j.batch = batch;
	j.every = every;
	j.delete = delete;
	j.socket = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	if (j.socket < 0)
		die("netlink socket");
	setsockopt(j.socket, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	setsockopt(j.socket, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));

	for (int family = 0; family < 2; family++) {
		all[family] = malloc((counts[family] + 1) * sizeof(**all));
		if (!all[family])
			die("memory");
		state = seed;
		for (unsigned i = 0; i < counts[family]; i++)
			all[family][i] = family ? ipv6_prefix(i) : ipv4_prefix(i);
		these[family] = choose(&j, all[family], counts[family], &chosen[family]);
	}

	begin = now_ns();
	for (int family = 0; family < 2; family++) {
		if (!counts[family])
			continue;
		j.family = family ? AF_INET6 : AF_INET;
		j.gateways.count = 0;
		parse_gateways(argv[optind + 1 + family], j.family, &j.gateways);
		j.errors = 0;
		run(&j, all[family], these[family], chosen[family]);
		take_answers(&j, MSG_DONTWAIT);
		if (j.errors)
			fprintf(stderr, "routegen: %u refused, the first: %s\n", j.errors, strerror(j.first_error));
		errors += j.errors;
		done += chosen[family];
	}
	end = now_ns();
	printf("{\"routes\":%u,\"refused\":%u,\"seconds\":%.3f,\"perSecond\":%.0f,\"begin\":%llu,\"end\":%llu}\n", done,
	       errors, (end - begin) / 1e9, done / ((end - begin) / 1e9), (unsigned long long)begin,
	       (unsigned long long)end);
	return 0;
}
