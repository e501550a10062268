/* SPDX-License-Identifier: Apache-2.0 */
/* The authorization plugin as dockerd speaks to it: HTTP over a unix socket, with a guestd that is played. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <sodium.h>

#include <cmocka.h>

#include "guest-fuse/agent/plugin.h"
#include "protocol/cleanup.h"
#include "protocol/log.h"
#include "tests/support/scratch.h"

static struct guest_config config;
static struct plugin *plugin;
static char reply[8192], error[4096];

static int start(void)
{
	const struct plugin_options options = { .config = &config, .path = config.plugin_socket, .fd = -EBADF };

	return plugin_start(&options, &plugin, error, sizeof(error));
}

static int set_up(void **state)
{
	(void) scratch_make();
	(void) scratch_directory("run");
	assert_int_equal(guest_config_default(&config), 0);
	free(config.run_directory);
	free(config.plugin_socket);
	config.run_directory = strdup(scratch_path("run"));
	config.plugin_socket = strdup(scratch_path("made/plugin.sock"));
	config.wait_ms = 0;
	plugin = NULL;
	assert_int_equal(start(), 0);
	return 0;
}

static int tear_down(void **state)
{
	plugin_stop(plugin);
	plugin_stop(NULL);
	guest_config_done(&config);
	scratch_remove();
	return 0;
}

static int connect_to(const char *path)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void) snprintf(name.sun_path, sizeof(name.sun_path), "%s", path);
	assert_int_equal(connect(fd, (struct sockaddr *) &name, sizeof(name)), 0);
	return fd;
}

/* Sends a request; the status. What came is in reply. */
static int ask(const char *method, const char *path, const char *body)
{
	_cleanup_close_ int fd = connect_to(config.plugin_socket);
	char head[512];
	size_t have = 0;
	ssize_t n;

	(void) snprintf(head, sizeof(head),
	                "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n", method, path,
	                strlen(body));
	assert_int_equal(send(fd, head, strlen(head), MSG_NOSIGNAL), strlen(head));
	/* One that is too long need not be read to its end. */
	for (size_t sent = 0; sent < strlen(body); sent += (size_t) n) {
		n = send(fd, body + sent, strlen(body) - sent, MSG_NOSIGNAL);
		if (n < 0)
			break;
	}
	while (have < sizeof(reply) - 1 && (n = recv(fd, reply + have, sizeof(reply) - 1 - have, 0)) > 0)
		have += (size_t) n;
	reply[have] = '\0';
	assert_int_equal(strncmp(reply, "HTTP/1.1 ", 9), 0);
	return atoi(reply + 9);
}

/* dockerd's words about a container that binds /work. */
static int ask_about_bind(void)
{
	static const char client[] = "{\"HostConfig\":{\"Binds\":[\"/work:/x\"]}}";
	char base64[256], body[512];

	sodium_bin2base64(base64, sizeof(base64), (const unsigned char *) client, strlen(client),
	                  sodium_base64_VARIANT_ORIGINAL);
	(void) snprintf(
	        body, sizeof(body),
	        "{\"RequestMethod\":\"POST\",\"RequestUri\":\"/v1.41/containers/create\",\"RequestBody\":\"%s\"}",
	        base64);
	return ask("POST", "/AuthZPlugin.AuthZReq", body);
}

/* A guestd that answers each question with the same line. */
struct guestd {
	int listener;
	unsigned questions; /* that it answers before it ends */
	const char *line;
	char last[1024];
};

static void *answer(void *argument)
{
	struct guestd *guestd = argument;

	for (unsigned i = 0; i < guestd->questions; i++) {
		_cleanup_close_ int fd = accept4(guestd->listener, NULL, NULL, SOCK_CLOEXEC);
		ssize_t n = fd < 0 ? -1 : recv(fd, guestd->last, sizeof(guestd->last) - 1, 0);

		guestd->last[n < 0 ? 0 : n] = '\0';
		if (fd >= 0)
			(void) send(fd, guestd->line, strlen(guestd->line), MSG_NOSIGNAL);
	}
	return NULL;
}

static int ask_with_guestd(struct guestd *guestd)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	pthread_t thread;
	int status;

	(void) snprintf(name.sun_path, sizeof(name.sun_path), "%s", scratch_path("run/guestd.sock"));
	guestd->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(guestd->listener, (struct sockaddr *) &name, sizeof(name)), 0);
	assert_int_equal(listen(guestd->listener, 4), 0);
	assert_int_equal(pthread_create(&thread, NULL, answer, guestd), 0);
	status = ask_about_bind();
	(void) shutdown(guestd->listener, SHUT_RDWR);
	assert_int_equal(pthread_join(thread, NULL), 0);
	close_fd(guestd->listener);
	assert_int_equal(unlink(name.sun_path), 0);
	return status;
}

static void it_says_what_it_is(void **state)
{
	assert_int_equal(ask("POST", "/Plugin.Activate", ""), 200);
	assert_non_null(strstr(reply, "{\"Implements\":[\"authz\"]}"));
	assert_int_equal(ask("POST", "/AuthZPlugin.AuthZRes", "{}"), 200);
	assert_non_null(strstr(reply, "{\"Allow\":true}"));
}

