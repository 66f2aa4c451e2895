// core/json: short and faithful numbers, repaired text, strict parsing, and memory that runs out at each point.
#include "unit.h"

#include "base/mem.h"
#include "core/json.h"
#include "fault.h"

#include <float.h>
#include <math.h>

static char *written(json_t *value)
{
	struct ts_buf buf;
	char *text = NULL;

	ts_buf_init(&buf, 1 << 20);
	json_t *array = json_array();
	assert_ok(ts_json_push(array, value, NULL), NULL);
	assert_ok(ts_json_write(array, &buf, NULL), NULL);
	json_decref(array);
	assert_ok(ts_buf_take(&buf, &text, NULL), NULL);
	return text;
}

static void check_written(json_t *value, const char *expected)
{
	TS_AUTOFREE char *text = written(value);
	assert_string_equal(text, expected);
}

static void numbers_are_short_and_faithful(void **state)
{
	(void)state;
	check_written(ts_json_number(0.1), "[0.1]");
	check_written(ts_json_number(12.345), "[12.345]");
	check_written(ts_json_number(0.1 + 0.2), "[0.30000000000000004]");
	check_written(ts_json_number((double)NAN), "[null]");
	check_written(ts_json_number((double)INFINITY), "[null]");
	check_written(ts_json_float(0.9f), "[0.9]");
	check_written(ts_json_float(-0.28608f), "[-0.28608]");
	check_written(ts_json_float(16777216.0f), "[16777216.0]");
	check_written(ts_json_float(NAN), "[null]");
	check_written(ts_json_float(-INFINITY), "[null]");
}

static void text_is_repaired(void **state)
{
	(void)state;
	check_written(ts_json_text("a\"\n\xc3\xa9"), "[\"a\\\"\\n\xc3\xa9\"]");
	check_written(ts_json_text("a\xff\xc3"), "[\"a\xef\xbf\xbd\xef\xbf\xbd\"]");
	check_written(ts_json_text(NULL), "[null]");
	check_written(ts_json_text(""), "[\"\"]");
}

static void parsing_is_strict(void **state)
{
	static const char *const bad[] = {"",     "{",          "{}x",           "[1,]",          "{\"a\":1,\"a\":2}",
	                                  "nul",  "[\"\xff\"]", "[\"\\u0000\"]", "[1e999]",       "[99999999999999999999]",
	                                  "[01]", "{'a':1}",    "[NaN]",         "[\"\\ud800\"]", "// c\n{}",
	                                  "3"};
	struct ts_error error;
	json_t *json = NULL;
	(void)state;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_err(ts_json_parse(bad[i], strlen(bad[i]), &json, &error), TS_ERR_INVALID);
		assert_contains(error.message, "is not valid JSON");
		assert_null(json);
	}
	assert_ok(ts_json_parse("{\"a\":[1,2.5,null]}trailing", 18, &json, &error), &error);
	assert_int_equal(json_array_size(json_object_get(json, "a")), 3);
	json_decref(json);
}

static void the_ceiling_of_the_buffer_counts(void **state)
{
	struct ts_buf buf;
	(void)state;

	ts_buf_init(&buf, 8);
	TS_AUTOJSON json_t *json = json_pack("[s]", "longer than eight");
	assert_err(ts_json_write(json, &buf, NULL), TS_ERR_LIMIT);
	ts_buf_finish(&buf);
}

static enum ts_err round_trip(void *ctx, struct ts_error *error)
{
	static const char text[] =
	    "{\"a long key of more than sixteen bytes\":\"and a value of more than sixteen bytes \\u00e9\","
	    "\"b\":[1,2.5,{\"c\":\"\\ud83d\\ude00\"}]}";
	TS_AUTOBUF struct ts_buf buf;
	TS_AUTOJSON json_t *json = NULL;

	(void)ctx;
	ts_buf_init(&buf, 1 << 20);
	TS_TRY(ts_json_parse(text, sizeof text - 1, &json, error));
	TS_TRY(ts_json_put(json, "d", ts_json_text("broken \xff text"), error));
	TS_TRY(ts_json_write(json, &buf, error));
	assert_string_equal(ts_buf_str(&buf),
	                    "{\"a long key of more than sixteen bytes\":\"and a value of more than sixteen "
	                    "bytes \xc3\xa9\",\"b\":[1,2.5,{\"c\":\"\xf0\x9f\x98\x80\"}],"
	                    "\"d\":\"broken \xef\xbf\xbd text\"}");
	return TS_OK;
}

static void survives_failed_allocations(void **state)
{
	(void)state;
	ts_fault_each(round_trip, NULL, 15);
}

int main(void)
{
	ts_json_use_mem();
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(numbers_are_short_and_faithful),
	    cmocka_unit_test(text_is_repaired),
	    cmocka_unit_test(parsing_is_strict),
	    cmocka_unit_test(the_ceiling_of_the_buffer_counts),
	    cmocka_unit_test(survives_failed_allocations),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
