// System and manual clocks; RFC 3339 formatting and strict parsing.
#include "base/clock.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t read_clock(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t system_wall(const struct ts_clock *clock)
{
	(void)clock;
	return read_clock(CLOCK_REALTIME);
}

static int64_t system_mono(const struct ts_clock *clock)
{
	(void)clock;
	return read_clock(CLOCK_MONOTONIC);
}

const struct ts_clock *ts_clock_system(void)
{
	static const struct ts_clock clock = {system_wall, system_mono, NULL};
	return &clock;
}

static int64_t manual_now(const struct ts_clock *clock)
{
	const struct ts_clock_manual *manual = clock->ctx;
	return atomic_load(&manual->now_ms);
}

void ts_clock_manual_init(struct ts_clock_manual *manual, int64_t now_ms)
{
	manual->clock = (struct ts_clock){manual_now, manual_now, manual};
	atomic_init(&manual->now_ms, now_ms);
}

char *ts_time_format(int64_t wall_ms, char out[TS_RFC3339_SIZE])
{
	int64_t ms = wall_ms % 1000;
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm tm;

	if (ms < 0) {
		ms += 1000;
		seconds--;
	}
	// Years past 9999 have no RFC 3339 form; nothing of ours lives that long.
	if (!gmtime_r(&seconds, &tm) || tm.tm_year > 8099 || tm.tm_year < -1900) {
		snprintf(out, TS_RFC3339_SIZE, "0000-01-01T00:00:00.000Z");
		return out;
	}
	// strftime would not pad years below 1000.
	int used = snprintf(out, TS_RFC3339_SIZE, "%04u", (unsigned)(tm.tm_year + 1900) % 10000u);
	used += (int)strftime(out + used, (size_t)(TS_RFC3339_SIZE - used), "-%m-%dT%H:%M:%S", &tm);
	snprintf(out + used, (size_t)(TS_RFC3339_SIZE - used), ".%03uZ", (unsigned)ms % 1000u);
	return out;
}

// Reads exactly `count` digits.
static bool digits(const char **cursor, int count, int *out)
{
	int value = 0;

	for (int i = 0; i < count; i++) {
		char c = (*cursor)[i];
		if (c < '0' || c > '9')
			return false;
		value = value * 10 + (c - '0');
	}
	*cursor += count;
	*out = value;
	return true;
}

static bool literal(const char **cursor, const char *allowed)
{
	if (**cursor == '\0' || !strchr(allowed, **cursor))
		return false;
	(*cursor)++;
	return true;
}

static bool parse_offset(const char **cursor, int *out_minutes)
{
	int hours, minutes;

	if (literal(cursor, "Zz")) {
		*out_minutes = 0;
		return true;
	}
	int sign = **cursor == '-' ? -1 : 1;
	if (!literal(cursor, "+-") || !digits(cursor, 2, &hours) || !literal(cursor, ":") || !digits(cursor, 2, &minutes) ||
	    hours > 23 || minutes > 59)
		return false;
	*out_minutes = sign * (hours * 60 + minutes);
	return true;
}

static bool parse(const char *text, int64_t *out)
{
	static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	struct tm tm = {0};
	int ms = 0, offset;

	if (!digits(&text, 4, &tm.tm_year) || !literal(&text, "-") || !digits(&text, 2, &tm.tm_mon) ||
	    !literal(&text, "-") || !digits(&text, 2, &tm.tm_mday) || !literal(&text, "Tt ") ||
	    !digits(&text, 2, &tm.tm_hour) || !literal(&text, ":") || !digits(&text, 2, &tm.tm_min) ||
	    !literal(&text, ":") || !digits(&text, 2, &tm.tm_sec))
		return false;
	if (literal(&text, ".")) {
		int digit, count = 0, scale = 100;
		while (count < 9 && digits(&text, 1, &digit)) {
			ms += digit * scale;
			scale /= 10;
			count++;
		}
		if (!count)
			return false;
	}
	if (!parse_offset(&text, &offset) || *text != '\0')
		return false;
	bool leap = (tm.tm_year % 4 == 0 && tm.tm_year % 100 != 0) || tm.tm_year % 400 == 0;
	if (tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > days[tm.tm_mon - 1] ||
	    (tm.tm_mon == 2 && tm.tm_mday == 29 && !leap) || tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60)
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	*out = ((int64_t)timegm(&tm) - (int64_t)offset * 60) * 1000 + ms;
	return true;
}

enum ts_err ts_time_parse(const char *text, int64_t *out_wall_ms, struct ts_error *error)
{
	if (!parse(text, out_wall_ms))
		return ts_fail(error, TS_ERR_INVALID, "must be a time as in RFC 3339, like 2026-11-23T21:09:09Z");
	return TS_OK;
}
