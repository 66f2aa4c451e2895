// Requests to an OpenAI-compatible endpoint, with retries as OpenAI's own clients do them: 408, 409, 429, 5xx and broken
// connections, Retry-After honoured, otherwise backoff with jitter.
#include "asr/openai_client.h"

#include "asr/output.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/rng.h"
#include "media/encode.h"
#include "net/http.h"
#include "net/url.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define RATE 16                       // samples in a millisecond
#define FIELDS_BYTES 16384            // of a request, beside the file
#define ANSWER_MAX ((size_t)64 << 20) // bytes
#define BACKOFF_FIRST_MS 500
#define BACKOFF_MAX_MS 8000
#define WAIT_STEP_MS 200
#define PARTS_MAX 10

static void wait_really(void *ctx, int64_t ms, const atomic_bool *abort)
{
	(void)ctx;
	while (ms > 0 && !(abort && atomic_load(abort))) {
		int64_t step = ms < WAIT_STEP_MS ? ms : WAIT_STEP_MS;
		struct timespec left = {0, (long)step * 1000000L};
		while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR)
			;
		ms -= step;
	}
}

static enum ts_err check_options(const struct ts_asr_openai_options *options, struct ts_error *error)
{
	static const char *const schemes[] = {"http", "https", NULL};
	TS_AUTOURL struct ts_url url = {0};
	struct ts_error why = {0};

	enum ts_err err = ts_url_parse(options->base_url, schemes, &url, &why);
	if (err == TS_ERR_NOMEM)
		return ts_fail_nomem(error);
	if (err != TS_OK)
		return ts_fail_field(error, TS_ERR_INVALID, "base_url", "the endpoint's base URL is not usable: %s",
		                     why.message);
	if (url.query)
		return ts_fail_field(error, TS_ERR_INVALID, "base_url", "the endpoint's base URL must not have a query");
	for (const char *c = options->api_key; c && *c; c++)
		if ((unsigned char)*c <= 0x20 || (unsigned char)*c >= 0x7f)
			return ts_fail_field(error, TS_ERR_INVALID, "api_key",
			                     "the API key holds characters other than printable ASCII");
	if (options->max_request_bytes < 65536 || !(options->max_segment_s >= 1) || options->max_tries < 1)
		return ts_fail(error, TS_ERR_INVALID,
		               "a request needs at least 65536 bytes, a segment one second, a request one try");
	return TS_OK;
}

enum ts_err ts_openai_client_init(struct ts_openai_client *client, const struct ts_asr_openai_options *options,
                                  struct ts_error *error)
{
	const char *key = options->api_key ? options->api_key : "";

	*client = (struct ts_openai_client){.options = *options};
	TS_TRY(check_options(options, error));
	if (!client->options.wait)
		client->options.wait = wait_really;
	size_t length = strlen(options->base_url);
	while (length > 0 && options->base_url[length - 1] == '/')
		length--;
	client->base_url = ts_strndup(options->base_url, length);
	client->api_key = ts_strdup(key);
	client->model = ts_strdup(options->model);
	if (client->base_url) {
		client->transcriptions_url = ts_asprintf("%s/audio/transcriptions", client->base_url);
		client->translations_url = ts_asprintf("%s/audio/translations", client->base_url);
	}
	client->authorization = *key ? ts_asprintf("Authorization: Bearer %s", key) : NULL;
	if (!client->base_url || !client->api_key || !client->model || !client->transcriptions_url ||
	    !client->translations_url || (*key && !client->authorization)) {
		ts_openai_client_finish(client);
		return ts_fail_nomem(error);
	}
	return TS_OK;
}

void ts_openai_client_finish(struct ts_openai_client *client)
{
	ts_free(client->base_url);
	ts_free(client->transcriptions_url);
	ts_free(client->translations_url);
	ts_free(client->authorization);
	ts_free(client->api_key);
	ts_free(client->model);
	*client = (struct ts_openai_client){0};
}

// One request, encoded once and sent as often as it takes.
struct sending {
	struct ts_openai_client *client;
	const struct ts_openai_piece *piece;
	const struct ts_encoded *file;
	enum ts_openai_level level;
	struct ts_http_part parts[PARTS_MAX];
	size_t part_count;
	struct ts_buf answer;
	struct ts_http_response response;
	char message[256]; // of an error answer
};

static void add_part(struct sending *sending, const char *name, const char *text)
{
	sending->parts[sending->part_count++] = (struct ts_http_part){.name = name, .data = text, .length = strlen(text)};
}

