/* SPDX-License-Identifier: Apache-2.0 */
/* bindshare-guestd --status. */
#include "guest-fuse/agent/status.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "guest-fuse/binds/ask.h"
#include "protocol/cleanup.h"
#include "protocol/document.h"
#include "protocol/log.h"

enum { ANSWER_MS = 5000 };

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL ? text : "";
}

static void print(const json_t *answer)
{
	const json_t *server = json_object_get(answer, "server"), *shares = json_object_get(answer, "shares"), *share;
	const char *error = text_of(server, "error");
	size_t i;

	printf("server %s: %s%s%s\n", text_of(server, "address"), text_of(server, "state"),
	       error[0] != '\0' ? ": " : "", error);
	json_array_foreach(shares, i, share)
	{
		error = text_of(share, "error");
		printf("%-9s%s%s%s%s%s\n", text_of(share, "state"), text_of(share, "path"),
		       json_is_true(json_object_get(share, "readOnly")) ? " (read-only)" : "",
		       json_is_true(json_object_get(share, "identical")) ? "" : " only at ",
		       json_is_true(json_object_get(share, "identical")) ? "" : text_of(share, "mount"), "");
		if (error[0] != '\0')
			printf("         %s\n", error);
	}
}

int status_show(const struct guest_config *config, bool json)
{
	char path[sizeof(((struct sockaddr_un *) 0)->sun_path)], error[512];
	_cleanup_json_ json_t *answer = NULL;

	if (guest_config_socket(config, path, error, sizeof(error)) < 0 ||
	    binds_ask_status(path, ANSWER_MS, &answer, error, sizeof(error)) < 0) {
		log_error("%s", error);
		return EX_UNAVAILABLE;
	}
	if (json) {
		(void) json_dumpf(answer, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		print(answer);
	}
	return EX_OK;
}
