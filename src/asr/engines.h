// The engines there are, and `auto`, which takes the best that is available.
#ifndef TS_ASR_ENGINES_H
#define TS_ASR_ENGINES_H

#include "asr/asr.h"

struct ts_asr_pocketsphinx_options {
	const char *model_dir; // holds en-us/, en-us.lm.bin, cmudict-en-us.dict
	unsigned slots;        // decoders at most (each about 100 MB once used); 0: number of CPUs
	const struct ts_clock *clock;
};
// PocketSphinx with an English model that Debian packages. English only.
// TS_ERR_ENGINE_UNAVAILABLE when the model is not there.
enum ts_err ts_asr_pocketsphinx_create(const struct ts_asr_pocketsphinx_options *options, struct ts_asr **out,
                                       struct ts_error *error) TS_MUST_USE;

struct ts_asr_openai_options {
	const char *base_url; // "https://host/v1", no trailing slash needed
	const char *api_key;  // "" sends no Authorization header
	const char *model;    // "whisper-1"
	size_t max_request_bytes;
	double max_segment_s; // longest piece of audio in one request
	int64_t request_timeout_ms;
	unsigned max_tries;        // of one request: rate limits, 5xx, broken connections
	int64_t max_retry_wait_ms; // a Retry-After above it gives up: TS_ERR_NET_RATE_LIMITED
	const struct ts_clock *clock;
	// Waits between tries; returns early once *abort (may be NULL) is set. NULL: really waits. Thread safe.
	void (*wait)(void *ctx, int64_t ms, const atomic_bool *abort);
	void *wait_ctx;
};
// Any endpoint that speaks OpenAI's /audio/transcriptions. TS_ERR_INVALID for a bad base_url.
enum ts_err ts_asr_openai_create(const struct ts_asr_openai_options *options, struct ts_asr **out,
                                 struct ts_error *error) TS_MUST_USE;

// Runs on `first`; when it fails for a reason that is not the recording's (TS_ERR_ENGINE*, TS_ERR_NET_*, TS_ERR_TIMEOUT) before
// any segment went out, runs on `second`. Owns both. The receipt tells which engine it was.
// The source must be able to start over: `rewind` is called with the source's ctx.
// Takes both engines over in any case: they are destroyed when it fails.
enum ts_err ts_asr_fallback_create(struct ts_asr *first, struct ts_asr *second,
                                   enum ts_err (*rewind)(void *source_ctx, struct ts_error *error), struct ts_asr **out,
                                   struct ts_error *error) TS_MUST_USE;

struct ts_asr_choice {
	const char *name; // "auto", "pocketsphinx", "openai"
	struct ts_asr_pocketsphinx_options pocketsphinx;
	struct ts_asr_openai_options openai;
	bool fallback; // remote to local is allowed
	enum ts_err (*rewind)(void *source_ctx, struct ts_error *error);
	const struct ts_log *log; // says which was taken and why
};
// `auto`: openai when it has a key, or a base_url other than OpenAI's own; else pocketsphinx.
enum ts_err ts_asr_create(const struct ts_asr_choice *choice, struct ts_asr **out, struct ts_error *error) TS_MUST_USE;

#endif
