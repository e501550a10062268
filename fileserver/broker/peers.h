/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who asks for mounts, how often, and who has misbehaved: so that one guest does not take the broker's time from the
 * others, nor have a share refused to them.
 *
 * A peer is a guest (its CID, or the VMM that forwards its port), or a process of this machine. Buckets: each holds
 * BURST requests and gains RATE a second; one for the peer, one for each path that it asks for, so that a loop over one
 * leaves the others free.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
	PEERS_RATE = 200,
	PEERS_BURST = 400,
	PEERS_PATH_RATE = 50,
	PEERS_PATH_BURST = 200,
	PEERS_FAULTS_MAX = 32,
	PEERS_FAULTS_MS = 10000, /* so many faults within this: refused for as long */
	PEERS_MAX = 64,
	PEERS_PATHS_MAX = 256,
};

struct peers_bucket {
	uint64_t key;
	uint64_t at;     /* ms: used last */
	uint64_t filled; /* thousandths of a request */
};

struct peers_record {
	uint64_t key;
	uint64_t at[PEERS_FAULTS_MAX]; /* ms, newest first; 0: none */
};

/* All zero: nobody was here yet. The one that was here longest ago makes place for a new one. */
struct peers {
	struct peers_bucket peers[PEERS_MAX], paths[PEERS_PATHS_MAX];
	struct peers_record faults[PEERS_MAX];
};

/* Who is at the other end of a connected socket; never 0. Whole: all processes of one user together. */
uint64_t peers_key(int fd, bool whole);
/* The same for people. The caller frees it; NULL: no memory. */
char *peers_text(int fd);

/* NULL: this peer may ask for this path now, which counts; else why not. now_ms: a clock that only goes forward. */
const char *peers_ask(struct peers *peers, uint64_t key, const char *path, uint64_t now_ms);
/* The peer broke the protocol, or left before it was welcomed. */
void peers_fault(struct peers *peers, uint64_t key, uint64_t now_ms);
