// base/clock: RFC 3339 both ways, the manual clock, and that the system clock moves forward.
#include "unit.h"

#include "base/clock.h"
#include "base/rng.h"

static void formats_times(void **state)
{
	static const struct {
		int64_t ms;
		const char *text;
	} cases[] = {
	    {0, "1970-01-01T00:00:00.000Z"},
	    {1, "1970-01-01T00:00:00.001Z"},
	    {-1, "1969-12-31T23:59:59.999Z"},
	    {951782400123, "2000-02-29T00:00:00.123Z"},
	    {253402300799999, "9999-12-31T23:59:59.999Z"},
	    {-62135596800000, "0001-01-01T00:00:00.000Z"},
	    {-30610224000000, "1000-01-01T00:00:00.000Z"},
	    {-30610224000001, "0999-12-31T23:59:59.999Z"},
	    {253402300800000, "0000-01-01T00:00:00.000Z"},
	    {INT64_MAX, "0000-01-01T00:00:00.000Z"},
	};
	char text[TS_RFC3339_SIZE];
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_string_equal(ts_time_format(cases[i].ms, text), cases[i].text);
}

static void parses_times(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} cases[] = {
	    {"1970-01-01T00:00:00Z", 0},
	    {"1970-01-01t00:00:00.5z", 500},
	    {"1970-01-01 01:00:00.123456789+01:00", 123},
	    {"1969-12-31T20:30:00-03:30", 0},
	    {"2000-02-29T00:00:00Z", 951782400000},
	    {"2016-12-31T23:59:60Z", 1483228800000}, // a leap second
	    {"1970-01-01T00:00:00-00:00", 0},
	};
	struct ts_error error;
	int64_t ms;
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_ok(ts_time_parse(cases[i].text, &ms, &error), &error);
		assert_true(ms == cases[i].ms);
	}
}

static void refuses_what_is_no_time(void **state)
{
	static const char *const bad[] = {"",
	                                  "2026",
	                                  "2026-11-23",
	                                  "2026-11-23T21:09:09",
	                                  "2026-11-23T21:09Z",
	                                  "2026-13-01T00:00:00Z",
	                                  "2026-00-01T00:00:00Z",
	                                  "2026-02-29T00:00:00Z",
	                                  "1900-02-29T00:00:00Z",
	                                  "2026-04-31T00:00:00Z",
	                                  "2026-01-00T00:00:00Z",
	                                  "2026-01-01T24:00:00Z",
	                                  "2026-01-01T00:60:00Z",
	                                  "2026-01-01T00:00:61Z",
	                                  "2026-01-01T00:00:00.Z",
	                                  "2026-01-01T00:00:00.1234567890Z",
	                                  "2026-01-01T00:00:00+1:00",
	                                  "2026-01-01T00:00:00+24:00",
	                                  "2026-01-01T00:00:00+01:60",
	                                  "2026-01-01T00:00:00Zx",
	                                  " 2026-01-01T00:00:00Z",
	                                  "2026-1-01T00:00:00Z",
	                                  "+026-01-01T00:00:00Z",
	                                  "2026-01-01T00:00:00+0100"};
	int64_t ms = 77;
	(void)state;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_err(ts_time_parse(bad[i], &ms, NULL), TS_ERR_INVALID);
	assert_int_equal(ms, 77);
}

static void text_and_time_are_inverse(void **state)
{
	struct ts_rng rng = ts_rng_seeded(20261123);
	char text[TS_RFC3339_SIZE];
	int64_t back;
	(void)state;

	for (int i = 0; i < 20000; i++) {
		int64_t ms = (int64_t)(ts_rng_u64(&rng) % 315537897600000u) - 62135596800000;
		assert_ok(ts_time_parse(ts_time_format(ms, text), &back, NULL), NULL);
		assert_true(back == ms);
	}
}

static void the_manual_clock_stands_still(void **state)
{
	struct ts_clock_manual manual;
	(void)state;

	ts_clock_manual_init(&manual, 1000);
	assert_int_equal(ts_wall_ms(&manual.clock), 1000);
	assert_int_equal(ts_mono_ms(&manual.clock), 1000);
	manual.now_ms += 500;
	assert_int_equal(ts_wall_ms(&manual.clock), 1500);
}

static void the_system_clock_goes_forward(void **state)
{
	const struct ts_clock *clock = ts_clock_system();
	(void)state;

	int64_t before = ts_mono_ms(clock);
	assert_true(ts_mono_ms(clock) >= before);
	assert_true(ts_wall_ms(clock) > 1700000000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(formats_times),
	    cmocka_unit_test(parses_times),
	    cmocka_unit_test(refuses_what_is_no_time),
	    cmocka_unit_test(text_and_time_are_inverse),
	    cmocka_unit_test(the_manual_clock_stands_still),
	    cmocka_unit_test(the_system_clock_goes_forward),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
