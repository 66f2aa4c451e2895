// Cuts a stream of samples into windows for an engine: stretches of speech no longer than the engine takes, joined
// when little silence lies between them, cut in the quietest place when they are too long. Pulls samples as needed;
// holds little more than one window, whatever the recording's length. Refuses to look at text.
#ifndef TS_ASR_WINDOWS_H
#define TS_ASR_WINDOWS_H

#include "asr/output.h"

struct ts_windows_options {
	int32_t max_ms;               // longest window; at least 1000
	int32_t search_ms;            // a cut is looked for in the last search_ms of a full window; 0: half of max_ms
	int32_t join_ms;              // stretches of speech with at most that much silence between them share a window
	bool vad;                     // false: everything is speech
	struct ts_asr_output *output; // hears of the progress through silence; NULL: nobody. Borrowed.
};

// One window of one recording; windows are ascending and do not overlap.
struct ts_window {
	const float *samples; // [count], 16 kHz, finite, in [-1, 1]; valid until the next call
	size_t count;
	int64_t start_ms; // of the recording
};

// Used by one thread at a time.
struct ts_windows;

// `request` gives source and abort flag; borrowed.
enum ts_err ts_windows_create(const struct ts_asr_request *request, const struct ts_windows_options *options,
                              struct ts_windows **out, struct ts_error *error) TS_MUST_USE;
void ts_windows_destroy(struct ts_windows *windows); // NULL-safe
TS_DEFINE_CLEANUP(ts_windows_cleanup, struct ts_windows, ts_windows_destroy)
#define TS_AUTOWINDOWS TS_CLEANUP(ts_windows_cleanup)

// The next window; *out_more = false at the end of the recording (then *out is untouched). Errors: the source's,
// TS_ERR_ABORTED, TS_ERR_NOMEM.
enum ts_err ts_windows_next(struct ts_windows *windows, struct ts_window *out, bool *out_more,
                            struct ts_error *error) TS_MUST_USE;

// Audio pulled from the source so far; at the end the duration of the recording.
int64_t ts_windows_position_ms(const struct ts_windows *windows);

#endif
