/* SPDX-License-Identifier: Apache-2.0 */
/* Serves a session: making it, its threads, its end. */
#include "fileserver/worker/service.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fileserver/worker/host/attributes.h"
#include "fileserver/worker/host/lift.h"
#include "fileserver/worker/leases/leases.h"
#include "fileserver/worker/nodes/ids.h"
#include "fileserver/worker/host/reach.h"
#include "protocol/cleanup.h"
#include "protocol/clock.h"
#include "protocol/faults.h"
#include "protocol/log.h"

enum { THREAD_STACK = 256 * 1024, DRAIN_MS = 2000 };

static int pin(void *context, int directory, const char *name)
{
	return reach_pin(context, directory, name);
}

static void init_locks(struct service *service)
{
	lock_init(&service->lock);
	lock_init(&service->event_lock);
	lock_init(&service->session.link_owners_lock);
	lock_condition_init(&service->thread_ended);
}

/* Initialises the parts of a session that need no descriptor. */
static void init_session(struct session *session, const struct worker_config *config, struct proto_counters *counters)
{
	session->config = *config;
	session->read_only = (config->flags & PROTO_HELLO_READ_ONLY) != 0;
	session->uid = geteuid();
	session->may_lift = lift_possible(session->uid);
	session->counters = counters;
	session->nodes_limit = config->nodes_max;
	session->descriptors_limit = config->descriptors_max;
	sync_init(&session->sync);
}

static int send_invalidate(void *context, const struct proto_invalidate_request *message)
{
	struct service *service = context;
	uint8_t memory[PROTO_MOST_invalidate_request];
	struct proto_header header = { .op = PROTO_INVALIDATE, .id = message->sequence };
	struct proto_writer writer;
	int r;

	proto_writer_init(&writer, memory, sizeof(memory));
	r = proto_encode_invalidate_request(&writer, message);
	return r < 0 ? r : service_send_event(service, &header, &writer);
}

static void on_synced(void *context, uint64_t ticket)
{
	struct service *service = context;
	const struct leases *leases = service->session.leases;
	/* A request that is being served may have read already what it replies. The order of the two looks counts. */
	bool all = leases == NULL || atomic_load(&service->working) > 0;

	if (service->synced != NULL)
		service->synced(ticket, all ? PROTO_KEEP_MS : leases_kept_for(leases));
}

void service_sync(struct service *service, uint64_t ticket)
{
	if (service->session.leases != NULL)
		leases_sync(service->session.leases, ticket);
	else
		on_synced(service, ticket);
}

/* Without leases the guest keeps everything for a second at most. */
static void init_leases(struct service *service, int root)
{
	struct session *session = &service->session;
	const struct leases_sink sink = { .send = send_invalidate, .synced = on_synced, .context = service };
	bool wanted = (session->config.features & PROTO_FEATURE_LEASES) != 0;
	int r = wanted ? leases_new(session->nodes, root, session->config.watches_max, &sink, session->counters,
	                            &session->leases)
	               : 0;

	if (r < 0)
		log_info("no leases: %s", strerror(-r));
	if (r < 0 || !wanted)
		atomic_store(&session->counters->leases_state, wanted ? LEASES_NO_WATCH : LEASES_NOT_ASKED);
}

int service_new(const struct worker_config *config, int root, int event, struct proto_counters *counters,
                struct service **ret_service)
{
	struct service *service = FAULT_NULL(WORKER_SESSION, calloc(1, sizeof(*service)));
	struct session *session;
	int r;

	if (service == NULL)
		return -ENOMEM;
	session = &service->session;
	service->event.fd = -EBADF;
	init_locks(service);
	init_session(session, config, counters);
	service->end_fd = FAULT(WORKER_END, eventfd(0, EFD_CLOEXEC));
	r = service->end_fd < 0 ? -errno : 0;
	if (r == 0)
		r = proto_channel_init(&service->event, event, PROTO_MOST_EVENT + PROTO_HEADER_SIZE,
		                       (int) config->heartbeat_ms);
	if (r == 0)
		r = nodes_new(root, config->nodes_max, config->descriptors_max, counters, &session->nodes);
	if (r == 0)
		init_leases(service, root);
	protect_init(&session->protect, session->nodes);
	space_init(&session->space, session->nodes, config->disk_reserve);
	if (r < 0) {
		/* On failure the caller keeps the descriptor. */
		service->event.fd = -EBADF;
		service_free(service);
		return r;
	}
	session->sync_at_close = attributes_late_errors(root);
	nodes_set_pin(session->nodes, pin, session);
	*ret_service = service;
	return 0;
}

