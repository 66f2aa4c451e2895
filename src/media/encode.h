// Encodes 16 kHz mono samples into one small file in memory for remote engines: Ogg Opus when this FFmpeg
// has an encoder for it, else FLAC. Our own samples, so no jail.
#ifndef TS_MEDIA_ENCODE_H
#define TS_MEDIA_ENCODE_H

#include "base/err.h"

#include <stddef.h>

struct ts_encoded {
	char *data; // owned
	size_t length;
	const char *filename;   // "audio.ogg": static
	const char *media_type; // "audio/ogg": static
};

void ts_encoded_finish(struct ts_encoded *encoded);
#define TS_AUTOENCODED TS_CLEANUP(ts_encoded_finish)

// max_bytes is the ceiling of the result (TS_ERR_LIMIT above it). Thread safe.
enum ts_err ts_encode(const float *samples, size_t count, size_t max_bytes, struct ts_encoded *out,
                      struct ts_error *error) TS_MUST_USE;

// Upper bound of seconds of audio that fit max_bytes.
double ts_encode_seconds_within(size_t max_bytes);

#endif
