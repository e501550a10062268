/* SPDX-License-Identifier: Apache-2.0 */
/* The gate before everything that could change what the server is steered by. */
#include "fileserver/worker/protect.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "fileserver/worker/lineage.h"
#include "fileserver/worker/session.h"
#include "protocol/clock.h"

enum { TELL_EVERY_MS = 1000 };

void protect_init(struct protect *protect)
{
	*protect = (struct protect){ .told_at = INT64_MIN / 2 };
	pthread_rwlock_init(&protect->lock, NULL);
}

static void unmap(const struct protect_entry *entries, size_t count)
{
	if (entries != NULL)
		(void) munmap((void *) entries, count * sizeof(*entries));
}

void protect_done(struct protect *protect)
{
	unmap(protect->entries, protect->count);
	pthread_rwlock_destroy(&protect->lock);
}

int protect_take(struct protect *protect, int fd)
{
	const struct protect_entry *entries = NULL, *before;
	size_t count, count_before;
	bool secrets = false;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	count = (size_t) st.st_size / sizeof(*entries);
	if ((size_t) st.st_size != count * sizeof(*entries) || count > PROTECT_ENTRIES_MAX)
		return -EINVAL;
	if (count > 0) {
		void *memory = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);

		if (memory == MAP_FAILED)
			return -errno;
		entries = memory;
	}
	for (size_t i = 0; i < count; i++)
		secrets = secrets || (entries[i].flags & PROTECT_SECRET) != 0;
	pthread_rwlock_wrlock(&protect->lock);
	before = protect->entries;
	count_before = protect->count;
	protect->entries = entries;
	protect->count = count;
	atomic_store(&protect->secrets, secrets);
	pthread_rwlock_unlock(&protect->lock);
	unmap(before, count_before);
	return 0;
}

