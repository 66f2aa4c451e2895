// Reads answers of OpenAI-compatible endpoints. Servers differ: words may lie at the top or inside the segments, texts
// start with spaces, times run backwards or past the end. What is missing is left out, what is of the wrong type is
// an error.
#include "asr/openai_wire.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "core/json.h"

#include <ctype.h>
#include <math.h>
#include <string.h>
#include <strings.h>

#define ENTRIES_MAX 200000 // segments or words of one piece

void ts_openai_reply_init(struct ts_openai_reply *reply)
{
	*reply = (struct ts_openai_reply){0};
	ts_segment_init(&reply->pile);
}

void ts_openai_reply_finish(struct ts_openai_reply *reply)
{
	for (size_t i = 0; i < reply->segment_count; i++)
		ts_segment_finish(&reply->segments[i]);
	ts_free(reply->segments);
	ts_free(reply->language);
	ts_segment_finish(&reply->pile);
	ts_openai_reply_init(reply);
}

const char *ts_language_code(const char *name)
{
	static const char *const names[][2] = {
#define LANGUAGE(code, english) {code, english},
#include "asr/languages.def"
#undef LANGUAGE
	};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strcasecmp(name, names[i][0]) == 0 || strcasecmp(name, names[i][1]) == 0)
			return names[i][0];
	return NULL;
}

static enum ts_err fail_answer(struct ts_error *error, const char *what)
{
	return ts_fail(error, TS_ERR_ENGINE, "the endpoint's answer is not a transcription: %s", what);
}

// A copy without surrounding white space; NULL only when memory is out.
static char *trimmed(const char *text)
{
	size_t length;

	while (isspace((unsigned char)*text))
		text++;
	length = strlen(text);
	while (length > 0 && isspace((unsigned char)text[length - 1]))
		length--;
	return ts_strndup(text, length);
}

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
	return value < low ? low : value > high ? high : value;
}

// A time in seconds as ms within [low, high]; false when it is missing or no number.
static bool get_time(const json_t *object, const char *key, int64_t low, int64_t high, int64_t *out)
{
	const json_t *value = json_object_get(object, key);

	if (!json_is_number(value))
		return false;
	double ms = json_number_value(value) * 1000;
	*out = !(ms > (double)low) ? low : ms >= (double)high ? high : clamp(llround(ms), low, high);
	return true;
}

// A measure; NAN when it is missing.
static float get_measure(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	return json_is_number(value) ? (float)json_number_value(value) : NAN;
}

static float get_probability(const json_t *word)
{
	float p = get_measure(word, "probability");

	if (isnan(p))
		p = get_measure(word, "score");
	return isnan(p) ? p : fminf(fmaxf(p, 0), 1);
}

static enum ts_err add_word(struct ts_segment *segment, const json_t *word, int64_t low, int64_t high,
                            struct ts_error *error)
{
	const char *raw = json_string_value(json_object_get(word, "word"));
	int64_t start, end;

	if (!raw || !get_time(word, "start", low, high, &start) || !get_time(word, "end", start, high, &end))
		return fail_answer(error, "a word without text or times");
	TS_AUTOFREE char *text = trimmed(raw);
	if (!text)
		return ts_fail_nomem(error);
	if (!*text)
		return TS_OK;
	return ts_segment_add_word(segment, text, start, end, get_probability(word), error);
}

// The words of an array, ascending.
static enum ts_err add_words(struct ts_segment *segment, const json_t *words, int64_t low, int64_t high,
                             struct ts_error *error)
{
	size_t i;
	const json_t *word;

	if (json_array_size(words) > ENTRIES_MAX)
		return fail_answer(error, "too many words");
	json_array_foreach(words, i, word)
	{
		TS_TRY(add_word(segment, word, low, high, error));
		if (segment->word_count)
			low = segment->words[segment->word_count - 1].start_ms;
	}
	return TS_OK;
}

static enum ts_err add_segment(struct ts_openai_reply *reply, struct ts_segment *segment, struct ts_error *error)
{
	if (reply->segment_count == reply->segment_capacity) {
		size_t capacity = reply->segment_capacity + reply->segment_capacity / 2 + 8;
		struct ts_segment *larger = ts_realloc(reply->segments, capacity, sizeof *larger);
		if (!larger)
			return ts_fail_nomem(error);
		reply->segments = larger;
		reply->segment_capacity = capacity;
	}
	reply->segments[reply->segment_count++] = *segment;
	ts_segment_init(segment);
	return TS_OK;
}

static enum ts_err read_segment(struct ts_openai_reply *reply, const json_t *json, int64_t low, int64_t high,
                                struct ts_error *error)
{
	TS_AUTOSEGMENT struct ts_segment segment;
	const char *text = json_string_value(json_object_get(json, "text"));

	ts_segment_init(&segment);
	if (!text || !get_time(json, "start", low, high, &segment.start_ms) ||
	    !get_time(json, "end", segment.start_ms, high, &segment.end_ms))
		return fail_answer(error, "a segment without text or times");
	segment.text = trimmed(text);
	if (!segment.text)
		return ts_fail_nomem(error);
	if (!*segment.text)
		return TS_OK;
	segment.avg_logprob = get_measure(json, "avg_logprob");
	segment.compression_ratio = get_measure(json, "compression_ratio");
	segment.no_speech_prob = get_measure(json, "no_speech_prob");
	segment.temperature = get_measure(json, "temperature");
	const json_t *words = json_object_get(json, "words");
	if (words && !json_is_array(words) && !json_is_null(words))
		return fail_answer(error, "`words` is not an array");
	TS_TRY(add_words(&segment, words, segment.start_ms, segment.end_ms, error));
	return add_segment(reply, &segment, error);
}

