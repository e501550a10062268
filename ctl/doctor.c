/* SPDX-License-Identifier: Apache-2.0 */
/* bindsharectl doctor: looks at what bindshare needs, and says what to do where it is missing. */
#include "ctl/doctor.h"

#include <errno.h>
#include <stdio.h>
#include <sysexits.h>
#include <unistd.h>

#include "ctl/client.h"
#include "ctl/doctor-guest.h"
#include "ctl/doctor-host.h"
#include "ctl/doctor-limits.h"
#include "ctl/tables.h"
#include "guest-fuse/binds/ask.h"
#include "protocol/cleanup.h"
#include "protocol/document.h"

enum { ANSWER_MS = 5000 };

static void look_at_host(struct findings *findings, const char *path)
{
	int code;
	_cleanup_json_ json_t *status = client_ask(path, client_request("status"), &code);
	_cleanup_json_ json_t *shares = status == NULL ? NULL : client_ask(path, client_request("shares"), &code);
	const struct doctor_host_server server = {
		.path = path,
		.status = status,
		.shares = shares,
		.files = facts_files(json_integer_value(json_object_get(status, "pid"))),
	};
	struct facts_host facts;

	facts_of_host(&facts);
	doctor_host_check(findings, &facts, &server);
}

/* What is configured, and what becomes of it. */
static void look_at_configured(struct findings *findings, const struct guest_config *config)
{
	char socket_path[sizeof(((struct sockaddr_un *) 0)->sun_path)] = "", runtime[PATH_MAX], error[512];
	_cleanup_json_ json_t *guestd = NULL, *docker = json_load_file(DOCTOR_GUEST_DOCKER, 0, NULL);
	int r = guest_config_socket(config, socket_path, error, sizeof(error));

	if (r == 0)
		(void) binds_ask_status(socket_path, ANSWER_MS, &guestd, error, sizeof(error));
	r = guest_config_runtime(config, runtime);
	doctor_guest_check_configured(findings, &(struct doctor_guest_configured){
	                                                .config = config,
	                                                .socket = socket_path,
	                                                .guestd = guestd,
	                                                .guestd_error = error,
	                                                .runtime_error = r,
	                                                .runtime = runtime,
	                                                .docker = docker,
	                                                .plugin_is_served = config->plugin_socket != NULL &&
	                                                                    facts_is_served(config->plugin_socket),
	                                        });
}

static void look_at_guest(struct findings *findings, const struct facts_kernel *kernel, const char *path)
{
	struct facts_guest facts;
	struct guest_config config;
	char error[PATH_MAX + 512];
	int r;

	facts_of_guest(&facts);
	doctor_guest_check(findings, kernel, &facts, facts_files(getpid()));
	r = guest_config_read(path, &config, error, sizeof(error));
	doctor_guest_config(findings, path, r, error);
	if (r < 0)
		return;
	look_at_configured(findings, &config);
	guest_config_done(&config);
}

int doctor_run(const char *path, const char *config, bool as_json)
{
	_cleanup_json_ json_t *answer = NULL;
	struct findings findings = { NULL };
	struct facts_kernel kernel;
	int code;

	facts_of_kernel(&kernel);
	doctor_limits_kernel(&findings, &kernel);
	if (path != NULL)
		look_at_host(&findings, path);
	else
		look_at_guest(&findings, &kernel, config);
	code = findings_have_error(&findings) ? DOCTOR_FOUND : EX_OK;
	answer = json_pack("{si ss so}", "version", 1, "side", path != NULL ? "host" : "guest", "findings",
	                   findings_take(&findings));
	if (as_json) {
		(void) json_dumpf(answer, stdout, JSON_COMPACT);
		(void) putchar('\n');
	} else {
		tables_doctor(answer);
	}
	return code == EX_OK && fflush(stdout) != 0 ? EX_IOERR : code;
}
