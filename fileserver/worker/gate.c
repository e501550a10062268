/* SPDX-License-Identifier: Apache-2.0 */
/* The gate before every handler. */
#include "fileserver/worker/gate.h"

#include <assert.h>
#include <errno.h>

#include "fileserver/worker/leases/leases.h"
#include "fileserver/worker/nodes/ids.h"

static bool wants_change(const struct proto_op_info *info, const struct proto_reader *reader)
{
	return info->changes == PROTO_CHANGES_YES || (info->changes == PROTO_CHANGES_BY_FLAGS && reader->wants_change);
}

int gate_enter(const struct call *call, const struct proto_reader *reader)
{
	/* The one place where the share's mode decides: the guest's kernel may have been told another one. */
	return wants_change(proto_op_info(call->op), reader) && session_is_read_only(call->session) ? -EROFS : 0;
}

/* Whether the operation works on objects of this type. Returns 0, or the error to reply with. */
static int check_type(enum gate_need need, mode_t type)
{
	switch (need) {
	case GATE_node_symlink:
		return type == S_IFLNK ? 0 : -EINVAL;
	case GATE_node_file:
		return type == S_IFDIR ? -EISDIR : 0;
	case GATE_node_link:
		return type == S_IFDIR ? -EPERM : 0;
	case GATE_node_directory:
	case GATE_node_names:
	case GATE_node_make:
		return type == S_IFDIR ? 0 : -ENOTDIR;
	default:
		return 0;
	}
}

int gate_node(struct call *call, enum gate_need need, uint64_t id, struct pinned **ret_pinned)
{
	struct call_node *slot = &call->nodes[call->nodes_count];
	int r;

	assert(call->nodes_count < CALL_NODES);
	r = nodes_get(call->session->nodes, id, &slot->pinned.node);
	if (r < 0)
		return r;
	slot->pinned.fd = (struct node_fd){ .fd = -EBADF };
	slot->pinned.leased = false;
	slot->pinned.claim = (struct space_claim){ .disk = NULL };
	slot->need = need;
	slot->told = leases_before_change(slot->pinned.node);
	call->nodes_count++;
	*ret_pinned = &slot->pinned;
	return check_type(need, nodes_type(slot->pinned.node));
}

/* The guest may send any handle: a directory's, or one that was opened for something else. */
static bool is_open_for(enum gate_need need, const struct handle *handle)
{
	switch (need) {
	case GATE_handle_directory:
		return handle->directory;
	case GATE_handle_file:
		return !handle->directory;
	case GATE_handle_read:
		return !handle->directory && handle->readable;
	case GATE_handle_write:
	case GATE_handle_write_or_none:
		return !handle->directory && handle->writable;
	default:
		return true;
	}
}

int gate_handle(struct call *call, enum gate_need need, uint64_t id, struct handle **ret_handle)
{
	struct call_handle *slot = &call->handles[call->handles_count];
	int r;

	*ret_handle = NULL;
	if (need == GATE_handle_write_or_none && id == 0)
		return 0;
	assert(call->handles_count < CALL_HANDLES);
	r = nodes_handle(call->session->nodes, id, &slot->handle);
	if (r < 0)
		return r;
	slot->need = need;
	slot->told = leases_before_change(slot->handle->node);
	call->handles_count++;
	*ret_handle = slot->handle;
	if (!is_open_for(need, slot->handle))
		return -EBADF;
	/* A node and a handle in one request must be of one object. */
	return call->nodes_count > 0 && slot->handle->node != call->nodes[0].pinned.node ? -EBADF : 0;
}

int gate_name(struct call *call, enum gate_need need, const struct proto_name *name, const char **ret_name)
{
	assert(call->names_count < CALL_NAMES && call->nodes_count > 0);
	call->names[call->names_count++] = (struct call_name){ .text = name->text,
		                                               .directory = &call->nodes[call->nodes_count - 1],
		                                               .need = need };
	*ret_name = name->text;
	return 0;
}

static bool has_name(const struct call *call, const struct call_node *directory)
{
	for (unsigned i = 0; i < call->names_count; i++)
		if (call->names[i].directory == directory)
			return true;
	return false;
}

/* Asks the protect list if the operation changes the object itself, or may. *asked: there was something to ask. */
static int permit_node(const struct call *call, const struct call_node *slot, const struct proto_reader *reader,
                       bool *asked)
{
	struct protect *protect = &call->session->protect;
	struct node *node = slot->pinned.node;
	int r = 0;

	switch (slot->need) {
	case GATE_node_file:
		r = protect_reading(protect, node);
		if (r < 0 || !reader->wants_change)
			return r;
		*asked = true;
		return protect_change(protect, node, false);
	case GATE_node_change:
		*asked = true;
		return protect_change(protect, node, reader->wants_permissions);
	case GATE_node_link:
		*asked = true;
		return protect_change(protect, node, false);
	case GATE_node_make:
		if (has_name(call, slot))
			return 0;
		/* TMPFILE makes no name; LINK, which gives it one, is checked itself. "?" is no protected name. */
		*asked = true;
		return protect_name(protect, node, "?");
	default:
		return 0;
	}
}

