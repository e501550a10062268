/* SPDX-License-Identifier: Apache-2.0 */
/* bindsharectl's end of the control socket. */
#include "ctl/client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "ctl/printable.h"
#include "protocol/cleanup.h"
#include "protocol/clock.h"

enum { LINE_MAX_BYTES = 16 * 1024 * 1024, CONNECT_MS = 5000 };

int client_open(const char *path, struct json_lines *ret_lines)
{
	*ret_lines = (struct json_lines){ .line_max = LINE_MAX_BYTES };
	return json_lines_open(ret_lines, path, CONNECT_MS);
}

json_t *client_ask(const char *path, json_t *request, int *ret_code)
{
	return client_ask_longer(path, request, 0, ret_code);
}

json_t *client_ask_longer(const char *path, json_t *request, int64_t more_ms, int *ret_code)
{
	_cleanup_json_lines_ struct json_lines lines = { .fd = -EBADF };
	json_t *answer = NULL;
	int r = client_open(path, &lines);

	*ret_code = EX_UNAVAILABLE;
	if (r < 0) {
		(void) fprintf(stderr,
		               "bindsharectl: no file server at %s: %s\n"
		               "Start bindshare-fileserver, or say with --control where its socket is.\n",
		               path, strerror(-r));
		json_decref(request);
		return NULL;
	}
	r = json_lines_send(&lines, request, clock_ms() + CLIENT_DEADLINE_MS);
	if (r == 0)
		r = json_lines_next(&lines, clock_ms() + CLIENT_DEADLINE_MS + more_ms, &answer);
	*ret_code = r < 0 ? EX_PROTOCOL : EX_OK;
	if (r < 0)
		(void) fprintf(stderr, "bindsharectl: the file server at %s gave no answer\n", path);
	return answer;
}

json_t *client_request(const char *name)
{
	return json_pack("{si ss}", "version", 1, "request", name);
}

int client_check(const json_t *answer)
{
	static const struct {
		const char *code;
		int exit_code;
	} codes[] = {
		{ "bad-path", EX_DATAERR },      { "too-many", EX_DATAERR },   { "not-found", EX_NOINPUT },
		{ "not-directory", EX_NOINPUT }, { "not-shared", EX_NOINPUT }, { "policy", EX_NOPERM },
		{ "settings", EX_CONFIG },       { "token-file", EX_CONFIG },  { "no-token", EX_CONFIG },
		{ "unsettled", EX_TEMPFAIL },    { "system", EX_OSERR },       { "unanswered", EX_TEMPFAIL },
	};
	const char *error = json_string_value(json_object_get(answer, "error"));
	const char *code = json_string_value(json_object_get(answer, "code"));

	if (error == NULL)
		return EX_OK;
	(void) fputs("bindsharectl: ", stderr);
	printable_write(stderr, error);
	(void) fputc('\n', stderr);
	for (unsigned i = 0; i < ARRAY_SIZE(codes); i++)
		if (code != NULL && strcmp(code, codes[i].code) == 0)
			return codes[i].exit_code;
	return EX_PROTOCOL;
}
