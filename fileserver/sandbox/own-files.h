/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A user namespace in which the process has one capability, CAP_DAC_OVERRIDE, and has it for files whose owner and
 * group are its own: what the user could do after a chmod, without the chmod. lift.h puts it in force for single calls.
 */
#pragma once

#include <stdbool.h>

/*
 * Gives up every capability. wanted: enters such a namespace first and keeps that one, permitted and not in force;
 * where the machine does not allow it, or for root, the process goes on without. Afterwards ids other than its own are
 * shown as 65534, and its own never is: one that is 65534 is shown as 1. 0 or a negative errno; the process must have
 * one thread.
 */
int own_files_enter(bool wanted);