/* The first entry of this inode number. */
static size_t first_of(const struct protect *protect, uint64_t ino)
{
	size_t low = 0, high = protect->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (protect->entries[middle].ino < ino)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/*
 * Where a directory takes several spellings for one name, every name that could be meant: without regard to case, to
 * dots and spaces at the end, and all that is no ASCII or looks like a short name (VFAT).
 */
static bool is_name_folded(const char *name, const char *wanted)
{
	size_t length = strlen(name);

	while (length > 0 && (name[length - 1] == '.' || name[length - 1] == ' '))
		length--;
	for (size_t i = 0; name[i] != '\0'; i++)
		if ((unsigned char) name[i] >= 0x80 || name[i] == '~')
			return true;
	return length == strlen(wanted) && strncasecmp(name, wanted, length) == 0;
}

/* A secret's own name, and those under which it is written before it gets that: "token.123.tmp", ".token.swp". */
static bool is_secret_name(const struct protect_entry *entry, const char *name)
{
	size_t length = strlen(entry->name);

	name += name[0] == '.' && entry->name[0] != '.' ? 1 : 0;
	return (entry->flags & PROTECT_FOLDED) != 0 ? strncasecmp(name, entry->name, length) == 0
	                                            : strncmp(name, entry->name, length) == 0;
}

static bool is_name(const struct protect_entry *entry, const char *name)
{
	if (strcmp(name, entry->name) == 0)
		return true;
	if ((entry->flags & PROTECT_SECRET) != 0 && is_secret_name(entry, name))
		return true;
	return (entry->flags & PROTECT_FOLDED) != 0 && is_name_folded(name, entry->name);
}

/* What an operation is about to do, while the table of nodes is looked through. */
struct question {
	const struct protect *protect;
	const char *name; /* of the node, a directory, or NULL: it is about the node itself */
	bool permissions; /* of the node are changed */
	bool reading;     /* only what is secret counts */
	bool handle;      /* by what was opened before */
	const struct protect_entry *found;
};

/* By the way that is looked along something else lies at the entry's name than the broker has seen there. */
static bool is_unseen(const struct protect_entry *entry, const struct lineage *lineage)
{
	return lineage->below_name != NULL && is_name(entry, lineage->below_name) &&
	       (lineage->below_ino != entry->child_ino || lineage->below_device != entry->child_device);
}

/* Whether an entry is against it. above: 0 the node, 1 its directory, and so on. */
static bool is_against(const struct question *question, const struct protect_entry *entry,
                       const struct lineage *lineage)
{
	unsigned above = lineage->above;
	bool in_directory =
	        question->name != NULL ? above == 0 : above == 1 && !question->handle && !S_ISDIR(lineage->type);

	if (question->reading)
		return above == 0 && (entry->flags & PROTECT_SECRET) != 0 &&
		       (question->name == NULL ? entry->kind == PROTECT_OBJECT
		                               : entry->kind == PROTECT_NAME && is_name(entry, question->name));
	switch (entry->kind) {
	case PROTECT_NAME:
		return (question->name != NULL && above == 0 && is_name(entry, question->name)) ||
		       is_unseen(entry, lineage);
	case PROTECT_OBJECT:
		return question->name == NULL && above == 0;
	case PROTECT_WAY:
		return question->permissions && above == 0;
	case PROTECT_SEALED:
		return in_directory || (question->permissions && above == 0);
	case PROTECT_TREE:
		return !question->handle;
	default:
		return true;
	}
}

static bool look(void *context, const struct lineage *lineage)
{
	struct question *question = context;
	const struct protect *protect = question->protect;

	for (size_t i = first_of(protect, lineage->ino); i < protect->count && protect->entries[i].ino == lineage->ino;
	     i++)
		if (protect->entries[i].device == lineage->device &&
		    is_against(question, &protect->entries[i], lineage)) {
			question->found = &protect->entries[i];
			return true;
		}
	/* What was opened before counts by itself, wherever it lies. */
	return question->reading || question->handle;
}

static void tell(struct protect *protect, uint32_t subject)
{
	int64_t now = clock_ms(), at = atomic_load(&protect->told_at);

	if (protect->refused != NULL && now - at >= TELL_EVERY_MS &&
	    atomic_compare_exchange_strong(&protect->told_at, &at, now))
		protect->refused(protect->context, subject);
}

static int decide(struct session *session, struct question *question, uint64_t node, uint64_t handle)
{
	struct protect *protect = &session->protect;
	uint32_t subject = 0;
	bool found;

	question->protect = protect;
	pthread_rwlock_rdlock(&protect->lock);
	if (protect->count > 0)
		lineage_look(session->nodes, node, handle, look, question);
	found = question->found != NULL;
	if (found)
		subject = question->found->subject;
	pthread_rwlock_unlock(&protect->lock);
	if (!found)
		return 0;
	if (question->reading && question->name != NULL)
		return -ENOENT;
	tell(protect, subject);
	return -EPERM;
}

static int permit_name(struct session *session, uint64_t parent, const struct proto_name *name)
{
	struct question question = { .name = name->text };

	return decide(session, &question, parent, 0);
}

static int permit_node(struct session *session, uint64_t node, bool permissions)
{
	struct question question = { .permissions = permissions };

	return decide(session, &question, node, 0);
}

static int permit_handle(struct session *session, uint64_t handle)
{
	struct question question = { .handle = true };

	return decide(session, &question, 0, handle);
}

static int permit_open(struct session *session, const struct proto_open_request *open)
{
	struct question question = { .reading = true };
	int r = atomic_load(&session->protect.secrets) ? decide(session, &question, open->node, 0) : 0;

	if (r == 0 && (open->flags & ~(uint32_t) (PROTO_OPEN_READ | PROTO_OPEN_NOATIME)) != 0)
		r = permit_node(session, open->node, false);
	return r;
}

static int permit_lookup(struct session *session, const struct proto_lookup_request *lookup)
{
	struct question question = { .name = lookup->name.text, .reading = true };

	return atomic_load(&session->protect.secrets) ? decide(session, &question, lookup->parent, 0) : 0;
}

static int permit_rename(struct session *session, const struct proto_rename_request *rename)
{
	int r = permit_name(session, rename->parent, &rename->name);

	return r < 0 ? r : permit_name(session, rename->new_parent, &rename->new_name);
}

static int permit_link(struct session *session, const struct proto_link_request *link)
{
	int r = permit_node(session, link->node, false);

	return r < 0 ? r : permit_name(session, link->parent, &link->name);
}

/* "name of parent" for the operations that make or take one away. */
#define PERMIT_NAME(op)                                                                                                \
	permit_name(session, ((const struct proto_##op##_request *) request)->parent,                                  \
	            &((const struct proto_##op##_request *) request)->name)

/* Every operation that changes something is here: what is not is refused. */
int protect_permit(struct session *session, unsigned op, const void *request)
{
	/* A file without a name is made in no directory, and gets its name by LINK. */
	static const struct proto_name unnamed = { .length = 1, .text = "?" };
	const struct proto_setattr_request *setattr = request;

	switch (op) {
	case PROTO_LOOKUP:
		return permit_lookup(session, request);
	case PROTO_SETATTR:
		return permit_node(session, setattr->node, (setattr->set.valid & PROTO_SET_MODE) != 0);
	case PROTO_SYMLINK:
		return PERMIT_NAME(symlink);
	case PROTO_MKNOD:
		return PERMIT_NAME(mknod);
	case PROTO_MKDIR:
		return PERMIT_NAME(mkdir);
	case PROTO_UNLINK:
		return PERMIT_NAME(unlink);
	case PROTO_RMDIR:
		return PERMIT_NAME(rmdir);
	case PROTO_CREATE:
		return PERMIT_NAME(create);
	case PROTO_TMPFILE:
		return permit_name(session, ((const struct proto_tmpfile_request *) request)->parent, &unnamed);
	case PROTO_RENAME:
		return permit_rename(session, request);
	case PROTO_LINK:
		return permit_link(session, request);
	case PROTO_OPEN:
		return permit_open(session, request);
	case PROTO_WRITE:
		return permit_handle(session, ((const struct proto_write_request *) request)->handle);
	case PROTO_FALLOCATE:
		return permit_handle(session, ((const struct proto_fallocate_request *) request)->handle);
	case PROTO_COPY_RANGE:
		return permit_handle(session, ((const struct proto_copy_range_request *) request)->handle_out);
	case PROTO_SETXATTR:
		return permit_node(session, ((const struct proto_setxattr_request *) request)->node, false);
	case PROTO_REMOVEXATTR:
		return permit_node(session, ((const struct proto_removexattr_request *) request)->node, false);
	default:
		return proto_op_info(op)->changes == PROTO_CHANGES_NO ? 0 : -EPERM;
	}
}

int protect_permit_object(struct session *session, dev_t device, ino_t ino)
{
	struct question question = { .protect = &session->protect };
	const struct lineage lineage = { .device = PROTECT_DEVICE(major(device), minor(device)),
		                         .ino = ino,
		                         .type = S_IFREG };
	uint32_t subject = 0;
	bool found;

	pthread_rwlock_rdlock(&session->protect.lock);
	(void) look(&question, &lineage);
	found = question.found != NULL;
	if (found)
		subject = question.found->subject;
	pthread_rwlock_unlock(&session->protect.lock);
	if (found)
		tell(&session->protect, subject);
	return found ? -EPERM : 0;
}

bool protect_hides(struct session *session, const struct node *directory, const char *name)
{
	struct question question = { .name = name, .reading = true };

	return atomic_load(&session->protect.secrets) && decide(session, &question, nodes_id(directory), 0) != 0;
}
