/* SPDX-License-Identifier: Apache-2.0 */
/* What the doctor says about the guest, by facts, files and answers that are made up. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/vm_sockets.h>

#include <cmocka.h>

#include "ctl/doctor-guest.h"
#include "protocol/cleanup.h"
#include "protocol/document.h"
#include "tests/ctl/found.h"

static struct findings findings;
static struct facts_kernel kernel;
static struct facts_guest facts;
static struct guest_config config;
static struct doctor_guest_configured configured;
static json_t *guestd, *docker;

static int set_up(void **state)
{
	kernel = (struct facts_kernel){ .release = "6.12.1", .openat2 = true };
	facts = (struct facts_guest){ .root = true, .cid = 3, .mounts = 2 };
	assert_int_equal(guest_config_default(&config), 0);
	free(config.address_text);
	config.address_text = strdup("vsock:2:1024");
	free(config.plugin_socket);
	config.plugin_socket = strdup("/run/docker/plugins/bindshare.sock");
	guestd = json_pack("{s{ss} s[{ssss}]}", "server", "state", "connected", "shares", "path", "/home/me", "state",
	                   "mounted");
	docker =
	        json_pack("{ss s{s{ss}} s[s]}", "default-runtime", config.runtime_name, "runtimes", config.runtime_name,
	                  "path", "/usr/bin/bindshare-runtime", "authorization-plugins", "bindshare");
	configured = (struct doctor_guest_configured){
		.config = &config,
		.socket = "/run/bindshare/guestd.sock",
		.guestd_error = "it does not answer",
		.runtime = "/usr/bin/runc",
		.plugin_is_served = true,
	};
	return 0;
}

static int tear_down(void **state)
{
	findings_done(&findings);
	guest_config_done(&config);
	json_decref(guestd);
	json_decref(docker);
	return 0;
}

static void check(void)
{
	configured.guestd = guestd;
	configured.docker = docker;
	findings_done(&findings);
	doctor_guest_check(&findings, &kernel, &facts, 65536);
	doctor_guest_check_configured(&findings, &configured);
}

static void assert_found(const char *name, const char *words)
{
	check();
	found_assert(&findings, name, words);
}

static void a_sound_guest_has_no_word_of_advice(void **state)
{
	check();
	found_assert_sound(&findings, 10);
}

static void who_may_not_mount_is_told(void **state)
{
	facts.root = false;
	assert_found("root", "error: only root may mount");
	facts.fuse_error = ENOENT;
	assert_found("fuse", "error: /dev/fuse: No such file or directory / Run: modprobe fuse");
}

static void kernels_before_6_12_map_no_ids(void **state)
{
	static const struct {
		const char *release, *level;
	} cases[] = { { "6.12.0", "ok" }, { "6.11.9-1-amd64", "note" }, { "5.15.0", "note" },
		      { "7.0.0", "ok" },  { "6.100.1", "ok" },          { "unknown", "note" } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		(void) snprintf(kernel.release, sizeof(kernel.release), "%s", cases[i].release);
		assert_found("idmap", cases[i].level);
		assert_int_equal(strncmp(found(&findings, "idmap"), cases[i].level, strlen(cases[i].level)), 0);
	}
}

static void vsock_is_told_with_what_the_server_is_to_trust(void **state)
{
	assert_found("vsock", "ok: this machine is CID 3: start the server with --trust-cid 3");
	facts.cid = VMADDR_CID_ANY;
	assert_found("vsock", "note: vsock has no number for this machine");
	facts.vsock_error = ENOENT;
	assert_found("vsock", "note: /dev/vsock: No such file");
}

static void a_guestd_that_does_not_answer_is_the_error(void **state)
{
	json_decref(guestd);
	guestd = NULL;
	assert_found("guestd", "error: it does not answer / Run: systemctl enable --now bindshare-guestd");
	assert_string_equal(found(&findings, "server"), "");
	assert_non_null(strstr(found(&findings, "runtime"), "ok: "));
}

static void a_server_that_is_not_reached_is_told_with_its_words(void **state)
{
	(void) json_object_set_new(guestd, "server", json_pack("{ssss}", "state", "connecting", "error", "gone"));
	assert_found("server", "error: the file server at vsock:2:1024: gone");
	(void) json_object_set_new(guestd, "server", json_pack("{ss}", "state", "connecting"));
	assert_found("server", "error: the file server at vsock:2:1024: not reached");
}

static void a_share_that_is_not_mounted_is_told(void **state)
{
	(void) json_object_set_new(guestd, "shares",
	                           json_pack("[{ssssss}]", "path", "/a", "state", "failed", "error", "why"));
	assert_found("share", "warning: /a is failed: why / It is tried again by itself.");
	(void) json_object_set_new(guestd, "shares", json_pack("[{ssss}]", "path", "/a", "state", "missing"));
	assert_found("share", "warning: /a is missing / See bindsharectl doctor on the host.");
	(void) json_object_set_new(guestd, "shares", json_pack("[{ss}]", "path", "/a"));
	check();
	assert_string_equal(found(&findings, "share"), "");
}

static void a_runtime_that_cannot_be_run_is_told(void **state)
{
	configured.runtime_error = -ENOENT;
	assert_found("runtime", "warning: there is neither runc nor crun in PATH");
	config.runtime = strdup("/opt/crun");
	configured.runtime = config.runtime;
	configured.runtime_error = -EACCES;
	assert_found("runtime", "error: /opt/crun cannot be run: Permission denied");
}

static void docker_that_does_not_name_bindshare_is_told(void **state)
{
	json_t *sound = json_deep_copy(docker);

	(void) json_object_set_new(docker, "default-runtime", json_string("runc"));
	assert_found("docker", "warning: bindshare-runtime is not the default runtime");
	json_decref(docker);
	docker = json_deep_copy(sound);
	(void) json_object_del(docker, "authorization-plugins");
	assert_found("docker", "warning: bindshare is no authorization plugin");
	json_decref(docker);
	docker = sound;
	configured.plugin_is_served = false;
	assert_found("docker", "error: nobody listens at /run/docker/plugins/bindshare.sock");
	configured.plugin_is_served = true;
	free(config.runtime_name);
	config.runtime_name = strdup("other");
	assert_found("docker", "and other here");
	json_decref(docker);
	docker = NULL;
	assert_found("docker", "note: ");
}

static void without_a_plugin_in_the_configuration_docker_needs_none(void **state)
{
	free(config.plugin_socket);
	config.plugin_socket = NULL;
	configured.plugin_is_served = false;
	(void) json_object_del(docker, "authorization-plugins");
	assert_found("docker", "ok: ");
}

static void the_configuration_is_told_as_it_was_read(void **state)
{
	findings_done(&findings);
	doctor_guest_config(&findings, "/etc/g.json", 0, "");
	assert_string_equal(found(&findings, "config"), "ok: /etc/g.json is sound");
	findings_done(&findings);
	doctor_guest_config(&findings, "/etc/g.json", -ENOENT, "x");
	assert_non_null(strstr(found(&findings, "config"), "note: there is no /etc/g.json"));
	findings_done(&findings);
	doctor_guest_config(&findings, "/etc/g.json", -EINVAL, "line 3");
	assert_non_null(strstr(found(&findings, "config"), "error: line 3 / Mend the file"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_sound_guest_has_no_word_of_advice),
		CASE(who_may_not_mount_is_told),
		CASE(kernels_before_6_12_map_no_ids),
		CASE(vsock_is_told_with_what_the_server_is_to_trust),
		CASE(a_guestd_that_does_not_answer_is_the_error),
		CASE(a_server_that_is_not_reached_is_told_with_its_words),
		CASE(a_share_that_is_not_mounted_is_told),
		CASE(a_runtime_that_cannot_be_run_is_told),
		CASE(docker_that_does_not_name_bindshare_is_told),
		CASE(without_a_plugin_in_the_configuration_docker_needs_none),
		CASE(the_configuration_is_told_as_it_was_read),
	};

	return cmocka_run_group_tests_name("doctor-guest", tests, NULL, NULL);
}
