/* SPDX-License-Identifier: Apache-2.0 */
/* Files that follow their names. */
#define FUSE_USE_VERSION 314
#include "guest-fuse/mount/known/file-binds.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(element)                                                                                   \
	do {                                                                                                           \
		(element)->out_of_memory = true;                                                                       \
	} while (0)
#include <uthash.h>

#include "guest-fuse/mount/known/attributes.h"
#include "guest-fuse/mount/client.h"
#include "guest-fuse/mount/kernel/operations.h"
#include "guest-fuse/mount/server/rpc.h"
#include "protocol/cleanup.h"
#include "protocol/clock.h"

/* How long a request may wait in the kernel's queue, and an answer until its thread has taken it. */
#define QUEUED_NS INT64_C(10000000000)
#define TAKEN_NS  INT64_C(1000000000)

/* What the kernel decides by. */
struct rights {
	uint32_t mode, uid, gid;
};

struct followed {
	uint64_t node, parent, target;
	struct proto_name name;
	struct rights rights; /* of the target; mode 0: it was not looked up yet */
	int64_t changed;      /* clock_ns() when they did, or the kernel was told others; 0: never */
	int64_t told;         /* clock_ns() when the kernel was told these after that; 0: not yet */
	uint32_t modes;       /* all permissions that the kernel may decide by for a while after it */
	bool owners;          /* and by other owners or groups */
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

int follow_admit_root(struct follow *follow, unsigned major, unsigned minor)
{
	_cleanup_close_ int fd = -EBADF;
	ssize_t n;

	randombytes_buf(follow->secret.secret, FILE_BIND_SECRET_SIZE);
	file_bind_secret_path(major, minor, follow->secret_path);
	/* The number is this mount's alone: what lies there is from one that is gone. */
	(void) unlink(follow->secret_path);
	fd = open(follow->secret_path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	n = write(fd, follow->secret.secret, FILE_BIND_SECRET_SIZE);
	follow->has_secret = n == FILE_BIND_SECRET_SIZE;
	return follow->has_secret ? 0 : n < 0 ? -errno : -EIO;
}

void follow_admit_nobody(struct follow *follow)
{
	if (follow->has_secret)
		(void) unlink(follow->secret_path);
	follow->has_secret = false;
}

bool follow_knows_secret(const struct follow *follow, const struct file_bind_argument *argument)
{
	return follow->has_secret && sodium_memcmp(follow->secret.secret, argument->secret, FILE_BIND_SECRET_SIZE) == 0;
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

	if (r == 0 && !objects_place(lane->client->objects, node, &followed->parent, &followed->name))
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
static struct rights rights_of(const struct proto_attr *attr)
{
	return (struct rights){ .mode = attr->mode, .uid = attr->uid, .gid = attr->gid };
}

/* With the lock held: the kernel may have been told these, too, which are not those of what stands for the node now. */
static void note_others(struct followed *followed, const struct rights *others)
{
	int64_t now = clock_ns();

	if (followed->changed == 0 || now - followed->changed > QUEUED_NS) {
		followed->modes = 0;
		followed->owners = false;
	}
	followed->modes |= others->mode;
	followed->owners =
	        followed->owners || others->uid != followed->rights.uid || others->gid != followed->rights.gid;
	followed->changed = now;
	followed->told = 0;
}

static bool differ(const struct rights *left, const struct rights *right)
{
	return memcmp(left, right, sizeof(*left)) != 0;
}

/* With the lock held. True: they were others before, and what the kernel has is to be invalidated. */
static bool set_rights(struct followed *followed, const struct proto_attr *attr)
{
	struct rights before = followed->rights;

	followed->rights = rights_of(attr);
	if (before.mode == 0 || !differ(&before, &followed->rights))
		return false;
	note_others(followed, &before);
	return true;
}

static void retarget(struct client *client, uint64_t node, const struct proto_lookup_request *request,
                     const struct proto_entry *entry)
{
	struct follow *follow = &client->follow;
	struct followed *followed;
	uint64_t before = node;
	bool gone, changed = false;

	if (attributes_check(&entry->attr) < 0 || !S_ISREG(entry->attr.mode) ||
	    objects_learn(client->objects, request->parent, request->name.text, entry, 1) < 0) {
		operations_give_back(client, entry->node, 1);
		return;
	}
	pthread_mutex_lock(&follow->lock);
	followed = find(follow, node);
	gone = followed == NULL;
	if (!gone) {
		before = followed->target;
		followed->target = entry->node;
		changed = set_rights(followed, &entry->attr);
	}
	pthread_mutex_unlock(&follow->lock);
	if (changed)
		(void) fuse_lowlevel_notify_inval_inode(client->fuse, node, -1, 0);
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

void follow_told(struct lane *lane, uint64_t node, const struct proto_attr *attr)
{
	struct follow *follow = &lane->client->follow;
	struct rights rights = rights_of(attr);
	struct followed *followed;

	if (atomic_load_explicit(&follow->count, memory_order_relaxed) == 0)
		return;
	pthread_mutex_lock(&follow->lock);
	followed = find(follow, node);
	/* Others: of an older file that is still open, or of the one that was bound. */
	if (followed != NULL && followed->rights.mode != 0 && differ(&rights, &followed->rights))
		note_others(followed, &rights);
	else if (followed != NULL && followed->told == 0 && atomic_load(&lane->since) > followed->changed)
		followed->told = clock_ns();
	pthread_mutex_unlock(&follow->lock);
}

static bool may(struct lane *lane, uint64_t node, bool open)
{
	struct follow *follow = &lane->client->follow;
	struct followed *followed;
	int64_t now = clock_ns();
	bool good = true;

	if (atomic_load_explicit(&follow->count, memory_order_relaxed) == 0)
		return true;
	pthread_mutex_lock(&follow->lock);
	followed = find(follow, node);
	if (followed != NULL && followed->changed != 0) {
		bool settled = now - followed->changed > QUEUED_NS;
		/* Whatever was permitted by those is permitted by these. */
		bool wider = !followed->owners && (followed->modes & ~followed->rights.mode & 07777) == 0;

		good = open ? settled || wider : settled && followed->told != 0 && now - followed->told > TAKEN_NS;
	}
	pthread_mutex_unlock(&follow->lock);
	return good;
}

bool follow_may_open(struct lane *lane, uint64_t node)
{
	return may(lane, node, true);
}

bool follow_may_change(struct lane *lane, uint64_t node)
{
	return may(lane, node, false);
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
