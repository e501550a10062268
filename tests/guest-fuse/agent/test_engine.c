/* SPDX-License-Identifier: Apache-2.0 */
/* Which requests to the engine bind something, however they are written, and which may not be let through unread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "guest-fuse/agent/engine.h"
#include "protocol/cleanup.h"
#include "protocol/document.h"

#define BINDS  "{\"Binds\":[\"/x:/y\"]}"
#define CREATE "{\"HostConfig\":" BINDS "}"
#define MOUNT  "[{\"Name\":\"mount\",\"Value\":[\"/x\"]}]"

struct row {
	const char *uri, *body;
	const char *found; /* the first source; "": binds nothing; NULL: refused */
};

static enum engine_result read_request(const char *method, const char *uri, const char *body, bool empty,
                                       json_t **ret_sources, char error[4096])
{
	const struct engine_request request = {
		.method = method, .uri = uri, .body = body, .length = body == NULL ? 0 : strlen(body), .empty = empty
	};

	*ret_sources = NULL;
	error[0] = '\0';
	return engine_read(&request, ret_sources, error, 4096);
}

static void check(const struct row *row)
{
	_cleanup_json_ json_t *sources = NULL;
	char error[4096];
	enum engine_result result = read_request("POST", row->uri, row->body, false, &sources, error);
	const char *path = json_string_value(json_object_get(json_array_get(sources, 0), "path"));
	const char *found = result == ENGINE_UNREADABLE ? NULL : path != NULL ? path : "";
	bool same = row->found == NULL || found == NULL ? row->found == found : strcmp(row->found, found) == 0;

	if (!same)
		fail_msg("%s %s: %s, not %s (%s)", row->uri, row->body != NULL ? row->body : "-",
		         found != NULL ? found : "refused", row->found != NULL ? row->found : "refused", error);
	assert_int_equal(result == ENGINE_UNREADABLE, error[0] != '\0');
	assert_int_equal(result == ENGINE_BINDS, sources != NULL);
}

