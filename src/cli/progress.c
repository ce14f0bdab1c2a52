/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/progress.h"

#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/out.h"

#define LINE_BYTES (4u << 20)
#define BAR        40 /* characters */

void progress_init(struct progress *p, const struct cli *cli, FILE *out)
{
	*p = (struct progress){
		.out = out,
		.terminal = out == stderr ? cli->err_tty : cli->out_tty,
		.line = BUF_INIT(LINE_BYTES),
		.err = ERR_INIT,
	};
	p->layers = calloc(PROGRESS_LAYERS_MAX, sizeof(*p->layers));
}

/* Where the layer's line is; a new one is made at the bottom. NULL: not on a terminal, or full. */
static struct progress_layer *layer_of(struct progress *p, const char *id, size_t *up)
{
	size_t i = 0;

	while (i < p->layer_count && strcmp(p->layers[i].id, id) != 0)
		i++;
	if (!p->layers || i == PROGRESS_LAYERS_MAX)
		return NULL;
	if (i == p->layer_count) {
		snprintf(p->layers[i].id, sizeof(p->layers[i].id), "%s", id);
		p->layer_count++;
		if (p->terminal)
			fputc('\n', p->out);
	}
	*up = p->layer_count - i;
	return &p->layers[i];
}

static void draw_bar(FILE *out, int64_t current, int64_t total)
{
	char done[24], all[24];

	if (total > 0) {
		int full = (int)(MIN(current, total) * BAR / total);
		fputs(" [", out);
		for (int i = 0; i < BAR; i++)
			fputc(i < full ? '=' : i == full ? '>' : ' ', out);
		fprintf(out, "] %s/%s", out_size(current, done), out_size(total, all));
	} else if (current > 0) {
		fprintf(out, " %s", out_size(current, done));
	}
}

static void show_layer(struct progress *p, const char *id, const char *status,
                       const struct json *detail)
{
	size_t up = 0;
	struct progress_layer *layer = layer_of(p, id, &up);
	int64_t current = json_get_int(detail, "current", 0);

	if (!layer || !p->terminal) {
		/* Bars are for terminals: what counts here is that something else happens. */
		if (layer && strncmp(layer->status, status, sizeof(layer->status) - 1) == 0)
			return;
		out_text(p->out, id, p->terminal);
		fputs(": ", p->out);
		out_text(p->out, status, p->terminal);
		fputc('\n', p->out);
	} else {
		fprintf(p->out, "\033[%zuA\r\033[2K", up);
		out_text(p->out, id, true);
		fputs(": ", p->out);
		out_text(p->out, status, true);
		draw_bar(p->out, current, json_get_int(detail, "total", 0));
		fprintf(p->out, "\033[%zuB\r", up);
	}
	if (layer)
		snprintf(layer->status, sizeof(layer->status), "%s", status);
}

static void take_error(struct progress *p, const struct json *doc)
{
	const char *message = json_get_string(json_get(doc, "errorDetail"), "message");

	if (!message)
		message = json_get_string(doc, "error");
	if (message)
		(void)err_set(&p->err, ERR_SYSTEM, "%s", message);
}

static void show(struct progress *p, const struct json *doc)
{
	const char *id = json_get_string(doc, "id"), *text;
	struct json *aux = json_get(doc, "aux");

	take_error(p, doc);
	if (aux) {
		json_free(p->aux);
		p->aux = json_ref(aux);
	}
	if (p->quiet)
		return;
	if ((text = json_get_string(doc, "stream"))) {
		p->layer_count = 0; /* later layers begin below */
		fputs(text, p->out);
	} else if ((text = json_get_string(doc, "status"))) {
		if (!str_empty(id)) {
			show_layer(p, id, text, json_get(doc, "progressDetail"));
		} else {
			p->layer_count = 0;
			out_text(p->out, text, p->terminal);
			fputc('\n', p->out);
		}
	}
	fflush(p->out);
}

static void take_line(struct progress *p)
{
	if (p->line.len > 0) {
		auto_type(json) doc = json_parse(buf_str(&p->line), p->line.len, NULL);
		if (doc)
			show(p, doc);
		else
			(void)err_set(&p->err, ERR_INVALID,
			              "the daemon sent a line that is not JSON");
	}
	buf_clear(&p->line);
}

int progress_write(void *arg, const void *data, size_t len)
{
	struct progress *p = arg;
	const char *text = data;

	for (size_t i = 0, start = 0; i < len; i++) {
		bool end = text[i] == '\n';
		if (end || i + 1 == len)
			buf_add_mem(&p->line, text + start, i - start + !end);
		if (buf_check(&p->line, &p->err) < 0)
			return -1;
		if (end) {
			take_line(p);
			start = i + 1;
		}
	}
	return 0;
}

int progress_done(struct progress *p, struct err *err)
{
	take_line(p);
	buf_free(&p->line);
	free(p->layers);
	json_free(p->aux);
	p->layers = NULL;
	p->aux = NULL;
	if (p->err.kind == ERR_NONE)
		return 0;
	if (err)
		*err = p->err;
	return -1;
}
