/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/metrics.h"

#include "base/buf.h"
#include "base/str.h"
#include "registry/proxy.h"
#include "registry/quota.h"
#include "registry/registry.h"
#include "registry/scrub.h"
#include "registry/webhook.h"

#define TEXT_MAX (1u << 20)

static const char *const methods[METRICS_METHODS] = {"GET",   "HEAD",   "POST", "PUT",
                                                     "PATCH", "DELETE", "other"};

static size_t index_of(const char *method)
{
	size_t i = 0;

	while (i < METRICS_METHODS - 1 && !str_eq(methods[i], method))
		i++;
	return i;
}

void metrics_observe(void *ctx, const struct http_request *req, int status, int64_t took_ns)
{
	struct registry *r = ctx;
	size_t method = index_of(http_method(req));
	int class = status / 100 - 1;

	if (class < 0 || class >= METRICS_CLASSES)
		return;
	atomic_fetch_add(&r->metrics.requests[method][class], 1);
	atomic_fetch_add(&r->metrics.took_ns[method], (unsigned long long)took_ns);
}

static void write_requests(struct metrics *m, struct buf *out)
{
	buf_add(out, "# HELP buoy_registry_requests_total Requests answered.\n"
	             "# TYPE buoy_registry_requests_total counter\n");
	for (size_t i = 0; i < METRICS_METHODS; i++)
		for (size_t c = 0; c < METRICS_CLASSES; c++) {
			unsigned long long n = atomic_load(&m->requests[i][c]);

			if (n > 0)
				buf_addf(
					out,
					"buoy_registry_requests_total{method=\"%s\",class=\"%zuxx\"} %llu\n",
					methods[i], c + 1, n);
		}
	buf_add(out, "# HELP buoy_registry_request_seconds_total Time spent on requests.\n"
	             "# TYPE buoy_registry_request_seconds_total counter\n");
	for (size_t i = 0; i < METRICS_METHODS; i++)
		buf_addf(out, "buoy_registry_request_seconds_total{method=\"%s\"} %.6f\n",
		         methods[i], (double)atomic_load(&m->took_ns[i]) / 1e9);
}

static void write_gauge(struct buf *out, const char *name, const char *help, size_t value)
{
	buf_addf(out,
	         "# HELP buoy_registry_%s %s\n# TYPE buoy_registry_%s gauge\n"
	         "buoy_registry_%s %zu\n",
	         name, help, name, name, value);
}

int api_metrics(void *ctx, struct http_request *req, struct err *err)
{
	struct registry *r = ctx;
	auto_buf struct buf text = BUF_INIT(TEXT_MAX);

	if (!registry_admit(r, req, REGISTRY_METRICS, REGISTRY_PULL))
		return 0;
	write_requests(&r->metrics, &text);
	write_gauge(&text, "repositories", "Repositories.", repos_count(r->repos));
	write_gauge(&text, "uploads", "Uploads that are running.", uploads_count(r->uploads));
	quotas_write_metrics(r->quotas, &text);
	proxy_write_metrics(r->proxy, &text);
	scrub_write_metrics(r->scrub, &text);
	webhooks_write_metrics(r->webhooks, &text);
	if (buf_check(&text, err) < 0)
		return -1;
	return http_reply(req, 200, "text/plain; version=0.0.4; charset=utf-8", text.data,
	                  text.len);
}
