// One piece of audio through an OpenAI-compatible endpoint: request, retries, and what the endpoint turned out to be
// able to do. Knows nothing of the recording the piece comes from.
#ifndef TS_ASR_OPENAI_CLIENT_H
#define TS_ASR_OPENAI_CLIENT_H

#include "asr/engines.h"
#include "asr/openai_wire.h"

// How much of the format an endpoint speaks: each refusal of a field lowers it for all later requests.
enum ts_openai_level {
	TS_OPENAI_GRANULAR, // verbose_json with timestamp_granularities[]
	TS_OPENAI_VERBOSE,  // verbose_json
	TS_OPENAI_PLAIN,    // json: text only
};

// Shared by all runs; thread safe. Strings are owned.
struct ts_openai_client {
	char *base_url; // without trailing slash
	char *transcriptions_url, *translations_url;
	char *authorization; // header line; NULL: none
	char *api_key;       // for taking it out of messages; "" none
	char *model;
	struct ts_asr_openai_options options; // numbers, clock and wait; its strings are not used
	atomic_int level;                     // enum ts_openai_level
};

enum ts_err ts_openai_client_init(struct ts_openai_client *client, const struct ts_asr_openai_options *options,
                                  struct ts_error *error) TS_MUST_USE;
void ts_openai_client_finish(struct ts_openai_client *client);

struct ts_openai_piece {
	const float *samples; // [count]
	size_t count;
	const char *prompt; // NULL: none
	const struct ts_asr_request *request;
};

// Sends the piece. *out_too_long = true (and *out untouched) when it must be sent in smaller parts: it does not fit the
// size limit, the endpoint said 413, or the endpoint proved to give no times and the piece is longer than
// TS_OPENAI_PLAIN_MAX_MS. *out_requests counts HTTP requests, also on failure.
enum ts_err ts_openai_client_send(struct ts_openai_client *client, const struct ts_openai_piece *piece,
                                  struct ts_openai_reply *out, bool *out_too_long, unsigned *out_requests,
                                  struct ts_error *error) TS_MUST_USE;

// An endpoint that gives only text gets short pieces, so that the text has times at all.
#define TS_OPENAI_PLAIN_MAX_MS 30000

#endif
