// The engine `openai`: windows of speech through an OpenAI-compatible endpoint, answers joined on one time line. The end
// of the text so far goes along as the prompt of the next piece, so that names and style carry over.
#include "asr/engines.h"

#include "asr/openai_client.h"
#include "asr/windows.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "core/json.h"
#include "media/encode.h"
#include "media/vad.h"

#include <math.h>
#include <string.h>

#define RATE 16                // samples in a millisecond
#define PROMPT_MAX 800         // bytes; about the 224 tokens that Whisper looks at
#define REQUEST_PROMPT_MAX 400 // of it, for the caller's own
#define JOIN_MS 3000           // shorter silence stays inside a piece: each request costs
#define SEARCH_MAX_MS 60000    // where a cut is looked for, at the end of a full piece
#define PIECE_MIN_MS 2000      // an endpoint that finds even this too large is given up
#define PIECE_MAX_MS 3600000

struct openai {
	struct ts_asr base;
	struct ts_openai_client client;
	int32_t piece_max_ms;
};

// One run.
struct course {
	struct openai *engine;
	const struct ts_asr_request *request;
	struct ts_transcript *transcript;
	struct ts_asr_output output;
	struct ts_buf tail; // text so far, its end
	int64_t limit_ms;   // pieces are no longer than this; shrinks when the endpoint finds them too large
	unsigned pieces, requests;
};

static void info(const struct ts_asr *engine, struct ts_asr_info *out)
{
	const struct openai *self = (const struct openai *)engine;

	*out = (struct ts_asr_info){
	    .engine = "openai", .version = "", .model = self->client.model, .local = false, .translates = true, .slots = 0};
}

static enum ts_err check(const struct ts_asr *engine, const char *language, enum ts_asr_task task,
                         struct ts_error *error)
{
	(void)engine;
	(void)task;
	if (!language)
		return TS_OK;
	size_t length = strspn(language, "abcdefghijklmnopqrstuvwxyz");
	if (language[length] || length < 2 || length > 3)
		return ts_fail_field(error, TS_ERR_LANGUAGE, "language",
		                     "\"%.16s\" is not a language code: ISO 639-1 is expected, such as \"en\"", language);
	return TS_OK;
}

// The caller's prompt and the end of the text so far. Owned by the caller; NULL: out of memory.
static char *make_prompt(const struct course *course)
{
	const char *own = course->request->prompt ? course->request->prompt : "";
	const char *tail = ts_buf_str(&course->tail);
	size_t own_length = ts_utf8_cut(own, strlen(own), REQUEST_PROMPT_MAX);

	if (!*tail) // the first piece: all of it
		own_length = ts_utf8_cut(own, strlen(own), PROMPT_MAX);
	return ts_asprintf("%.*s%s%s", (int)own_length, own, own_length && *tail ? " " : "", tail);
}

// Appends to the tail and drops its beginning up to a word's start.
static enum ts_err remember_text(struct course *course, const char *text, struct ts_error *error)
{
	size_t room = PROMPT_MAX - REQUEST_PROMPT_MAX;
	TS_AUTOBUF struct ts_buf joined;

	if (strlen(text) > room)
		text += strlen(text) - room;
	ts_buf_init(&joined, 4 * PROMPT_MAX);
	ts_buf_printf(&joined, "%s%s%s", ts_buf_str(&course->tail), course->tail.length ? " " : "", text);
	TS_TRY(ts_buf_status(&joined, error));
	const char *from = ts_buf_str(&joined);
	if (joined.length > room) {
		from += joined.length - room;
		const char *space = strchr(from, ' ');
		if (space)
			from = space + 1;
		else
			while (((unsigned char)*from & 0xC0) == 0x80)
				from++; // in the middle of a character
	}
	ts_buf_clear(&course->tail);
	ts_buf_add_str(&course->tail, from);
	return ts_buf_status(&course->tail, error);
}

