/* SPDX-License-Identifier: Apache-2.0 */
/* The half of the server that serves one mounted share: what --worker runs. */
#pragma once

/* Never returns to the broker's code. Returns the exit code. */
int worker_main(void);
