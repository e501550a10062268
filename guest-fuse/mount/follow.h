/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that follow their names (binds/follow.h). The kernel goes on to use the number of the file that it bound; each
 * open and each question for attributes looks the name up, and goes to what is there.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct lane;

struct follow {
	pthread_mutex_t lock;
	_Atomic unsigned count; /* nobody takes the lock while it is 0 */
	struct followed *table;
};

void follow_init(struct follow *follow);
void follow_done(struct follow *follow);

/* node: known, a regular file. 0, -ESTALE (it has no name), -ENOMEM. */
int follow_begin(struct lane *lane, uint64_t node);
/* Looks the name up anew, if it is a file that follows it. What is not there, or no file, changes nothing. */
void follow_look(struct lane *lane, uint64_t node);
/* Which of the server's nodes stands for one of the kernel's: itself, unless it follows its name. */
uint64_t follow_target(struct follow *follow, uint64_t node);
/* True: it is a file that follows its name. */
bool follow_has(struct follow *follow, uint64_t node);
/*
 * How long, in seconds, the kernel may keep attributes of a node: timeout, or 0 when it follows its name, so that the
 * kernel asks before each open, and has the size of what it opens.
 */
double follow_timeout(struct follow *follow, uint64_t node, double timeout);
/* The kernel has forgotten it. Returns the node that stood for it and is to be given back once, or 0. */
uint64_t follow_forget(struct follow *follow, uint64_t node);
