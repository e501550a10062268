/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket, for bindsharectl and programs like it: one line of JSON in, {"version":1,"request":"status"},
 * "stats" or "shares"; one line of JSON out; then the server closes. It tells; it changes nothing.
 *
 *   status  {"version":1,"release","protocol","pid","uid","since","listen":[..],"token":bool,
 *            "settings":path or null,"mounts_max",
 *            "mounts":[{"share","requested","read_only","state","since","pid","lanes","nodes","handles",
 *            "descriptors"}]}
 *   stats   {"version":1,"operations":{name:{"count","errors","bytes","nanoseconds"}},
 *            "mounts":[{"share","pid","operations":{..}}]}; the first sums over all mounts since the start
 *   shares  {"version":1,"shares":[{"path","canonical" or null,"read_only","present"}]}
 *   else    {"version":1,"error":words}
 *
 * Times are seconds since 1970. Only the user that the server runs as, and root, are answered.
 */
#pragma once

#include "fileserver/broker/listener.h"
#include "fileserver/broker/supervisor.h"

enum { CONTROL_REQUEST_MAX = 4096, CONTROL_CLIENTS_MAX = 8, CONTROL_DEADLINE_MS = 5000 };

/* What the answers tell. */
struct control_facts {
	const struct supervisor *supervisor;
	const char *const *listen; /* addresses */
	size_t listen_count;
	bool has_token;
	const char *settings; /* path or NULL */
	time_t since;
};

struct control {
	struct listener listener;
	struct control_facts facts;
	struct control_client *clients; /* kept by control.c */
	unsigned count;
};

/* Listens at path. 0, or a negative errno and words. */
int control_open(struct control *control, uv_loop_t *loop, const char *path, const struct control_facts *facts,
                 char *error, size_t error_size);
/* Stops. The memory must live until the loop has run once more. */
void control_close(struct control *control);

/* The answer to a request, a line: the caller frees it. NULL: out of memory. */
char *control_answer(const struct control_facts *facts, const char *request, size_t length);
