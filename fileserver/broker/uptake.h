/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting until the guests have taken in what was changed on the host, for "bindsharectl sync". The workers are asked,
 * each one question at a time: who answers a ticket has answered every earlier one. All in the loop's thread.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

struct supervisor;
struct worker;
struct worker_message;

struct uptake {
	struct uptake *prev, *next;
	uint64_t ticket;
	char path[PATH_MAX]; /* canonical: mounts that have something in common with it; "": all mounts */
	int64_t due;         /* clock_ms(): until then the workers are waited for */
	int64_t kept_until;  /* clock_ms(): until then guests may keep what they were told without a lease */
};

/* Asks the workers of the mounts that are there now, for uptake->path. Returns how many those are. */
unsigned uptake_begin(struct supervisor *supervisor, struct uptake *uptake, uint32_t limit_ms);
/* Waits no more. */
void uptake_end(struct supervisor *supervisor, struct uptake *uptake);
/* Whether this worker, which is on the supervisor's list, has not answered yet. One that is gone is not waited for. */
bool uptake_waits_for(const struct uptake *uptake, const struct worker *worker);

/* A WORKER_SYNCED, which must be the answer to what was asked; false: it makes no sense. */
bool uptake_answered(struct worker *worker, const struct worker_message *message);
/* A worker has answered or is gone: whoever waits is to look again. */
void uptake_look(struct supervisor *supervisor);