/* What Go's server takes for the same path, and what it does not. */
static void addresses_are_read_as_dockerd_reads_them(void **state)
{
	static const struct row rows[] = {
		{ "/containers/create", CREATE, "/x" },
		{ "/v1.41/containers/create?name=a", CREATE, "/x" },
		{ "//v1.41///containers/./create/", CREATE, "/x" },
		{ "/%76%31.41/%63ontainers/create", CREATE, "/x" },
		{ "/containers%2Fcreate", CREATE, "/x" },
		{ "/containers/create?x=/../y#z", CREATE, "/x" },
		{ "http://localhost/v1.41/containers/create", CREATE, NULL },
		{ "a:/containers/create", CREATE, NULL },
		{ "containers/create", CREATE, NULL },
		{ "", CREATE, NULL },
		{ "/containers/create#x", CREATE, NULL },
		{ "/a/../containers/create", CREATE, NULL },
		{ "/%2e%2e/containers/create", CREATE, NULL },
		{ "/containers/create%00", CREATE, NULL },
		{ "/containers/%4/create", CREATE, NULL },
		{ "/containers/%63reated", CREATE, "" },
		{ "/containers/%2563reate", CREATE, "" },
		{ "/containers/create/x", CREATE, "" },
		{ "/build", NULL, "" },
		{ "/containers/a/stop", NULL, "" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		check(&rows[i]);
}

static void names_may_have_slashes(void **state)
{
	static const struct row rows[] = {
		{ "/containers/a/start", BINDS, "/x" },
		{ "/containers/parent/alias/start", BINDS, "/x" },
		{ "/containers/parent%2Falias/start", BINDS, "/x" },
		{ "/containers/start/start", BINDS, "/x" },
		{ "/containers/start", BINDS, "" },
		{ "/plugins/vieux/sshfs/set", "[\"data.source=/x\"]", "/x" },
		{ "/plugins/localhost:5000/a/b/upgrade", MOUNT, "/x" },
		{ "/plugins/set", "[\"data.source=/x\"]", "" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		check(&rows[i]);
}

static void every_form_of_a_bind_is_found(void **state)
{
	static const struct row rows[] = {
		{ "/containers/create", BINDS, "/x" },
		{ "/containers/create", "{\"hostCONFIG\":{\"mounts\":[{\"TYPE\":\"bind\",\"source\":\"/x\"}]}}", "/x" },
		{ "/containers/create", "{\"HostConfig\":{\"Binds\":[\"name:/y\",\"/x:/y:ro\"]}}", "/x" },
		{ "/containers/create", "{\"HostConfig\":{\"Binds\":[\"name:/y\",\"/y\"]}}", "" },
		{ "/volumes/create", "{\"DriverOpts\":{\"o\":\"ro,bind\",\"device\":\"/x\"}}", "/x" },
		{ "/volumes/create", "{\"DriverOpts\":{\"o\":\",rbind,\",\"device\":\"/x\"}}", "/x" },
		{ "/volumes/create", "{\"DriverOpts\":{\"o\":\"binds\",\"device\":\"/x\"}}", "" },
		{ "/volumes/create", "{\"DriverOpts\":{\"o\":\"a\\u0000,bind\",\"device\":\"/x\"}}", NULL },
		{ "/volumes/create", "{\"DriverOpts\":{\"o\":\"bind\",\"device\":\"/x\\u0000\"}}", NULL },
		{ "/services/create", "{\"TaskTemplate\":{\"PluginSpec\":{\"privileges\":" MOUNT "}}}", "/x" },
		{ "/services/a/update", "{\"TaskTemplate\":{\"PluginSpec\":{\"privileges\":{}}}}", NULL },
		{ "/plugins/pull", MOUNT, "/x" },
		{ "/plugins/pull", "[{\"Name\":\"mount\",\"Value\":[\"/x\\u0000\"]}]", NULL },
		{ "/plugins/pull", "null", "" },
		{ "/plugins/pull", "[]", "" },
		{ "/plugins/a/set", "[\"A=1\",\"data.source=/x\"]", "/x" },
		{ "/plugins/a/set", "[\"data=/x\"]", "/x" },
		{ "/plugins/a/set", "[\"data.=/x\"]", "/x" },
		{ "/plugins/a/set", "[\".source=/x\"]", "/x" },
		{ "/plugins/a/set", "[\"data.value=/x\"]", "" },
		{ "/plugins/a/set", "[\"data.value.source=/x\"]", "/x" },
		{ "/plugins/a/set", "[\"URL=x.source=/x\",\"DEBUG\",\"\"]", "" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		check(&rows[i]);
}

/* dockerd does not pass on what is large, comes in chunks, or says that it is no JSON; it reads some of that itself. */
static void what_was_not_passed_on_is_refused(void **state)
{
	static const char *const uris[] = { "/containers/create", "/volumes/create",   "/services/create",
		                            "/services/a/update", "/plugins/pull",     "/plugins/a/upgrade",
		                            "/plugins/a/set",     "/plugins/a/b/set?x" };
	static const char *const old[] = { "v1.23", "v1.2", "v1", "v1.", "v1.024", "v1.24x", "v0.24", "v1.99999" };
	static const char *const recent[] = { "/containers/a/start", "/v1.24/containers/a/start",
		                              "/v1.41/containers/a/b/start", "/v1.100/containers/a/start" };
	json_t *sources;
	char error[4096], uri[64];

	for (size_t i = 0; i < ARRAY_SIZE(uris); i++) {
		assert_int_equal(read_request("POST", uris[i], NULL, true, &sources, error), ENGINE_UNREADABLE);
		assert_int_equal(read_request("POST", uris[i], "", false, &sources, error), ENGINE_UNREADABLE);
		assert_non_null(strstr(error, "without its contents"));
		assert_int_equal(read_request("GET", uris[i], NULL, false, &sources, error), ENGINE_HARMLESS);
	}
	for (size_t i = 0; i < ARRAY_SIZE(old); i++) {
		(void) snprintf(uri, sizeof(uri), "/%s/containers/a/start", old[i]);
		if (read_request("POST", uri, NULL, false, &sources, error) != ENGINE_UNREADABLE)
			fail_msg("%s", uri);
		assert_non_null(strstr(error, "use version 1.24 or later"));
		assert_int_equal(read_request("POST", uri, NULL, true, &sources, error), ENGINE_HARMLESS);
	}
	for (size_t i = 0; i < ARRAY_SIZE(recent); i++)
		assert_int_equal(read_request("POST", recent[i], NULL, false, &sources, error), ENGINE_HARMLESS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_read_as_dockerd_reads_them),
		cmocka_unit_test(names_may_have_slashes),
		cmocka_unit_test(every_form_of_a_bind_is_found),
		cmocka_unit_test(what_was_not_passed_on_is_refused),
	};

	return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
