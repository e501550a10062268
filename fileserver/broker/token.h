/* SPDX-License-Identifier: Apache-2.0 */
/* Another token while the server runs. */
#pragma once

#include "protocol/handshake.h"

/*
 * Takes the token that somebody wrote to the file (from_file), or makes one and writes it there. 0 and the token, or a
 * negative errno and words.
 */
int token_rotate(const char *path, bool from_file, struct proto_token *ret_token, char *error, size_t error_size);
