/* SPDX-License-Identifier: Apache-2.0 */
/* Decides what a guest may not change because the server is steered by it. */
#include "fileserver/worker/session/protect.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "fileserver/worker/nodes/lineage.h"
#include "protocol/clock.h"

enum { TELL_EVERY_MS = 1000 };

void protect_init(struct protect *protect, struct nodes *nodes)
{
	*protect = (struct protect){ .nodes = nodes, .told_at = INT64_MIN / 2 };
	lock_rw_init(&protect->lock);
}

static void unmap(const struct protect_entry *entries, size_t count)
{
	if (entries != NULL)
		(void) munmap((void *) entries, count * sizeof(*entries));
}

void protect_done(struct protect *protect)
{
	unmap(protect->entries, protect->count);
	lock_rw_done(&protect->lock);
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
	lock_rw_take(&protect->lock);
	before = protect->entries;
	count_before = protect->count;
	protect->entries = entries;
	protect->count = count;
	atomic_store(&protect->secrets, secrets);
	lock_rw_give(&protect->lock);
	unmap(before, count_before);
	return 0;
}

/* The index of the first entry with this inode number. */
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
 * For a directory that takes several spellings for one name: whether name could mean wanted. Ignores case, and dots and
 * spaces at the end; a name that is not ASCII or looks like a short name (VFAT) could mean any.
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

/* A secret's name, and the names under which it is written before it gets that: "token.123.tmp", ".token.swp". */
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

/* What an operation is about to do; compared with the list for the node and each directory above it. */
struct question {
	const struct protect *protect;
	const char *name; /* a name in the node, a directory; or NULL: the node itself is meant */
	bool permissions; /* the node's permissions are changed */
	bool reading;     /* it only reads: only secret entries count */
	bool handle;      /* it goes by a handle opened before */
	const struct protect_entry *found;
};

/*
 * Whether two times of birth may be one object's. A file system has them for all objects or none, but not every caller
 * knows them: 0, 0.
 */
static bool is_one_birth(int64_t seconds, int64_t nanoseconds, int64_t other_seconds, int64_t other_nanoseconds)
{
	if ((seconds == 0 && nanoseconds == 0) || (other_seconds == 0 && other_nanoseconds == 0))
		return true;
	return seconds == other_seconds && nanoseconds == other_nanoseconds;
}

static bool is_of_its_time(const struct protect_entry *entry, const struct lineage *lineage)
{
	return is_one_birth(entry->birth_seconds, entry->birth_nanoseconds, lineage->birth_seconds,
	                    lineage->birth_nanoseconds);
}

/* Whether another object lies at the entry's name, on the path that is checked, than the broker has seen there. */
static bool is_unseen(const struct protect_entry *entry, const struct lineage *lineage)
{
	if (lineage->below_name == NULL ||
	    ((entry->flags & PROTECT_FOLDED) != 0 ? strcasecmp(lineage->below_name, entry->name)
	                                          : strcmp(lineage->below_name, entry->name)) != 0)
		return false;
	return lineage->below_ino != entry->child_ino || lineage->below_device != entry->child_device ||
	       !is_one_birth(entry->child_birth_seconds, entry->child_birth_nanoseconds, lineage->below_birth_seconds,
	                     lineage->below_birth_nanoseconds);
}

/* Whether the entry forbids it. lineage->above: 0 the node, 1 its directory, and so on. */
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
		if (protect->entries[i].device == lineage->device && is_of_its_time(&protect->entries[i], lineage) &&
		    is_against(question, &protect->entries[i], lineage)) {
			question->found = &protect->entries[i];
			return true;
		}
	/* A handle counts by its object alone, wherever that lies. */
	return question->reading || question->handle;
}

static void tell(struct protect *protect, uint32_t subject)
{
	int64_t now = clock_ms(), at = atomic_load(&protect->told_at);

	if (protect->refused != NULL && now - at >= TELL_EVERY_MS &&
	    atomic_compare_exchange_strong(&protect->told_at, &at, now))
		protect->refused(protect->context, subject);
}

static int decide(struct protect *protect, struct question *question, const struct node *node)
{
	uint32_t subject = 0;
	bool found;

	question->protect = protect;
	lock_rw_take_to_read(&protect->lock);
	if (protect->count > 0)
		lineage_look(protect->nodes, node, look, question);
	found = question->found != NULL;
	if (found)
		subject = question->found->subject;
	lock_rw_give_read(&protect->lock);
	if (!found)
		return 0;
	if (question->reading && question->name != NULL)
		return -ENOENT;
	tell(protect, subject);
	return -EPERM;
}

int protect_change(struct protect *protect, const struct node *node, bool permissions)
{
	struct question question = { .permissions = permissions };

	return decide(protect, &question, node);
}

int protect_handle(struct protect *protect, const struct node *node)
{
	struct question question = { .handle = true };

	return decide(protect, &question, node);
}

int protect_name(struct protect *protect, const struct node *directory, const char *name)
{
	struct question question = { .name = name };

	return decide(protect, &question, directory);
}

int protect_reading(struct protect *protect, const struct node *node)
{
	struct question question = { .reading = true };

	return atomic_load(&protect->secrets) ? decide(protect, &question, node) : 0;
}

int protect_lookup(struct protect *protect, const struct node *directory, const char *name)
{
	struct question question = { .name = name, .reading = true };

	return atomic_load(&protect->secrets) ? decide(protect, &question, directory) : 0;
}

int protect_object(struct protect *protect, dev_t device, ino_t ino)
{
	struct question question = { .protect = protect };
	const struct lineage lineage = { .device = PROTECT_DEVICE(major(device), minor(device)),
		                         .ino = ino,
		                         .type = S_IFREG };
	uint32_t subject = 0;
	bool found;

	lock_rw_take_to_read(&protect->lock);
	(void) look(&question, &lineage);
	found = question.found != NULL;
	if (found)
		subject = question.found->subject;
	lock_rw_give_read(&protect->lock);
	if (found)
		tell(protect, subject);
	return found ? -EPERM : 0;
}

bool protect_hides(struct protect *protect, const struct node *directory, const char *name)
{
	return protect_lookup(protect, directory, name) != 0;
}
