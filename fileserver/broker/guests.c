/* SPDX-License-Identifier: Apache-2.0 */
/* Guests that follow the list. */
#include "fileserver/broker/guests.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <utlist.h>

#include "fileserver/broker/canonical.h"
#include "protocol/cleanup.h"

/* One directory as the guests were told. */
struct guests_share {
	char *path, *canonical;
	uint32_t state, flags;
};

struct guest {
	struct guests *guests;
	struct guest *prev, *next;
	uv_poll_t poll;
	uv_timer_t timer;
	unsigned handles; /* open ones of the two above, and a question that a thread is at */
	int fd;
	bool ended, asking;
	uint8_t request[PROTO_HEADER_SIZE + PROTO_MOST_LIST_REQUEST];
	size_t have;
};

/* A RESOLVE on its way through the thread pool. */
struct question {
	uv_work_t work;
	struct guest *guest;
	uint64_t id;
	char path[PATH_MAX], canonical[PATH_MAX];
	bool found;
};

static void release(struct guest *guest)
{
	if (--guest->handles == 0)
		free(guest);
}

static void on_closed(uv_handle_t *handle)
{
	release(handle->data);
}

static void guest_end(struct guest *guest, const char *why)
{
	if (guest->ended)
		return;
	log_peer_info("a guest follows the list no more: %s", why);
	guest->ended = true;
	DL_DELETE(guest->guests->guests, guest);
	guest->guests->count--;
	uv_close((uv_handle_t *) &guest->poll, on_closed);
	uv_close((uv_handle_t *) &guest->timer, on_closed);
	guest->fd = close_fd(guest->fd);
}

/* In one piece: what does not fit into the socket belongs to a guest that does not read. */
static void say(struct guest *guest, struct proto_header *header, const struct proto_writer *payload)
{
	uint8_t bytes[PROTO_HEADER_SIZE + PROTO_MOST_LIST_REPLY];
	size_t length = payload == NULL ? 0 : (size_t) (payload->next - payload->start);

	header->length = (uint32_t) length;
	proto_header_encode(bytes, header);
	if (length > 0)
		memcpy(bytes + PROTO_HEADER_SIZE, payload->start, length);
	if (send(guest->fd, bytes, PROTO_HEADER_SIZE + length, MSG_NOSIGNAL | MSG_DONTWAIT) !=
	    (ssize_t) (PROTO_HEADER_SIZE + length))
		guest_end(guest, "it does not read what it is told");
}

static void say_changed(struct guest *guest)
{
	const struct guests *guests = guest->guests;
	struct proto_changed_request changed = { guests->generation, (uint32_t) guests->list_count };
	struct proto_header header = { .op = PROTO_CHANGED, .id = 1 };
	struct proto_writer writer;
	uint8_t bytes[PROTO_MOST_changed_request];

	proto_writer_init(&writer, bytes, sizeof(bytes));
	(void) proto_encode_changed_request(&writer, &changed);
	say(guest, &header, &writer);
}

/* status: positive. */
static void answer(struct guest *guest, enum proto_op op, uint64_t id, int status, const struct proto_writer *payload)
{
	struct proto_header header = { .op = (uint16_t) op, .flags = PROTO_FRAME_REPLY, .id = id, .status = status };

	say(guest, &header, status == 0 ? payload : NULL);
}

static int set_path(struct proto_share *share, const char *path)
{
	memset(share->path, 0, sizeof(share->path));
	if (strlen(path) >= sizeof(share->path))
		return ENAMETOOLONG;
	strcpy(share->path, path);
	return 0;
}

/* 0 or a positive errno. */
static int look_up_share(const struct guests *guests, const struct proto_share_request *request,
                         struct proto_share_reply *ret_reply)
{
	const struct guests_share *share;
	int status;

	if (request->generation != guests->generation)
		return EAGAIN;
	if (request->index >= guests->list_count)
		return ERANGE;
	share = &guests->list[request->index];
	ret_reply->state = share->state;
	ret_reply->flags = share->flags;
	status = set_path(&ret_reply->path, share->path);
	return status != 0 ? status : set_path(&ret_reply->canonical, share->canonical);
}

/*
 * take_share(guest, id, request) and so on, one for each operation that a guest sends here. 0: it has been answered, or
 * will be; -EBADMSG: it makes no sense; another negative errno: it is refused. One that is missing does not link.
 */
#define LIST_GUEST(op)                                                                                                 \
	static int take_##op(struct guest *guest, uint64_t id, const struct proto_##op##_request *request);
