// The stored form of a transcript:
//   {"version":1, "language":..., "duration_ms":..., "receipt":{...}, "segments":[
//     {"text":..., "start_ms":..., "end_ms":..., "avg_logprob":..., "compression_ratio":..., "no_speech_prob":...,
//      "temperature":..., "flags":..., "words":[[text, start_ms, end_ms, probability], ...]}, ...]}
// Words are arrays because there are many of them. Reading is strict: every key, no other, of the right type.
#include "core/json.h"
#include "core/transcript.h"

#include "base/mem.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#define STORED_VERSION 1
#define STORED_CEILING ((size_t)1 << 30)
#define KNOWN_FLAGS (TS_SEGMENT_REPAIRED_LOOP | TS_SEGMENT_REPAIRED_SILENCE)

static enum ts_err word_to_json(const struct ts_word *word, json_t *array, struct ts_error *error)
{
	json_t *tuple = json_array();

	TS_TRY(ts_json_push(array, tuple, error));
	TS_TRY(ts_json_push(tuple, ts_json_text(word->text ? word->text : ""), error));
	TS_TRY(ts_json_push(tuple, json_integer(word->start_ms), error));
	TS_TRY(ts_json_push(tuple, json_integer(word->end_ms), error));
	return ts_json_push(tuple, ts_json_float(word->probability), error);
}

static enum ts_err segment_to_json(const struct ts_segment *segment, json_t *array, struct ts_error *error)
{
	json_t *object = json_object();

	TS_TRY(ts_json_push(array, object, error));
	TS_TRY(ts_json_put(object, "text", ts_json_text(segment->text ? segment->text : ""), error));
	TS_TRY(ts_json_put(object, "start_ms", json_integer(segment->start_ms), error));
	TS_TRY(ts_json_put(object, "end_ms", json_integer(segment->end_ms), error));
	TS_TRY(ts_json_put(object, "avg_logprob", ts_json_float(segment->avg_logprob), error));
	TS_TRY(ts_json_put(object, "compression_ratio", ts_json_float(segment->compression_ratio), error));
	TS_TRY(ts_json_put(object, "no_speech_prob", ts_json_float(segment->no_speech_prob), error));
	TS_TRY(ts_json_put(object, "temperature", ts_json_float(segment->temperature), error));
	TS_TRY(ts_json_put(object, "flags", json_integer((json_int_t)(segment->flags & KNOWN_FLAGS)), error));
	json_t *words = json_array();
	TS_TRY(ts_json_put(object, "words", words, error));
	for (size_t i = 0; i < segment->word_count; i++)
		TS_TRY(word_to_json(&segment->words[i], words, error));
	return TS_OK;
}

static enum ts_err receipt_to_json(const struct ts_receipt *receipt, json_t *object, struct ts_error *error)
{
	TS_TRY(ts_json_put(object, "engine", ts_json_text(receipt->engine), error));
	TS_TRY(ts_json_put(object, "engine_version", ts_json_text(receipt->engine_version), error));
	TS_TRY(ts_json_put(object, "model", ts_json_text(receipt->model), error));
	TS_TRY(ts_json_put(object, "model_digest", ts_json_text(receipt->model_digest), error));
	TS_TRY(ts_json_put(object, "compute_type", ts_json_text(receipt->compute_type), error));
	TS_TRY(ts_json_put(object, "parameters", ts_json_text(receipt->parameters), error));
	TS_TRY(ts_json_put(object, "audio_seconds", ts_json_number(receipt->audio_seconds), error));
	TS_TRY(ts_json_put(object, "processing_seconds", ts_json_number(receipt->processing_seconds), error));
	return ts_json_put(object, "attempts", json_integer(receipt->attempts), error);
}

enum ts_err ts_transcript_to_json(const struct ts_transcript *transcript, char **out_json, struct ts_error *error)
{
	TS_AUTOBUF struct ts_buf buf;
	TS_AUTOJSON json_t *root = json_object();