static void build_parts(struct sending *sending)
{
	const struct ts_asr_request *request = sending->piece->request;
	const struct ts_encoded *file = sending->file;
	bool translate = request->task == TS_ASR_TRANSLATE;

	sending->part_count = 1;
	sending->parts[0] = (struct ts_http_part){"file", file->filename, file->media_type, file->data, file->length};
	add_part(sending, "model", sending->client->model);
	add_part(sending, "response_format", sending->level == TS_OPENAI_PLAIN ? "json" : "verbose_json");
	add_part(sending, "temperature", "0");
	if (!translate && sending->level == TS_OPENAI_GRANULAR) {
		add_part(sending, "timestamp_granularities[]", "segment");
		if (request->word_times)
			add_part(sending, "timestamp_granularities[]", "word");
	}
	if (!translate && request->language)
		add_part(sending, "language", request->language);
	if (sending->piece->prompt && *sending->piece->prompt)
		add_part(sending, "prompt", sending->piece->prompt);
}

static enum ts_err take_answer(void *ctx, const void *bytes, size_t length, struct ts_error *error)
{
	struct sending *sending = ctx;

	ts_buf_add(&sending->answer, bytes, length);
	if (sending->answer.status == TS_ERR_LIMIT)
		return ts_fail(error, TS_ERR_ENGINE, "the endpoint's answer is larger than %zu bytes", ANSWER_MAX);
	return ts_buf_status(&sending->answer, error);
}

static enum ts_err perform(struct sending *sending, struct ts_error *error)
{
	const struct ts_openai_client *client = sending->client;
	const char *headers[] = {"Accept: application/json", client->authorization, NULL};
	struct ts_http_request request = {
	    .method = "POST",
	    .url =
	        sending->piece->request->task == TS_ASR_TRANSLATE ? client->translations_url : client->transcriptions_url,
	    .headers = headers,
	    .parts = sending->parts,
	    .part_count = sending->part_count,
	    .deadline_ms = client->options.request_timeout_ms,
	    // The endpoint is silent while it recognises.
	    .stall_timeout_ms = client->options.request_timeout_ms,
	    .max_bytes = ANSWER_MAX,
	    .abort = sending->piece->request->abort,
	    .write = take_answer,
	    .ctx = sending,
	};
	ts_buf_clear(&sending->answer);
	sending->message[0] = '\0';
	enum ts_err err = ts_http_perform(&request, &sending->response, error);
	if (err == TS_ERR_MEDIA_TOO_LARGE)
		return ts_fail(error, TS_ERR_ENGINE, "the endpoint's answer is larger than %zu bytes", ANSWER_MAX);
	return err;
}

// What the endpoint said, one line, without the key should it repeat it.
static void read_message(struct sending *sending)
{
	const char *key = sending->client->api_key;

	ts_openai_error_text(sending->response.error_body, sending->message, sizeof sending->message);
	for (char *at; *key && (at = strstr(sending->message, key)) != NULL;)
		memset(at, '*', strlen(key));
	if (!sending->message[0])
		snprintf(sending->message, sizeof sending->message, "no explanation");
}

static bool is_broken_connection(enum ts_err err)
{
	return err == TS_ERR_NET_UNREACHABLE || err == TS_ERR_NET_INCOMPLETE || err == TS_ERR_TIMEOUT;
}

static bool is_temporary_status(const struct sending *sending)
{
	long status = sending->response.status;
	char code[64];

	if (status == 429) {
		// No waiting helps against an empty account.
		ts_openai_error_code(sending->response.error_body, code, sizeof code);
		return strcmp(code, "insufficient_quota") != 0;
	}
	return status == 408 || status == 409 || status == 425 || status >= 500;
}

// The endpoint refuses a field that we can do without: one level lower for this and all later requests.
static bool lower_level(struct sending *sending)
{
	enum ts_openai_level lower;
	const char *body = sending->response.error_body;
	int was = (int)sending->level;

	if (sending->response.status != 400 && sending->response.status != 422)
		return false;
	if (sending->level == TS_OPENAI_GRANULAR && strstr(body, "timestamp_granularities"))
		lower = TS_OPENAI_VERBOSE;
	else if (sending->level != TS_OPENAI_PLAIN && (strstr(body, "response_format") || strstr(body, "verbose_json")))
		lower = TS_OPENAI_PLAIN;
	else
		return false;
	atomic_compare_exchange_strong(&sending->client->level, &was, (int)lower);
	sending->level = lower;
	build_parts(sending);
	return true;
}