#define LIST_SERVER(op)
#define LANE_HANDSHAKE(from, op)
#define LANE_EVENT(from, op)
#define LANE_LIST(from, op)       LIST_##from(op)
#define LANE_EVENT_LIST(from, op) LIST_##from(op)
#define LANE_DATA(from, op)
#define OP(SYMBOL, op, number, lane, from, changes, replay, doc) LANE_##lane(from, op)
#include "protocol/ops.def"
#undef LIST_GUEST

static int take_share(struct guest *guest, uint64_t id, const struct proto_share_request *request)
{
	struct proto_share_reply reply;
	struct proto_writer writer;
	uint8_t bytes[PROTO_MOST_share_reply];
	int status;

	proto_writer_init(&writer, bytes, sizeof(bytes));
	status = look_up_share(guest->guests, request, &reply);
	if (status == 0)
		status = -proto_encode_share_reply(&writer, &reply);
	answer(guest, PROTO_SHARE, id, status, &writer);
	return 0;
}

static int take_ping(struct guest *guest, uint64_t id, const struct proto_ping_request *request)
{
	const struct proto_ping_reply reply = { .sequence = request->sequence };
	struct proto_writer writer;
	uint8_t bytes[PROTO_MOST_ping_reply];

	proto_writer_init(&writer, bytes, sizeof(bytes));
	answer(guest, PROTO_PING, id, -proto_encode_ping_reply(&writer, &reply), &writer);
	return 0;
}

/* In a thread: the host's file system may take its time. */
static void resolve(uv_work_t *work)
{
	struct question *question = work->data;

	struct stat st;

	question->found = canonical_path(question->path, question->canonical, &st) == 0;
}

/*
 * The list's own rules decide on what the path came to: a directory, or one that has it in it. Whatever leads elsewhere
 * is answered like what is not there.
 */
static int judge(const struct guests *guests, struct question *question, struct proto_resolve_reply *ret_reply)
{
	struct allowlist_match match;
	char *name = strrchr(question->canonical, '/');
	int r;

	if (!question->found)
		return EACCES;
	r = allowlist_match(&guests->shares->allowlist, question->canonical, &match);
	if (r == -ENOTDIR && name > question->canonical) {
		*name = '\0';
		r = allowlist_match(&guests->shares->allowlist, question->canonical, &match);
		*name = '/';
	}
	return r < 0 ? EACCES : set_path(&ret_reply->path, question->canonical);
}

static void go_on(struct guest *guest);

static void on_resolved(uv_work_t *work, int canceled)
{
	struct question *question = work->data;
	struct guest *guest = question->guest;
	struct proto_resolve_reply reply;
	struct proto_writer writer;
	uint8_t bytes[PROTO_MOST_resolve_reply];
	int status;

	guest->guests->resolving--;
	guest->asking = false;
	if (!guest->ended) {
		proto_writer_init(&writer, bytes, sizeof(bytes));
		status = canceled != 0 ? EACCES : judge(guest->guests, question, &reply);
		if (status == 0)
			status = -proto_encode_resolve_reply(&writer, &reply);
		answer(guest, PROTO_RESOLVE, question->id, status, &writer);
	}
	go_on(guest);
	free(question);
	release(guest);
}

static int take_resolve(struct guest *guest, uint64_t id, const struct proto_resolve_request *request)
{
	struct guests *guests = guest->guests;
	struct question *question;

	if (canonical_depth(request->path.path) > CANONICAL_DEPTH_MAX)
		return -EACCES;
	question = guests->resolving >= GUESTS_RESOLVE_MAX ? NULL : calloc(1, sizeof(*question));
	if (question == NULL)
		return -EBUSY;
	strcpy(question->path, request->path.path);
	question->work.data = question;
	question->guest = guest;
	question->id = id;
	if (uv_queue_work(guests->loop, &question->work, resolve, on_resolved) < 0) {
		free(question);
		return -EBUSY;
	}
	/* One at a time: what comes meanwhile waits. */
	guests->resolving++;
	guest->handles++;
	guest->asking = true;
	(void) uv_poll_stop(&guest->poll);
	return 0;
}

/* A guest can cause any number of these: what is told of them is limited in number and length, and has no words of it.
 */
static int take_bind_refused(struct guest *guest, uint64_t id, const struct proto_bind_refused_request *request)
{
	static const char *const reasons[] = { NULL, "not-shared", "leads-out", "missing", "socket", "special" };
	struct guests *guests = guest->guests;

	if (request->reason == 0 || request->reason >= ARRAY_SIZE(reasons))
		return -EBADMSG;
	if (guests->events != NULL && strlen(request->path.path) <= GUESTS_TOLD_PATH_MAX &&
	    log_limit_allows(&guests->event_limit))
		events_tell(guests->events, "bind-refused",
		            json_pack("{so ss}", "path", events_text(request->path.path), "reason",
		                      reasons[request->reason]));
	return 0;
}

