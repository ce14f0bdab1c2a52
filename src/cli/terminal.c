/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/terminal.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"

int terminal_raw(struct terminal *t, int fd, struct err *err)
{
	struct termios raw;

	*t = (struct terminal){.fd = fd};
	if (!isatty(fd))
		return 0;
	if (tcgetattr(fd, &t->saved) < 0)
		return err_sys(err, "terminal attributes");
	raw = t->saved;
	cfmakeraw(&raw);
	if (tcsetattr(fd, TCSADRAIN, &raw) < 0)
		return err_sys(err, "raw terminal");
	t->raw = true;
	return 0;
}

void terminal_restore(struct terminal *t)
{
	if (t->raw)
		tcsetattr(t->fd, TCSADRAIN, &t->saved);
	t->raw = false;
}

bool terminal_size(uint16_t *rows, uint16_t *cols)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row == 0)
		return false;
	*rows = size.ws_row;
	*cols = size.ws_col;
	return true;
}

int terminal_ask(const char *prompt, bool secret, struct buf *out, struct err *err)
{
	struct termios saved, quiet;
	bool hide = secret && tcgetattr(STDIN_FILENO, &saved) == 0;
	char c;
	ssize_t n;

	fputs(prompt, stderr);
	if (hide) {
		quiet = saved;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		tcsetattr(STDIN_FILENO, TCSADRAIN, &quiet);
	}
	while ((n = read(STDIN_FILENO, &c, 1)) == 1 && c != '\n')
		buf_add_mem(out, &c, 1);
	if (hide) {
		tcsetattr(STDIN_FILENO, TCSADRAIN, &saved);
		fputc('\n', stderr);
	}
	return n < 0 ? err_sys(err, "standard input") : buf_check(out, err);
}
