// getrandom(2), splitmix64 (Steele et al. 2014), and UUIDv7 (RFC 9562, 5.7).
#include "base/rng.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static void system_fill(struct ts_rng *rng, void *bytes, size_t length)
{
	char *at = bytes;

	(void)rng;
	while (length) {
		ssize_t got = getrandom(at, length, 0);
		// Fails only by EINTR once the pool is initialised; a kernel without the call can't run us.
		if (got < 0)
			continue;
		at += got;
		length -= (size_t)got;
	}
}

static void seeded_fill(struct ts_rng *rng, void *bytes, size_t length)
{
	char *at = bytes;

	while (length) {
		uint64_t z = (rng->state += 0x9e3779b97f4a7c15u);
		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
		z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
		z ^= z >> 31;
		size_t part = length < sizeof z ? length : sizeof z;
		memcpy(at, &z, part);
		at += part;
		length -= part;
	}
}

struct ts_rng ts_rng_system(void)
{
	return (struct ts_rng){.fill = system_fill};
}

struct ts_rng ts_rng_seeded(uint64_t seed)
{
	return (struct ts_rng){.fill = seeded_fill, .state = seed};
}

uint64_t ts_rng_u64(struct ts_rng *rng)
{
	uint64_t value;

	rng->fill(rng, &value, sizeof value);
	return value;
}

double ts_rng_unit(struct ts_rng *rng)
{
	return (double)(ts_rng_u64(rng) >> 11) * 0x1p-53;
}

char *ts_uuid7(struct ts_rng *rng, int64_t wall_ms, char out[TS_UUID_SIZE])
{
	unsigned char b[16];
	uint64_t ms = (uint64_t)wall_ms;

	rng->fill(rng, b, sizeof b);
	for (int i = 0; i < 6; i++)
		b[i] = (unsigned char)(ms >> (40 - 8 * i));
	b[6] = (unsigned char)(0x70 | (b[6] & 0x0f));
	b[8] = (unsigned char)(0x80 | (b[8] & 0x3f));
	snprintf(out, TS_UUID_SIZE, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
	         b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
	return out;
}

bool ts_uuid_is_valid(const char *text)
{
	for (int i = 0; i < 36; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;
		char c = text[i];
		if (dash ? c != '-' : !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
			return false;
	}
	return text[36] == '\0';
}