static void what_it_does_not_know_is_refused(void **state)
{
	assert_int_equal(ask("POST", "/Other", "{}"), 404);
	assert_non_null(strstr(reply, "{\"Err\":\"there are "));
	assert_int_equal(ask("GET", "/Plugin.Activate", ""), 405);
	assert_int_equal(ask("POST", "/AuthZPlugin.AuthZReq", "nonsense"), 400);
	assert_non_null(strstr(reply, "no JSON with RequestMethod"));
	assert_int_equal(ask("POST", "/AuthZPlugin.AuthZReq", ""), 400);
}

static void a_body_has_so_many_bytes_at_most(void **state)
{
	size_t size = 4 * 1024 * 1024 + 1;
	char *body = malloc(size + 1);

	memset(body, ' ', size);
	body[size] = '\0';
	assert_int_equal(ask("POST", "/AuthZPlugin.AuthZReq", body), 413);
	free(body);
}

static void what_binds_nothing_is_allowed_without_guestd(void **state)
{
	assert_int_equal(ask("POST", "/AuthZPlugin.AuthZReq",
	                     "{\"RequestMethod\":\"GET\",\"RequestUri\":\"/v1.41/containers/json\"}"),
	                 200);
	assert_non_null(strstr(reply, "{\"Allow\":true}"));
}

static void a_bind_is_denied_where_guestd_is_not_there(void **state)
{
	assert_int_equal(ask_about_bind(), 200);
	assert_non_null(strstr(reply, "{\"Allow\":false,\"Msg\":\"Mounts denied: bindshare-guestd is not running"));
}

static void a_bind_is_decided_by_guestd(void **state)
{
	struct guestd yes = { .questions = 1, .line = "{\"ok\":true,\"binds\":[{\"verdict\":\"own\"}]}\n" };
	struct guestd no = { .questions = 1,
		             .line = "{\"ok\":true,\"binds\":[{\"verdict\":\"refused\",\"text\":\"not shared\"}]}\n" };

	assert_int_equal(ask_with_guestd(&yes), 200);
	assert_non_null(strstr(reply, "{\"Allow\":true}"));
	assert_non_null(strstr(yes.last, "\"path\":\"/work\""));
	assert_non_null(strstr(yes.last, "\"make\":false"));
	assert_int_equal(ask_with_guestd(&no), 200);
	assert_non_null(strstr(reply, "{\"Allow\":false,\"Msg\":\"not shared\"}"));
}

static void what_is_missing_is_made_when_all_is_allowed(void **state)
{
	struct guestd guestd = {
		.questions = 2,
		.line = "{\"ok\":true,\"binds\":[{\"verdict\":\"share\",\"kind\":\"missing\",\"share\":\"/"
		        "work\",\"rest\":\"\",\"identical\":true}]}\n"
	};

	assert_int_equal(ask_with_guestd(&guestd), 200);
	assert_non_null(strstr(reply, "{\"Allow\":true}"));
	assert_non_null(strstr(guestd.last, "\"make\":true"));
}

static void its_socket_is_roots_alone_and_goes_with_it(void **state)
{
	struct stat st;

	assert_int_equal(stat(config.plugin_socket, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	plugin_stop(plugin);
	plugin = NULL;
	assert_int_equal(stat(config.plugin_socket, &st), -1);
}

static void a_second_one_is_told_that_there_is_one(void **state)
{
	struct plugin *first = plugin;

	assert_int_equal(start(), -EADDRINUSE);
	assert_non_null(strstr(error, "another one does"));
	plugin = first;
	assert_int_equal(ask("POST", "/Plugin.Activate", ""), 200);
}

static void a_socket_that_was_left_is_replaced(void **state)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	plugin_stop(plugin);
	plugin = NULL;
	(void) snprintf(name.sun_path, sizeof(name.sun_path), "%s", config.plugin_socket);
	assert_int_equal(bind(fd, (struct sockaddr *) &name, sizeof(name)), 0);
	assert_int_equal(start(), 0);
	assert_int_equal(ask("POST", "/Plugin.Activate", ""), 200);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(it_says_what_it_is),
		CASE(what_it_does_not_know_is_refused),
		CASE(a_body_has_so_many_bytes_at_most),
		CASE(what_binds_nothing_is_allowed_without_guestd),
		CASE(a_bind_is_denied_where_guestd_is_not_there),
		CASE(a_bind_is_decided_by_guestd),
		CASE(what_is_missing_is_made_when_all_is_allowed),
		CASE(its_socket_is_roots_alone_and_goes_with_it),
		CASE(a_second_one_is_told_that_there_is_one),
		CASE(a_socket_that_was_left_is_replaced),
	};

	log_init("test-agent-plugin", LOG_LEVEL_ERROR);
	if (sodium_init() < 0)
		return EXIT_FAILURE;
	return cmocka_run_group_tests_name("plugin", tests, NULL, NULL);
}
