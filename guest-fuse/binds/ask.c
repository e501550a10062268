/* SPDX-License-Identifier: Apache-2.0 */
/* A question to bindshare-guestd. */
#include "guest-fuse/binds/ask.h"

#include <errno.h>
#include <string.h>

#include "protocol/cleanup.h"
#include "protocol/clock.h"
#include "protocol/document.h"
#include "protocol/json-lines.h"
#include "protocol/words.h"

enum { GRACE_MS = 3000 }; /* beyond what guestd itself waits */

int binds_ask(const char *socket_path, json_t *request, int timeout_ms, json_t **ret_answer, char *error,
              size_t error_size)
{
	_cleanup_json_lines_ struct json_lines lines = { .line_max = BINDS_LINE_MAX, .fd = -EBADF };
	_cleanup_json_ json_t *question = request;
	int64_t until = clock_ms() + timeout_ms;
	/* Neither the connecting nor the sending takes longer than the time allowed: guestd may be stuck. */
	int r = question == NULL ? -ENOMEM : json_lines_open(&lines, socket_path, timeout_ms);

	if (r == 0)
		r = json_lines_send(&lines, TAKE_PTR(question), until);
	if (r == 0)
		r = json_lines_next(&lines, until, ret_answer);
	if (r == 0)
		return 0;
	if (r == -ENODATA || r == -EMSGSIZE)
		r = -EPROTO;
	if (r == -ENOENT)
		r = -ECONNREFUSED;
	if (r == -ECONNREFUSED)
		return words_refuse(r, error, error_size,
		                    "bindshare-guestd is not running: nobody listens at %s; start it with \"systemctl "
		                    "start bindshare-guestd\"",
		                    socket_path);
	if (r == -ETIMEDOUT)
		return words_refuse(r, error, error_size, "bindshare-guestd does not answer at %s", socket_path);
	return words_refuse(r, error, error_size, "bindshare-guestd at %s: %s", socket_path,
	                    r == -EPROTO ? "its answer makes no sense" : strerror(-r));
}

int binds_ask_status(const char *socket_path, int timeout_ms, json_t **ret_answer, char *error, size_t error_size)
{
	return binds_ask(socket_path, json_pack("{s:i, s:s}", "version", 1, "request", "status"), timeout_ms,
	                 ret_answer, error, error_size);
}

int binds_ask_binds(const char *socket_path, json_t *sources, unsigned wait_ms, bool make, json_t **ret_answer,
                    char *error, size_t error_size)
{
	size_t count = json_array_size(sources);
	json_t *request = json_pack("{s:i, s:s, s:i, s:b, s:o}", "version", 1, "request", "binds", "waitMs",
	                            (int) wait_ms, "make", make, "sources", sources);
	_cleanup_json_ json_t *answer = NULL;
	int r = binds_ask(socket_path, request, (int) wait_ms + GRACE_MS, &answer, error, error_size);

	if (r < 0)
		return r;
	if (!json_is_true(json_object_get(answer, "ok"))) {
		const char *text = json_string_value(json_object_get(answer, "text"));

		return words_refuse(-EPROTO, error, error_size, "bindshare-guestd refuses: %s",
		                    text != NULL ? text : "?");
	}
	if (json_array_size(json_object_get(answer, "binds")) != count)
		return words_refuse(-EPROTO, error, error_size, "bindshare-guestd answers for other binds");
	*ret_answer = TAKE_PTR(answer);
	return 0;
}
