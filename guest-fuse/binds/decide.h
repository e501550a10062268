/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of a path that somebody wants to bind into a container: the guest's own, something of a share, or
 * refused. One answer for every way that leads there: the runtime's, and the authorization plugin's.
 */
#pragma once

#include <limits.h>

#include "guest-fuse/binds/config.h"

enum binds_state {
	BINDS_PENDING, /* to be mounted */
	BINDS_MOUNTED,
	BINDS_FAILED,   /* could not be mounted; it is tried again */
	BINDS_MISSING,  /* not there on the host */
	BINDS_REPLACED, /* another directory lies there on the host */
};

/* A directory that the server shares, as the guest knows it. */
struct binds_share {
	char *path, *canonical; /* on the host: as on the list, and without symbolic links */
	char *mount;            /* where it is mounted */
	enum binds_state state;
	bool read_only;
	bool identical; /* mounted at its own path, too */
	bool idmap;     /* mounted so that the kernel may map ids (permissions=guest) */
	char *error;    /* why it failed, or NULL */
};

struct binds_table {
	bool known; /* the server has said what it shares */
	struct binds_share *shares;
	size_t count;
};

void binds_table_done(struct binds_table *table);

enum binds_verdict {
	BINDS_OWN,   /* the guest's own: none of bindshare's business */
	BINDS_SHARE, /* rest, beneath share->mount */
	BINDS_WAIT,  /* it may become one: the list or the mount is not there yet; code and text say what is awaited */
	BINDS_RESOLVE, /* in no share as it is written: only the server knows whether it leads into one */
	BINDS_REFUSED, /* code and text */
};

enum binds_kind { BINDS_DIRECTORY, BINDS_FILE, BINDS_TO_BE_MADE };

enum { BINDS_TEXT_SIZE = 2 * PATH_MAX + 1024 };

struct binds_decision {
	enum binds_verdict verdict;
	const struct binds_share *share; /* of the table */
	char rest[PATH_MAX];             /* without symbolic links; "" is the share itself */
	enum binds_kind kind;
	const char *code; /* not-shared, missing, leads-out, socket, special, not-mounted, unknown-yet, not-absolute */
	char text[BINDS_TEXT_SIZE];
	/* BINDS_RESOLVE: what the server is to be asked about; BINDS_REFUSED: what is not shared, or missing; may be ""
	 */
	char path[PATH_MAX];
};

/* How much the caller knows and wants. */
struct binds_question {
	const char *source;   /* as somebody wrote it */
	const char *resolved; /* what the server said that it leads to; NULL: it was not asked, "": nowhere */
	bool create;          /* what is not there would be made as a directory, as by docker run -v */
};

/* True: path lies in the guest's own paths, by its text alone. */
bool binds_is_own(const struct guest_config *config, const char *path);

/*
 * Decides. Looks at the share's mount, so that it may block for as long as the mount does. Symbolic links in a share
 * are the host's: they are followed as they lie there, into other shares, too, and never into the guest.
 */
void binds_decide(const struct guest_config *config, const struct binds_table *table,
                  const struct binds_question *question, struct binds_decision *ret_decision);

/*
 * Makes the directory of a decision of the kind BINDS_TO_BE_MADE, as the guest's root and so as the user of the host,
 * without following a link. 0 or a negative errno.
 */
int binds_make(const struct binds_decision *decision);

const char *binds_kind_name(enum binds_kind kind);
const char *binds_state_name(enum binds_state state);
