/* SPDX-License-Identifier: Apache-2.0 */
/* Who may come in: a state machine for each connection that has not shown its token yet. */
#include "fileserver/broker/admission.h"

#include <errno.h>
#include <linux/vm_sockets.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

#include "protocol/cleanup.h"

/* Payloads, in bytes: no field of these varies in size. */
enum {
	HELLO_SIZE = PROTO_MOST_hello_request,
	ATTACH_SIZE = PROTO_MOST_attach_request,
	FOLLOW_SIZE = PROTO_MOST_follow_request,
	PROOF_SIZE = PROTO_MOST_proof_request,
	/* Of HELLO and FOLLOW: magic and both versions, in every version of the protocol. */
	VERSIONS_SIZE = 3 * PROTO_MOST_u32,
	/* Of the longest of REFUSE and the replies. */
	REPLY_SIZE = PROTO_HEADER_SIZE + PROTO_MOST_refuse_request,
};

enum state { STATE_OPENING, STATE_PROVING, STATE_REFUSED };

struct admission_peer {
	struct admission *admission;
	struct admission_peer *prev, *next;
	uv_poll_t poll;
	uv_timer_t timer;
	unsigned handles; /* open ones of the two above */
	int fd;
	enum state state;
	uint8_t bytes[PROTO_HEADER_SIZE + HELLO_SIZE];
	size_t have, want;
	bool header_seen;
	struct proto_header header;
	enum proto_op op; /* HELLO, ATTACH or FOLLOW */
	uint64_t session; /* ATTACH */
	struct proto_hello_request hello;
	struct proto_bytes32 expected; /* the proof that is right */
};

static void on_closed(uv_handle_t *handle)
{
	struct admission_peer *peer = handle->data;

	if (--peer->handles > 0)
		return;
	sodium_memzero(&peer->expected, sizeof(peer->expected));
	free(peer);
}

/* Lets go of the peer, with its descriptor unless that was taken. */
static void peer_end(struct admission_peer *peer)
{
	struct admission *admission = peer->admission;

	DL_DELETE(admission->peers, peer);
	uv_close((uv_handle_t *) &peer->poll, on_closed);
	uv_close((uv_handle_t *) &peer->timer, on_closed);
	peer->fd = close_fd(peer->fd);
	if (peer->state == STATE_REFUSED) {
		admission->refused--;
		return;
	}
	admission->pending--;
	if (!admission->closed)
		admission->has_room(admission->context);
}

static int send_all(int fd, struct proto_header *header, const struct proto_writer *writer)
{
	uint8_t bytes[REPLY_SIZE];
	size_t length = (size_t) (writer->next - writer->start);
	ssize_t n;

	header->length = (uint32_t) length;
	proto_header_encode(bytes, header);
	memcpy(bytes + PROTO_HEADER_SIZE, writer->start, length);
	/* The socket is new and the message small: what does not fit belongs to a peer that plays games. */
	n = send(fd, bytes, PROTO_HEADER_SIZE + length, MSG_NOSIGNAL | MSG_DONTWAIT);
	return n == (ssize_t) (PROTO_HEADER_SIZE + length) ? 0 : -EIO;
}

