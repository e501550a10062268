/* SPDX-License-Identifier: Apache-2.0 */
/* The leases of a session: private to this folder. */
#pragma once

#include <stdatomic.h>
#include <stddef.h>

#include "fileserver/worker/leases/hostwatch.h"
#include "fileserver/worker/leases/leases.h"
#include "fileserver/worker/leases/mounts.h"
#include "protocol/counters.h"
#include "protocol/lock.h"

enum {
	WINDOW = 256,      /* messages without an acknowledgement: they fit into a socket's buffer */
	SYNCS_MAX = 8,     /* tickets that wait at a time; more of them wait together */
	DEVICES_KNOWN = 8, /* file systems whose kind is remembered */
	TOUCHED = 1024,    /* names */
};

/* What a lease is on. */
enum lease_kind { LEASE_DIRECTORY, LEASE_FILE, LEASE_KINDS };

struct lease;

struct leases {
	struct nodes *nodes;
	/* That of files is made when the first one is to be watched: few mounts have files with several names. */
	struct hostwatch *_Atomic watches[LEASE_KINDS];
	enum hostwatch_kind files_kind;
	struct leases_sink sink;
	struct proto_counters *counters;
	struct mounts *mounts;
	int wake; /* eventfd: leases_run() has something to do */
	int look; /* eventfd: leases_look_again() has */

	struct lock looks; /* held while files are looked at again; before lock */
	struct lock lock;  /* guards the members down to the empty line */
	/* hands: the leases after which eviction continues, in the tables' order */
	struct lease *tables[LEASE_KINDS], *hands[LEASE_KINDS];
	uint32_t counts[LEASE_KINDS], most; /* most: of all together */
	bool files_failed;                  /* there is no watch for files */
	uint32_t refused;                   /* how often leases_hold_contents() had no room */
	uint64_t restarts;
	struct lost {
		uint64_t id;
		enum lease_kind kind;
	} * lost; /* whose leases have ended: the guest is to be told */
	size_t lost_count, lost_size;
	uint32_t lost_all;    /* PROTO_INVALIDATE_*: ALL, as if all were in it; 0: not so */
	uint64_t wanted_sync; /* the last ticket for which events are still to be read; 0: none */
	struct {
		uint64_t ticket, sequence;
	} syncs[SYNCS_MAX]; /* waiting for an acknowledgement, in their order */
	unsigned syncs_count;
	struct {
		uint64_t device;
		bool local;
	} devices[DEVICES_KNOWN];
	unsigned devices_count;

	_Atomic uint64_t sequence, acknowledged; /* of messages */
	_Atomic bool behind;        /* nothing is sent, and no lease is given, until the guest has caught up */
	_Atomic bool waiting;       /* for an acknowledgement */
	_Atomic bool told;          /* the guest was told of a file since leases_look_again() has looked last */
	_Atomic bool resting;       /* it waits for that */
	_Atomic int64_t kept_until; /* clock_ms(): of what the guest was told without a lease */
	int end;                    /* descriptor that says that the session is over */
	uint64_t batch;             /* leases_run(): numbers the rounds of reading */

	/* The last event of a name with this hash: clock_ms() of a foreign one, CLOCK_REALTIME in ns of any. */
	struct {
		_Atomic int64_t foreign, any;
	} touched[TOUCHED];
	int64_t missed;        /* CLOCK_REALTIME in ns: when events were lost last */
	_Atomic bool any_open; /* files are open, and looked at again and again */
	int64_t look_at;       /* clock_ms(): the next time; 0: not known */
	uint32_t look_place;   /* of nodes_next_open_file(): how far this time */
};

/* What has ended since the last call, for leases_run(). The caller frees *ret_lost. Not 0: lost_all. */
uint32_t leases_take_lost(struct leases *leases, struct lost **ret_lost, size_t *ret_count);
/* A file is not as the guest was told. */
void leases_lose_file(struct leases *leases, uint64_t id);
/*
 * An event: a file that is watched itself was opened by somebody else. True: from now on its contents may change
 * without another event.
 */
bool leases_opened_by_others(struct leases *leases, uint64_t id);
/* Open files that needed no looking at may need it by now. */
void leases_look_soon(struct leases *leases);
/* Looks again at every file that the guest was told of. */
void leases_look_now(struct leases *leases);
/* The guest is to be told ALL. more: PROTO_INVALIDATE_CONTENTS or 0. */
void leases_lose_all(struct leases *leases, uint32_t more);
/* Forgets an object whose watch is gone. */
void leases_watch_gone(struct leases *leases, uint64_t id);
/* Ends all watches. */
void leases_restart(struct leases *leases);
/* How many changes of this object there were in this batch, with this one. */
uint32_t leases_count_change(struct leases *leases, uint64_t id);
void leases_show_state(struct leases *leases, enum leases_state state);

/* Nobody but this kernel writes to the file system of node, of which fd is a descriptor. Remembered by device. */
bool leases_is_local(struct leases *leases, const struct node *node, int fd);
/* An event of this name. */
void leases_note_missed(struct leases *leases);
void leases_note_touched(struct leases *leases, uint64_t directory, const char *name, bool own);
/*
 * Looks whether others write to files that the guest has open, when it is time. lost: its contents do not hold, now or
 * any more. Returns in how many ms to call it again; -1: when leases->wake says so.
 */
int leases_look_at_open(struct leases *leases, void (*lost)(struct leases *leases, uint64_t id));