static enum ts_err read_segments(struct ts_openai_reply *reply, const json_t *segments, int64_t piece_ms,
                                 struct ts_error *error)
{
	int64_t low = 0;
	size_t i;
	const json_t *segment;

	if (json_array_size(segments) > ENTRIES_MAX)
		return fail_answer(error, "too many segments");
	json_array_foreach(segments, i, segment)
	{
		TS_TRY(read_segment(reply, segment, low, piece_ms, error));
		if (reply->segment_count)
			low = reply->segments[reply->segment_count - 1].start_ms;
	}
	return TS_OK;
}

// Gives each word of the top-level list to the segment in which its middle lies, or the nearest one before.
static enum ts_err assign_words(struct ts_openai_reply *reply, const struct ts_segment *words, struct ts_error *error)
{
	size_t at = 0;

	for (size_t i = 0; i < words->word_count; i++) {
		const struct ts_word *word = &words->words[i];
		int64_t middle = word->start_ms + (word->end_ms - word->start_ms) / 2;
		while (at + 1 < reply->segment_count && middle >= reply->segments[at + 1].start_ms)
			at++;
		TS_TRY(ts_segment_add_word(&reply->segments[at], word->text, word->start_ms, word->end_ms, word->probability,
		                           error));
	}
	return TS_OK;
}

static enum ts_err read_text(struct ts_openai_reply *reply, const char *text, int64_t piece_ms, struct ts_error *error)
{
	TS_AUTOSEGMENT struct ts_segment segment;

	ts_segment_init(&segment);
	segment.text = trimmed(text);
	if (!segment.text)
		return ts_fail_nomem(error);
	if (!*segment.text)
		return TS_OK;
	segment.end_ms = piece_ms;
	return add_segment(reply, &segment, error);
}

static enum ts_err read_reply(struct ts_openai_reply *reply, const json_t *json, int64_t piece_ms,
                              struct ts_error *error)
{
	const json_t *text = json_object_get(json, "text"), *segments = json_object_get(json, "segments");
	const json_t *words = json_object_get(json, "words");
	const char *language = json_string_value(json_object_get(json, "language"));

	if (!json_is_string(text))
		return fail_answer(error, "no `text`");
	if (segments && !json_is_array(segments) && !json_is_null(segments))
		return fail_answer(error, "`segments` is not an array");
	if (words && !json_is_array(words) && !json_is_null(words))
		return fail_answer(error, "`words` is not an array");
	language = language ? ts_language_code(language) : NULL;
	if (!ts_str_set(&reply->language, language))
		return ts_fail_nomem(error);
	TS_TRY(read_segments(reply, segments, piece_ms, error));
	TS_TRY(add_words(&reply->pile, words, 0, piece_ms, error));
	reply->timed = reply->segment_count > 0 || reply->pile.word_count > 0;
	if (!reply->timed)
		return read_text(reply, json_string_value(text), piece_ms, error);
	if (reply->segment_count == 0 || reply->pile.word_count == 0)
		return TS_OK;
	for (size_t i = 0; i < reply->segment_count; i++)
		if (reply->segments[i].word_count)
			return TS_OK; // each segment has its own
	return assign_words(reply, &reply->pile, error);
}

enum ts_err ts_openai_parse(const char *body, size_t length, int64_t piece_ms, struct ts_openai_reply *out,
                            struct ts_error *error)
{
	TS_AUTOJSON json_t *json = NULL;
	TS_AUTOREPLY struct ts_openai_reply reply;
	struct ts_error why = {0};

	ts_openai_reply_init(&reply);
	enum ts_err err = ts_json_parse(body, length, &json, &why);
	if (err == TS_ERR_INVALID)
		return fail_answer(error, why.message);
	if (err != TS_OK) {
		if (error)
			*error = why;
		return err;
	}
	if (!json_is_object(json))
		return fail_answer(error, "not a JSON object");
	TS_TRY(read_reply(&reply, json, piece_ms, error));
	if (reply.segment_count)
		ts_segment_finish(&reply.pile);
	*out = reply;
	ts_openai_reply_init(&reply);
	return TS_OK;
}

// One line: control characters become spaces, a cut does not split a character.
static void put_line(const char *text, char *out, size_t size)
{
	size_t length = strlen(text);

	if (!ts_utf8_is_valid(text, length))
		length = 0;
	while (length > 0 && isspace((unsigned char)*text)) {
		text++;
		length--;
	}
	if (length > size - 1)
		length = ts_utf8_cut(text, length, size - 1);
	for (size_t i = 0; i < length; i++)
		out[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? ' ' : text[i];
	while (length > 0 && out[length - 1] == ' ')
		length--;
	out[length] = '\0';
}

static const char *string_in(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

void ts_openai_error_text(const char *body, char *out, size_t size)
{
	TS_AUTOJSON json_t *json = NULL;
	const char *text = "";

	if (ts_json_parse(body, strlen(body), &json, NULL) != TS_OK) {
		put_line(body, out, size < 200 ? size : 200);
		return;
	}
	const json_t *inner = json_object_get(json, "error");
	if (json_is_object(inner))
		text = string_in(inner, "message");
	else if (json_is_string(inner))
		text = json_string_value(inner);
	else if (json_is_string(json_object_get(json, "detail")))
		text = string_in(json, "detail");
	else
		text = string_in(json, "message");
	put_line(*text ? text : body, out, size);
}

void ts_openai_error_code(const char *body, char *out, size_t size)
{
	TS_AUTOJSON json_t *json = NULL;

	out[0] = '\0';
	if (ts_json_parse(body, strlen(body), &json, NULL) != TS_OK)
		return;
	const json_t *inner = json_object_get(json, "error");
	const char *code = string_in(inner, "code");
	put_line(*code ? code : string_in(inner, "type"), out, size);
}
