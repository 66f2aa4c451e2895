// The frame of a property test: many rounds, each with its own seed, which is printed when a law breaks.
// TS_SEED=N runs the one round of that seed; TS_ROUNDS=N changes how many there are.
#ifndef TS_TESTS_PROP_H
#define TS_TESTS_PROP_H

#include "base/num.h"
#include "base/rng.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

// One round. Returns NULL, or a sentence that says which law is broken.
typedef const char *ts_prop_round(struct ts_rng *rng);

static inline int64_t ts_prop_number(const char *name, int64_t fallback)
{
	const char *text = getenv(name);
	int64_t value;

	return text && ts_num_parse_i64(text, INT64_MIN, INT64_MAX, &value, NULL) == TS_OK ? value : fallback;
}

// Fails the running cmocka test at the first broken law.
static inline void ts_prop_run(const char *name, ts_prop_round *round, int64_t rounds)
{
	struct ts_rng system = ts_rng_system();
	bool single = getenv("TS_SEED") != NULL;
	uint64_t first = single ? (uint64_t)ts_prop_number("TS_SEED", 0) : ts_rng_u64(&system) >> 16;

	rounds = single ? 1 : ts_prop_number("TS_ROUNDS", rounds);
	fprintf(stderr, "# %s: %" PRId64 " rounds from TS_SEED=%" PRIu64 "\n", name, rounds, first);
	for (int64_t i = 0; i < rounds; i++) {
		struct ts_rng rng = ts_rng_seeded(first + (uint64_t)i);
		const char *broken = round(&rng);
		if (broken)
			fail_msg("%s: %s (TS_SEED=%" PRIu64 " repeats it)", name, broken, first + (uint64_t)i);
	}
}

#endif