static void shift(struct ts_segment *segment, int64_t by_ms)
{
	segment->start_ms += by_ms;
	segment->end_ms += by_ms;
	for (size_t i = 0; i < segment->word_count; i++) {
		segment->words[i].start_ms += by_ms;
		segment->words[i].end_ms += by_ms;
	}
}

static enum ts_err put_reply(struct course *course, struct ts_openai_reply *reply, int64_t start_ms,
                             struct ts_error *error)
{
	if (!course->transcript->language && reply->language && !ts_str_set(&course->transcript->language, reply->language))
		return ts_fail_nomem(error);
	shift(&reply->pile, start_ms);
	for (size_t i = 0; i < reply->pile.word_count; i++)
		TS_TRY(remember_text(course, reply->pile.words[i].text, error));
	TS_TRY(ts_asr_output_words(&course->output, &reply->pile, error));
	for (size_t i = 0; i < reply->segment_count; i++) {
		shift(&reply->segments[i], start_ms);
		TS_TRY(remember_text(course, reply->segments[i].text, error));
		TS_TRY(ts_asr_output_segment(&course->output, &reply->segments[i], error));
	}
	return TS_OK;
}

static enum ts_err send_piece(struct course *course, const float *samples, size_t count, int64_t start_ms,
                              struct ts_error *error);

// In two parts, cut in the quietest place of the middle third.
static enum ts_err send_halves(struct course *course, const float *samples, size_t count, int64_t start_ms,
                               struct ts_error *error)
{
	size_t cut = ts_vad_quietest(samples, count * 2 / 3, count / 3);

	TS_TRY(send_piece(course, samples, cut, start_ms, error));
	return send_piece(course, samples + cut, count - cut, start_ms + (int64_t)cut / RATE, error);
}

// The depth of the recursion is bounded by PIECE_MIN_MS.
static enum ts_err send_piece(struct course *course, const float *samples, size_t count, int64_t start_ms,
                              struct ts_error *error)
{
	int64_t piece_ms = (int64_t)count / RATE;
	TS_AUTOREPLY struct ts_openai_reply reply;
	bool too_long = true;

	ts_openai_reply_init(&reply);
	if (ts_asr_aborted(course->request))
		return ts_asr_fail_aborted(error);
	if (piece_ms <= course->limit_ms) {
		TS_AUTOFREE char *prompt = make_prompt(course);
		if (!prompt)
			return ts_fail_nomem(error);
		struct ts_openai_piece piece = {samples, count, prompt, course->request};
		TS_TRY(ts_openai_client_send(&course->engine->client, &piece, &reply, &too_long, &course->requests, error));
	}
	if (!too_long) {
		course->pieces++;
		TS_TRY(put_reply(course, &reply, start_ms, error));
		ts_asr_output_progress(&course->output, start_ms + piece_ms);
		return TS_OK;
	}
	if (piece_ms < PIECE_MIN_MS)
		return ts_fail(error, TS_ERR_ENGINE_REJECTED, "the endpoint finds even %lld ms of audio too large",
		               (long long)piece_ms);
	if (course->limit_ms >= piece_ms)
		course->limit_ms = piece_ms * 2 / 3;
	return send_halves(course, samples, count, start_ms, error);
}

static enum ts_err send_all(struct course *course, struct ts_error *error)
{
	int32_t max_ms = course->engine->piece_max_ms;
	struct ts_windows_options options = {.max_ms = max_ms,
	                                     .search_ms = max_ms / 2 < SEARCH_MAX_MS ? max_ms / 2 : SEARCH_MAX_MS,
	                                     .join_ms = JOIN_MS,
	                                     .vad = course->request->vad,
	                                     .output = &course->output};
	TS_AUTOWINDOWS struct ts_windows *windows = NULL;
	struct ts_window window;
	bool more;

	TS_TRY(ts_windows_create(course->request, &options, &windows, error));
	for (;;) {
		TS_TRY(ts_windows_next(windows, &window, &more, error));
		if (!more)
			break;
		TS_TRY(send_piece(course, window.samples, window.count, window.start_ms, error));
	}
	course->transcript->duration_ms = ts_windows_position_ms(windows);
	return TS_OK;
}

