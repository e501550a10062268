/* SPDX-License-Identifier: Apache-2.0 */
/* What the authorization plugin is asked, and what it says, without the sockets on both sides of it (plugin.h). */
#pragma once

#include "guest-fuse/agent/engine.h"

enum { AUTHORIZE_TEXT_SIZE = 16384 };

/* One request that dockerd asks about. */
struct authorize_question {
	struct engine_request request; /* in the memory of the others */
	json_t *root;
	char *body;
};

/*
 * Reads dockerd's words (AuthZPlugin.AuthZReq). 0 and what authorize_question_done() frees; -EINVAL: they are none, and
 * words.
 */
int authorize_read(const char *text, size_t length, struct authorize_question *ret_question, char *error,
                   size_t error_size);
void authorize_question_done(struct authorize_question *question);

/*
 * By what guestd says of each of the binds. runtime_name: bindshare-runtime's in the engine. 0: they are allowed; 1:
 * the same, and some are to be made; -EACCES and words.
 */
int authorize_decide(const char *runtime_name, const struct engine_binds *binds, const json_t *decisions,
                     char text[AUTHORIZE_TEXT_SIZE]);
