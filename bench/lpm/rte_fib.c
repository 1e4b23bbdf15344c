/*
 * The DPDK side of bench/lpm: rte_fib and rte_fib6 over the same routes and addresses as ours, driven line by line over
 * standard input so that both sides take turns.
 *
 *   rte_fib EAL-OPTIONS -- ROUTES4 ADDRESSES4 ROUTES6 ADDRESSES6
 *
 * Says "variant FAMILY NAME" for each kind of lookup that this CPU has, then "ready". Then
 *   run I PASSES     looks all addresses up by variant I; answers nanoseconds
 *   check I FILE     writes the nexthop of each address (u32) to FILE; answers "ok"
 * Files: routes are {prefix, u32 length, u32 nexthop}, addresses are u32 in host order, or 16 bytes as in a packet.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_fib.h>
#include <rte_fib6.h>
#include <rte_memory.h>

#define MAX_BURST 512

struct route4 {
	uint32_t prefix, length, nexthop;
};

struct route6 {
	uint8_t prefix[16];
	uint32_t length, nexthop;
};

struct variant {
	const char *name;
	bool ipv6;
	int type;
	int burst;
};

static const struct variant all_variants[] = {
	{ "scalar macro, bursts of 64", false, RTE_FIB_LOOKUP_DIR24_8_SCALAR_MACRO, 64 },
	{ "scalar macro, bursts of 512", false, RTE_FIB_LOOKUP_DIR24_8_SCALAR_MACRO, 512 },
	{ "scalar inline, bursts of 64", false, RTE_FIB_LOOKUP_DIR24_8_SCALAR_INLINE, 64 },
	{ "AVX-512, bursts of 32", false, RTE_FIB_LOOKUP_DIR24_8_VECTOR_AVX512, 32 },
	{ "AVX-512, bursts of 64", false, RTE_FIB_LOOKUP_DIR24_8_VECTOR_AVX512, 64 },
	{ "AVX-512, bursts of 512", false, RTE_FIB_LOOKUP_DIR24_8_VECTOR_AVX512, 512 },
	{ "scalar, bursts of 64", true, RTE_FIB6_LOOKUP_TRIE_SCALAR, 64 },
	{ "AVX-512, bursts of 32", true, RTE_FIB6_LOOKUP_TRIE_VECTOR_AVX512, 32 },
	{ "AVX-512, bursts of 64", true, RTE_FIB6_LOOKUP_TRIE_VECTOR_AVX512, 64 },
};

static struct variant variants[RTE_DIM(all_variants)];
static int variant_count;
static struct rte_fib *fib4;
static struct rte_fib6 *fib6;
static uint32_t *addresses4;
static uint8_t (*addresses6)[16];
static size_t count4, count6;

static void *read_file(const char *path, size_t record, size_t *count)
{
	FILE *f = fopen(path, "rb");
	if (f == NULL || fseek(f, 0, SEEK_END) != 0) {
		perror(path);
		exit(1);
	}

	size_t length = ftell(f);
	rewind(f);
	void *data = aligned_alloc(64, (length + 63) / 64 * 64);
	if (data == NULL || fread(data, 1, length, f) != length) {
		perror(path);
		exit(1);
	}

	fclose(f);
	*count = length / record;
	return data;
}

static void fail(const char *what, int error)
{
	fprintf(stderr, "rte_fib: %s: %s\n", what, rte_strerror(error));
	exit(1);
}

static void build4(const char *path)
{
	size_t n;
	struct route4 *r = read_file(path, sizeof(*r), &n);
	struct rte_fib_conf conf = {
		.type = RTE_FIB_DIR24_8,
		.default_nh = 0,
		.max_routes = n + 1,
		.dir24_8 = { .nh_sz = RTE_FIB_DIR24_8_4B, .num_tbl8 = 1 << 16 },
	};
	fib4 = rte_fib_create("fib4", SOCKET_ID_ANY, &conf);
	if (fib4 == NULL)
		fail("rte_fib_create", rte_errno);
	for (size_t i = 0; i < n; i++) {
		int error = rte_fib_add(fib4, r[i].prefix, r[i].length, r[i].nexthop);
		if (error != 0)
			fail("rte_fib_add", -error);
	}

	free(r);
}

static void build6(const char *path)
{
	size_t n;
	struct route6 *r = read_file(path, sizeof(*r), &n);
	struct rte_fib6_conf conf = {
		.type = RTE_FIB6_TRIE,
		.default_nh = 0,
		.max_routes = n + 1,
		.trie = { .nh_sz = RTE_FIB6_TRIE_4B, .num_tbl8 = 1 << 20 },
	};
	fib6 = rte_fib6_create("fib6", SOCKET_ID_ANY, &conf);
	if (fib6 == NULL)
		fail("rte_fib6_create", rte_errno);
	for (size_t i = 0; i < n; i++) {
		int error = rte_fib6_add(fib6, r[i].prefix, r[i].length, r[i].nexthop);
		if (error != 0)
			fail("rte_fib6_add", -error);
	}

	free(r);
}

static int choose(const struct variant *v)
{
	return v->ipv6 ? rte_fib6_select_lookup(fib6, v->type) : rte_fib_select_lookup(fib4, v->type);
}

/* As a forwarder uses it: the answers of a burst go into the same few cache lines. */
static void lookup_all(const struct variant *v, uint32_t *answers)
{
	uint64_t nexthops[MAX_BURST];
	size_t n = v->ipv6 ? count6 : count4;
	for (size_t i = 0; i + v->burst <= n; i += v->burst) {
		if (v->ipv6)
			rte_fib6_lookup_bulk(fib6, addresses6 + i, nexthops, v->burst);
		else
			rte_fib_lookup_bulk(fib4, addresses4 + i, nexthops, v->burst);
		for (int k = 0; answers != NULL && k < v->burst; k++)
			answers[i + k] = nexthops[k];
	}
}

