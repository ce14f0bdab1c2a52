/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"

#include "base/base64.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/testing.h"

#define ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static void pieces_give_what_the_whole_gives(void **state)
{
	char hex[HASH_HEX_MAX];
	struct err err = ERR_INIT;
	auto_type(hash) h = hash_create(&err);

	(void)state;
	assert_string_equal(hash_bytes_hex("abc", 3, hex), ABC); /* FIPS 180-4, example 1 */
	hash_add(h, "a", 1);
	hash_hex(h, hex); /* looking does not end it */
	hash_add(h, "bc", 2);
	assert_string_equal(hash_hex(h, hex), ABC);
}

static void a_descriptor_is_hashed_to_its_end(void **state)
{
	char hex[HASH_HEX_MAX];
	struct err err = ERR_INIT;
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], "abc", 3), 3);
	close(ends[1]);
	assert_int_equal(hash_fd_hex(ends[0], hex, &err), 0);
	assert_string_equal(hex, ABC);
	close(ends[0]);
}

static void sha512_in_pieces(void **state)
{
	auto_type(hash) h = hash_create_512(NULL);
	char hex[HASH_512_HEX];

	(void)state;
	hash_add(h, "a", 1);
	hash_add(h, "bc", 2);
	/* FIPS 180-4, the example for "abc" */
	assert_string_equal(hash_hex_512(h, hex), "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea2"
	                                          "0a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd"
	                                          "454d4423643ce80e2a9ac94fa54ca49f");
}

static void base64_round_trips(void **state)
{
	static const char *const pairs[][2] = {
		{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foobar", "Zm9vYmFy"},
	}; /* RFC 4648, section 10 */
	struct err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		auto_buf struct buf text = BUF_INIT(64);
		auto_buf struct buf back = BUF_INIT(64);
		base64_encode(pairs[i][0], strlen(pairs[i][0]), &text);
		assert_string_equal(buf_str(&text), pairs[i][1]);
		assert_int_equal(base64_decode(text.data, text.len, &back, &err), 0);
		assert_string_equal(buf_str(&back), pairs[i][0]);
	}
}

static void both_alphabets_decode_and_rubbish_does_not(void **state)
{
	auto_buf struct buf a = BUF_INIT(64);
	auto_buf struct buf b = BUF_INIT(64);
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(base64_decode("-_8", 3, &a, &err), 0);
	assert_int_equal(base64_decode("+/8=", 4, &b, &err), 0);
	assert_memory_equal(a.data, b.data, 2);
	assert_int_equal(base64_decode("ab!d", 4, &a, &err), -1);
	assert_int_equal(err.kind, ERR_INVALID);
	assert_int_equal(base64_decode("abcde", 5, &a, &err), -1);
}

TESTING_MAIN(TEST(pieces_give_what_the_whole_gives), TEST(a_descriptor_is_hashed_to_its_end),
             TEST(sha512_in_pieces), TEST(base64_round_trips),
             TEST(both_alphabets_decode_and_rubbish_does_not))