void service_free(struct service *service)
{
	if (service == NULL)
		return;
	close_fd(service->end_fd);
	proto_channel_done(&service->event);
	nodes_free(service->session.nodes);
	leases_free(service->session.leases);
	protect_done(&service->session.protect);
	space_done(&service->session.space);
	sync_done(&service->session.sync);
	pthread_cond_destroy(&service->thread_ended);
	lock_done(&service->session.link_owners_lock);
	lock_done(&service->event_lock);
	lock_done(&service->lock);
	free(service);
}

int service_run(struct service *service, void *(*run)(void *), void *argument)
{
	pthread_attr_t attributes;
	pthread_t thread;
	int r;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, THREAD_STACK);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	service->threads++;
	r = FAULT_NUMBER(WORKER_THREAD, pthread_create(&thread, &attributes, run, argument));
	if (r != 0)
		service->threads--;
	pthread_attr_destroy(&attributes);
	return -r;
}

void service_thread_ended(struct service *service)
{
	lock_take(&service->lock);
	service->threads--;
	pthread_cond_broadcast(&service->thread_ended);
	lock_give(&service->lock);
}

int service_welcome(struct service *service, struct proto_channel *channel, uint64_t proof_id, uint32_t number)
{
	struct session *session = &service->session;
	uint8_t memory[PROTO_MOST_proof_reply];
	struct proto_header header = { .op = PROTO_PROOF, .flags = PROTO_FRAME_REPLY, .id = proof_id };
	struct proto_proof_reply welcome = {
		.session = session->config.session,
		.lane = number,
		.lanes_max = session->config.lanes_max,
		.heartbeat_ms = session->config.heartbeat_ms,
		.block_size = 4096,
		.nodes_max = session->config.nodes_max,
		.flags = (session_is_read_only(session) ? PROTO_WELCOME_READ_ONLY : 0U) |
		         (session->sync_at_close ? PROTO_WELCOME_SYNC_AT_CLOSE : 0U),
		.root = { .node = nodes_root(session->nodes) },
	};
	struct proto_writer writer;
	struct node *node;
	struct node_fd fd;
	int r = nodes_get(session->nodes, welcome.root.node, &node);

	if (r < 0)
		return r;
	r = nodes_fd(session->nodes, node, &fd);
	if (r == 0) {
		r = attributes_of(session, node, fd.fd, &welcome.root.attr, NULL);
		nodes_fd_done(session->nodes, &fd);
	}
	nodes_put(session->nodes, node);
	proto_writer_init(&writer, memory, sizeof(memory));
	if (r == 0)
		r = proto_encode_proof_reply(&writer, &welcome);
	return r < 0 ? r : proto_channel_send(channel, &header, &writer);
}

int service_send_event(struct service *service, struct proto_header *header, const struct proto_writer *writer)
{
	int r;

	lock_take(&service->event_lock);
	r = proto_channel_send(&service->event, header, writer);
	lock_give(&service->event_lock);
	return r;
}

static void say_goodbye(struct service *service, enum proto_goodbye code, const char *text)
{
	uint8_t memory[PROTO_MOST_goodbye_request];
	struct proto_header header = { .op = PROTO_GOODBYE, .id = 1 };
	struct proto_goodbye_request goodbye = { .code = code };
	struct proto_writer writer;

	proto_text_set(&goodbye.text, text);
	proto_writer_init(&writer, memory, sizeof(memory));
	if (proto_encode_goodbye_request(&writer, &goodbye) == 0)
		(void) service_send_event(service, &header, &writer);
}

void service_end(struct service *service, enum proto_goodbye code, const char *text)
{
	if (atomic_exchange(&service->ended, true))
		return;
	say_goodbye(service, code, text);
	lock_take(&service->lock);
	for (size_t i = 0; i < ARRAY_SIZE(service->lanes); i++)
		if (service->lanes[i] != NULL)
			proto_channel_kill(&service->lanes[i]->channel);
	lock_give(&service->lock);
	(void) eventfd_write(service->end_fd, 1);
}

void service_broken(struct service *service, const char *what)
{
	log_peer_warning("session %016llx: the guest broke the protocol (%s); the session ends",
	                 (unsigned long long) service->session.config.session, what);
	atomic_store(&service->blamed, true);
	service_end(service, PROTO_GOODBYE_PROTOCOL, what);
}

static bool wait_for_threads(struct service *service, int timeout_ms)
{
	const struct timespec until = clock_deadline_ms(timeout_ms);
	bool all;
	int r = 0;

	lock_take(&service->lock);
	while (service->threads > 0 && r == 0)
		r = lock_wait_until(&service->lock, &service->thread_ended, &until);
	all = service->threads == 0;
	lock_give(&service->lock);
	return all;
}

bool service_stop(struct service *service)
{
	service_end(service, PROTO_GOODBYE_DONE, "");
	if (wait_for_threads(service, DRAIN_MS))
		return true;
	proto_channel_kill(&service->event);
	return wait_for_threads(service, DRAIN_MS);
}
