// base/rng: the seeded generator repeats itself, the system's does not, and UUIDv7 by RFC 9562.
#include "unit.h"

#include "base/rng.h"

#include <stdlib.h>

static void a_seed_repeats(void **state)
{
	struct ts_rng a = ts_rng_seeded(42), b = ts_rng_seeded(42), c = ts_rng_seeded(43);
	(void)state;

	// splitmix64 of seed 42, first value, as published.
	assert_true(ts_rng_u64(&a) == 0xbdd732262feb6e95u);
	assert_true(ts_rng_u64(&b) == 0xbdd732262feb6e95u);
	assert_true(ts_rng_u64(&a) == ts_rng_u64(&b));
	assert_true(ts_rng_u64(&b) != ts_rng_u64(&c));
}

static void odd_lengths_are_filled(void **state)
{
	struct ts_rng rng = ts_rng_seeded(1);
	unsigned char bytes[21];
	(void)state;

	for (size_t length = 0; length < 20; length++) {
		memset(bytes, 0xee, sizeof bytes);
		rng.fill(&rng, bytes, length);
		assert_int_equal(bytes[length], 0xee);
	}
	struct ts_rng system = ts_rng_system();
	assert_true(ts_rng_u64(&system) != ts_rng_u64(&system));
}

static void units_lie_in_the_interval(void **state)
{
	struct ts_rng rng = ts_rng_seeded(7);
	double sum = 0;
	(void)state;

	for (int i = 0; i < 100000; i++) {
		double unit = ts_rng_unit(&rng);
		assert_true(unit >= 0 && unit < 1);
		sum += unit;
	}
	assert_true(sum > 49000 && sum < 51000);
}

static void uuids_sort_by_time(void **state)
{
	struct ts_rng rng = ts_rng_seeded(9);
	char before[TS_UUID_SIZE], after[TS_UUID_SIZE];
	(void)state;

	ts_uuid7(&rng, 1000, before);
	for (int64_t ms = 1001; ms < 3000; ms++) {
		ts_uuid7(&rng, ms, after);
		assert_true(ts_uuid_is_valid(after));
		assert_int_equal(after[14], '7');
		assert_non_null(strchr("89ab", after[19]));
		assert_true(strcmp(before, after) < 0);
		memcpy(before, after, sizeof before);
	}
	// The time of RFC 9562, appendix A.6.
	ts_uuid7(&rng, 0x017f22e279b0, after);
	assert_memory_equal(after, "017f22e2-79b0-7", 15);
}

static void knows_uuids(void **state)
{
	static const char *const bad[] = {"",
	                                  "017f22e2-79b0-7cc3-98c4-dc0c0c07398",
	                                  "017f22e2-79b0-7cc3-98c4-dc0c0c07398ff",
	                                  "017F22E2-79b0-7cc3-98c4-dc0c0c07398f",
	                                  "017f22e2079b0-7cc3-98c4-dc0c0c07398f",
	                                  "017f22e2-79b0-7cc3-98c4-dc0c0c07398g",
	                                  "{17f22e2-79b0-7cc3-98c4-dc0c0c07398}"};
	(void)state;

	assert_true(ts_uuid_is_valid("017f22e2-79b0-7cc3-98c4-dc0c0c07398f"));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(ts_uuid_is_valid(bad[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_seed_repeats),
	    cmocka_unit_test(odd_lengths_are_filled),
	    cmocka_unit_test(units_lie_in_the_interval),
	    cmocka_unit_test(uuids_sort_by_time),
	    cmocka_unit_test(knows_uuids),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
