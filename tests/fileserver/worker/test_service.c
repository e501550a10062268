/* SPDX-License-Identifier: Apache-2.0 */
/* Serving a session: who owns what when it begins or cannot begin, and that it ends once. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/worker/service.h"
#include "tests/fileserver/worker/inside.h"

/* Whatever a request does, nothing stays in use. */
static int tear_down(void **state)
{
	inside_is_idle(*state);
	return inside_tear_down(state);
}

static struct proto_counters counters;

/* A service without threads. ret_event: the guest's side. The answer of service_new(). */
static int make(struct share *share, int root, int *ret_event, struct service **ret_service)
{
	struct worker_config config = inside_session(share)->config;
	int fds[2], r;

	*ret_service = NULL;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	*ret_event = fds[0];
	r = service_new(&config, root, fds[1], &counters, ret_service);
	if (r < 0) {
		/* It stays the caller's. */
		assert_true(fcntl(fds[1], F_GETFD) >= 0);
		close(fds[1]);
	}
	return r;
}

static int open_root(struct share *share)
{
	return open(share->directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static void what_was_given_is_its_own_until_it_is_freed(void **state)
{
	struct share *share = *state;
	int root = open_root(share), event;
	struct service *service;
	char byte;

	assert_int_equal(make(share, root, &event, &service), 0);
	assert_true(fcntl(root, F_GETFD) >= 0);
	assert_true(service->session.uid == geteuid());
	assert_false(session_is_read_only(&service->session));
	service_free(service);
	assert_true(fcntl(root, F_GETFD) < 0);
	assert_int_equal(read(event, &byte, 1), 0);
	close(event);
	service_free(NULL);
}

static void where_it_cannot_begin_everything_stays_the_callers(void **state)
{
	struct share *share = *state;
	int event;
	struct service *service;

	assert_int_equal(make(share, -EBADF, &event, &service), -EBADF);
	assert_null(service);
	close(event);
}

static void a_read_only_share_is_so_from_the_start(void **state)
{
	struct share *share = *state;
	int event;
	struct service *service;

	inside_session(share)->config.flags = PROTO_HELLO_READ_ONLY;
	assert_int_equal(make(share, open_root(share), &event, &service), 0);
	assert_true(session_is_read_only(&service->session));
	service_free(service);
	close(event);
}

static void a_welcome_tells_the_root_and_the_sessions_figures(void **state)
{
	struct share *share = *state;
	static struct raw guest;
	struct proto_proof_reply welcome;
	struct service *service;
	int event;

	inside_session(share)->config.flags = PROTO_HELLO_READ_ONLY;
	assert_int_equal(make(share, open_root(share), &event, &service), 0);
	assert_int_equal(raw_init(&guest, event), 0);
	assert_int_equal(service_welcome(service, &service->event, 1, 7), 0);
	assert_int_equal(raw_welcome(&guest, &welcome), 0);
	assert_int_equal(welcome.lane, 7);
	assert_int_equal(welcome.session, 77);
	assert_int_equal(welcome.lanes_max, 8);
	assert_int_equal(welcome.nodes_max, share_nodes_max);
	assert_true((welcome.flags & PROTO_WELCOME_READ_ONLY) != 0);
	assert_true(welcome.root.node == nodes_root(service->session.nodes));
	assert_true(welcome.root.attr.ino == inside_stat(share, ".").st_ino);
	assert_true(S_ISDIR(welcome.root.attr.mode));
	/* from then on it is read-only or not as it is by now */
	atomic_store(&service->session.read_only, false);
	assert_int_equal(service_welcome(service, &service->event, 1, 8), 0);
	assert_int_equal(raw_welcome(&guest, &welcome), 0);
	assert_true((welcome.flags & PROTO_WELCOME_READ_ONLY) == 0);
	raw_done(&guest);
	service_free(service);
}

static void the_first_end_counts(void **state)
{
	struct share *share = *state;
	static struct raw guest;
	struct service *service;
	int event;
	uint64_t ended;

	assert_int_equal(make(share, open_root(share), &event, &service), 0);
	assert_int_equal(raw_init(&guest, event), 0);
	service_end(service, PROTO_GOODBYE_REVOKED, "first");
	service_end(service, PROTO_GOODBYE_DONE, "second");
	service_broken(service, "third");
	assert_int_equal(raw_wait_goodbye(&guest), PROTO_GOODBYE_REVOKED);
	assert_int_equal(eventfd_read(service->end_fd, &ended), 0);
	assert_true(ended == 1);
	assert_true(service_stop(service)); /* there is no thread */
	service_free(service);
	/* and nothing was said after it */
	assert_true(raw_wait_goodbye(&guest) < 0);
	raw_done(&guest);
}

/* Written by a thread of the session. */
static struct {
	_Atomic uint64_t ticket;
	_Atomic uint32_t kept_ms;
} synced;

static void on_synced(uint64_t ticket, uint32_t kept_ms)
{
	atomic_store(&synced.kept_ms, kept_ms);
	atomic_store(&synced.ticket, ticket);
}

static void wait_synced(void)
{
	for (unsigned i = 0; atomic_load(&synced.ticket) == 0; i++) {
		assert_true(i < 10000);
		(void) usleep(1000);
	}
}

static void a_sync_without_leases_tells_how_long_everything_is_kept(void **state)
{
	struct share *share = *state;
	struct service *service;
	int event;

	assert_int_equal(make(share, open_root(share), &event, &service), 0);
	service_sync(service, 3); /* nobody is told */
	service->synced = on_synced;
	service_sync(service, 4);
	assert_int_equal(synced.ticket, 4);
	assert_int_equal(synced.kept_ms, PROTO_KEEP_MS);
	service_free(service);
	close(event);
}

static void a_sync_with_leases_waits_for_what_may_be_read_already(void **state)
{
	struct share *share;
	struct service *service;

	share_features = PROTO_FEATURE_LEASES;
	share = share_new(0, 1000);
	share_features = 0;
	assert_non_null(share);
	service = share->service;
	synced.ticket = 0;
	service->synced = on_synced;
	service_sync(service, 5);
	wait_synced();
	assert_int_equal(synced.kept_ms, 0);
	/* A request is being served. */
	synced.ticket = 0;
	atomic_fetch_add(&service->working, 1);
	service_sync(service, 6);
	wait_synced();
	assert_int_equal(synced.kept_ms, PROTO_KEEP_MS);
	atomic_fetch_sub(&service->working, 1);
	share_free(share);
}

static void a_broken_protocol_is_the_guests_fault_and_closes_its_lanes(void **state)
{
	struct share *share = *state;

	/* until the lane waits for a request: one that does not would see the end by itself */
	usleep(20000);
	service_broken(share->service, "test");
	assert_int_equal(raw_wait_goodbye(&share->event), PROTO_GOODBYE_PROTOCOL);
	assert_true(raw_closed(&share->raw, 5000));
	assert_true(atomic_load(&share->service->blamed));
}

static _Atomic bool held;

static void *hold(void *argument)
{
	while (atomic_load(&held))
		usleep(1000);
	service_thread_ended(argument);
	return NULL;
}

static void the_end_waits_for_every_thread(void **state)
{
	struct share *share = *state;
	struct service *service;
	int event;

	assert_int_equal(make(share, open_root(share), &event, &service), 0);
	atomic_store(&held, true);
	lock_take(&service->lock);
	assert_int_equal(service_run(service, hold, service), 0);
	assert_int_equal(service_run(service, hold, service), 0);
	assert_int_equal(service->threads, 2);
	lock_give(&service->lock);
	service_end(service, PROTO_GOODBYE_DONE, "");
	atomic_store(&held, false);
	assert_true(service_stop(service));
	assert_int_equal(service->threads, 0);
	service_free(service);
	close(event);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, inside_set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_was_given_is_its_own_until_it_is_freed),
		TEST(where_it_cannot_begin_everything_stays_the_callers),
		TEST(a_read_only_share_is_so_from_the_start),
		TEST(a_welcome_tells_the_root_and_the_sessions_figures),
		TEST(the_first_end_counts),
		TEST(a_broken_protocol_is_the_guests_fault_and_closes_its_lanes),
		TEST(the_end_waits_for_every_thread),
		TEST(a_sync_without_leases_tells_how_long_everything_is_kept),
		TEST(a_sync_with_leases_waits_for_what_may_be_read_already),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