	ts_buf_init(&buf, STORED_CEILING);
	if (!root)
		return ts_fail_nomem(error);
	TS_TRY(ts_json_put(root, "version", json_integer(STORED_VERSION), error));
	TS_TRY(ts_json_put(root, "language", ts_json_text(transcript->language), error));
	TS_TRY(ts_json_put(root, "duration_ms", json_integer(transcript->duration_ms), error));
	json_t *receipt = json_object();
	TS_TRY(ts_json_put(root, "receipt", receipt, error));
	TS_TRY(receipt_to_json(&transcript->receipt, receipt, error));
	json_t *segments = json_array();
	TS_TRY(ts_json_put(root, "segments", segments, error));
	for (size_t i = 0; i < transcript->segment_count; i++)
		TS_TRY(segment_to_json(&transcript->segments[i], segments, error));
	TS_TRY(ts_json_write(root, &buf, error));
	return ts_buf_take(&buf, out_json, error);
}

static enum ts_err bad(struct ts_error *error, const char *key, const char *wanted)
{
	return ts_fail(error, TS_ERR_INVALID, "stored transcript: %s must be %s", key, wanted);
}

static enum ts_err check_size(const json_t *object, const char *what, size_t keys, struct ts_error *error)
{
	if (!json_is_object(object))
		return bad(error, what, "an object");
	// Each key is read below and must be there, so a matching count means that there is no other.
	if (json_object_size(object) != keys)
		return ts_fail(error, TS_ERR_INVALID, "stored transcript: %s must have exactly %zu keys", what, keys);
	return TS_OK;
}

static enum ts_err read_integer(const json_t *value, const char *key, int64_t *out, struct ts_error *error)
{
	if (!json_is_integer(value))
		return bad(error, key, "a whole number");
	*out = json_integer_value(value);
	return TS_OK;
}

static enum ts_err read_double(const json_t *value, const char *key, double *out, struct ts_error *error)
{
	if (json_is_null(value))
		*out = (double)NAN;
	else if (json_is_number(value))
		*out = json_number_value(value);
	else
		return bad(error, key, "a number or null");
	return TS_OK;
}

static enum ts_err read_float(const json_t *value, const char *key, float *out, struct ts_error *error)
{
	double wide;

	TS_TRY(read_double(value, key, &wide, error));
	if (wide > (double)FLT_MAX || wide < -(double)FLT_MAX)
		return bad(error, key, "a number in the range of a float");
	*out = (float)wide;
	return TS_OK;
}

// `required`: JSON null is refused; otherwise it gives NULL.
static enum ts_err read_text(const json_t *value, const char *key, bool required, char **out, struct ts_error *error)
{
	if (!required && json_is_null(value))
		return TS_OK;
	if (!json_is_string(value))
		return bad(error, key, required ? "a string" : "a string or null");
	*out = ts_strndup(json_string_value(value), json_string_length(value));
	return *out ? TS_OK : ts_fail_nomem(error);
}

static enum ts_err read_word(const json_t *tuple, struct ts_segment *segment, struct ts_error *error)
{
	int64_t start, end;
	float probability;

	if (!json_is_array(tuple) || json_array_size(tuple) != 4 || !json_is_string(json_array_get(tuple, 0)))
		return bad(error, "words", "arrays of text, start, end and probability");
	TS_TRY(read_integer(json_array_get(tuple, 1), "words[].start", &start, error));
	TS_TRY(read_integer(json_array_get(tuple, 2), "words[].end", &end, error));
	TS_TRY(read_float(json_array_get(tuple, 3), "words[].probability", &probability, error));
	return ts_segment_add_word(segment, json_string_value(json_array_get(tuple, 0)), start, end, probability, error);
}

static enum ts_err read_segment(const json_t *object, struct ts_transcript *transcript, struct ts_error *error)
{
	TS_AUTOSEGMENT struct ts_segment segment;
	int64_t flags;

