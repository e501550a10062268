/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The File Sharing list as it is at the moment: what was given at the start or by the control socket, what the settings
 * say, within what the administrator's policy allows, each with the directory that it means.
 *
 * A share is pinned to the directory that was first found at its path. When another lies there, since it was replaced,
 * mounted over or moved, the share is not served until the first one is back or the user adds the share once more. It
 * is pinned to what the user adds, and else only to what nobody else could have put there (trust.h): until then it is
 * unconfirmed.
 */
#pragma once

#include "fileserver/broker/allowlist.h"
#include "fileserver/broker/events.h"
#include "fileserver/broker/identity.h"
#include "fileserver/broker/policy.h"
#include "fileserver/broker/settings.h"

enum share_source { SHARE_COMMAND_LINE, SHARE_CONTROL, SHARE_SETTINGS, SHARE_POLICY };
enum share_state { SHARE_SERVED, SHARE_MISSING, SHARE_REPLACED, SHARE_DENIED, SHARE_UNCONFIRMED };

struct share {
	char *path; /* normal form */
	bool read_only;
	enum share_source source;
	struct settings_mount mount;
	enum share_state state;
	bool pinned; /* identity counts */
	struct identity identity;
};

struct share_list {
	struct share *shares;
	size_t count;
};

enum { SHARES_ERROR_SIZE = PATH_MAX + 512, SHARES_MAX = 1024 };

struct shares {
	/* To be set before shares_load(). */
	const char *settings_path; /* NULL: there are no settings */
	const char *policy_path;
	bool policy_is_optional, settings_are_optional; /* a file that is not there at the start is no error */
	struct events *events;

	/* Kept by shares.c; to be read by others. */
	struct allowlist allowlist;                                              /* of what may be served */
	struct share_list list;                                                  /* all, in order */
	char settings_error[SHARES_ERROR_SIZE], policy_error[SHARES_ERROR_SIZE]; /* "": the last reading was good */
	struct share_list given;
	const char *confirmed; /* while the user adds it: the path at which he says what is there is meant */
	unsigned generation;   /* counts changes of which paths are in the list */
	struct settings settings;
	struct policy policy;
};

/* For this run of the server. path: absolute, without "..". 0, -EINVAL, -ENAMETOOLONG, -ENOMEM. */
int shares_give(struct shares *shares, const char *path, bool read_only, enum share_source source);

/*
 * The first reading, in which errors count. 0, or a negative errno and words: of the settings or the policy (-EINVAL:
 * malformed, -EPERM: others could have written them); -EACCES: the policy does not allow what was given.
 */
int shares_load(struct shares *shares, char *error, size_t error_size);

/*
 * Reads settings and policy again, then looks at every path. What cannot be read leaves what was read before; the log,
 * an event and the two errors above tell. shares_look() looks at the paths only.
 */
void shares_reload(struct shares *shares);
void shares_look(struct shares *shares);

/* What is wrong with a change, beside its negative errno: a word for programs; see docs/BACKEND.md. */
struct shares_problem {
	const char *code;
	char text[SHARES_ERROR_SIZE];
};

/*
 * Adds a directory, or says of one on the list that it is the one that lies there now, and whether it is read-only.
 * persist: in the settings file, too, where there is one; ret_persistent: whether that was done. 0 or a negative errno.
 */
int shares_add(struct shares *shares, const char *path, bool read_only, bool persist, bool *ret_persistent,
               struct shares_problem *ret_problem);
/* Removes one; from the settings file, too, when it came from there and persist is set. */
int shares_remove(struct shares *shares, const char *path, bool persist, bool *ret_persistent,
                  struct shares_problem *ret_problem);

const char *share_state_name(enum share_state state);
const char *share_source_name(enum share_source source);
void shares_done(struct shares *shares);
