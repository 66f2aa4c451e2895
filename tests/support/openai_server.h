// An OpenAI-compatible transcription endpoint for tests, in a thread of the test. Checks requests as OpenAI does and
// really decodes the audio. It "recognises" beeps: a beep of 300 + 25 k Hz is the word "wk" (see ts_beeps_add), spoken
// when the beep sounds, so a test can tell whether times were joined rightly.
#ifndef TS_TESTS_OPENAI_SERVER_H
#define TS_TESTS_OPENAI_SERVER_H

#include "speech.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TS_OPENAI_SERVER_KEY "sk-test-4711"
#define TS_OPENAI_FILE_MAX 26214400

enum ts_openai_fault {
	TS_FAULT_NONE,
	TS_FAULT_RATE_LIMIT,      // 429 with Retry-After: 7
	TS_FAULT_RATE_LIMIT_MS,   // 429 with retry-after-ms: 1500
	TS_FAULT_RATE_LIMIT_LONG, // 429 with Retry-After: 3600
	TS_FAULT_QUOTA,           // 429, insufficient_quota
	TS_FAULT_500,
	TS_FAULT_401, // repeats the key in its message
	TS_FAULT_404,
	TS_FAULT_CUT,         // the connection is cut in the middle of the answer
	TS_FAULT_BROKEN_JSON, // 200 with half an object
	TS_FAULT_WRONG_JSON,  // 200 with something else
	TS_FAULT_WILD_TIMES,  // 200 with times that are negative, run backwards and past the end
};

// What the server makes of one request.
struct ts_openai_seen {
	char path[64];
	char model[64], language[16], response_format[32], prompt[1024], temperature[16];
	bool wants_words, wants_segments, authorized;
	size_t file_bytes;
	size_t samples; // decoded, 16 kHz
	long status;    // answered
};

#define TS_OPENAI_SERVER_SEEN_MAX 256
struct ts_openai_server;

struct ts_openai_server_options {
	const enum ts_openai_fault *faults; // [fault_count], one a request, in order; then none
	size_t fault_count;
	size_t max_file_bytes; // 413 above; 0: OpenAI's
	bool plain_only;       // as gpt-4o-transcribe: verbose_json is refused
	bool no_granularities; // timestamp_granularities[] is refused
	bool segments_only;    // verbose_json without words, whatever was asked for
	bool words_only;       // words without segments
};

// Starts on a free loopback port; NULL when that fails. Strings are borrowed until stop.
struct ts_openai_server *ts_openai_server_start(const struct ts_openai_server_options *options);
void ts_openai_server_stop(struct ts_openai_server *server);             // NULL-safe
const char *ts_openai_server_url(const struct ts_openai_server *server); // "http://127.0.0.1:PORT/v1"
// Requests so far, finished ones; `out` may be NULL.
size_t ts_openai_server_seen(struct ts_openai_server *server, struct ts_openai_seen *out, size_t capacity);

// Appends a second with the beep of word k (from 200 to 600 ms) over faint noise.
void ts_beeps_add(struct ts_speech *speech, int k);

#endif