/* decode_share() and so on: decode, take. */
#define LIST_GUEST(op)                                                                                                 \
	static int decode_##op(struct guest *guest, uint64_t id, struct proto_reader *reader)                          \
	{                                                                                                              \
		struct proto_##op##_request request;                                                                   \
		int r = proto_decode_##op##_request(reader, &request);                                                 \
                                                                                                                       \
		return r < 0 ? r : take_##op(guest, id, &request);                                                     \
	}
#define OP(SYMBOL, op, number, lane, from, changes, replay, doc) LANE_##lane(from, op)
#include "protocol/ops.def"
#undef LIST_GUEST

static int (*const decode[PROTO_OP_LIMIT])(struct guest *guest, uint64_t id, struct proto_reader *reader) = {
#define LIST_GUEST(op)                                           [PROTO_NUMBER_##op] = decode_##op,
#define OP(SYMBOL, op, number, lane, from, changes, replay, doc) LANE_##lane(from, op)
#include "protocol/ops.def"
};

/* One whole request. 0 or -EBADMSG. */
static int take_request(struct guest *guest, const struct proto_header *header)
{
	const struct proto_op_info *info = proto_op_expected(header->op, PROTO_LANE_LIST, PROTO_FROM_GUEST);
	struct proto_reader reader;
	int r;

	if (info == NULL)
		return -EBADMSG;
	proto_reader_init(&reader, guest->request + PROTO_HEADER_SIZE, header->length, header->length);
	r = decode[header->op](guest, header->id, &reader);
	if (r == -EBADMSG || (r < 0 && info->replay == PROTO_REPLAY_NOREPLY))
		return -EBADMSG;
	if (r < 0)
		answer(guest, header->op, header->id, -r, NULL);
	return 0;
}

/* What has come in full. 0 or -EBADMSG. */
static int take_requests(struct guest *guest)
{
	while (!guest->ended && !guest->asking && guest->have >= PROTO_HEADER_SIZE) {
		struct proto_header header;
		size_t size;
		int r = proto_header_decode(guest->request, &header);

		if (r < 0 || header.flags != 0 || header.length > sizeof(guest->request) - PROTO_HEADER_SIZE)
			return -EBADMSG;
		size = PROTO_HEADER_SIZE + header.length;
		if (guest->have < size)
			return 0;
		r = take_request(guest, &header);
		if (r < 0)
			return r;
		guest->have -= size;
		memmove(guest->request, guest->request + size, guest->have);
	}
	return 0;
}

static void on_io(uv_poll_t *poll, int status, int events)
{
	struct guest *guest = poll->data;
	/* There is room: a request that fills the buffer is whole, and was taken. */
	ssize_t n = recv(guest->fd, guest->request + guest->have, sizeof(guest->request) - guest->have, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		guest_end(guest, n == 0 ? "it closed the connection" : strerror(errno));
		return;
	}
	guest->have += (size_t) n;
	(void) uv_timer_again(&guest->timer);
	go_on(guest);
}

/* Takes what has come, then waits for more. */
static void go_on(struct guest *guest)
{
	if (guest->ended)
		return;
	if (take_requests(guest) < 0)
		guest_end(guest, "what it sent makes no sense");
	else if (!guest->ended && !guest->asking && uv_poll_start(&guest->poll, UV_READABLE, on_io) < 0)
		guest_end(guest, "the connection cannot be watched");
}

static void on_silence(uv_timer_t *timer)
{
	struct guest *guest = timer->data;

	if (!guest->asking)
		guest_end(guest, "it is silent");
}

static int limit_reached(struct proto_refusal *ret_refusal)
{
	ret_refusal->code = PROTO_REFUSE_LIMIT;
	(void) snprintf(ret_refusal->text, sizeof(ret_refusal->text),
	                "%d guests follow the list of shares already; end one of their bindshare-guestd.", GUESTS_MAX);
	return -EACCES;
}