/* Of this thread, so that what else the machine does is not counted. */
static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static void run(const struct variant *v, int passes)
{
	choose(v);
	lookup_all(v, NULL);
	double start = now();
	for (int i = 0; i < passes; i++)
		lookup_all(v, NULL);
	printf("%.0f\n", now() - start);
}

static void check(const struct variant *v, const char *path)
{
	size_t n = v->ipv6 ? count6 : count4;
	uint32_t *answers = calloc(n, sizeof(*answers));
	FILE *f = fopen(path, "wb");
	if (answers == NULL || f == NULL) {
		perror(path);
		exit(1);
	}

	choose(v);
	lookup_all(v, answers);
	fwrite(answers, sizeof(*answers), n, f);
	fclose(f);
	free(answers);
	printf("ok\n");
}

int main(int argc, char **argv)
{
	int eal = rte_eal_init(argc, argv);
	if (eal < 0)
		fail("rte_eal_init", rte_errno);
	if (argc - eal != 5) {
		fprintf(stderr, "usage: rte_fib EAL-OPTIONS -- ROUTES4 ADDRESSES4 ROUTES6 ADDRESSES6\n");
		return 2;
	}

	build4(argv[eal + 1]);
	addresses4 = read_file(argv[eal + 2], sizeof(*addresses4), &count4);
	build6(argv[eal + 3]);
	addresses6 = read_file(argv[eal + 4], sizeof(*addresses6), &count6);
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < RTE_DIM(all_variants); i++) {
		if (choose(&all_variants[i]) != 0)
			continue;
		variants[variant_count++] = all_variants[i];
		printf("variant %d %s\n", all_variants[i].ipv6 ? 6 : 4, all_variants[i].name);
	}

	printf("ready\n");
	char line[512], path[400];
	int i, passes;
	while (fgets(line, sizeof(line), stdin) != NULL) {
		if (sscanf(line, "run %d %d", &i, &passes) == 2 && i >= 0 && i < variant_count)
			run(&variants[i], passes);
		else if (sscanf(line, "check %d %399s", &i, path) == 2 && i >= 0 && i < variant_count)
			check(&variants[i], path);
		else
			printf("error: not understood: %s", line);
	}

	return 0;
}
