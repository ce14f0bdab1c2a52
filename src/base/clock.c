/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/err.h"

#define NS_PER_SECOND INT64_C(1000000000)

static int64_t read_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t); /* cannot fail for the clocks we name */
	return t.tv_sec * NS_PER_SECOND + t.tv_nsec;
}

int64_t clock_mono_ns(void)
{
	return read_ns(CLOCK_MONOTONIC);
}

int64_t clock_mono_ms(void)
{
	return clock_mono_ns() / 1000000;
}

int64_t clock_boot_ms(void)
{
	return read_ns(CLOCK_BOOTTIME) / 1000000;
}

int64_t clock_wall_ns(void)
{
	return read_ns(CLOCK_REALTIME);
}

/* ---- the calendar ---- */

static bool is_leap(int year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int month_days(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return days[month - 1] + (month == 2 && is_leap(year));
}

static int64_t days_since_1970(int year, int month, int day)
{
	int64_t y = year - 1; /* whole years since year 1 */
	int64_t days = y * 365 + y / 4 - y / 100 + y / 400 - 719162;

	for (int m = 1; m < month; m++)
		days += month_days(year, m);
	return days + day - 1;
}

/* By hand, not by gmtime(3): that reads the time zone's file first, in each of many short processes. */
static void date_of(int64_t days, int *year, int *month, int *day)
{
	int y = 1970 + (int)(days / 366), m = 1;

	while (days_since_1970(y, 1, 1) > days)
		y--;
	while (days_since_1970(y + 1, 1, 1) <= days)
		y++;
	days -= days_since_1970(y, 1, 1);
	for (; days >= month_days(y, m); m++)
		days -= month_days(y, m);
	*year = y;
	*month = m;
	*day = (int)days + 1;
}

char *clock_format(int64_t wall_ns, char text[CLOCK_TEXT_MAX])
{
	if (wall_ns == 0) {
		memcpy(text, CLOCK_ZERO, sizeof(CLOCK_ZERO));
		return text;
	}

	int64_t ns = wall_ns % NS_PER_SECOND;
	int64_t seconds = wall_ns / NS_PER_SECOND;
	if (ns < 0) { /* before 1970: C rounds towards zero */
		ns += NS_PER_SECOND;
		seconds--;
	}
	int64_t days = seconds / 86400 - (seconds % 86400 < 0);
	unsigned second = (unsigned)(seconds - days * 86400) % 86400;
	int year, month, day;

	date_of(days, &year, &month, &day);
	/* The remainders change nothing but tell the compiler that it fits. */
	snprintf(text, CLOCK_TEXT_MAX, "%04u-%02u-%02uT%02u:%02u:%02u.%09uZ",
	         (unsigned)year % 10000, (unsigned)month % 100, (unsigned)day % 100, second / 3600,
	         second / 60 % 60, second % 60, (unsigned)ns % (unsigned)NS_PER_SECOND);
	return text;
}

/* ---- reading: each step takes what it knows and returns what follows, or NULL ---- */

static const char *read_number(const char *text, int digits, int *value)
{
	*value = 0;
	for (int i = 0; i < digits; i++, text++) {
		if (!isdigit((unsigned char)*text))
			return NULL;
		*value = *value * 10 + (*text - '0');
	}
	return text;
}

static const char *read_char(const char *text, const char *allowed)
{
	return text && *text && strchr(allowed, *text) ? text + 1 : NULL;
}

static const char *read_pair(const char *text, const char *separator, int *value)
{
	text = read_char(text, separator);
	return text ? read_number(text, 2, value) : NULL;
}

/* ".25" to nanoseconds; digits after the ninth are dropped. No fraction is fine. */
static const char *read_fraction(const char *text, int64_t *ns)
{
	int64_t unit = NS_PER_SECOND / 10;

	*ns = 0;
	if (!text || *text != '.')
		return text;
	if (!isdigit((unsigned char)*++text))
		return NULL;
	for (; isdigit((unsigned char)*text); text++, unit /= 10)
		*ns += (*text - '0') * unit;
	return text;
}

/* "Z" or "+01:00" to seconds. */
static const char *read_offset(const char *text, int *seconds)
{
	int hours, minutes;

	*seconds = 0;
	if (!text || *text == 'Z' || *text == 'z')
		return text ? text + 1 : NULL;
	bool west = *text == '-';
	text = read_pair(text, "+-", &hours);
	text = read_pair(text, ":", &minutes);
	if (!text || hours > 23 || minutes > 59)
		return NULL;
	*seconds = (hours * 60 + minutes) * 60 * (west ? -1 : 1);
	return text;
}

static int combine(int64_t seconds, int64_t ns, int64_t *wall_ns)
{
	int64_t total;

	if (__builtin_mul_overflow(seconds, NS_PER_SECOND, &total) ||
	    __builtin_add_overflow(total, ns, &total))
		return -1;
	*wall_ns = total;
	return 0;
}

static int parse_rfc3339(const char *text, int64_t *wall_ns)
{
	int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, offset = 0;
	int64_t ns = 0;

	text = read_number(text, 4, &year);
	text = read_pair(text, "-", &month);
	text = read_pair(text, "-", &day);
	text = read_pair(text, "Tt ", &hour);
	text = read_pair(text, ":", &minute);
	text = read_pair(text, ":", &second);
	text = read_fraction(text, &ns);
	text = read_offset(text, &offset);
	if (!text || *text != '\0' || year < 1 || month < 1 || month > 12 || day < 1 ||
	    day > month_days(year, month) || hour > 23 || minute > 59 || second > 60)
		return -1;

	int64_t days = days_since_1970(year, month, day);
	int64_t seconds = days * 86400 + hour * 3600 + minute * 60 + second - offset;
	if (year == 1 && seconds == days_since_1970(1, 1, 1) * 86400 && ns == 0) {
		*wall_ns = 0; /* CLOCK_ZERO */
		return 0;
	}
	return combine(seconds, ns, wall_ns);
}

static int parse_unix(const char *text, int64_t *wall_ns)
{
	bool negative = *text == '-';
	int64_t seconds = 0, ns;

	text += negative;
	if (!isdigit((unsigned char)*text))
		return -1;
	for (; isdigit((unsigned char)*text); text++)
		if (__builtin_mul_overflow(seconds, 10, &seconds) ||
		    __builtin_add_overflow(seconds, *text - '0', &seconds))
			return -1;
	text = read_fraction(text, &ns);
	if (!text || *text != '\0')
		return -1;
	return combine(negative ? -seconds : seconds, negative ? -ns : ns, wall_ns);
}

int clock_parse(const char *text, int64_t *wall_ns, struct err *err)
{
	if (parse_unix(text, wall_ns) == 0 || parse_rfc3339(text, wall_ns) == 0)
		return 0;
	return err_set(err, ERR_INVALID,
	               "\"%.60s\" is not a time: use 2006-01-02T15:04:05Z or seconds since 1970",
	               text);
}

/* ---- durations ---- */

static const struct unit {
	const char *name;
	int64_t ns;
} units[] = {
	{"ns", 1},
	{"us", 1000},
	{"\xc2\xb5s", 1000}, /* the micro sign */
	{"\xce\xbcs", 1000}, /* the Greek letter */
	{"ms", 1000000},
	{"s", NS_PER_SECOND},
	{"m", 60 * NS_PER_SECOND},
	{"h", 3600 * NS_PER_SECOND},
};

static const char *read_unit(const char *text, int64_t *ns)
{
	size_t len = strcspn(text, "0123456789.");

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strlen(units[i].name) == len && memcmp(units[i].name, text, len) == 0) {
			*ns = units[i].ns;
			return text + len;
		}
	return NULL;
}

