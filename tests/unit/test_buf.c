// base/buf: growth, ceiling, stickiness, hand-over, and each allocation failing.
#include "unit.h"

#include "base/buf.h"
#include "base/mem.h"
#include "fault.h"

static void grows_and_stays_terminated(void **state)
{
	struct ts_buf buf;
	(void)state;

	ts_buf_init(&buf, 100000);
	assert_string_equal(ts_buf_str(&buf), "");
	for (int i = 0; i < 10000; i++) {
		ts_buf_add_char(&buf, (char)('a' + i % 26));
		assert_int_equal(buf.data[buf.length], '\0');
	}
	ts_buf_printf(&buf, "%d-%s", 42, "x");
	assert_int_equal(buf.length, 10004);
	assert_string_equal(ts_buf_str(&buf) + 10000, "42-x");
	assert_ok(ts_buf_status(&buf, NULL), NULL);
	ts_buf_finish(&buf);
	assert_null(buf.data);
	ts_buf_finish(NULL);
}

static void keeps_its_ceiling(void **state)
{
	struct ts_buf buf;
	struct ts_error error;
	(void)state;

	ts_buf_init(&buf, 10);
	ts_buf_add_str(&buf, "0123456789");
	assert_ok(ts_buf_status(&buf, &error), &error);
	ts_buf_add(&buf, "", 0);
	assert_ok(ts_buf_status(&buf, &error), &error);
	ts_buf_add_char(&buf, 'x');
	assert_err(ts_buf_status(&buf, &error), TS_ERR_LIMIT);
	assert_contains(error.message, "10 bytes");
	assert_string_equal(ts_buf_str(&buf), "0123456789");
	// Sticky until cleared, whatever comes.
	ts_buf_clear(&buf);
	ts_buf_add_str(&buf, "12345678901");
	ts_buf_add_char(&buf, 'x');
	ts_buf_printf(&buf, "y");
	assert_string_equal(ts_buf_str(&buf), "");
	char *text = NULL;
	assert_err(ts_buf_take(&buf, &text, NULL), TS_ERR_LIMIT);
	assert_null(text);
	ts_buf_clear(&buf);
	ts_buf_printf(&buf, "%s", "1234567890");
	assert_ok(ts_buf_take(&buf, &text, &error), &error);
	assert_string_equal(text, "1234567890");
	ts_free(text);
	// The ceiling outlives the hand-over.
	ts_buf_add_str(&buf, "12345678901");
	assert_err(ts_buf_status(&buf, NULL), TS_ERR_LIMIT);
	ts_buf_finish(&buf);
}

static void has_no_largest_ceiling_trap(void **state)
{
	struct ts_buf buf;
	(void)state;

	ts_buf_init(&buf, SIZE_MAX);
	ts_buf_add_str(&buf, "some text that is longer than the first capacity, which is sixty-four bytes");
	assert_ok(ts_buf_status(&buf, NULL), NULL);
	ts_buf_add(&buf, "x", SIZE_MAX - 10);
	assert_err(ts_buf_status(&buf, NULL), TS_ERR_LIMIT);
	ts_buf_finish(&buf);
}

static void hands_over_an_empty_text(void **state)
{
	struct ts_buf buf;
	char *text = NULL;
	(void)state;

	ts_buf_init(&buf, 0);
	assert_ok(ts_buf_take(&buf, &text, NULL), NULL);
	assert_string_equal(text, "");
	ts_free(text);
}

static enum ts_err build_text(void *ctx, struct ts_error *error)
{
	TS_AUTOBUF struct ts_buf buf;
	char *text = NULL;

	ts_buf_init(&buf, 1 << 20);
	for (int i = 0; i < 2000; i++)
		ts_buf_printf(&buf, "line %d\n", i);
	TS_TRY(ts_buf_take(&buf, &text, error));
	*(size_t *)ctx = strlen(text);
	ts_free(text);
	return TS_OK;
}

static void survives_failed_allocations(void **state)
{
	size_t length = 0;
	(void)state;

	ts_fault_each(build_text, &length, 5);
	assert_int_equal(length, 10 * 7 + 90 * 8 + 900 * 9 + 1000 * 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(grows_and_stays_terminated),  cmocka_unit_test(keeps_its_ceiling),
	    cmocka_unit_test(has_no_largest_ceiling_trap), cmocka_unit_test(hands_over_an_empty_text),
	    cmocka_unit_test(survives_failed_allocations),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
