/* SPDX-License-Identifier: Apache-2.0 */
#include "http/status.h"

#include <stddef.h>

#include "base/str.h"

static const struct {
	enum err_kind kind;
	int status;
} kinds[] = {
	{ERR_INVALID, 400},  {ERR_DENIED, 403},      {ERR_NOT_FOUND, 404},
	{ERR_CONFLICT, 409}, {ERR_LIMIT, 507},       {ERR_TIMEOUT, 504},
	{ERR_CANCELED, 499}, {ERR_UNAVAILABLE, 503}, {ERR_UNSUPPORTED, 501},
};

static const struct {
	int status;
	enum err_kind kind;
} statuses[] = {
	{401, ERR_DENIED},      {405, ERR_UNSUPPORTED}, {408, ERR_TIMEOUT},
	{412, ERR_CONFLICT},    {413, ERR_LIMIT},       {423, ERR_CONFLICT},
	{429, ERR_UNAVAILABLE}, {431, ERR_LIMIT},       {502, ERR_UNAVAILABLE},
};

static const struct {
	int status;
	const char *text;
} texts[] = {
	{100, "Continue"},
	{101, "UPGRADED"}, /* Docker's word for it */
	{200, "OK"},
	{201, "Created"},
	{202, "Accepted"},
	{204, "No Content"},
	{206, "Partial Content"},
	{301, "Moved Permanently"},
	{302, "Found"},
	{304, "Not Modified"},
	{307, "Temporary Redirect"},
	{308, "Permanent Redirect"},
	{400, "Bad Request"},
	{401, "Unauthorized"},
	{403, "Forbidden"},
	{404, "Not Found"},
	{405, "Method Not Allowed"},
	{406, "Not Acceptable"},
	{408, "Request Timeout"},
	{409, "Conflict"},
	{410, "Gone"},
	{412, "Precondition Failed"},
	{413, "Content Too Large"},
	{414, "URI Too Long"},
	{415, "Unsupported Media Type"},
	{416, "Range Not Satisfiable"},
	{423, "Locked"},
	{429, "Too Many Requests"},
	{431, "Request Header Fields Too Large"},
	{499, "Client Closed Request"},
	{500, "Internal Server Error"},
	{501, "Not Implemented"},
	{502, "Bad Gateway"},
	{503, "Service Unavailable"},
	{504, "Gateway Timeout"},
	{505, "HTTP Version Not Supported"},
	{507, "Insufficient Storage"},
};

int http_status_of(enum err_kind kind)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (kinds[i].kind == kind)
			return kinds[i].status;
	return 500;
}

enum err_kind http_kind_of(int status)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (kinds[i].status == status)
			return kinds[i].kind;
	for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
		if (statuses[i].status == status)
			return statuses[i].kind;
	if (status < 400)
		return ERR_NONE;
	return status < 500 ? ERR_INVALID : ERR_SYSTEM;
}

const char *http_status_text(int status)
{
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		if (texts[i].status == status)
			return texts[i].text;
	return "Unknown";
}
