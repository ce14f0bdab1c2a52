/* SPDX-License-Identifier: Apache-2.0 */
#include "net/resolv.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"

#define FILE_MAX (64 << 10)

static bool is_address(const char *text)
{
	uint8_t addr[16];

	return inet_pton(AF_INET, text, addr) == 1 || inet_pton(AF_INET6, text, addr) == 1;
}

static void add_word(char *to, size_t size, const char *word)
{
	size_t len = strlen(to);

	if (len + strlen(word) + 2 <= size)
		snprintf(to + len, size - len, "%s%s", len ? " " : "", word);
}

static void parse_line(char *line, struct resolv *out)
{
	char *rest = NULL, *key = strtok_r(line, " \t", &rest), *word;
	char *list = NULL;
	size_t size = 0;

	if (!key || strchr("#;", key[0]))
		return;
	if (str_eq(key, "nameserver")) {
		word = strtok_r(NULL, " \t", &rest);
		if (word && out->server_count < RESOLV_SERVER_MAX && is_address(word))
			snprintf(out->servers[out->server_count++], sizeof(out->servers[0]), "%s",
			         word);
		return;
	}
	if (str_eq(key, "search") || str_eq(key, "domain")) {
		list = out->search;
		size = sizeof(out->search);
		list[0] = '\0'; /* the last line counts */
	} else if (str_eq(key, "options")) {
		list = out->options;
		size = sizeof(out->options);
	}
	while (list && (word = strtok_r(NULL, " \t", &rest)))
		add_word(list, size, word);
}

void resolv_parse(const char *text, struct resolv *out)
{
	auto_free char *copy = strdup(text);
	char *rest = NULL;

	*out = (struct resolv){0};
	for (char *line = copy ? strtok_r(copy, "\r\n", &rest) : NULL; line;
	     line = strtok_r(NULL, "\r\n", &rest))
		parse_line(line, out);
}

int resolv_read_host(struct resolv *out, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(FILE_MAX);
	struct err why = ERR_INIT;

	if (fs_trusted_read("/etc/resolv.conf", FILE_MAX, &text, &why) < 0 &&
	    !err_is(&why, ERR_NOT_FOUND)) {
		if (err)
			*err = why;
		return -1;
	}
	resolv_parse(buf_str(&text), out);
	return 0;
}

bool resolv_is_loopback(const char *server)
{
	return str_starts(server, "127.") || str_eq(server, "::1");
}

void resolv_drop_loopback(struct resolv *r)
{
	size_t kept = 0;

	for (size_t i = 0; i < r->server_count; i++)
		if (!resolv_is_loopback(r->servers[i])) {
			if (kept != i)
				memcpy(r->servers[kept], r->servers[i], sizeof(r->servers[0]));
			kept++;
		}
	r->server_count = kept;
}

int resolv_write(const struct resolv *r, struct buf *out, struct err *err)
{
	for (size_t i = 0; i < r->server_count; i++)
		buf_addf(out, "nameserver %s\n", r->servers[i]);
	if (r->search[0])
		buf_addf(out, "search %s\n", r->search);
	if (r->options[0])
		buf_addf(out, "options %s\n", r->options);
	return buf_check(out, err);
}

int resolv_set_servers(struct resolv *r, const char *const *servers, struct err *err)
{
	size_t count = 0;

	while (servers[count]) {
		if (!is_address(servers[count]))
			return err_set(err, ERR_INVALID,
			               "invalid DNS server \"%.60s\": it must be an IP address",
			               servers[count]);
		if (count < RESOLV_SERVER_MAX)
			snprintf(r->servers[count], sizeof(r->servers[0]), "%s", servers[count]);
		count++;
	}
	r->server_count = count < RESOLV_SERVER_MAX ? count : RESOLV_SERVER_MAX;
	return 0;
}

int resolv_set_words(char *to, size_t size, const char *const *words, const char *what,
                     struct err *err)
{
	to[0] = '\0';
	for (size_t i = 0; words[i]; i++) {
		if (strpbrk(words[i], " \t\r\n") || words[i][0] == '\0')
			return err_set(err, ERR_INVALID, "invalid DNS %s \"%.60s\": one word each",
			               what, words[i]);
		if (i >= RESOLV_LIST_MAX || strlen(to) + strlen(words[i]) + 2 > size)
			return err_set(err, ERR_LIMIT, "too long a list for DNS %s", what);
		if (!str_eq(words[i], ".")) /* Docker's way to say: none */
			add_word(to, size, words[i]);
	}
	return 0;
}
