// base/mem: zero sizes, overflow, string helpers, and the switch that makes allocations fail.
#include "unit.h"

#include "base/mem.h"
#include "fault.h"

static void zero_sizes_are_memory(void **state)
{
	(void)state;
	void *a = ts_alloc(0), *b = ts_calloc(0, 8), *c = ts_realloc(NULL, 0, 0);
	assert_non_null(a);
	assert_non_null(b);
	assert_non_null(c);
	ts_free(a);
	ts_free(b);
	ts_free(c);
	ts_free(NULL);
}

static void overflow_is_out_of_memory(void **state)
{
	(void)state;
	volatile size_t huge = SIZE_MAX / 2;
	assert_null(ts_calloc(huge, 3));
	assert_null(ts_realloc(NULL, huge, 3));
}

static void strings_are_copied(void **state)
{
	(void)state;
	char *text = ts_strndup("hello world", 5);
	assert_string_equal(text, "hello");
	ts_free(text);
	assert_null(ts_strdup(NULL));
	text = ts_asprintf("%s-%03d", "a", 7);
	assert_string_equal(text, "a-007");
	assert_true(ts_str_set(&text, "b"));
	assert_string_equal(text, "b");
	assert_true(ts_str_set(&text, text)); // from itself
	assert_string_equal(text, "b");
	assert_true(ts_str_set(&text, NULL));
	assert_null(text);
}

static void a_failed_set_changes_nothing(void **state)
{
	(void)state;
	char *text = ts_strdup("old");
	ts_mem_fail_after(1);
	assert_false(ts_str_set(&text, "new"));
	assert_null(ts_asprintf("%d", 1));
	ts_mem_fail_after(0);
	assert_string_equal(text, "old");
	ts_free(text);
}

static void fails_from_the_nth_on(void **state)
{
	void *kept[3];
	(void)state;

	ts_mem_fail_after(3);
	kept[0] = ts_alloc(1);
	kept[1] = ts_calloc(1, 1);
	kept[2] = ts_alloc(1);
	assert_non_null(kept[0]);
	assert_non_null(kept[1]);
	assert_null(kept[2]);
	assert_null(ts_realloc(NULL, 1, 1));
	assert_null(ts_strdup("x"));
	assert_int_equal(ts_mem_fail_after(0), 5);
	ts_free(kept[0]);
	ts_free(kept[1]);
}

static enum ts_err three_strings(void *ctx, struct ts_error *error)
{
	TS_AUTOFREE char *a = ts_strdup("a");
	TS_AUTOFREE char *b = a ? ts_asprintf("%sb", a) : NULL;
	TS_AUTOFREE char *c = b ? ts_strndup(b, 1) : NULL;

	(void)ctx;
	return c ? TS_OK : ts_fail_nomem(error);
}

static void the_loop_reaches_each_allocation(void **state)
{
	(void)state;
	assert_int_equal(ts_fault_each(three_strings, NULL, 3), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(zero_sizes_are_memory), cmocka_unit_test(overflow_is_out_of_memory),
	    cmocka_unit_test(strings_are_copied),    cmocka_unit_test(a_failed_set_changes_nothing),
	    cmocka_unit_test(fails_from_the_nth_on), cmocka_unit_test(the_loop_reaches_each_allocation),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
