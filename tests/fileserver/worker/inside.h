/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A share's session from inside, for tests that call the worker's functions directly, while no lane serves a request.
 * Each fails the test when it cannot do its work.
 */
#pragma once

#include "fileserver/worker/session/pinned.h"
#include "fileserver/worker/session/session.h"
#include "tests/support/share.h"

/* Fixtures: an ordinary share; its end. */
int inside_set_up(void **state);
int inside_tear_down(void **state);
/* The same as an ordinary user: share_tear_down_unprivileged() undoes it. */
int inside_set_up_unprivileged(void **state);

struct session *inside_session(struct share *share);
/* Looks a name up over the lane. The node's id. */
uint64_t inside_look_up(struct share *share, uint64_t parent, const char *name);
/* Opens a node over the lane. The handle's id. */
uint64_t inside_open(struct share *share, uint64_t node, uint32_t flags);

/* An object in use, as the gate hands it to a handler, and put back. */
void inside_take(struct share *share, uint64_t id, struct pinned *ret_pinned);
void inside_put(struct share *share, struct pinned *pinned);

/* That no request uses anything: no node is pinned, no descriptor or handle in use, no room claimed. */
void inside_is_idle(struct share *share);
/* How many references the guest holds of a node; 0 for one that is not there. */
uint64_t inside_references(struct share *share, uint64_t id);
/* Whether a node has a descriptor of its own. */
bool inside_has_descriptor(struct share *share, uint64_t id);
/* The host's disk has no room for the guest, and has it again. */
void inside_fill_disk(struct share *share);
void inside_empty_disk(struct share *share);

/* On the host: what a name is, without following it; its whole content is this text; it is not there. */
struct stat inside_stat(struct share *share, const char *name);
void inside_holds(struct share *share, const char *name, const char *text);
bool inside_is_there(struct share *share, const char *name);
/* Whether a name has this extended attribute. */
bool inside_has_xattr(struct share *share, const char *name, const char *attribute);