// How long to wait before try `tries` + 1; -1: longer than allowed.
static int64_t pause_before(const struct sending *sending, unsigned tries, bool answered)
{
	struct ts_rng rng = ts_rng_system();
	int64_t asked = answered ? sending->response.retry_after_ms : -1;

	if (asked > sending->client->options.max_retry_wait_ms)
		return -1;
	if (asked >= 0)
		return asked;
	int64_t pause = BACKOFF_FIRST_MS;
	for (unsigned i = 1; i < tries && pause < BACKOFF_MAX_MS; i++)
		pause *= 2;
	if (pause > BACKOFF_MAX_MS)
		pause = BACKOFF_MAX_MS;
	pause = (int64_t)((double)pause * (1 - 0.25 * ts_rng_unit(&rng)));
	return pause < sending->client->options.max_retry_wait_ms ? pause : sending->client->options.max_retry_wait_ms;
}

static enum ts_err fail_status(const struct sending *sending, struct ts_error *error)
{
	long status = sending->response.status;

	if (status == 401 || status == 403)
		// Its own words are left out: some endpoints repeat the key.
		return ts_fail(error, TS_ERR_ENGINE_REJECTED,
		               "the endpoint refuses the API key (HTTP %ld): check OPENAI_API_KEY and its rights", status);
	if (status == 429)
		return ts_fail(error, is_temporary_status(sending) ? TS_ERR_NET_RATE_LIMITED : TS_ERR_ENGINE_REJECTED,
		               "the endpoint limits requests (HTTP 429): %s", sending->message);
	if (is_temporary_status(sending))
		return ts_fail(error, TS_ERR_NET_STATUS_TEMPORARY, "the endpoint failed (HTTP %ld): %s", status,
		               sending->message);
	return ts_fail(error, TS_ERR_ENGINE_REJECTED, "the endpoint rejects the request (HTTP %ld): %s", status,
	               sending->message);
}

static void log_retry(const struct sending *sending, int64_t pause_ms, const char *reason)
{
	if (sending->piece->request->log)
		ts_log_warn(sending->piece->request->log, "endpoint failed, trying again", TS_INT("wait_ms", pause_ms),
		            TS_INT("status", sending->response.status), TS_STR("reason", reason));
}

// Sends until there is a 2xx answer in sending->answer, or 413, or a reason to give up.
static enum ts_err send_with_retries(struct sending *sending, unsigned *out_requests, struct ts_error *error)
{
	const struct ts_asr_openai_options *options = &sending->client->options;
	const struct ts_asr_request *request = sending->piece->request;

	for (unsigned tries = 1;; tries++) {
		struct ts_error why = {0};
		++*out_requests;
		enum ts_err err = perform(sending, &why);
		bool answered = err == TS_OK;
		long status = sending->response.status;
		if (answered && ((status >= 200 && status < 300) || status == 413))
			return TS_OK;
		if (answered) {
			if (lower_level(sending)) {
				tries--; // at most twice
				continue;
			}
			read_message(sending);
			err = fail_status(sending, &why);
		}
		if (answered ? !is_temporary_status(sending) : !is_broken_connection(err))
			tries = options->max_tries;
		int64_t pause = tries < options->max_tries ? pause_before(sending, tries, answered) : -1;
		if (pause < 0) {
			if (error)
				*error = why;
			return err;
		}
		log_retry(sending, pause, why.message);
		options->wait(options->wait_ctx, pause, request->abort);
		if (ts_asr_aborted(request))
			return ts_asr_fail_aborted(error);
	}
}

enum ts_err ts_openai_client_send(struct ts_openai_client *client, const struct ts_openai_piece *piece,
                                  struct ts_openai_reply *out, bool *out_too_long, unsigned *out_requests,
                                  struct ts_error *error)
{
	TS_AUTOENCODED struct ts_encoded file = {0};
	int64_t piece_ms = (int64_t)piece->count / RATE;
	struct sending sending = {
	    .client = client, .piece = piece, .file = &file, .level = (enum ts_openai_level)atomic_load(&client->level)};

	*out_too_long = true;
	if (sending.level == TS_OPENAI_PLAIN && piece_ms > TS_OPENAI_PLAIN_MAX_MS)
		return TS_OK;
	struct ts_error why = {0};
	size_t max_bytes = client->options.max_request_bytes - FIELDS_BYTES;
	enum ts_err err = ts_encode_abortable(piece->samples, piece->count, max_bytes, piece->request->abort, &file, &why);
	if (err == TS_ERR_LIMIT)
		return TS_OK;
	if (err != TS_OK) {
		if (error)
			*error = why;
		return err;
	}
	build_parts(&sending);
	ts_buf_init(&sending.answer, ANSWER_MAX);
	err = send_with_retries(&sending, out_requests, error);
	if (err == TS_OK && sending.response.status != 413) {
		*out_too_long = false;
		err = ts_openai_parse(ts_buf_str(&sending.answer), sending.answer.length, piece_ms, out, error);
	}
	ts_buf_finish(&sending.answer);
	return err;
}
