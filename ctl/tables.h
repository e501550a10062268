/* SPDX-License-Identifier: Apache-2.0 */
/* The server's answers as tables for people, on stdout. Each takes an answer; see docs/BACKEND.md. */
#pragma once

#include <jansson.h>

void tables_status(const json_t *status);
void tables_stats(const json_t *stats);
void tables_shares(const json_t *answer);
void tables_change(const json_t *answer);
void tables_sync(const json_t *answer);
void tables_token(const json_t *answer);
/* One event, a line. */
void tables_event(const json_t *event);
/* What top.c made; order: NULL where no key chooses another. columns, lines: of the terminal, 0 for no limit. */
void tables_top(const json_t *rows, const char *order, int columns, int lines);
/* What doctor.c made. */
void tables_doctor(const json_t *answer);