	ts_segment_init(&segment);
	TS_TRY(check_size(object, "a segment", 9, error));
	TS_TRY(read_text(json_object_get(object, "text"), "text", true, &segment.text, error));
	TS_TRY(read_integer(json_object_get(object, "start_ms"), "start_ms", &segment.start_ms, error));
	TS_TRY(read_integer(json_object_get(object, "end_ms"), "end_ms", &segment.end_ms, error));
	TS_TRY(read_float(json_object_get(object, "avg_logprob"), "avg_logprob", &segment.avg_logprob, error));
	TS_TRY(read_float(json_object_get(object, "compression_ratio"), "compression_ratio", &segment.compression_ratio,
	                  error));
	TS_TRY(read_float(json_object_get(object, "no_speech_prob"), "no_speech_prob", &segment.no_speech_prob, error));
	TS_TRY(read_float(json_object_get(object, "temperature"), "temperature", &segment.temperature, error));
	TS_TRY(read_integer(json_object_get(object, "flags"), "flags", &flags, error));
	if (flags < 0 || (flags & ~(int64_t)KNOWN_FLAGS))
		return bad(error, "flags", "a set of known flags");
	segment.flags = (unsigned)flags;
	const json_t *words = json_object_get(object, "words");
	if (!json_is_array(words))
		return bad(error, "words", "an array");
	for (size_t i = 0; i < json_array_size(words); i++)
		TS_TRY(read_word(json_array_get(words, i), &segment, error));
	return ts_transcript_add(transcript, &segment, error);
}

static enum ts_err read_receipt(const json_t *object, struct ts_receipt *receipt, struct ts_error *error)
{
	int64_t attempts;

	TS_TRY(check_size(object, "receipt", 9, error));
	TS_TRY(read_text(json_object_get(object, "engine"), "engine", false, &receipt->engine, error));
	TS_TRY(
	    read_text(json_object_get(object, "engine_version"), "engine_version", false, &receipt->engine_version, error));
	TS_TRY(read_text(json_object_get(object, "model"), "model", false, &receipt->model, error));
	TS_TRY(read_text(json_object_get(object, "model_digest"), "model_digest", false, &receipt->model_digest, error));
	TS_TRY(read_text(json_object_get(object, "compute_type"), "compute_type", false, &receipt->compute_type, error));
	TS_TRY(read_text(json_object_get(object, "parameters"), "parameters", false, &receipt->parameters, error));
	TS_TRY(read_double(json_object_get(object, "audio_seconds"), "audio_seconds", &receipt->audio_seconds, error));
	TS_TRY(read_double(json_object_get(object, "processing_seconds"), "processing_seconds",
	                   &receipt->processing_seconds, error));
	TS_TRY(read_integer(json_object_get(object, "attempts"), "attempts", &attempts, error));
	if (attempts < INT32_MIN || attempts > INT32_MAX)
		return bad(error, "attempts", "a 32-bit number");
	receipt->attempts = (int32_t)attempts;
	return TS_OK;
}

static enum ts_err read_transcript(const json_t *root, struct ts_transcript *transcript, struct ts_error *error)
{
	int64_t version;

	TS_TRY(check_size(root, "the whole", 5, error));
	TS_TRY(read_integer(json_object_get(root, "version"), "version", &version, error));
	if (version != STORED_VERSION)
		return bad(error, "version", "1");
	TS_TRY(read_text(json_object_get(root, "language"), "language", false, &transcript->language, error));
	TS_TRY(read_integer(json_object_get(root, "duration_ms"), "duration_ms", &transcript->duration_ms, error));
	TS_TRY(read_receipt(json_object_get(root, "receipt"), &transcript->receipt, error));
	const json_t *segments = json_object_get(root, "segments");
	if (!json_is_array(segments))
		return bad(error, "segments", "an array");
	for (size_t i = 0; i < json_array_size(segments); i++)
		TS_TRY(read_segment(json_array_get(segments, i), transcript, error));
	return TS_OK;
}

enum ts_err ts_transcript_from_json(const char *json, size_t length, struct ts_transcript *out, struct ts_error *error)
{
	TS_AUTOJSON json_t *root = NULL;
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;

	ts_transcript_init(&transcript);
	TS_TRY(ts_json_parse(json, length, &root, error));
	TS_TRY(read_transcript(root, &transcript, error));
	ts_transcript_finish(out);
	*out = transcript;
	ts_transcript_init(&transcript);
	return TS_OK;
}
