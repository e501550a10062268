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

	struct engine_binds binds = { .sources = NULL };
	enum engine_result result;

	error[0] = '\0';
	result = engine_read(&request, &binds, error, 4096);
	*ret_sources = binds.sources;
	return result;
}

static void check(const struct row *row)
{
	_cleanup_json_ json_t *sources = NULL;
	char error[4096];
	enum engine_result result = read_request("POST", row->uri, row->body, false, &sources, error);
	const char *path = json_string_value(json_object_get(json_array_get(sources, 0), "path"));
	const char *found = result == ENGINE_REFUSED ? NULL : path != NULL ? path : "";
	bool same = row->found == NULL || found == NULL ? row->found == found : strcmp(row->found, found) == 0;

	if (!same)
		fail_msg("%s %s: %s, not %s (%s)", row->uri, row->body != NULL ? row->body : "-",
		         found != NULL ? found : "refused", row->found != NULL ? row->found : "refused", error);
	assert_int_equal(result == ENGINE_REFUSED, error[0] != '\0');
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
		assert_int_equal(read_request("POST", uris[i], NULL, true, &sources, error), ENGINE_REFUSED);
		assert_int_equal(read_request("POST", uris[i], "", false, &sources, error), ENGINE_REFUSED);
		assert_non_null(strstr(error, "without its contents"));
		assert_int_equal(read_request("GET", uris[i], NULL, false, &sources, error), ENGINE_HARMLESS);
	}
	for (size_t i = 0; i < ARRAY_SIZE(old); i++) {
		(void) snprintf(uri, sizeof(uri), "/%s/containers/a/start", old[i]);
		if (read_request("POST", uri, NULL, false, &sources, error) != ENGINE_REFUSED)
			fail_msg("%s", uri);
		assert_non_null(strstr(error, "use version 1.24 or later"));
		assert_int_equal(read_request("POST", uri, NULL, true, &sources, error), ENGINE_HARMLESS);
	}
	for (size_t i = 0; i < ARRAY_SIZE(recent); i++)
		assert_int_equal(read_request("POST", recent[i], NULL, false, &sources, error), ENGINE_HARMLESS);
}

/* The engine mounts a volume of the driver "local" itself: only what bindshare can decide about goes through. */
static void volumes_of_other_types_are_refused(void **state)
{
	static const struct row rows[] = {
		{ "/volumes/create",
		  "{\"DriverOpts\":{\"type\":\"overlay\",\"o\":\"lowerdir=/etc\",\"device\":\"overlay\"}}", NULL },
		{ "/volumes/create", "{\"DriverOpts\":{\"type\":\"ext4\",\"device\":\"/dev/vda1\"}}", NULL },
		{ "/volumes/create", "{\"Driver\":\"local\",\"DriverOpts\":{\"type\":\"proc\",\"device\":\"proc\"}}",
		  NULL },
		{ "/volumes/create", "{\"DriverOpts\":{\"type\":\"devtmpfs\"}}", NULL },
		{ "/volumes/create", "{\"DriverOpts\":{\"type\":\"NFS\"}}", NULL },
		{ "/volumes/create", "{\"DriverOpts\":{\"type\":\"ext4\",\"o\":\"bind\",\"device\":\"/x\"}}", "/x" },
		{ "/volumes/create", "{\"DriverOpts\":{\"type\":\"tmpfs\",\"device\":\"tmpfs\",\"o\":\"size=1m\"}}",
		  "" },
		{ "/volumes/create", "{\"DriverOpts\":{\"type\":\"nfs4\",\"device\":\":/x\",\"o\":\"addr=a\"}}", "" },
		{ "/volumes/create", "{\"DriverOpts\":{\"o\":\"size=1g\"}}", "" },
		{ "/volumes/create", "{\"Driver\":\"rclone\",\"DriverOpts\":{\"type\":\"drive\"}}", "" },
		{ "/containers/create",
		  "{\"HostConfig\":{\"Mounts\":[{\"Type\":\"volume\",\"VolumeOptions\":{\"DriverConfig\":{\"Options\":"
		  "{\"type\":\"overlay\",\"o\":\"lowerdir=/etc\"}}}}]}}",
		  NULL },
		{ "/services/create",
		  "{\"TaskTemplate\":{\"ContainerSpec\":{\"Mounts\":[{\"VolumeOptions\":{\"DriverConfig\":{\"Name\":"
		  "\"local\",\"Options\":{\"type\":\"xfs\"}}}}]}}}",
		  NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		check(&rows[i]);
}

static void directories_of_checkpoints_are_refused(void **state)
{
	static const struct {
		const char *method, *uri, *body;
		bool form, refused;
	} rows[] = {
		{ "POST", "/containers/a/checkpoints", "{\"CheckpointID\":\"c\",\"CheckpointDir\":\"/x\"}", false,
		  true },
		{ "POST", "/containers/a/checkpoints", "{\"CheckpointID\":\"c\",\"checkpointdir\":\"/x\"}", false,
		  true },
		{ "POST", "/containers/a/checkpoints", "{\"CheckpointID\":\"c\",\"CheckpointDir\":\"\"}", false,
		  false },
		{ "POST", "/containers/a/checkpoints", "{\"CheckpointID\":\"c\"}", false, false },
		{ "POST", "/v1.41/containers/a/start?checkpoint=c&checkpoint-dir=/x", NULL, false, true },
		{ "POST", "/v1.41/containers/a/start?checkpoint%2Ddir=%2Fx", NULL, false, true },
		{ "POST", "/v1.41/containers/a/start?a;checkpoint-dir=/x", NULL, false, true },
		{ "POST", "/v1.41/containers/a/start?checkpoint-dir=&checkpoint=c", NULL, false, false },
		{ "POST", "/v1.41/containers/a/start", NULL, true, true },
		{ "POST", "/v1.41/containers/a/stop?t=1", NULL, true, false },
		{ "GET", "/v1.41/containers/a/checkpoints?dir=/x", NULL, false, true },
		{ "GET", "/v1.41/containers/a/../b/checkpoints?dir=/x", NULL, false, true },
		{ "DELETE", "/v1.41/containers/a/b/checkpoints/c?dir=/x", NULL, false, true },
		{ "DELETE", "/v1.41/containers/a/checkpoints/c", NULL, false, false },
		{ "GET", "/v1.41/containers/json?dir=/x", NULL, false, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct engine_request request = { rows[i].method, rows[i].uri,
			                                rows[i].body,   rows[i].body == NULL ? 0 : strlen(rows[i].body),
			                                false,          rows[i].form };
		struct engine_binds binds;
		char error[4096] = "";
		enum engine_result result = engine_read(&request, &binds, error, sizeof(error));

		if (result != (rows[i].refused ? ENGINE_REFUSED : ENGINE_HARMLESS))
			fail_msg("%s %s: %d (%s)", rows[i].method, rows[i].uri, result, error);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_read_as_dockerd_reads_them),
		cmocka_unit_test(names_may_have_slashes),
		cmocka_unit_test(every_form_of_a_bind_is_found),
		cmocka_unit_test(what_was_not_passed_on_is_refused),
		cmocka_unit_test(volumes_of_other_types_are_refused),
		cmocka_unit_test(directories_of_checkpoints_are_refused),
	};

	return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
