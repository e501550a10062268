/* SPDX-License-Identifier: Apache-2.0 */
/* Looks into the doctor's findings, for its tests. */
#pragma once

#include "ctl/findings.h"

/* The number-th finding of a check, from 0; NULL: there is none. */
const json_t *found_of(const struct findings *findings, const char *check, unsigned number);

/* "level: text / advice" of it; "" when there is none. */
const char *found(const struct findings *findings, const char *check);

/* Fails the test unless the first finding of a check has these words. */
void found_assert(const struct findings *findings, const char *check, const char *words);

/* Fails it unless there are at least so many findings, all are "ok" and none has an advice. */
void found_assert_sound(const struct findings *findings, size_t least);
