/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/answer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "http/server.h"
#include "http/status.h"

#define BODY_MAX 8192

static const struct {
	int status;
	const char *code;
} codes[] = {
	{400, "UNSUPPORTED"},         {401, "UNAUTHORIZED"}, {403, "DENIED"},
	{404, "NAME_UNKNOWN"},        {405, "UNSUPPORTED"},  {408, "BLOB_UPLOAD_INVALID"},
	{409, "BLOB_UPLOAD_INVALID"}, {413, "SIZE_INVALID"}, {416, "BLOB_UPLOAD_INVALID"},
	{429, "TOOMANYREQUESTS"},     {501, "UNSUPPORTED"},
};

static const char *code_of(int status)
{
	for (size_t i = 0; i < ARRAY_LEN(codes); i++)
		if (codes[i].status == status)
			return codes[i].code;
	return status < 500 ? "UNSUPPORTED" : "UNKNOWN";
}

/* A message may quote what a client sent; JSON holds UTF-8 only. */
static struct json *text_of(const char *message)
{
	struct json *text = json_string(message);
	char plain[ERR_MSG_MAX];

	if (text)
		return text;
	snprintf(plain, sizeof(plain), "%s", message);
	for (char *p = plain; *p; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	return json_string(plain);
}

static void write_error(const char *code, const char *message, struct buf *out)
{
	auto_type(json) doc = json_object();
	struct json *list = json_array(), *one = json_object();

	(void)json_set(one, "code", json_string(code));
	(void)json_set(one, "message", text_of(message));
	(void)json_append(list, one);
	(void)json_set(doc, "errors", list);
	if (!doc || json_write(doc, out, NULL) < 0)
		buf_add(out, "{\"errors\":[{\"code\":\"UNKNOWN\"}]}");
	buf_add(out, "\n");
}

void answer_body(int status, const char *message, struct buf *out)
{
	write_error(code_of(status), message, out);
}

int answer_error(struct http_request *req, int status, const char *code, const char *fmt, ...)
{
	auto_buf struct buf body = BUF_INIT(BODY_MAX);
	char message[ERR_MSG_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	write_error(code, message, &body);
	return http_reply(req, status, "application/json", buf_str(&body), body.len);
}

bool answer_is_full(const struct err *err)
{
	return err->sys == ENOSPC || err->sys == EDQUOT;
}

int answer_err(struct http_request *req, const struct err *err)
{
	if (answer_is_full(err))
		return answer_error(req, 507, "UNKNOWN",
		                    "the registry's disk is full: delete images, or give it more "
		                    "room, then go on; what it has answered for is safe");
	int status = http_status_of(err->kind);

	return answer_error(req, status, code_of(status), "%s", err->msg);
}
