// Randomness as a dependency: the system's for programs, a seeded one for tests. Also RFC 9562 UUIDv7,
// whose text sorts by creation time: the identifier of jobs, events and uploads.
#ifndef TS_BASE_RNG_H
#define TS_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

struct ts_rng {
	void (*fill)(struct ts_rng *rng, void *bytes, size_t length);
	uint64_t state; // of the seeded generator
};

struct ts_rng ts_rng_system(void);          // getrandom(2); thread safe
struct ts_rng ts_rng_seeded(uint64_t seed); // splitmix64; one thread at a time

uint64_t ts_rng_u64(struct ts_rng *rng);
double ts_rng_unit(struct ts_rng *rng); // [0, 1)

#define TS_UUID_SIZE 37 // 36 characters and the terminator
// Writes a lower-case UUIDv7 of `wall_ms`. Returns `out`.
char *ts_uuid7(struct ts_rng *rng, int64_t wall_ms, char out[TS_UUID_SIZE]);

// Whether text is a lower-case UUID (any version) of exactly 36 characters.
_Bool ts_uuid_is_valid(const char *text);

#endif
