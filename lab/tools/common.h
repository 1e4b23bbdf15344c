/* SPDX-License-Identifier: BSD-2-Clause */
/* What the lab's tools share: errors, time, the probe that udpgen writes and udpsink reads. */
#ifndef LAB_COMMON_H
#define LAB_COMMON_H

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NSEC_PER_SEC 1000000000ull

/* Payload of every generated packet, big-endian. 16 bytes, so that it fits into the smallest Ethernet frame. */
struct probe {
	uint64_t sequence;   /* 0, 1, 2 … */
	uint64_t nanosecond; /* CLOCK_MONOTONIC when it was sent */
} __attribute__((packed));

static volatile sig_atomic_t stop_wanted;

__attribute__((noreturn, format(printf, 1, 2), unused)) static void die(const char *format, ...)
{
	int error = errno;
	va_list arguments;

	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, error ? ": %s\n" : "\n", strerror(error));
	exit(1);
}

__attribute__((unused)) static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

static void on_stop(int signal)
{
	(void)signal;
	stop_wanted = 1;
}

/* SIGINT and SIGTERM end the loop, so that what was counted is still printed. System calls are interrupted (no SA_RESTART). */
__attribute__((unused)) static void stop_on_signals(void)
{
	struct sigaction action = { .sa_handler = on_stop };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

__attribute__((unused)) static void pin_to_cpu(int cpu)
{
	cpu_set_t set;

	if (cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("cannot run on CPU %d", cpu);
}

/* An option's number, or the end with a clear line. */
__attribute__((unused)) static uint64_t number(const char *text, const char *option)
{
	char *end;
	uint64_t value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || *text == '\0' || *text == '-' || *end != '\0') {
		errno = 0;
		die("--%s wants a number, not '%s'", option, text);
	}
	return value;
}

#endif
