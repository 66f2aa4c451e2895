// Encodes 16 kHz mono samples into one small file in memory for remote engines: Ogg Opus when this FFmpeg
// has an encoder for it, else FLAC. Our own samples, so no jail.
#ifndef TS_MEDIA_ENCODE_H
#define TS_MEDIA_ENCODE_H

#include "base/err.h"

#include <stdatomic.h>
#include <stddef.h>

struct ts_encoded {
	char *data; // owned
	size_t length;
	const char *filename;   // "audio.ogg": static
	const char *media_type; // "audio/ogg": static
};

void ts_encoded_finish(struct ts_encoded *encoded);
#define TS_AUTOENCODED TS_CLEANUP(ts_encoded_finish)

// max_bytes is the ceiling of the result (TS_ERR_LIMIT above it); no samples are TS_ERR_INVALID.
// Thread safe. Silences FFmpeg's own log for the process.
enum ts_err ts_encode(const float *samples, size_t count, size_t max_bytes, struct ts_encoded *out,
                      struct ts_error *error) TS_MUST_USE;

// Like ts_encode, which takes about a second for each minute of audio: a set flag ends it with TS_ERR_ABORTED.
enum ts_err ts_encode_abortable(const float *samples, size_t count, size_t max_bytes, const atomic_bool *abort,
                                struct ts_encoded *out, struct ts_error *error) TS_MUST_USE;

// Seconds of audio that surely fit max_bytes, whatever is said in them; 0 when none does.
double ts_encode_seconds_within(size_t max_bytes);

#endif
