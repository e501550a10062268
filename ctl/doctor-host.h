/* SPDX-License-Identifier: Apache-2.0 */
/* The host's side of bindsharectl doctor: what facts and the server's answers mean. Looks at nothing itself. */
#pragma once

#include "ctl/facts.h"
#include "ctl/findings.h"

struct doctor_host_server {
	const char *path;              /* of its control socket */
	const json_t *status, *shares; /* its answers; NULL: it gave none */
	unsigned long long files;      /* facts_files() of its process */
};

void doctor_host_check(struct findings *findings, const struct facts_host *facts,
                       const struct doctor_host_server *server);
