/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking again and again for a short while before a thread sleeps. Waking a thread on another CPU costs 10 to 60 us,
 * more than most requests; a peer that is at work answers sooner than that.
 *
 * It must not cost others: between two looks whoever else wants the CPU gets it, at most half the process's CPUs are
 * used for it at once, none on a machine with one CPU, and a thread that looked in vain sleeps at once the next times,
 * twice as many after each time in vain, half as many after each that was not.
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
	PROTO_SPIN_NS = 50000, /* how long one looks */
	PROTO_SPIN_PAUSE_MAX = 1024,
};

/* One thread's luck; zeroed at first. */
struct proto_spin {
	uint32_t pause; /* waits that are slept through after the last one that was looked through in vain */
	uint32_t left;  /* of them, to come */
	int64_t until;  /* CLOCK_MONOTONIC, in ns */
};

/* others: how many other threads of the process are at work; with any, there is no CPU to spare. False: sleep. */
bool proto_spin_begin(struct proto_spin *spin, unsigned others);
/* Lets others run. False: it has been long enough. */
bool proto_spin_again(const struct proto_spin *spin);
/* found: what was waited for came. */
void proto_spin_end(struct proto_spin *spin, bool found);