/* One "1.5h"; adds it to *total. */
static const char *read_term(const char *text, int64_t *total)
{
	int64_t whole = 0, unit, scale = 1, fraction = 0;
	const char *start = text;
	size_t digits = 0;

	for (; isdigit((unsigned char)*text); text++, digits++)
		if (__builtin_mul_overflow(whole, 10, &whole) ||
		    __builtin_add_overflow(whole, *text - '0', &whole))
			return NULL;
	if (*text == '.')
		for (text++; isdigit((unsigned char)*text); text++, digits++)
			if (scale < INT64_C(100000000000000000)) { /* what follows is below 1 ns */
				scale *= 10;
				fraction = fraction * 10 + (*text - '0');
			}
	if (digits == 0 || text == start)
		return NULL;
	text = read_unit(text, &unit);
	if (!text || __builtin_mul_overflow(whole, unit, &whole) ||
	    __builtin_add_overflow(*total, whole, total) ||
	    __builtin_add_overflow(*total, (int64_t)((__int128)fraction * unit / scale), total))
		return NULL;
	return text;
}

static int parse_duration(const char *text, int64_t *ns)
{
	bool negative = *text == '-';
	int64_t total = 0;

	if (*text == '-' || *text == '+')
		text++;
	if (strcmp(text, "0") == 0) {
		*ns = 0;
		return 0;
	}
	do {
		text = read_term(text, &total);
	} while (text && *text);
	if (!text)
		return -1;
	*ns = negative ? -total : total;
	return 0;
}

int clock_parse_duration(const char *text, int64_t *ns, struct err *err)
{
	if (parse_duration(text, ns) == 0)
		return 0;
	return err_set(err, ERR_INVALID,
	               "\"%.60s\" is not a duration: use numbers with ns, us, ms, s, m or h, like "
	               "1h30m",
	               text);
}

void clock_sleep_ms(int64_t ms)
{
	if (ms <= 0)
		return;

	struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
	while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR)
		;
}
