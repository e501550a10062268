/* SPDX-License-Identifier: Apache-2.0 */
/* The server's answers as tables for people, on stdout. Each takes an answer; see control.h. */
#pragma once

#include <jansson.h>

void tables_status(const json_t *status);
void tables_stats(const json_t *stats);
void tables_shares(const json_t *answer);
