/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/vault.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/testing.h"

static const struct vault one = {.known = true, .key = {1, 2, 3}};
static const struct vault other = {.known = true, .key = {9}};

static void what_was_sealed_opens_and_does_not_show(void **state)
{
	struct buf out = BUF_INIT(4096);
	struct err err = ERR_INIT;
	char *text = NULL, *again = NULL;

	(void)state;
	assert_int_equal(vault_seal(&one, "secret/db", "a\0b canary", 10, &text, &err), 0);
	assert_int_equal(vault_seal(&one, "secret/db", "a\0b canary", 10, &again, &err), 0);
	assert_string_not_equal(text, again); /* a nonce of its own */
	assert_null(strstr(text, "canary"));
	assert_int_equal(vault_open_text(&one, "secret/db", text, &out, &err), 0);
	assert_int_equal(out.len, 10);
	assert_memory_equal(out.data, "a\0b canary", 10);
	vault_wipe_buf(&out);
	vault_wipe_text(text);
	vault_wipe_text(again);
}

static void other_labels_other_keys_and_other_bytes_do_not_open(void **state)
{
	struct buf out = BUF_INIT(4096);
	struct err err = ERR_INIT;
	const struct vault none = {0};
	char *text = NULL;

	(void)state;
	assert_int_equal(vault_seal(&none, "secret/db", "x", 1, &text, &err), -1);
	assert_int_equal(err.kind, ERR_UNAVAILABLE);
	assert_int_equal(vault_seal(&one, "secret/db", "x", 1, &text, &err), 0);
	assert_int_equal(vault_open_text(&one, "secret/web", text, &out, &err), -1);
	assert_int_equal(err.kind, ERR_DENIED);
	assert_int_equal(vault_open_text(&other, "secret/db", text, &out, &err), -1);
	assert_int_equal(err.kind, ERR_UNAVAILABLE);
	assert_non_null(strstr(err.msg, "vault.key"));
	size_t last = strlen(text) - 6;
	text[last] = text[last] == 'A' ? 'B' : 'A';
	assert_int_equal(vault_open_text(&one, "secret/db", text, &out, &err), -1);
	assert_int_equal(err.kind, ERR_DENIED);
	assert_int_equal(vault_open_text(&one, "secret/db", "v1:", &out, &err), -1);
	assert_int_equal(out.len, 0);
	vault_wipe_text(text);
	buf_free(&out);
}

static void a_key_is_made_once_and_travels_as_text(void **state)
{
	char path[] = "/tmp/vault-test-XXXXXX";
	struct vault first, second, third;
	struct err err = ERR_INIT;
	struct stat st;

	(void)state;
	assert_non_null(mkdtemp(path));
	int dir = fs_trusted_open_dir(path, false, &err);
	assert_true(dir >= 0);
	assert_int_equal(vault_open(dir, false, &first, &err), 0);
	assert_false(first.known);
	assert_int_equal(vault_open(dir, true, &first, &err), 0);
	assert_int_equal(vault_open(dir, true, &second, &err), 0);
	assert_memory_equal(first.key, second.key, VAULT_KEY_SIZE);
	assert_int_equal(fs_stat(dir, VAULT_FILE, &st, &err), 0);
	assert_int_equal(st.st_mode & 0777, 0600);

	char *text = vault_export(&first, &err);
	assert_int_equal(fs_unlink(dir, VAULT_FILE, &err), 0);
	assert_int_equal(vault_import(dir, "short", &err), -1);
	assert_int_equal(vault_import(dir, text, &err), 0);
	assert_int_equal(vault_open(dir, false, &third, &err), 0);
	assert_memory_equal(first.key, third.key, VAULT_KEY_SIZE);
	vault_wipe_text(text);
	vault_done(&first);
	assert_false(first.known);
	assert_int_equal(fs_unlink(dir, VAULT_FILE, &err), 0);
	close(dir);
	rmdir(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_sealed_opens_and_does_not_show),
		cmocka_unit_test(other_labels_other_keys_and_other_bytes_do_not_open),
		cmocka_unit_test(a_key_is_made_once_and_travels_as_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
