/* SPDX-License-Identifier: Apache-2.0 */
/* What both sides of bindsharectl doctor look at. */
#pragma once

#include "ctl/facts.h"
#include "ctl/findings.h"

void doctor_limits_kernel(struct findings *findings, const struct facts_kernel *kernel);
/* files: facts_files() */
void doctor_limits_files(struct findings *findings, unsigned long long files);