int guests_add(struct guests *guests, int fd, struct proto_refusal *ret_refusal)
{
	struct guest *guest;

	if (guests->count >= GUESTS_MAX)
		return limit_reached(ret_refusal);
	guest = calloc(1, sizeof(*guest));
	if (guest == NULL || uv_poll_init(guests->loop, &guest->poll, fd) < 0) {
		free(guest);
		ret_refusal->code = PROTO_REFUSE_INTERNAL;
		strcpy(ret_refusal->text, "The server has no memory left.");
		return -EACCES;
	}
	(void) uv_timer_init(guests->loop, &guest->timer);
	guest->poll.data = guest->timer.data = guest;
	guest->handles = 2;
	guest->guests = guests;
	guest->fd = fd;
	DL_APPEND(guests->guests, guest);
	guests->count++;
	guests_look(guests);
	log_peer_info("a guest follows the list of shares");
	(void) uv_timer_start(&guest->timer, on_silence, GUESTS_SILENCE_MS, GUESTS_SILENCE_MS);
	say_changed(guest);
	go_on(guest);
	return 0;
}

static void free_list(struct guests_share *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(list[i].path);
		free(list[i].canonical);
	}
	free(list);
}

static uint32_t flags_of(const struct share *share, bool read_only)
{
	const struct settings_mount *mount = &share->mount;
	uint32_t flags = read_only ? PROTO_SHARE_READ_ONLY : 0U;

	if (mount->owner != NULL && strcmp(mount->owner, "host") == 0)
		flags |= PROTO_SHARE_OWNER_HOST;
	if (mount->permissions != NULL && strcmp(mount->permissions, "host") == 0)
		flags |= PROTO_SHARE_PERMISSIONS_HOST;
	if (mount->cache != NULL && strcmp(mount->cache, "none") == 0)
		flags |= PROTO_SHARE_CACHE_NONE;
	return flags;
}

/* 0 or -ENOMEM. */
static int describe(const struct shares *shares, const struct share *share, struct guests_share *ret_share)
{
	struct allowlist_match match;
	bool read_only = share->read_only;
	const char *canonical = share->path;

	ret_share->state = share->state == SHARE_REPLACED ? PROTO_SHARE_REPLACED : PROTO_SHARE_MISSING;
	if (share->state == SHARE_SERVED && allowlist_match(&shares->allowlist, share->path, &match) == 0) {
		ret_share->state = PROTO_SHARE_SERVED;
		canonical = match.path;
		read_only = match.read_only;
	}
	ret_share->flags = flags_of(share, read_only);
	ret_share->path = strdup(share->path);
	ret_share->canonical = strdup(canonical);
	return ret_share->path == NULL || ret_share->canonical == NULL ? -ENOMEM : 0;
}

/* What guests may know of: all but what the administrator's policy denies. 0 or -ENOMEM. */
static int compose(const struct shares *shares, struct guests_share **ret_list, size_t *ret_count)
{
	struct guests_share *list = calloc(shares->list.count + 1, sizeof(*list));
	size_t count = 0;
	int r = list == NULL ? -ENOMEM : 0;

	for (size_t i = 0; i < shares->list.count && r == 0; i++)
		if (shares->list.shares[i].state != SHARE_DENIED)
			r = describe(shares, &shares->list.shares[i], &list[count++]);
	if (r < 0) {
		free_list(list, count);
		return r;
	}
	*ret_list = list;
	*ret_count = count;
	return 0;
}

static bool is_same(const struct guests_share *left, const struct guests_share *right)
{
	return left->state == right->state && left->flags == right->flags && strcmp(left->path, right->path) == 0 &&
	       strcmp(left->canonical, right->canonical) == 0;
}

void guests_look(struct guests *guests)
{
	struct guests_share *list;
	struct guest *guest, *next;
	size_t count;
	bool same;

	if (guests->closed || guests->guests == NULL)
		return; /* nobody to tell: guests_add() looks for itself */
	if (compose(guests->shares, &list, &count) < 0) {
		log_peer_warning("no memory to tell the guests of a change");
		return;
	}
	same = guests->list != NULL && count == guests->list_count;
	for (size_t i = 0; i < count && same; i++)
		same = is_same(&list[i], &guests->list[i]);
	free_list(same ? list : guests->list, same ? count : guests->list_count);
	if (same)
		return;
	guests->list = list;
	guests->list_count = count;
	guests->generation++;
	DL_FOREACH_SAFE(guests->guests, guest, next)
	{
		/* One that has just come is told by guests_add(). */
		if (uv_is_active((uv_handle_t *) &guest->timer))
			say_changed(guest);
	}
}

void guests_close(struct guests *guests)
{
	struct guest *guest, *next;

	guests->closed = true;
	DL_FOREACH_SAFE(guests->guests, guest, next)
	{
		guest_end(guest, "the server stops");
	}
	free_list(guests->list, guests->list_count);
	guests->list = NULL;
	guests->list_count = 0;
}
