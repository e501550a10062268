/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket, for bindsharectl and the program that ships the server: one line of JSON in,
 * {"version":1,"request":"status"}; one line of JSON out; then the server closes, or after "subscribe" sends a line for
 * each event. docs/BACKEND.md is the contract. Only the user that the server runs as, and root, are answered.
 */
#pragma once

#include "fileserver/broker/guard.h"
#include "fileserver/broker/listener.h"
#include "fileserver/broker/shares.h"
#include "fileserver/broker/supervisor.h"
#include "fileserver/broker/watch.h"

enum {
	CONTROL_REQUEST_MAX = 32768,
	CONTROL_CLIENTS_MAX = 32,
	CONTROL_DEADLINE_MS = 5000,
	CONTROL_BACKLOG_MAX = 256 * 1024, /* bytes of events that a subscriber may leave unread */
	CONTROL_SYNC_S = 10,              /* how long workers are waited for when a request does not say */
	CONTROL_SYNC_MOST_S = 86400,
};

/* What the answers tell, and what requests can change. */
struct control_facts {
	struct supervisor *supervisor;
	struct shares *shares;
	const struct watch *watch;
	struct events *events;
	const struct guard *guard; /* NULL: nothing is protected */
	const char *const *listen; /* addresses */
	size_t listen_count;
	const char *token_file; /* NULL: there is none */
	time_t since;

	/* The list of shares was changed: acts on what is mounted. */
	void (*changed)(void *context);
	/* A new token, made and written to its file, or read from it. 0, or a negative errno and words. */
	int (*rotate_token)(void *context, bool from_file, char *error, size_t error_size);
	void *context;
};

struct control {
	struct listener listener;
	struct control_facts facts;
	struct control_client *clients; /* kept by control.c */
	unsigned count;
};

/*
 * Listens at path, whose directory must be nobody else's (0700), and takes the events. 0, or a negative errno and
 * words.
 */
int control_open(struct control *control, uv_loop_t *loop, const char *path, const struct control_facts *facts,
                 char *error, size_t error_size);
/* Every worker has settled: answers that waited for it go out. */
void control_settled(struct control *control);
/* A worker has answered or is gone: answers that waited for the last one go out. */
void control_uptake_changed(struct control *control);
/* Stops. The memory must live until the loop has run once more. */
void control_close(struct control *control);

/* What is to be done with an answer. */
enum control_next { CONTROL_CLOSE, CONTROL_SETTLE, CONTROL_SUBSCRIBE, CONTROL_UPTAKE };

/*
 * Answers: each returns a line without its newline, which the caller frees. NULL: out of memory. CONTROL_UPTAKE: the
 * uptake has begun, and the answer is right when it is over.
 */
char *control_answer(const struct control_facts *facts, const char *request, size_t length, struct uptake *uptake,
                     enum control_next *ret_next);
char *control_error(const char *code, const char *text);
/* After an uptake whose limit is over: which mounts have not answered. */
char *control_unanswered(const struct control_facts *facts, const struct uptake *uptake);
/* Of requests that change something (requests.c). NULL: there is no such request. */
json_t *control_change(const struct control_facts *facts, const char *name, json_t *question,
                       enum control_next *ret_next);
json_t *control_error_object(const char *code, const char *text);
/* Begins an uptake, or says what is wrong (sync-request.c). */
json_t *control_sync(const struct control_facts *facts, json_t *question, struct uptake *uptake,
                     enum control_next *ret_next);
