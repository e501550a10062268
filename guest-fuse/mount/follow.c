/* SPDX-License-Identifier: Apache-2.0 */
/* Files that follow their names. */
#include "guest-fuse/mount/follow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(element)                                                                                   \
	do {                                                                                                           \
		(element)->out_of_memory = true;                                                                       \
	} while (0)
#include <uthash.h>

#include "guest-fuse/mount/attributes.h"
#include "guest-fuse/mount/client.h"
#include "guest-fuse/mount/operations.h"
#include "guest-fuse/mount/rpc.h"
#include "protocol/cleanup.h"

struct followed {
	uint64_t node, parent, target;
	struct proto_name name;
	bool out_of_memory;
	UT_hash_handle hh;
};

void follow_init(struct follow *follow)
{
	*follow = (struct follow){ .table = NULL };
	pthread_mutex_init(&follow->lock, NULL);
}

void follow_done(struct follow *follow)
{
	struct followed *followed, *next;

	HASH_ITER (hh, follow->table, followed, next) {
		HASH_DEL(follow->table, followed);
		free(followed);
	}
	pthread_mutex_destroy(&follow->lock);
}

/* With the lock held. */
static struct followed *find(struct follow *follow, uint64_t node)
{
	struct followed *followed;

	HASH_FIND(hh, follow->table, &node, sizeof(node), followed);
	return followed;
}

int follow_begin(struct lane *lane, uint64_t node)
{
	struct follow *follow = &lane->client->follow;
	struct followed *followed = calloc(1, sizeof(*followed));
	int r = followed == NULL ? -ENOMEM : 0;

	if (r == 0 && !nodes_place(lane->client->nodes, node, &followed->parent, &followed->name))
		r = -ESTALE;
	pthread_mutex_lock(&follow->lock);
	if (r == 0 && find(follow, node) == NULL) {
		followed->node = followed->target = node;
		HASH_ADD(hh, follow->table, node, sizeof(followed->node), followed);
		if (followed->out_of_memory) {
			r = -ENOMEM;
		} else {
			atomic_fetch_add(&follow->count, 1);
			followed = NULL; /* the table's */
		}
	}
	pthread_mutex_unlock(&follow->lock);
	free(followed);
	return r;
}

/*
 * What the look-up found stands for node from now on. Each target but node itself, which the kernel holds, has one
 * reference of ours.
 */
static void retarget(struct client *client, uint64_t node, const struct proto_lookup_request *request,
                     const struct proto_entry *entry)
{
	struct follow *follow = &client->follow;
	struct followed *followed;
	uint64_t before = node;
	bool gone;

	if (attributes_check(&entry->attr) < 0 || !S_ISREG(entry->attr.mode) ||
	    nodes_learn(client->nodes, request->parent, request->name.text, entry, 1) < 0) {
		operations_give_back(client, entry->node, 1);
		return;
	}
	pthread_mutex_lock(&follow->lock);
	followed = find(follow, node);
	gone = followed == NULL;
	if (!gone) {
		before = followed->target;
		followed->target = entry->node;
	}
	pthread_mutex_unlock(&follow->lock);
	if (gone || entry->node == before || entry->node == node)
		operations_not_taken(client, entry->node);
	if (!gone && before != entry->node && before != node)
		operations_not_taken(client, before);
}

void follow_look(struct lane *lane, uint64_t node)
{
	struct follow *follow = &lane->client->follow;
	struct proto_lookup_request request;
	struct proto_lookup_reply reply;
	struct followed *followed;
	bool known;

	if (atomic_load_explicit(&follow->count, memory_order_relaxed) == 0)
		return;
	pthread_mutex_lock(&follow->lock);
	followed = find(follow, node);
	known = followed != NULL;
	if (known)
		request = (struct proto_lookup_request){ .parent = followed->parent, .name = followed->name };
	pthread_mutex_unlock(&follow->lock);
	if (known && rpc_lookup(lane, &request, &reply) == 0)
		retarget(lane->client, node, &request, &reply.entry);
}

uint64_t follow_target(struct follow *follow, uint64_t node)
{
	struct followed *followed;
	uint64_t target = node;

	if (atomic_load_explicit(&follow->count, memory_order_relaxed) == 0)
		return node;
	pthread_mutex_lock(&follow->lock);
	followed = find(follow, node);
	if (followed != NULL)
		target = followed->target;
	pthread_mutex_unlock(&follow->lock);
	return target;
}

bool follow_has(struct follow *follow, uint64_t node)
{
	bool has;

	if (atomic_load_explicit(&follow->count, memory_order_relaxed) == 0)
		return false;
	pthread_mutex_lock(&follow->lock);
	has = find(follow, node) != NULL;
	pthread_mutex_unlock(&follow->lock);
	return has;
}

double follow_timeout(struct follow *follow, uint64_t node, double timeout)
{
	return follow_has(follow, node) ? 0 : timeout;
}

uint64_t follow_forget(struct follow *follow, uint64_t node)
{
	struct followed *followed;
	uint64_t target = 0;

	if (atomic_load_explicit(&follow->count, memory_order_relaxed) == 0)
		return 0;
	pthread_mutex_lock(&follow->lock);
	followed = find(follow, node);
	if (followed != NULL) {
		HASH_DEL(follow->table, followed);
		atomic_fetch_sub(&follow->count, 1);
		target = followed->target == node ? 0 : followed->target;
		free(followed);
	}
	pthread_mutex_unlock(&follow->lock);
	return target;
}
