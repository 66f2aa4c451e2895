// Time as a dependency: programs pass the system clock, tests a manual one, so that tests never sleep.
// Also RFC 3339 text of wall-clock times. Units: milliseconds since the Unix epoch, or monotonic ms.
#ifndef TS_BASE_CLOCK_H
#define TS_BASE_CLOCK_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct ts_clock {
	int64_t (*wall_ms)(const struct ts_clock *clock); // since 1970-01-01T00:00:00Z
	int64_t (*mono_ms)(const struct ts_clock *clock); // never goes back
	void *ctx;                                        // the implementation's
};

// The machine's clock; static storage, thread safe.
const struct ts_clock *ts_clock_system(void);

// A clock that stands still until told. `now_ms` is both wall and monotonic; thread safe.
struct ts_clock_manual {
	struct ts_clock clock; // first: pass &manual.clock
	_Atomic int64_t now_ms;
};
void ts_clock_manual_init(struct ts_clock_manual *manual, int64_t now_ms);

static inline int64_t ts_wall_ms(const struct ts_clock *clock)
{
	return clock->wall_ms(clock);
}
static inline int64_t ts_mono_ms(const struct ts_clock *clock)
{
	return clock->mono_ms(clock);
}

#define TS_RFC3339_SIZE 32
// "2026-11-23T21:09:09.123Z" (RFC 3339, UTC, milliseconds). Returns `out`.
char *ts_time_format(int64_t wall_ms, char out[TS_RFC3339_SIZE]);

// Parses RFC 3339 with any offset and up to nine fraction digits (cut to ms).
enum ts_err ts_time_parse(const char *text, int64_t *out_wall_ms, struct ts_error *error) TS_MUST_USE;

#endif