static void on_refused_readable(uv_poll_t *poll, int status, int events)
{
	struct admission_peer *peer = poll->data;
	char bytes[4096];
	ssize_t n = recv(peer->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		peer_end(peer);
}

static void on_refused_timeout(uv_timer_t *timer)
{
	peer_end(timer->data);
}

/* Sends REFUSE; then the peer closes, since on some transports bytes sent just before a close are lost. */
static void peer_refuse(struct admission_peer *peer, enum proto_refuse code, const char *text)
{
	struct proto_refuse_request refusal = { .code = code };
	struct proto_header header = { .op = PROTO_REFUSE, .id = 1 };
	uint8_t bytes[REPLY_SIZE - PROTO_HEADER_SIZE];
	struct admission *admission = peer->admission;
	struct proto_writer writer;

	log_peer_info("refused a connection: %s", text);
	proto_text_set(&refusal.text, text);
	proto_writer_init(&writer, bytes, sizeof(bytes));
	if (proto_encode_refuse_request(&writer, &refusal) < 0 || send_all(peer->fd, &header, &writer) < 0 ||
	    admission->refused >= ADMISSION_REFUSED_MAX ||
	    uv_poll_start(&peer->poll, UV_READABLE, on_refused_readable) < 0 ||
	    uv_timer_start(&peer->timer, on_refused_timeout, PROTO_HANDSHAKE_MS, 0) < 0) {
		peer_end(peer);
		return;
	}
	admission->refused++;
	if (peer->state != STATE_REFUSED) {
		peer->state = STATE_REFUSED;
		admission->pending--;
		if (!admission->closed)
			admission->has_room(admission->context);
	}
}

static void peer_refuse_protocol(struct admission_peer *peer)
{
	peer_refuse(peer, PROTO_REFUSE_PROTOCOL, "what the client sent makes no sense as a bindshare handshake");
}

/* No version in common: which side is the older one? */
static void peer_refuse_version(struct admission_peer *peer, uint32_t least, uint32_t most)
{
	char text[512];
	bool client_is_old = most < PROTO_VERSION_MIN;

	(void) snprintf(text, sizeof(text),
	                "No protocol version in common: the file server (bindshare %s) speaks %d to %d, the client %u "
	                "to %u. Upgrade %s.",
	                BINDSHARE_VERSION, PROTO_VERSION_MIN, PROTO_VERSION_MAX, least, most,
	                client_is_old ? "bindshare-mount in the guest" : "bindshare-fileserver on the host");
	peer_refuse(peer, PROTO_REFUSE_VERSION, text);
}

static void peer_expect(struct admission_peer *peer, enum state state)
{
	peer->state = state;
	peer->have = 0;
	peer->want = PROTO_HEADER_SIZE;
	peer->header_seen = false;
}

/* Sends the reply to what opened the handshake, remembers which proof would be right, waits for PROOF. */
static void peer_challenge(struct admission_peer *peer, const struct proto_bytes32 *client_nonce)
{
	const struct admission *admission = peer->admission;
	const struct proto_token *token = &admission->token;
	const uint8_t *opening = peer->bytes + PROTO_HEADER_SIZE;
	struct proto_header header = { .op = (uint16_t) peer->op, .flags = PROTO_FRAME_REPLY, .id = peer->header.id };
	struct proto_bytes32 nonce, proof;
	struct proto_writer writer;
	uint8_t bytes[PROTO_MOST_hello_reply]; /* the longest */

	if (peer->op == PROTO_ATTACH && admission->token_of != NULL)
		token = admission->token_of(admission->context, peer->session);
	randombytes_buf(nonce.bytes, sizeof(nonce.bytes));
	proto_proof(token, "server", client_nonce, &nonce, opening, peer->header.length, &proof);
	proto_proof(token, "client", client_nonce, &nonce, opening, peer->header.length, &peer->expected);
	proto_writer_init(&writer, bytes, sizeof(bytes));
	if (peer->op == PROTO_HELLO) {
		struct proto_hello_reply reply = {
			.version = PROTO_VERSION_MAX,
			.features = peer->hello.features & PROTO_FEATURE_ALL,
			.nonce = nonce,
			.proof = proof,
		};

		(void) proto_encode_hello_reply(&writer, &reply);
	} else if (peer->op == PROTO_FOLLOW) {
		struct proto_follow_reply reply = { .version = PROTO_VERSION_MAX, .nonce = nonce, .proof = proof };

		(void) proto_encode_follow_reply(&writer, &reply);
	} else {
		struct proto_attach_reply reply = { .nonce = nonce, .proof = proof };

		(void) proto_encode_attach_reply(&writer, &reply);
	}
	if (send_all(peer->fd, &header, &writer) < 0) {
		peer_end(peer);
		return;
	}
	peer_expect(peer, STATE_PROVING);
	(void) uv_timer_again(&peer->timer);
}

/* Of a HELLO or FOLLOW. False: the peer was refused. */
static bool take_versions(struct admission_peer *peer)
{
	struct proto_reader reader;
	uint32_t magic, least, most;

	proto_reader_init(&reader, peer->bytes + PROTO_HEADER_SIZE, peer->want - PROTO_HEADER_SIZE,
	                  peer->want - PROTO_HEADER_SIZE);
	proto_get_u32(&reader, &magic);
	proto_get_u32(&reader, &least);
	proto_get_u32(&reader, &most);
	if (reader.error != 0 || magic != PROTO_MAGIC || least > most) {
		peer_refuse_protocol(peer);
		return false;
	}
	if (least > PROTO_VERSION_MAX || most < PROTO_VERSION_MIN) {
		peer_refuse_version(peer, least, most);
		return false;
	}
	return true;
}

static void take_hello(struct admission_peer *peer)
{
	struct proto_reader reader;

	if (!take_versions(peer))
		return;
	proto_reader_init(&reader, peer->bytes + PROTO_HEADER_SIZE, HELLO_SIZE, HELLO_SIZE);
	if (peer->header.length != HELLO_SIZE || proto_decode_hello_request(&reader, &peer->hello) < 0 ||
	    (peer->hello.flags & ~(unsigned) PROTO_HELLO_ALL) != 0)
		peer_refuse_protocol(peer);
	else
		peer_challenge(peer, &peer->hello.nonce);
}

static void take_follow(struct admission_peer *peer)
{
	struct proto_follow_request follow;
	struct proto_reader reader;

	if (!take_versions(peer))
		return;
	proto_reader_init(&reader, peer->bytes + PROTO_HEADER_SIZE, FOLLOW_SIZE, FOLLOW_SIZE);
	if (peer->header.length != FOLLOW_SIZE || proto_decode_follow_request(&reader, &follow) < 0)
		peer_refuse_protocol(peer);
	else
		peer_challenge(peer, &follow.nonce);
}

static void take_attach(struct admission_peer *peer)
{
	struct proto_attach_request attach;
	struct proto_reader reader;

	proto_reader_init(&reader, peer->bytes + PROTO_HEADER_SIZE, peer->header.length, peer->header.length);
	if (proto_decode_attach_request(&reader, &attach) < 0 || attach.magic != PROTO_MAGIC) {
		peer_refuse_protocol(peer);
	} else if (attach.version < PROTO_VERSION_MIN || attach.version > PROTO_VERSION_MAX) {
		peer_refuse_version(peer, attach.version, attach.version);
	} else {
		peer->session = attach.session;
		peer_challenge(peer, &attach.nonce);
	}
}

static void take_proof(struct admission_peer *peer)
{
	struct admission *admission = peer->admission;
	struct proto_proof_request proof;
	struct proto_refusal refusal = { .code = PROTO_REFUSE_INTERNAL };
	struct proto_reader reader;
	int r;

	proto_reader_init(&reader, peer->bytes + PROTO_HEADER_SIZE, PROOF_SIZE, PROOF_SIZE);
	if (proto_decode_proof_request(&reader, &proof) < 0) {
		peer_refuse_protocol(peer);
		return;
	}
	if (!proto_proof_equal(&proof.proof, &peer->expected)) {
		peer_refuse(peer, PROTO_REFUSE_PROOF,
		            "The client does not hold the server's token. Give both the same token file.");
		return;
	}
	(void) uv_poll_stop(&peer->poll);
	if (peer->op == PROTO_HELLO)
		r = admission->open(admission->context, peer->fd, &peer->hello, peer->header.id, &refusal);
	else if (peer->op == PROTO_FOLLOW)
		r = admission->follow(admission->context, peer->fd, &refusal);
	else
		r = admission->attach(admission->context, peer->fd, peer->session, peer->header.id, &refusal);
	if (r < 0) {
		peer_refuse(peer, refusal.code, refusal.text);
		return;
	}
	(void) TAKE_FD(peer->fd);
	peer_end(peer);
}

/* What may come in this state, and how long it is. 0 or -EBADMSG. */
static int take_header(struct admission_peer *peer)
{
	struct proto_header *header = &peer->header;

	if (proto_header_decode(peer->bytes, header) < 0 || (header->flags & PROTO_FRAME_REPLY) != 0)
		return -EBADMSG;
	peer->header_seen = true;
	if (peer->state == STATE_PROVING) {
		if (header->op != PROTO_PROOF || header->length != PROOF_SIZE)
			return -EBADMSG;
		peer->want += header->length;
		return 0;
	}
	peer->op = header->op;
	if ((header->op == PROTO_HELLO || header->op == PROTO_FOLLOW) && header->length >= VERSIONS_SIZE) {
		size_t size = header->op == PROTO_HELLO ? HELLO_SIZE : FOLLOW_SIZE;

		/* Of one of another version's size only the versions are looked at. */
		peer->want += header->length == size ? size : VERSIONS_SIZE;
		return 0;
	}
	if (header->op != PROTO_ATTACH || header->length != ATTACH_SIZE)
		return -EBADMSG;
	peer->want += header->length;
	return 0;
}

static void take_message(struct admission_peer *peer)
{
	if (peer->state == STATE_PROVING)
		take_proof(peer);
	else if (peer->op == PROTO_HELLO)
		take_hello(peer);
	else if (peer->op == PROTO_FOLLOW)
		take_follow(peer);
	else
		take_attach(peer);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct admission_peer *peer = poll->data;
	ssize_t n = recv(peer->fd, peer->bytes + peer->have, peer->want - peer->have, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		peer_end(peer);
		return;
	}
	peer->have += (size_t) n;
	if (peer->have < peer->want)
		return;
	if (peer->header_seen)
		take_message(peer);
	else if (take_header(peer) < 0)
		peer_refuse_protocol(peer);
}

static void on_timeout(uv_timer_t *timer)
{
	struct admission_peer *peer = timer->data;

	log_peer_info("a connection did not finish its handshake within %d ms", PROTO_HANDSHAKE_MS);
	peer_end(peer);
}

bool admission_trusts(const struct admission *admission, uint32_t cid, uint32_t port)
{
	/* Ports below 1024 are for root of the guest; the same as the client's choice in address.c. */
	if (port >= 1024)
		return false;
	for (size_t i = 0; i < admission->cid_count; i++)
		if (admission->cids[i] == cid)
			return true;
	return false;
}

/* What the socket itself tells of the peer. NULL, or why it is not trusted. */
static const char *distrust(const struct admission *admission, int fd)
{
	struct sockaddr_vm vm = { 0 };
	struct ucred credentials;
	socklen_t length = sizeof(vm);

	if (admission->kind == PROTO_ADDRESS_VSOCK) {
		if (getpeername(fd, (struct sockaddr *) &vm, &length) < 0 || vm.svm_family != AF_VSOCK)
			return "The peer has no vsock address.";
		if (!admission_trusts(admission, vm.svm_cid, vm.svm_port))
			return "The peer is not trusted: its CID is not one that the server was told with --trust-cid, "
			       "or it is not root of its guest.";
	}
	if (admission->check_credentials) {
		length = sizeof(credentials);
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) < 0 ||
		    (credentials.uid != 0 && credentials.uid != geteuid()))
			return "The peer is not trusted: it is neither root nor the user that the server runs as.";
	}
	return NULL;
}

