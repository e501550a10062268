/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A user namespace in which the process has one capability, CAP_DAC_OVERRIDE, for files whose owner and group are its
 * own: access that the user could have after a chmod, without the chmod. worker/host/lift.h raises it for single system
 * calls.
 */
#pragma once

#include <stdbool.h>

/*
 * Gives up every capability. wanted: first enters such a namespace and keeps CAP_DAC_OVERRIDE, permitted but not
 * effective; if the machine does not allow it, or for root, the process goes on without. Afterwards other ids than its
 * own are shown as 65534; if its own id is 65534, that is shown as 1. Returns 0 or a negative errno. The process must
 * have a single thread.
 */
int own_files_enter(bool wanted);
