/* SPDX-License-Identifier: Apache-2.0 */
/* Who asks for mounts, how often, and who has misbehaved. */
#include "fileserver/broker/peers.h"

#include <linux/vm_sockets.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <xxhash.h>

uint64_t peers_key(int fd, bool whole)
{
	union {
		struct sockaddr any;
		struct sockaddr_vm vm;
	} address = { .any.sa_family = AF_UNSPEC };
	socklen_t length = sizeof(address);
	struct ucred credentials;
	uint64_t parts[3] = { 0 };

	if (getpeername(fd, &address.any, &length) == 0 && address.any.sa_family == AF_VSOCK) {
		parts[0] = AF_VSOCK;
		parts[1] = address.vm.svm_cid;
	} else {
		length = sizeof(credentials);
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) == 0) {
			parts[0] = AF_UNIX;
			parts[1] = credentials.uid;
			parts[2] = whole ? 0 : (uint64_t) credentials.pid;
		}
	}
	return XXH3_64bits(parts, sizeof(parts)) | 1;
}

char *peers_text(int fd)
{
	union {
		struct sockaddr any;
		struct sockaddr_vm vm;
	} address = { .any.sa_family = AF_UNSPEC };
	socklen_t length = sizeof(address);
	struct ucred credentials;
	char text[64] = "unknown";

	if (getpeername(fd, &address.any, &length) == 0 && address.any.sa_family == AF_VSOCK) {
		(void) snprintf(text, sizeof(text), "vsock %u:%u", address.vm.svm_cid, address.vm.svm_port);
	} else {
		length = sizeof(credentials);
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) == 0)
			(void) snprintf(text, sizeof(text), "uid %u, pid %d", (unsigned) credentials.uid,
			                (int) credentials.pid);
	}
	return strdup(text);
}

/* Takes one request out of the key's bucket. False: it is empty. */
static bool take(struct peers_bucket *buckets, unsigned count, uint64_t key, unsigned rate, unsigned burst,
                 uint64_t now_ms)
{
	struct peers_bucket *bucket = &buckets[0];
	uint64_t more;

	for (unsigned i = 0; i < count && bucket->key != key; i++)
		if (buckets[i].key == key || buckets[i].at < bucket->at)
			bucket = &buckets[i];
	if (bucket->key != key)
		*bucket = (struct peers_bucket){ .key = key, .at = now_ms, .filled = burst * 1000ULL };
	more = (now_ms - bucket->at) * rate;
	bucket->at = now_ms;
	bucket->filled = bucket->filled + more < burst * 1000ULL ? bucket->filled + more : burst * 1000ULL;
	if (bucket->filled < 1000)
		return false;
	bucket->filled -= 1000;
	return true;
}

static struct peers_record *find(struct peers *peers, uint64_t key)
{
	for (unsigned i = 0; i < PEERS_MAX; i++)
		if (peers->faults[i].key == key)
			return &peers->faults[i];
	return NULL;
}

const char *peers_ask(struct peers *peers, uint64_t key, const char *path, uint64_t now_ms)
{
	const struct peers_record *record = find(peers, key);

	if (record != NULL && record->at[PEERS_FAULTS_MAX - 1] != 0 &&
	    record->at[0] - record->at[PEERS_FAULTS_MAX - 1] < PEERS_FAULTS_MS &&
	    now_ms < record->at[0] + PEERS_FAULTS_MS)
		return "The client broke the protocol, or left before it was welcomed, too often. Try again in 10 s.";
	/* A path that is asked for too often takes nothing from the others. */
	if (!take(peers->paths, PEERS_PATHS_MAX, XXH3_64bits_withSeed(path, strlen(path), key) | 1, PEERS_PATH_RATE,
	          PEERS_PATH_BURST, now_ms) ||
	    !take(peers->peers, PEERS_MAX, key, PEERS_RATE, PEERS_BURST, now_ms))
		return "The client asks for mounts too often. Try again in a second.";
	return NULL;
}

void peers_fault(struct peers *peers, uint64_t key, uint64_t now_ms)
{
	struct peers_record *record = find(peers, key);

	if (record == NULL) {
		record = &peers->faults[0];
		for (unsigned i = 1; i < PEERS_MAX; i++)
			if (peers->faults[i].at[0] < record->at[0])
				record = &peers->faults[i];
		*record = (struct peers_record){ .key = key };
	}
	memmove(&record->at[1], &record->at[0], sizeof(record->at) - sizeof(record->at[0]));
	record->at[0] = now_ms > 0 ? now_ms : 1;
}
