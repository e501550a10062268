/* SPDX-License-Identifier: Apache-2.0 */
/* The worker, the half of the server that serves one mount: what --worker runs. */
#pragma once

/* Returns the process's exit code. */
int worker_main(void);
