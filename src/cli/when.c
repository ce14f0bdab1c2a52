/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/when.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "cli/api.h"

#define NANO 1000000000LL

int when_query(struct buf *path, const struct args *args, const char *flag, struct err *err)
{
	const char *text = args_string(args, flag);
	char seconds[40];
	int64_t ns;

	if (!text)
		return 0;
	if (clock_parse_duration(text, &ns, NULL) == 0 && text[0] != '\0' &&
	    (text[1] == '\0' || strpbrk(text, "smhu")))
		ns = clock_wall_ns() - ns;
	else if (clock_parse(text, &ns, err) < 0)
		return err_wrap(err, "--%s", flag);
	snprintf(seconds, sizeof(seconds), "%lld.%09lld", (long long)(ns / NANO),
	         (long long)(ns % NANO));
	api_query(path, flag, seconds);
	return 0;
}

int when_logs(struct buf *path, const struct args *args, struct err *err)
{
	api_query(path, "stdout", "1");
	api_query(path, "stderr", "1");
	if (args_bool(args, "follow"))
		api_query(path, "follow", "1");
	if (args_bool(args, "timestamps"))
		api_query(path, "timestamps", "1");
	if (args_bool(args, "details"))
		api_query(path, "details", "1");
	if (args_has(args, "tail"))
		api_query(path, "tail", args_string(args, "tail"));
	if (when_query(path, args, "since", err) < 0)
		return -1;
	return when_query(path, args, "until", err);
}
