/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of a path that somebody wants to bind into a container. */
#include "guest-fuse/binds/decide.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "guest-fuse/binds/sockets.h"
#include "guest-fuse/open.h"
#include "protocol/cleanup.h"
#include "protocol/paths.h"

enum { LINKS_MAX = 40 };

/* A path on its way through links and shares. */
struct walk {
	char path[PATH_MAX]; /* on the host, normal form */
	unsigned links;
	bool left; /* a link led here */
};

void binds_table_done(struct binds_table *table)
{
	for (size_t i = 0; i < table->count; i++) {
		free(table->shares[i].path);
		free(table->shares[i].canonical);
		free(table->shares[i].mount);
		free(table->shares[i].error);
	}
	free(table->shares);
	*table = (struct binds_table){ 0 };
}

const char *binds_kind_name(enum binds_kind kind)
{
	static const char *const names[] = { "directory", "file", "missing" };

	return names[kind];
}

const char *binds_state_name(enum binds_state state)
{
	static const char *const names[] = { "pending", "mounted", "failed", "missing", "replaced" };

	return names[state];
}

static void say(struct binds_decision *decision, enum binds_verdict verdict, const char *code, const char *format, ...)
        __attribute__((format(printf, 4, 5)));
static void say(struct binds_decision *decision, enum binds_verdict verdict, const char *code, const char *format, ...)
{
	va_list arguments;

	decision->verdict = verdict;
	decision->code = code;
	va_start(arguments, format);
	(void) vsnprintf(decision->text, sizeof(decision->text), format, arguments);
	va_end(arguments);
}

static void refuse_not_shared(struct binds_decision *decision, const char *path)
{
	const char *advice = sockets_advice(path);

	strcpy(decision->path, path);
	if (advice != NULL)
		say(decision, BINDS_REFUSED, "not-shared",
		    "Mounts denied: The path %s is not shared from the host and is not known to bindshare.%s", path,
		    advice);
	else
		say(decision, BINDS_REFUSED, "not-shared",
		    "Mounts denied: The path %s is not shared from the host and is not known to bindshare. Add it with "
		    "\"bindsharectl share add %s\" on the host, or in Settings > Resources > File Sharing.",
		    path, path);
}

/* How many bytes of path the longest of the guest's own paths covers; 0: it is in none. */
static size_t own_length(const struct guest_config *config, const char *path)
{
	size_t longest = 0;

	for (size_t i = 0; config->guest_paths[i] != NULL; i++) {
		size_t length = strlen(config->guest_paths[i]);

		if (length > longest && paths_is_beneath(path, config->guest_paths[i]))
			longest = length;
	}
	return longest;
}

bool binds_is_own(const struct guest_config *config, const char *path)
{
	char normal[PATH_MAX];

	return paths_normalise(path, normal) == 0 && own_length(config, normal) > 0;
}

/* The share that covers most of a path, and what is left of the path. */
static const struct binds_share *find_share(const struct binds_table *table, const char *path, size_t *ret_length,
                                            const char **ret_rest)
{
	const struct binds_share *best = NULL;

	*ret_length = 0;
	for (size_t i = 0; i < table->count; i++) {
		const struct binds_share *share = &table->shares[i];
		const char *const places[] = { share->path, share->canonical };

		for (size_t k = 0; k < ARRAY_SIZE(places); k++) {
			if (!paths_is_beneath(path, places[k]) || (best != NULL && strlen(places[k]) <= *ret_length))
				continue;
			best = share;
			*ret_length = strlen(places[k]);
			*ret_rest = paths_rest(path, places[k]);
		}
	}
	return best;
}

/* A link at done in the share: where it leads, as a path of the host with what is left behind it. 0 or -errno. */
static int follow_link(const struct binds_share *share, int fd, const char *done, const char *left, char path[PATH_MAX])
{
	char target[PATH_MAX], whole[2 * PATH_MAX + 2];
	ssize_t n = readlinkat(fd, "", target, sizeof(target) - 1);

	if (n < 0)
		return -errno;
	target[n] = '\0';
	if (target[0] == '/')
		(void) snprintf(whole, sizeof(whole), "%s/%s", target, left);
	else if (snprintf(whole, sizeof(whole), "%s/%s/../%s/%s", share->canonical, done, target, left) >=
	         (int) sizeof(whole))
		return -ENAMETOOLONG;
	return paths_normalise(whole, path);
}

enum step { STEP_END, STEP_LINK, STEP_FAILED };

