/* SPDX-License-Identifier: Apache-2.0 */
/* The terminal that bindsharectl top draws on: its size, single keys, and that it is as before in the end. */
#pragma once

#include <stdbool.h>

/* Keys come one by one and are not shown. False: standard input and output are no terminal; nothing was done. */
bool terminal_begin(void);
/* As it was before; also after terminal_begin() has said false. */
void terminal_end(void);

/* Columns and lines; 0: not known. */
void terminal_size(int *ret_columns, int *ret_lines);
/* Waits for a key, at most timeout_ms. The key; 0: there was none; -1: the user has ended it (SIGINT, SIGTERM). */
int terminal_key(int timeout_ms);
/* After terminal_key() has said -1 and terminal_end(): the program ends by that signal. */
void terminal_die(void);
