/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that follow their names (file-bind.h). The kernel goes on to use the number of the file that it bound; each
 * open and each question for attributes looks the name up, and goes to what is there.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "guest-fuse/file-bind.h"

struct lane;
struct proto_attr;

struct follow {
	pthread_mutex_t lock;
	_Atomic unsigned count; /* nobody takes the lock while it is 0 */
	struct followed *table;
	bool has_secret;
	struct file_bind_argument secret;
	char secret_path[FILE_BIND_PATH_SIZE];
};

void follow_init(struct follow *follow);
void follow_done(struct follow *follow);

/* Writes the secret of the mount with this device number to where root can read it. 0 or a negative errno. */
int follow_admit_root(struct follow *follow, unsigned major, unsigned minor);
/* Takes it away. */
void follow_admit_nobody(struct follow *follow);
/* Whether whoever asks knows the secret. */
bool follow_knows_secret(const struct follow *follow, const struct file_bind_argument *argument);

/* node: known, a regular file. 0, -ESTALE (it has no name), -ENOMEM. */
int follow_begin(struct lane *lane, uint64_t node);
/* Looks the name up anew, if it is a file that follows it. What is not there, or no file, changes nothing. */
void follow_look(struct lane *lane, uint64_t node);
/* Which of the server's nodes stands for one of the kernel's: itself, unless it follows its name. */
uint64_t follow_target(struct follow *follow, uint64_t node);
/* The kernel is told these attributes of a node, in answer to the lane's request. */
void follow_told(struct lane *lane, uint64_t node, const struct proto_attr *attr);
/*
 * Whether what stands for a node may be opened, or changed, by the permission that the kernel has given for it. All who
 * use a node share what the kernel was told of it, and the answer to one comes in while another decides. So for ten
 * seconds after owner, group or permissions have changed, a file is opened only if it allows all that those before it
 * allowed; and a change, before which the kernel does not ask, waits until what it was told has been the same for a
 * while. True for every node that does not follow its name.
 */
bool follow_may_open(struct lane *lane, uint64_t node);
bool follow_may_change(struct lane *lane, uint64_t node);
/* True: it is a file that follows its name. */
bool follow_has(struct follow *follow, uint64_t node);
/*
 * How long, in seconds, the kernel may keep attributes of a node: timeout, or 0 when it follows its name, so that the
 * kernel asks before each open, and has the size of what it opens.
 */
double follow_timeout(struct follow *follow, uint64_t node, double timeout);
/* The kernel has forgotten it. Returns the node that stood for it and is to be given back once, or 0. */
uint64_t follow_forget(struct follow *follow, uint64_t node);
