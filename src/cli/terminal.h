/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* terminal - raw mode and its end, and the size of the window. */

#include <stdbool.h>
#include <stdint.h>
#include <termios.h>

struct err;

struct terminal {
	int fd;
	bool raw; /* saved holds what to go back to */
	struct termios saved;
};

/* Puts fd into raw mode if it is a terminal; else does nothing. */
int terminal_raw(struct terminal *t, int fd, struct err *err);
void terminal_restore(struct terminal *t);
#define auto_terminal __attribute__((cleanup(terminal_restore)))

/* Of standard output; false if it is no terminal. */
bool terminal_size(uint16_t *rows, uint16_t *cols);

/* Asks without showing what is typed when `secret`. The text without its newline, appended to out. */
struct buf;
int terminal_ask(const char *prompt, bool secret, struct buf *out, struct err *err);
