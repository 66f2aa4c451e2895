// base/num: what is a number and what is not, and bounds in messages.
#include "unit.h"

#include "base/num.h"

#include <float.h>

static void whole_numbers(void **state)
{
	static const struct {
		const char *text;
		int64_t value;
	} good[] = {
	    {"0", 0}, {"-1", -1}, {"007", 7}, {"9223372036854775807", INT64_MAX}, {"-9223372036854775808", INT64_MIN}};
	static const char *const bad[] = {"",
	                                  "-",
	                                  "+1",
	                                  " 1",
	                                  "1 ",
	                                  "1.0",
	                                  "0x10",
	                                  "1e3",
	                                  "--1",
	                                  "1-",
	                                  "١",
	                                  "1\n",
	                                  "1,0",
	                                  "9223372036854775808",
	                                  "-9223372036854775809",
	                                  "99999999999999999999999"};
	int64_t value;
	(void)state;

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		assert_ok(ts_num_parse_i64(good[i].text, INT64_MIN, INT64_MAX, &value, NULL), NULL);
		assert_true(value == good[i].value);
	}
	value = 77;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_err(ts_num_parse_i64(bad[i], INT64_MIN, INT64_MAX, &value, NULL), TS_ERR_INVALID);
	assert_int_equal(value, 77);
}

static void whole_number_bounds(void **state)
{
	struct ts_error error;
	int64_t value;
	(void)state;

	assert_ok(ts_num_parse_i64("10", 10, 20, &value, NULL), NULL);
	assert_ok(ts_num_parse_i64("20", 10, 20, &value, NULL), NULL);
	assert_err(ts_num_parse_i64("9", 10, 20, &value, NULL), TS_ERR_INVALID);
	assert_err(ts_num_parse_i64("21", 10, 20, &value, &error), TS_ERR_INVALID);
	assert_string_equal(error.message, "must be a whole number from 10 to 20");
}

static void decimal_numbers(void **state)
{
	static const struct {
		const char *text;
		double value;
	} good[] = {{"0", 0}, {"2.5", 2.5}, {"-2.5", -2.5}, {"1e3", 1000}, {"1E-3", 0.001}, {".5", 0.5}, {"5.", 5}};
	static const char *const bad[] = {"",   ".",   "-",  "nan",   "inf",   "-inf",     "0x1p3", " 1",
	                                  "1 ", "1,5", "1e", "1.2.3", "1e999", "infinity", "1-2",   "e5"};
	double value;
	(void)state;

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		assert_ok(ts_num_parse_f64(good[i].text, -DBL_MAX, DBL_MAX, &value, NULL), NULL);
		assert_memory_equal(&value, &good[i].value, sizeof value);
	}
	value = 77;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_err(ts_num_parse_f64(bad[i], -DBL_MAX, DBL_MAX, &value, NULL), TS_ERR_INVALID);
	assert_true(value > 76.9 && value < 77.1);
}

static void decimal_bounds(void **state)
{
	struct ts_error error;
	double value;
	(void)state;

	assert_ok(ts_num_parse_f64("0.5", 0.5, 1.5, &value, NULL), NULL);
	assert_ok(ts_num_parse_f64("1.5", 0.5, 1.5, &value, NULL), NULL);
	assert_err(ts_num_parse_f64("0.49", 0.5, 1.5, &value, NULL), TS_ERR_INVALID);
	assert_err(ts_num_parse_f64("1.51", 0.5, 1.5, &value, &error), TS_ERR_INVALID);
	assert_string_equal(error.message, "must be a number from 0.5 to 1.5");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(whole_numbers),
	    cmocka_unit_test(whole_number_bounds),
	    cmocka_unit_test(decimal_numbers),
	    cmocka_unit_test(decimal_bounds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
