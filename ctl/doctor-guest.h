/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's side of bindsharectl doctor: what facts, files and guestd's answer mean. Looks at nothing itself. */
#pragma once

#include "ctl/facts.h"
#include "ctl/findings.h"
#include "guest-fuse/binds/config.h"

#define DOCTOR_GUEST_DOCKER "/etc/docker/daemon.json"

void doctor_guest_check(struct findings *findings, const struct facts_kernel *kernel, const struct facts_guest *facts,
                        unsigned long long files);

/* What guest_config_read() said of the guest's configuration at path. */
void doctor_guest_config(struct findings *findings, const char *path, int error, const char *words);

/* Where there is a configuration. */
struct doctor_guest_configured {
	const struct guest_config *config;
	const char *socket;       /* guestd's */
	const json_t *guestd;     /* what it says of itself; NULL: it does not answer */
	const char *guestd_error; /* then why, in words */
	int runtime_error;        /* of guest_config_runtime() */
	const char *runtime;      /* the OCI runtime behind bindshare-runtime, as it says */
	const json_t *docker;     /* DOCTOR_GUEST_DOCKER; NULL: it cannot be read or is no JSON */
	bool plugin_is_served;    /* somebody accepts connections at the authorization plugin's socket */
};

void doctor_guest_check_configured(struct findings *findings, const struct doctor_guest_configured *configured);