static enum ts_err write_parameters(const struct course *course, char **out_json, struct ts_error *error)
{
	static const char *const formats[] = {"verbose_json", "verbose_json", "json"};
	const struct ts_openai_client *client = &course->engine->client;
	TS_AUTOJSON json_t *json = json_object();
	TS_AUTOBUF struct ts_buf buf = {0};

	ts_buf_init(&buf, 16384);
	if (!json)
		return ts_fail_nomem(error);
	TS_TRY(ts_json_put(json, "endpoint", ts_json_text(client->base_url), error));
	TS_TRY(ts_json_put(json, "task",
	                   json_string(course->request->task == TS_ASR_TRANSLATE ? "translate" : "transcribe"), error));
	TS_TRY(ts_json_put(json, "vad", json_boolean(course->request->vad), error));
	TS_TRY(ts_json_put(json, "response_format", json_string(formats[atomic_load(&client->level)]), error));
	TS_TRY(ts_json_put(json, "piece_max_ms", json_integer(course->engine->piece_max_ms), error));
	TS_TRY(ts_json_put(json, "pieces", json_integer(course->pieces), error));
	TS_TRY(ts_json_put(json, "requests", json_integer(course->requests), error));
	TS_TRY(ts_json_write(json, &buf, error));
	return ts_buf_take(&buf, out_json, error);
}

static enum ts_err write_receipt(const struct course *course, int64_t spent_ms, struct ts_error *error)
{
	struct ts_transcript *transcript = course->transcript;
	struct ts_receipt *receipt = &transcript->receipt;
	const char *asked = course->request->task == TS_ASR_TRANSLATE ? "en" : course->request->language;

	if ((asked && !ts_str_set(&transcript->language, asked)) || !ts_str_set(&receipt->engine, "openai") ||
	    !ts_str_set(&receipt->model, course->engine->client.model))
		return ts_fail_nomem(error);
	TS_TRY(write_parameters(course, &receipt->parameters, error));
	receipt->audio_seconds = (double)transcript->duration_ms / 1000;
	receipt->processing_seconds = (double)spent_ms / 1000;
	receipt->attempts = 1;
	return TS_OK;
}

static enum ts_err run(struct ts_asr *engine, const struct ts_asr_request *request, struct ts_transcript *out,
                       struct ts_error *error)
{
	struct openai *self = (struct openai *)engine;
	const struct ts_clock *clock = self->client.options.clock;
	struct course course = {.engine = self, .request = request, .transcript = out, .limit_ms = self->piece_max_ms};
	int64_t started = ts_mono_ms(clock);

	ts_asr_output_init(&course.output, request, out);
	ts_buf_init(&course.tail, 2 * PROMPT_MAX);
	enum ts_err err = send_all(&course, error);
	ts_buf_finish(&course.tail);
	TS_TRY(err);
	return write_receipt(&course, ts_mono_ms(clock) - started, error);
}

static void destroy(struct ts_asr *engine)
{
	struct openai *self = (struct openai *)engine;

	ts_openai_client_finish(&self->client);
	ts_free(self);
}

static const struct ts_asr_ops ops = {.info = info, .check = check, .run = run, .destroy = destroy};

enum ts_err ts_asr_openai_create(const struct ts_asr_openai_options *options, struct ts_asr **out,
                                 struct ts_error *error)
{
	struct openai *self = ts_calloc(1, sizeof *self);
	if (!self)
		return ts_fail_nomem(error);
	enum ts_err err = ts_openai_client_init(&self->client, options, error);
	if (err != TS_OK) {
		ts_free(self);
		return err;
	}
	// Of the request's bytes a tenth is left for sound that compresses badly; what still is too large is halved.
	double seconds = fmin(options->max_segment_s, 0.9 * ts_encode_seconds_within(options->max_request_bytes));
	self->piece_max_ms = (int32_t)fmin(fmax(seconds * 1000, PIECE_MIN_MS), PIECE_MAX_MS);
	ts_asr_init(&self->base, &ops);
	*out = &self->base;
	return TS_OK;
}