/*
 * Walks rest beneath the share's mount, a component at a time. STEP_END: ret_st is what lies there and done its path.
 * STEP_LINK: walk->path is where a link leads. STEP_FAILED: *ret_error, at done; what is missing there is appended to
 * it.
 */
static enum step walk_share(const struct binds_share *share, int mount, const char *rest, struct walk *walk,
                            char done[PATH_MAX], struct stat *ret_st, int *ret_error)
{
	done[0] = '\0';
	for (;;) {
		_cleanup_close_ int fd = open_beneath(mount, done, 0);
		size_t length;

		*ret_error = fd < 0 ? fd : fstat(fd, ret_st) < 0 ? -errno : 0;
		if (*ret_error == 0 && S_ISLNK(ret_st->st_mode)) {
			*ret_error =
			        ++walk->links > LINKS_MAX ? -ELOOP : follow_link(share, fd, done, rest, walk->path);
			return *ret_error < 0 ? STEP_FAILED : STEP_LINK;
		}
		if (*ret_error == 0 && rest[0] == '\0')
			return STEP_END;
		if (*ret_error == 0 && !S_ISDIR(ret_st->st_mode))
			*ret_error = -ENOTDIR;
		length = strcspn(rest, "/");
		if (*ret_error == 0)
			*ret_error = paths_append(done, rest, length);
		if (*ret_error == -ENOENT && rest[0] != '\0' && paths_append(done, rest, strlen(rest)) < 0)
			*ret_error = -ENAMETOOLONG;
		if (*ret_error < 0)
			return STEP_FAILED;
		rest += length;
		rest += strspn(rest, "/");
	}
}

static void decide_kind(const struct binds_share *share, const char *source, const struct stat *st,
                        struct binds_decision *decision)
{
	decision->share = share;
	decision->verdict = BINDS_SHARE;
	decision->kind = S_ISDIR(st->st_mode) ? BINDS_DIRECTORY : BINDS_FILE;
	if (S_ISSOCK(st->st_mode)) {
		const char *advice = sockets_advice(source);

		say(decision, BINDS_REFUSED, "socket",
		    "Mounts denied: %s is a socket of the host, and a socket does not work through a shared "
		    "directory.%s",
		    source, advice != NULL ? advice : " Reach its server over the network.");
	} else if (!S_ISDIR(st->st_mode) && !S_ISREG(st->st_mode)) {
		say(decision, BINDS_REFUSED, "special",
		    "Mounts denied: %s is neither a directory nor a regular file, and nothing else of the host can be "
		    "bound.",
		    source);
	}
}

static void decide_error(const struct binds_share *share, const struct binds_question *question, int error,
                         struct binds_decision *decision)
{
	const char *source = question->source;

	if (error == -ENOENT && question->create && !share->read_only) {
		decision->share = share;
		decision->verdict = BINDS_SHARE;
		decision->kind = BINDS_TO_BE_MADE;
		return;
	}
	if (error == -ENOENT || error == -ENOTDIR)
		say(decision, BINDS_REFUSED, "missing",
		    "Mounts denied: The path %s does not exist on the host. Make it there first.", source);
	else if (error == -ELOOP)
		say(decision, BINDS_REFUSED, "leads-out",
		    "Mounts denied: The path %s has too many symbolic links, or links that lead to themselves.",
		    source);
	else
		say(decision, BINDS_REFUSED, "not-mounted", "Mounts denied: The path %s cannot be looked at: %s.",
		    source, strerror(-error));
}

static void decide_unmounted(const struct binds_share *share, const char *source, struct binds_decision *decision)
{
	switch (share->state) {
	case BINDS_MISSING:
		say(decision, BINDS_REFUSED, "missing",
		    "Mounts denied: The shared directory %s, in which %s lies, is not there on the host. Make it "
		    "there, "
		    "and it is served again.",
		    share->path, source);
		return;
	case BINDS_REPLACED:
		say(decision, BINDS_REFUSED, "not-mounted",
		    "Mounts denied: Another directory lies at %s on the host than the one that was shared. Say "
		    "\"bindsharectl "
		    "share add %s\" on the host if it is to be shared, too.",
		    share->path, share->path);
		return;
	default:
		say(decision, BINDS_WAIT, "not-mounted",
		    "Mounts denied: The path %s is shared from the host, but %s is not mounted in the guest%s%s.",
		    source, share->path, share->error != NULL ? ": " : " yet",
		    share->error != NULL ? share->error : "");
	}
}

