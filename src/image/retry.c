/* SPDX-License-Identifier: Apache-2.0 */
#include "image/retry.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/id.h"
#include "http/client.h"

#define RETRY_FIRST_MS   500
#define RETRY_LONGEST_MS 10000
#define RETRY_YEAR_S     31536000

bool retry_status(int status)
{
	return status == 408 || status == 429 || status == 500 || status == 502 || status == 503 ||
	       status == 504;
}

int64_t retry_backoff_ms(int attempt)
{
	int64_t ms = RETRY_FIRST_MS;

	for (int i = 1; i < attempt && ms < RETRY_LONGEST_MS; i++)
		ms *= 2;
	if (ms > RETRY_LONGEST_MS)
		ms = RETRY_LONGEST_MS;
	/* Up to a quarter more; the clock's low digits are chance enough. */
	return ms + clock_mono_ns() / 1000 % (ms / 4);
}

int64_t retry_after_ms(const char *value, int64_t wall_ns)
{
	int64_t seconds;
	struct tm tm = {0};

	if (!value)
		return -1;
	if (id_parse_int(value, "Retry-After", 0, RETRY_YEAR_S, &seconds, NULL) == 0)
		return seconds * 1000;
	const char *end = strptime(value, "%a, %d %b %Y %H:%M:%S GMT", &tm);
	if (!end || *end)
		return -1;
	int64_t ms = (int64_t)timegm(&tm) * 1000 - wall_ns / 1000000;
	return ms > 0 ? ms : 0;
}

/* With the word that clients look for. */
static int rate_limited(const char *host, const char *said, int64_t wish_ms, struct err *err)
{
	char when[48] = "later";

	if (wish_ms >= 0)
		(void)snprintf(when, sizeof(when), "in %lld s", (long long)(wish_ms + 999) / 1000);
	return err_set(err, ERR_UNAVAILABLE,
	               "%s: toomanyrequests: %.200s (rate limit: try again %s, or `buoy login "
	               "%s`, as users with an account may ask more often)",
	               host, said, when, host);
}

int64_t retry_pause_ms(const struct http_response *response, const char *host, int attempt,
                       struct err *err)
{
	int64_t wish =
		retry_after_ms(http_response_header(response, "Retry-After"), clock_wall_ns());
	struct err words = ERR_INIT;

	if (wish <= RETRY_AFTER_MAX_MS && attempt < RETRY_TRIES)
		return wish >= 0 ? wish : retry_backoff_ms(attempt);
	if (http_expect(response, &words) == 0)
		(void)err_set(&words, ERR_UNAVAILABLE, "status %d", response->status);
	if (response->status == 429)
		return rate_limited(host, words.msg, wish, err);
	if (wish > RETRY_AFTER_MAX_MS)
		return err_set(err, ERR_UNAVAILABLE, "%s: %s (it asks to come back in %lld s)",
		               host, words.msg, (long long)wish / 1000);
	return err_set(err, ERR_UNAVAILABLE, "%s: %s (after %d tries)", host, words.msg, attempt);
}
