/* SPDX-License-Identifier: BSD-2-Clause */
/* Builds the Ethernet/IPv4/UDP frames of the raw generators. */
#ifndef LAB_FRAME_H
#define LAB_FRAME_H

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common.h"

#define FRAME_HEADERS (sizeof(struct ethhdr) + sizeof(struct iphdr) + sizeof(struct udphdr))
#define FRAME_SMALLEST 60 /* 64 bytes on the wire, of which the FCS is 4 */
#define FRAME_LARGEST 1514

struct flow {
	uint8_t source_mac[ETH_ALEN], destination_mac[ETH_ALEN];
	struct in_addr source, destination;
	uint16_t source_port, destination_port;
	uint8_t ttl;
	size_t size; /* of the frame, without FCS */
};

/* Sum of 16-bit words as they lie in memory (RFC 1071: byte order does not matter). */
static uint32_t sum16(const void *data, size_t length, uint32_t sum)
{
	const uint8_t *byte = data;
	uint16_t word;

	for (; length > 1; length -= 2, byte += 2) {
		memcpy(&word, byte, 2);
		sum += word;
	}
	if (length)
		sum += htons((uint16_t)(*byte << 8));
	return sum;
}

static uint16_t fold16(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* Writes a whole frame with the probe at the start of its payload and zeroes after it. */
static void build_frame(uint8_t *frame, const struct flow *flow, const struct probe *probe)
{
	struct ethhdr *ethernet = (struct ethhdr *)frame;
	struct iphdr *ip = (struct iphdr *)(ethernet + 1);
	struct udphdr *udp = (struct udphdr *)(ip + 1);
	uint16_t udp_length = (uint16_t)(flow->size - sizeof(*ethernet) - sizeof(*ip));
	uint32_t sum;

	memset(frame, 0, flow->size);
	memcpy(ethernet->h_dest, flow->destination_mac, ETH_ALEN);
	memcpy(ethernet->h_source, flow->source_mac, ETH_ALEN);
	ethernet->h_proto = htons(ETH_P_IP);
	ip->version = 4;
	ip->ihl = 5;
	ip->tot_len = htons((uint16_t)(flow->size - sizeof(*ethernet)));
	ip->ttl = flow->ttl;
	ip->protocol = IPPROTO_UDP;
	ip->saddr = flow->source.s_addr;
	ip->daddr = flow->destination.s_addr;
	ip->check = fold16(sum16(ip, sizeof(*ip), 0));
	udp->source = htons(flow->source_port);
	udp->dest = htons(flow->destination_port);
	udp->len = htons(udp_length);
	memcpy(udp + 1, probe, sizeof(*probe));
	/* Pseudo header (RFC 768): source and destination lie next to each other in the IP header. */
	sum = sum16(&ip->saddr, 8, (uint32_t)htons(IPPROTO_UDP) + htons(udp_length));
	udp->check = fold16(sum16(udp, udp_length, sum));
	if (udp->check == 0)
		udp->check = 0xffff;
}

static void parse_mac(const char *text, uint8_t *mac)
{
	if (sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4], &mac[5]) != 6) {
		errno = 0;
		die("'%s' is not a MAC address", text);
	}
}

static void interface_mac(const char *name, uint8_t *mac)
{
	struct ifreq request = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	strncpy(request.ifr_name, name, IFNAMSIZ - 1);
	if (fd < 0 || ioctl(fd, SIOCGIFHWADDR, &request))
		die("cannot read the MAC address of %s", name);
	memcpy(mac, request.ifr_hwaddr.sa_data, ETH_ALEN);
	close(fd);
}

static struct in_addr parse_address(const char *text)
{
	struct in_addr address;

	if (inet_pton(AF_INET, text, &address) != 1) {
		errno = 0;
		die("'%s' is not an IPv4 address", text);
	}
	return address;
}

#endif
