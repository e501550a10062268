/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Polling for a short while before a thread sleeps. Waking a thread on another CPU costs 10 to 60 us, more than most
 * requests; a busy peer answers sooner.
 *
 * Polling must not cost others: between two polls the thread yields the CPU; at most half of the process's CPUs poll at
 * once, none on a machine with one CPU; and a thread that polled in vain sleeps at once the next times: twice as many
 * times after each failure, half as many after each success.
 *
 *	if (proto_spin_begin(&spin, 0)) {
 *		do
 *			found = ...;
 *		while (!found && proto_spin_again(&spin));
 *		proto_spin_end(&spin, found);
 *	}
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
	PROTO_SPIN_NS = 100000, /* how long to poll */
	PROTO_SPIN_PAUSE_MAX = 1024,
};

/* One thread's back-off; zero at first. */
struct proto_spin {
	uint32_t pause; /* waits without polling after the last failure */
	uint32_t left;  /* how many of them are still to come */
	int64_t until;  /* end of the current poll: CLOCK_MONOTONIC, in ns */
};

/*
 * others: how many other threads of the process are at work; if there are any, no CPU is to spare. Returns false: do
 * not poll, sleep.
 */
bool proto_spin_begin(struct proto_spin *spin, unsigned others);
/* Yields the CPU. Returns false when PROTO_SPIN_NS have passed. */
bool proto_spin_again(const struct proto_spin *spin);
/* found: whether polling was a success. */
void proto_spin_end(struct proto_spin *spin, bool found);

/* How many threads of a process can be at work for each other without those who wait for them losing their CPU. */
unsigned proto_spin_places(void);
