// Voice activity detection over 16 kHz mono samples: an adaptive energy and zero-crossing detector with
// hysteresis and hang-over. Streaming, constant memory. Says where speech may be and where a cut is quietest;
// it decides nothing about text.
#ifndef TS_MEDIA_VAD_H
#define TS_MEDIA_VAD_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ts_vad_options {
	double threshold_db;    // above the tracked noise floor; 0: 9 dB
	int32_t min_speech_ms;  // shorter bursts are not speech; 0: 100
	int32_t min_silence_ms; // shorter gaps do not end speech; 0: 500
	int32_t pad_ms;         // kept before and after speech; 0: 200
};

struct ts_vad;

enum ts_err ts_vad_create(const struct ts_vad_options *options, struct ts_vad **out,
                          struct ts_error *error) TS_MUST_USE;
void ts_vad_destroy(struct ts_vad *vad); // NULL-safe

// A stretch of samples, [start, end) counted from the stream's beginning.
struct ts_vad_span {
	int64_t start, end;
};

// Feeds samples [count]; spans of speech that are finished by now are fetched by ts_vad_next.
enum ts_err ts_vad_feed(struct ts_vad *vad, const float *samples, size_t count, struct ts_error *error) TS_MUST_USE;
// Marks the end of the stream: the open span is finished too.
enum ts_err ts_vad_flush(struct ts_vad *vad, struct ts_error *error) TS_MUST_USE;
// The next finished span, ascending and disjoint; false: none yet.
bool ts_vad_next(struct ts_vad *vad, struct ts_vad_span *out);
// Whether speech is going on, or may be beginning, at the end of what was fed; *out_start (may be NULL) is where it
// began, padding included. When it is false, no later span starts before the end of what was fed minus pad_ms and 10 ms.
bool ts_vad_in_speech(const struct ts_vad *vad, int64_t *out_start);

// Index of the quietest place to cut samples [count], searched in [from, count): the middle of the quietest
// 20 ms frame (last one among equals). Returns count when the range is shorter than a frame.
size_t ts_vad_quietest(const float *samples, size_t count, size_t from);

#endif
