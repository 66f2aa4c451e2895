// base/err: names are stable and distinct, messages are clean and fit.
#include "unit.h"

#include "base/utf8.h"

#include <errno.h>

static void names_are_distinct_and_invertible(void **state)
{
	(void)state;
	assert_string_equal(ts_err_name(TS_OK), "ok");
	for (unsigned i = 0; i < TS_ERR_COUNT; i++) {
		assert_int_equal(ts_err_from_name(ts_err_name((enum ts_err)i)), i);
		for (unsigned k = 0; k < i; k++)
			assert_string_not_equal(ts_err_name((enum ts_err)i), ts_err_name((enum ts_err)k));
	}
	assert_int_equal(ts_err_from_name("no such"), TS_ERR_INTERNAL);
	assert_string_equal(ts_err_name((enum ts_err)9999), "internal");
	assert_true(ts_err_is_temporary(TS_ERR_TIMEOUT));
	assert_false(ts_err_is_temporary(TS_ERR_INVALID));
	assert_false(ts_err_is_temporary(TS_OK));
	assert_false(ts_err_is_temporary((enum ts_err)9999));
}

static void messages_are_filled(void **state)
{
	struct ts_error error;
	(void)state;

	assert_err(ts_fail(NULL, TS_ERR_IO, "nobody listens"), TS_ERR_IO);
	assert_err(ts_fail_field(&error, TS_ERR_INVALID, "video_id", "must be %d", 7), TS_ERR_INVALID);
	assert_int_equal(error.code, TS_ERR_INVALID);
	assert_string_equal(error.field, "video_id");
	assert_string_equal(error.message, "must be 7");
	// Its own message as an argument, which is how callers prefix it.
	assert_err(ts_fail(&error, TS_ERR_IO, "outer: %s", error.message), TS_ERR_IO);
	assert_string_equal(error.message, "outer: must be 7");
	assert_string_equal(error.field, "");
	assert_err(ts_fail_errno(&error, TS_ERR_IO, ENOENT, "open %s", "x"), TS_ERR_IO);
	assert_string_equal(error.message, "open x: No such file or directory");
	assert_err(ts_fail_errno(NULL, TS_ERR_IO, ENOENT, "open"), TS_ERR_IO);
	assert_err(ts_fail_nomem(&error), TS_ERR_NOMEM);
	assert_string_equal(error.message, "out of memory");
}

static void long_messages_stay_utf8(void **state)
{
	struct ts_error error;
	char text[700];
	(void)state;

	// Each offset puts the end of the message into another byte of a four-byte code point.
	for (size_t pad = 0; pad < 4; pad++) {
		memset(text, 'x', pad);
		for (size_t i = pad; i + 4 < sizeof text; i += 4)
			memcpy(text + i, "\xf0\x9f\x98\x80", 5);
		assert_err(ts_fail_field(&error, TS_ERR_INVALID, text, "%s", text), TS_ERR_INVALID);
		assert_true(ts_utf8_is_valid(error.message, strlen(error.message)));
		assert_true(ts_utf8_is_valid(error.field, strlen(error.field)));
		assert_true(strlen(error.message) >= sizeof error.message - 4);
		assert_memory_equal(error.message, text, strlen(error.message));
	}
}

static void hostile_text_becomes_one_clean_line(void **state)
{
	struct ts_error error;
	(void)state;

	assert_err(ts_fail(&error, TS_ERR_INVALID, "bad \xff value\r\nSet-Cookie: x\x1b[2J caf\xc3\xa9 \xc2\x9b."),
	           TS_ERR_INVALID);
	assert_string_equal(error.message, "bad ? value  Set-Cookie: x [2J caf\xc3\xa9   .");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_are_distinct_and_invertible),
	    cmocka_unit_test(messages_are_filled),
	    cmocka_unit_test(long_messages_stay_utf8),
	    cmocka_unit_test(hostile_text_becomes_one_clean_line),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