/* Takes fd. NULL: there is no memory, or the descriptor is of no use; it is closed. */
static struct admission_peer *peer_new(struct admission *admission, int fd)
{
	struct admission_peer *peer = calloc(1, sizeof(*peer));

	if (peer == NULL || uv_poll_init(admission->loop, &peer->poll, fd) < 0) {
		free(peer);
		close_fd(fd);
		return NULL;
	}
	(void) uv_timer_init(admission->loop, &peer->timer);
	peer->poll.data = peer->timer.data = peer;
	peer->handles = 2;
	peer->admission = admission;
	peer->fd = fd;
	DL_APPEND(admission->peers, peer);
	return peer;
}

void admission_begin(struct admission *admission, int fd)
{
	struct admission_peer *peer = peer_new(admission, fd);
	const char *why;

	if (peer == NULL)
		return;
	admission->pending++;
	peer_expect(peer, STATE_OPENING);
	why = distrust(admission, fd);
	if (why != NULL)
		peer_refuse(peer, PROTO_REFUSE_PROOF, why);
	else if (uv_timer_start(&peer->timer, on_timeout, PROTO_HANDSHAKE_MS, PROTO_HANDSHAKE_MS) < 0 ||
	         uv_poll_start(&peer->poll, UV_READABLE, on_readable) < 0)
		peer_end(peer);
}

bool admission_is_full(const struct admission *admission)
{
	return admission->pending >= ADMISSION_PENDING_MAX;
}

void admission_refuse(struct admission *admission, int fd, enum proto_refuse code, const char *text)
{
	struct admission_peer *peer;

	if (admission->closed) {
		close_fd(fd);
		return;
	}
	peer = peer_new(admission, fd);
	if (peer == NULL)
		return;
	admission->pending++;
	peer_refuse(peer, code, text);
}

void admission_close(struct admission *admission)
{
	struct admission_peer *peer, *next;

	admission->closed = true;
	DL_FOREACH_SAFE(admission->peers, peer, next)
	{
		peer_end(peer);
	}
}
