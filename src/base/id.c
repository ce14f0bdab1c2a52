/* SPDX-License-Identifier: Apache-2.0 */
#include "base/id.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "base/err.h"

#define ID_NAME_MAX 128 /* bytes of a name */

void id_random(void *bytes, size_t len)
{
	unsigned char *at = bytes;

	/* Only a signal can interrupt it once the kernel's pool is ready. */
	while (len > 0) {
		ssize_t n = getrandom(at, len, 0);

		if (n <= 0)
			continue;
		at += n;
		len -= (size_t)n;
	}
}

static bool is_digits(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!isdigit((unsigned char)text[i]))
			return false;
	return true;
}

char *id_make_hex(char text[ID_HEX_MAX])
{
	static const char digits[] = "0123456789abcdef";
	unsigned char bytes[(ID_HEX_MAX - 1) / 2];

	do {
		id_random(bytes, sizeof(bytes));
		for (size_t i = 0; i < sizeof(bytes); i++) {
			text[2 * i] = digits[bytes[i] >> 4];
			text[2 * i + 1] = digits[bytes[i] & 15];
		}
		text[ID_HEX_MAX - 1] = '\0';
		/* A short id of digits alone would be taken for a number, e.g. as host name. */
	} while (is_digits(text, ID_SHORT));
	return text;
}

char *id_make_swarm(char text[ID_SWARM_MAX])
{
	static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyz";
	size_t len = 0;

	while (len < ID_SWARM_MAX - 1) {
		unsigned char byte;

		id_random(&byte, 1);
		if (byte < 252) /* the largest multiple of 36, so that no letter is likelier */
			text[len++] = letters[byte % 36];
	}
	text[len] = '\0';
	return text;
}

static bool is_name_char(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '.' || c == '-';
}

static bool is_name(const char *name)
{
	size_t len = 0;

	if (!isalnum((unsigned char)name[0]))
		return false;
	while (len <= ID_NAME_MAX && is_name_char(name[len]))
		len++;
	return len <= ID_NAME_MAX && name[len] == '\0';
}

int id_check_name(const char *name, const char *what, struct err *err)
{
	if (name && is_name(name))
		return 0;
	return err_set(err, ERR_INVALID,
	               "%s \"%.140s\" is not allowed: use 1 to %d of [a-zA-Z0-9_.-], the first a "
	               "letter or digit",
	               what, name ? name : "", ID_NAME_MAX);
}

bool id_is_hex(const char *text, size_t min, size_t max)
{
	size_t len = text ? strspn(text, "0123456789abcdef") : 0;

	return text && text[len] == '\0' && len >= min && len <= max;
}

/* Leading digits into *value. Returns what follows them, or NULL if there are none
 * or too many. */
static const char *read_digits(const char *text, uint64_t *value)
{
	*value = 0;
	if (!isdigit((unsigned char)*text))
		return NULL;
	for (; isdigit((unsigned char)*text); text++)
		if (__builtin_mul_overflow(*value, 10, value) ||
		    __builtin_add_overflow(*value, (uint64_t)(*text - '0'), value))
			return NULL;
	return text;
}

bool id_scan_u64(const char **at, uint64_t *value)
{
	uint64_t n;
	const char *end = read_digits(*at + strspn(*at, " \t"), &n);

	if (!end)
		return false;
	*value = n;
	*at = end;
	return true;
}

int id_parse_u32(const char *text, uint32_t *value, struct err *err)
{
	uint64_t n;
	const char *end = read_digits(text, &n);

	if (!end || *end != '\0' || n > UINT32_MAX - 1)
		return err_set(err, ERR_INVALID, "\"%.40s\" is not a number from 0 to 4294967294",
		               text);
	*value = (uint32_t)n;
	return 0;
}

int id_parse_int(const char *text, const char *what, int64_t min, int64_t max, int64_t *value,
                 struct err *err)
{
	bool negative = *text == '-';
	uint64_t n;
	const char *end = read_digits(text + negative, &n);
	bool fits = end && *end == '\0' && n <= (uint64_t)INT64_MAX + negative;
	int64_t signed_n = negative ? (int64_t)(0 - n) : (int64_t)n;

	if (!fits || signed_n < min || signed_n > max)
		return err_set(err, ERR_INVALID,
		               "%s \"%.40s\" is not a number from %" PRId64 " to %" PRId64, what,
		               text, min, max);
	*value = signed_n;
	return 0;
}

/* "", "b", "k", "kb", "kib" and so on up to p, in either case: the power of 1024, or -1. */
static int size_power(const char *suffix)
{
	static const char letters[] = "kmgtp";
	const char *letter;

	if (*suffix == '\0' || strcasecmp(suffix, "b") == 0)
		return 0;
	letter = strchr(letters, tolower((unsigned char)*suffix));
	suffix++;
	if (!letter || (*suffix && strcasecmp(suffix, "b") != 0 && strcasecmp(suffix, "ib") != 0))
		return -1;
	return (int)(letter - letters) + 1;
}

static const char *read_fraction(const char *text, double *fraction)
{
	double unit = 0.1;

	*fraction = 0;
	if (*text != '.')
		return text;
	if (!isdigit((unsigned char)text[1]))
		return NULL;
	for (text++; isdigit((unsigned char)*text); text++) {
		*fraction += (*text - '0') * unit;
		unit /= 10;
	}
	return text;
}

int id_parse_size(const char *text, int64_t *bytes, struct err *err)
{
	uint64_t whole, total;
	double fraction = 0;
	const char *end = read_digits(text, &whole);

	end = end ? read_fraction(end, &fraction) : NULL;
	if (end && *end == ' ' && end[1] != '\0')
		end++;

	int power = end ? size_power(end) : -1;
	uint64_t unit = power < 0 ? 0 : UINT64_C(1) << (10 * power);
	if (power < 0 || __builtin_mul_overflow(whole, unit, &total) ||
	    __builtin_add_overflow(total, (uint64_t)(fraction * (double)unit), &total) ||
	    total > INT64_MAX)
		return err_set(err, ERR_INVALID,
		               "\"%.40s\" is not a size: use a number and b, k, m, g, t or p",
		               text);
	*bytes = (int64_t)total;
	return 0;
}