/* Looks at what lies at rest in a share. True: a link leads elsewhere, to walk->path. */
static bool look(const struct binds_share *share, const char *rest, const struct binds_question *question,
                 struct walk *walk, struct binds_decision *decision)
{
	_cleanup_close_ int mount = open_plain(share->mount, O_PATH | O_DIRECTORY);
	char left[PATH_MAX];
	struct stat st;
	int error;

	if (mount < 0) {
		/* The mount is not where guestd made it: no fault of the path that was asked about. */
		decide_error(share, question, mount == -ENOENT || mount == -ELOOP ? -EIO : mount, decision);
		return false;
	}
	/* walk->path is overwritten, and rest may point into it. */
	strcpy(left, rest);
	switch (walk_share(share, mount, left, walk, decision->rest, &st, &error)) {
	case STEP_LINK:
		walk->left = true;
		return true;
	case STEP_END:
		decide_kind(share, question->source, &st, decision);
		return false;
	default:
		decide_error(share, question, error, decision);
		return false;
	}
}

/* walk->path is in no share and not the guest's own. */
static void decide_outside(const struct binds_table *table, const struct binds_question *question,
                           const struct walk *walk, struct binds_decision *decision)
{
	if (!table->known)
		say(decision, BINDS_WAIT, "unknown-yet",
		    "Mounts denied: The path %s is not known to bindshare: the file server on the host has not been "
		    "reached. "
		    "Is bindshare-fileserver running there?",
		    question->source);
	else if (walk->left) {
		strcpy(decision->path, walk->path);
		say(decision, BINDS_REFUSED, "leads-out",
		    "Mounts denied: The path %s leads by a symbolic link to %s, which is not shared from the host and "
		    "is not "
		    "known to bindshare. Add that one with \"bindsharectl share add %s\" on the host.",
		    question->source, walk->path, walk->path);
	} else if (question->resolved == NULL) {
		decision->verdict = BINDS_RESOLVE;
		strcpy(decision->path, walk->path);
	} else {
		refuse_not_shared(decision, walk->path);
	}
}

static void decide_own(const char *path, struct binds_decision *decision)
{
	decision->verdict = BINDS_OWN;
	if (sockets_is_missing(path))
		say(decision, BINDS_REFUSED, "socket",
		    "Mounts denied: There is no socket at %s in the guest, and one of the host does not come there.%s",
		    path, sockets_advice(path));
}

void binds_decide(const struct guest_config *config, const struct binds_table *table,
                  const struct binds_question *question, struct binds_decision *ret_decision)
{
	bool resolved = question->resolved != NULL && question->resolved[0] != '\0';
	struct walk walk = { .links = 0 };
	int r = paths_normalise(resolved ? question->resolved : question->source, walk.path);

	memset(ret_decision, 0, sizeof(*ret_decision));
	if (r < 0) {
		say(ret_decision, BINDS_REFUSED, "not-absolute",
		    "Mounts denied: The path %s is %s. Write the whole path of the host, from / on.", question->source,
		    r == -ENAMETOOLONG ? "too long" : "not absolute");
		return;
	}
	strcpy(ret_decision->path, walk.path);
	for (;;) {
		size_t own = own_length(config, walk.path), length;
		const struct binds_share *share;
		const char *rest;

		share = find_share(table, walk.path, &length, &rest);
		/* A link of the host never leads into the guest. */
		if (own > 0 && own > length && !walk.left && !resolved) {
			decide_own(walk.path, ret_decision);
			return;
		}
		if (share == NULL) {
			decide_outside(table, question, &walk, ret_decision);
			return;
		}
		if (share->state != BINDS_MOUNTED) {
			decide_unmounted(share, question->source, ret_decision);
			return;
		}
		if (!look(share, rest, question, &walk, ret_decision))
			return;
	}
}

int binds_make(const struct binds_decision *decision)
{
	_cleanup_close_ int fd = open_plain(decision->share->mount, O_PATH | O_DIRECTORY);
	char name[NAME_MAX + 1];

	for (const char *rest = decision->rest; fd >= 0 && *rest != '\0'; rest += strspn(rest, "/")) {
		size_t length = strcspn(rest, "/");
		int next;

		if (length > NAME_MAX)
			return -ENAMETOOLONG;
		(void) snprintf(name, sizeof(name), "%.*s", (int) length, rest);
		if (mkdirat(fd, name, 0755) < 0 && errno != EEXIST)
			return -errno;
		next = openat(fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0)
			return -errno;
		close_fd(fd);
		fd = next;
		rest += length;
	}
	return fd < 0 ? fd : 0;
}
