// Speech recognition behind one interface. An engine is made once per process, owns its weights, is shared by all
// threads and may batch the windows of all running calls; a call to ts_asr_run carries one recording.
// Refuses files, URLs and storage: samples are pulled from the caller, text goes out segment by segment.
#ifndef TS_ASR_ASR_H
#define TS_ASR_ASR_H

#include "base/clock.h"
#include "base/log.h"
#include "core/transcript.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ts_asr_task { TS_ASR_TRANSCRIBE, TS_ASR_TRANSLATE };

// Where samples come from: 16 kHz mono float in [-1, 1], pulled as needed by the thread that runs the call.
struct ts_pcm_source {
	// Fills up to `capacity` samples; *out_count = 0 at the end. Its error ends the run and is returned as it is.
	enum ts_err (*read)(void *ctx, float *samples, size_t capacity, size_t *out_count, struct ts_error *error);
	void *ctx;
	int64_t duration_ms; // expected; 0: unknown (progress then stays a guess)
};

// What the caller hears while it runs; members may be NULL. Called from the thread that runs the call.
struct ts_asr_sink {
	// audio_ms of the recording are done with. Not decreasing.
	void (*progress)(void *ctx, int64_t audio_ms, int64_t duration_ms);
	// A finished segment, in order, `index` counted from 0; borrowed for the call. Non-OK ends the run with it.
	enum ts_err (*segment)(void *ctx, size_t index, const struct ts_segment *segment, struct ts_error *error);
	void *ctx;
};

struct ts_asr_request {
	struct ts_pcm_source source;
	struct ts_asr_sink sink;
	enum ts_asr_task task;
	const char *language;     // ISO 639-1; NULL: detect
	const char *prompt;       // text that may precede; NULL: none
	bool word_times;          // engines without word times leave them out
	bool vad;                 // skip what is not speech
	const atomic_bool *abort; // NULL: none; a set flag ends the run within a second: TS_ERR_ABORTED
	const struct ts_log *log; // carries the job's id; NULL: silent
};

struct ts_asr_info {
	const char *engine;  // "pocketsphinx"
	const char *version; // of the engine; "" unknown
	const char *model;   // its name
	bool local;          // no audio leaves the machine
	bool translates;
	unsigned slots; // calls that run side by side at full speed; 0: any number
};

// An engine; destroyed after all runs have returned. Everything but destroy is thread safe.
struct ts_asr;

// What an engine implements; every member is mandatory.
struct ts_asr_ops {
	void (*info)(const struct ts_asr *engine, struct ts_asr_info *out);
	// TS_ERR_LANGUAGE names the language and what is supported. NULL (detect) is fine where the engine has one language.
	enum ts_err (*check)(const struct ts_asr *engine, const char *language, enum ts_asr_task task,
	                     struct ts_error *error);
	// Fills *out (initialised, empty), receipt included. Blocking.
	enum ts_err (*run)(struct ts_asr *engine, const struct ts_asr_request *request, struct ts_transcript *out,
	                   struct ts_error *error);
	void (*destroy)(struct ts_asr *engine);
};
// Engines embed this as their first member.
struct ts_asr {
	const struct ts_asr_ops *ops;
};
// For engines: sets the operations, and asserts that all are there.
void ts_asr_init(struct ts_asr *engine, const struct ts_asr_ops *ops);

void ts_asr_info(const struct ts_asr *engine, struct ts_asr_info *out);
enum ts_err ts_asr_check(const struct ts_asr *engine, const char *language, enum ts_asr_task task,
                         struct ts_error *error) TS_MUST_USE;

// Recognises one recording. *out must be initialised and empty; it is written only on success. A recording without
// speech gives a transcript without segments. Errors: the source's and the sink's, TS_ERR_ABORTED, TS_ERR_LANGUAGE,
// TS_ERR_ENGINE (may work next time), TS_ERR_ENGINE_REJECTED (will not), TS_ERR_NET_* and TS_ERR_NET_RATE_LIMITED (remote).
enum ts_err ts_asr_run(struct ts_asr *engine, const struct ts_asr_request *request, struct ts_transcript *out,
                       struct ts_error *error) TS_MUST_USE;
void ts_asr_destroy(struct ts_asr *engine); // NULL-safe

#endif
