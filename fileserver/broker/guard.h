/* SPDX-License-Identifier: Apache-2.0 */
/* Gives every worker the list of what steers the server (steering.h), and tells the user what that list holds back. */
#pragma once

#include "fileserver/broker/options.h"
#include "fileserver/broker/shares.h"
#include "fileserver/broker/steering.h"
#include "fileserver/broker/supervisor.h"
#include "fileserver/broker/watch.h"

enum { GUARD_TOLD_MAX = 256 };

struct guard {
	struct steering steering;
	const struct shares *shares;
	struct supervisor *supervisor;
	struct events *events;
	uint64_t told[GUARD_TOLD_MAX]; /* of which share and subject the user knows */
	size_t told_count;
};

/* shares: after shares_load(). control: NULL or the socket's path. 0 or a negative errno. */
int guard_set_up(struct guard *guard, const struct options *options, const struct shares *shares, const char *control);
/* Adds what lies within reach of guests, as far as it is known, to what is watched; then guard_look() again. */
void guard_watch(const struct guard *guard, struct watch *watch);
/* Looks again: what has changed goes to every worker, and what the user does not know yet into log and events. */
void guard_look(struct guard *guard);
/* For the status: a JSON array of what is protected, each with the share in which it lies, or null. */
json_t *guard_status(const struct guard *guard);
void guard_done(struct guard *guard);
