// base/utf8: every code point both ways, what RFC 3629 forbids, and cutting.
#include "unit.h"

#include "base/utf8.h"

static size_t encode(uint32_t code, char *out)
{
	if (code < 0x80) {
		out[0] = (char)code;
		return 1;
	}
	if (code < 0x800) {
		out[0] = (char)(0xc0 | code >> 6);
		out[1] = (char)(0x80 | (code & 0x3f));
		return 2;
	}
	if (code < 0x10000) {
		out[0] = (char)(0xe0 | code >> 12);
		out[1] = (char)(0x80 | (code >> 6 & 0x3f));
		out[2] = (char)(0x80 | (code & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | code >> 18);
	out[1] = (char)(0x80 | (code >> 12 & 0x3f));
	out[2] = (char)(0x80 | (code >> 6 & 0x3f));
	out[3] = (char)(0x80 | (code & 0x3f));
	return 4;
}

static void decodes_every_code_point(void **state)
{
	char bytes[4];
	uint32_t back;
	(void)state;

	for (uint32_t code = 0; code <= 0x110010; code++) {
		size_t size = encode(code, bytes);
		size_t got = ts_utf8_decode(bytes, size, &back);
		if ((code >= 0xd800 && code <= 0xdfff) || code > 0x10ffff) {
			assert_int_equal(got, 0);
			continue;
		}
		assert_int_equal(got, size);
		assert_int_equal(back, code);
		// One byte short is malformed, never a shorter code point.
		if (size > 1)
			assert_int_equal(ts_utf8_decode(bytes, size - 1, &back), 0);
	}
}

static void refuses_malformed(void **state)
{
	static const char *const bad[] = {
	    "\x80", "\xbf",  "\xc0\x80",  "\xc1\xbf",  "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xf5\x80\x80\x80", "\xff",
	    "\xfe", "\xc3(", "\xe2(\xa1", "\xe2\x82(", "\xf0\x9f\x98", "ok\xe2\x82",       "\xed\xa0\x80"};
	(void)state;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(ts_utf8_is_valid(bad[i], strlen(bad[i])));
	assert_true(ts_utf8_is_valid("", 0));
	assert_true(ts_utf8_is_valid("a\0b", 3));
	assert_true(ts_utf8_is_valid("żółć 漢字 😀", strlen("żółć 漢字 😀")));
}

static void counts_and_cuts(void **state)
{
	const char *text = "aé漢😀"; // 1 + 2 + 3 + 4 bytes
	static const size_t cuts[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10};
	(void)state;

	assert_int_equal(ts_utf8_count(text, 10), 4);
	for (size_t at = 0; at < sizeof cuts / sizeof cuts[0]; at++)
		assert_int_equal(ts_utf8_cut(text, 10, at), cuts[at]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(decodes_every_code_point),
	    cmocka_unit_test(refuses_malformed),
	    cmocka_unit_test(counts_and_cuts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
