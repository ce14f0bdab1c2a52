/* SPDX-License-Identifier: Apache-2.0 */
/* The web page: three texts that do not change. What they show comes from the API, with its rules. */
#include "base/cleanup.h"
#include "page.css.h" /* made from the files beside this one by the build */
#include "page.html.h"
#include "page.js.h"
#include "registry/registry.h"

/* Nothing from elsewhere, nothing inline, in nobody's frame. */
#define POLICY                                                                                     \
	"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "            \
	"form-action 'none'; base-uri 'none'; frame-ancestors 'none'"

static int send_text(struct http_request *req, const char *type, const char *text, size_t len,
                     struct err *err)
{
	if (http_reply_header(req, "Content-Security-Policy", POLICY, err) < 0 ||
	    http_reply_header(req, "Referrer-Policy", "no-referrer", err) < 0 ||
	    http_reply_header(req, "Cache-Control", "no-cache", err) < 0)
		return -1;
	return http_reply(req, 200, type, text, len);
}

int api_page(void *ctx, struct http_request *req, struct err *err)
{
	(void)ctx;
	return send_text(req, "text/html; charset=utf-8", page_html, sizeof(page_html) - 1, err);
}

int api_page_css(void *ctx, struct http_request *req, struct err *err)
{
	(void)ctx;
	return send_text(req, "text/css; charset=utf-8", page_css, sizeof(page_css) - 1, err);
}

int api_page_js(void *ctx, struct http_request *req, struct err *err)
{
	(void)ctx;
	return send_text(req, "text/javascript; charset=utf-8", page_js, sizeof(page_js) - 1, err);
}