static int permit_names(const struct call *call, bool *asked)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < call->names_count; i++) {
		const struct call_name *name = &call->names[i];

		if (name->need == GATE_name_lookup) {
			r = protect_lookup(&call->session->protect, name->directory->pinned.node, name->text);
		} else {
			*asked = true;
			r = protect_name(&call->session->protect, name->directory->pinned.node, name->text);
		}
	}
	return r;
}

static int permit_handles(const struct call *call, bool *asked)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < call->handles_count; i++) {
		if (call->handles[i].need != GATE_handle_write)
			continue;
		*asked = true;
		r = protect_handle(&call->session->protect, call->handles[i].handle->node);
	}
	return r;
}

/* Asks the protect list about each object. A row that changes something and has no object to ask about is refused. */
static int permit(const struct call *call, const struct proto_reader *reader)
{
	bool asked = false;
	int r = 0;

	for (unsigned i = 0; r == 0 && i < call->nodes_count; i++)
		r = permit_node(call, &call->nodes[i], reader, &asked);
	if (r == 0)
		r = permit_names(call, &asked);
	if (r == 0)
		r = permit_handles(call, &asked);
	if (r == 0 && !asked && wants_change(proto_op_info(call->op), reader))
		r = -EPERM;
	return r;
}

/* Whether the guest's kernel went by names, which may be stale. A handle means its object wherever that is now. */
static bool goes_by_names(const struct call *call, enum gate_need need)
{
	switch (need) {
	case GATE_node_file:
	case GATE_node_link:
	case GATE_node_names:
	case GATE_node_make:
		return !call->anew;
	case GATE_node_change:
		return !call->anew && call->handles_count == 0;
	default:
		return false;
	}
}

static bool is_directory(unsigned need)
{
	return need == GATE_node_directory || need == GATE_node_names || need == GATE_node_make;
}

/* RENAME in one directory names it twice. */
static bool is_checked(const struct call *call, const struct call_node *slot)
{
	return slot > call->nodes && slot->pinned.node == call->nodes[0].pinned.node &&
	       goes_by_names(call, call->nodes[0].need);
}

/* The watch stands before anything is read. first: of the request's directories. */
static int use_node(struct call *call, struct call_node *slot, bool first)
{
	struct session *session = call->session;
	struct pinned *pinned = &slot->pinned;
	int r = goes_by_names(call, slot->need) && !is_checked(call, slot) ? nodes_check(session->nodes, pinned->node)
	                                                                   : 0;

	if (r == 0)
		r = nodes_fd(session->nodes, pinned->node, &pinned->fd);
	if (r == 0 && is_directory(slot->need)) {
		pinned->leased = leases_hold(session->leases, pinned->node, pinned->fd.fd);
		call->leased = pinned->leased && (call->leased || first);
	}
	if (r == 0 && slot->need == GATE_node_make)
		r = space_claim_name(&session->space, pinned->node, pinned->fd.fd, &pinned->claim);
	return r;
}

int gate_pass(struct call *call, const struct proto_reader *reader)
{
	int r = permit(call, reader);
	bool first = true;

	call->changes = wants_change(proto_op_info(call->op), reader);
	for (unsigned i = 0; r == 0 && i < call->nodes_count; i++) {
		r = use_node(call, &call->nodes[i], first);
		first = first && !is_directory(call->nodes[i].need);
	}
	return r;
}

/*
 * Whether the guest's kernel asks for all attributes again, since it has changed the object. Not so when it has opened
 * it for writing or only reads it, and after LINK, SETXATTR and REMOVEXATTR it asks for nothing but ctime.
 */
static bool is_changed(const struct call *call, enum gate_need need)
{
	return call->changes && ((need == GATE_node_change && call->op == PROTO_SETATTR) || need == GATE_handle_write ||
	                         need == GATE_handle_write_or_none);
}

void gate_done(struct call *call)
{
	for (unsigned i = 0; i < call->nodes_count; i++)
		if (is_changed(call, call->nodes[i].need))
			leases_after_change(call->nodes[i].pinned.node, call->nodes[i].told);
	for (unsigned i = 0; i < call->handles_count; i++)
		if (is_changed(call, call->handles[i].need))
			leases_after_change(call->handles[i].handle->node, call->handles[i].told);
}

void gate_leave(struct call *call)
{
	struct session *session = call->session;

	while (call->nodes_count > 0) {
		struct pinned *pinned = &call->nodes[--call->nodes_count].pinned;

		space_settle(&session->space, &pinned->claim);
		nodes_fd_done(session->nodes, &pinned->fd);
		nodes_put(session->nodes, pinned->node);
	}
	while (call->handles_count > 0)
		nodes_handle_put(session->nodes, call->handles[--call->handles_count].handle);
}
