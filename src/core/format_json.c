// json: {text, language, duration, segments: [{id, start, end, text}]}; times are seconds with three decimals,
// language is null when unknown.
// verbose_json: OpenAI's shape of a verbose transcription, plus `receipt`. Its clients are typed, so what OpenAI
// always sends as a number or string is one here too: a measure that the engine does not have is 0.0 and named in
// the segment's `not_measured`; an unknown language is "und". Fields that are ours may be null.
#include "core/format_writers.h"
#include "core/json.h"

#include "base/mem.h"

#include <math.h>
#include <string.h>

// Six decimals are more than any measure means.
static json_t *measure(float value)
{
	return isfinite(value) ? ts_json_number(round((double)value * 1e6) / 1e6) : json_null();
}

static json_t *seconds(int64_t ms)
{
	return json_real((double)ms / 1000);
}

static enum ts_err put_text_or_empty(json_t *object, const char *key, const char *text, struct ts_error *error)
{
	return ts_json_put(object, key, ts_json_text(text ? text : ""), error);
}

static enum ts_err put_times(json_t *object, int64_t start_ms, int64_t end_ms, struct ts_error *error)
{
	TS_TRY(ts_json_put(object, "start", seconds(start_ms), error));
	return ts_json_put(object, "end", seconds(end_ms), error);
}

static enum ts_err put_words(const struct ts_segment *segment, json_t *array, struct ts_error *error)
{
	for (size_t i = 0; i < segment->word_count; i++) {
		const struct ts_word *word = &segment->words[i];
		json_t *object = json_object();
		TS_TRY(ts_json_push(array, object, error));
		TS_TRY(put_text_or_empty(object, "word", word->text, error));
		TS_TRY(put_times(object, word->start_ms, word->end_ms, error));
		TS_TRY(ts_json_put(object, "probability", measure(word->probability), error));
	}
	return TS_OK;
}

static enum ts_err put_measure(json_t *object, const char *key, float value, json_t *missing, struct ts_error *error)
{
	if (isfinite(value))
		return ts_json_put(object, key, measure(value), error);
	TS_TRY(ts_json_push(missing, ts_json_text(key), error));
	return ts_json_put(object, key, json_real(0.0), error);
}

static enum ts_err put_verbose_segment(const struct ts_segment *segment, json_t *object, struct ts_error *error)
{
	TS_AUTOJSON json_t *missing = json_array();

	if (!missing)
		return ts_fail_nomem(error);
	TS_TRY(ts_json_put(object, "tokens", json_array(), error));
	TS_TRY(put_measure(object, "temperature", segment->temperature, missing, error));
	TS_TRY(put_measure(object, "avg_logprob", segment->avg_logprob, missing, error));
	TS_TRY(put_measure(object, "compression_ratio", segment->compression_ratio, missing, error));
	TS_TRY(put_measure(object, "no_speech_prob", segment->no_speech_prob, missing, error));
	if (json_array_size(missing))
		TS_TRY(ts_json_put(object, "not_measured", json_incref(missing), error));
	if (segment->flags) {
		json_t *repaired = json_array();
		TS_TRY(ts_json_put(object, "repaired", repaired, error));
		if (segment->flags & TS_SEGMENT_REPAIRED_LOOP)
			TS_TRY(ts_json_push(repaired, ts_json_text("loop"), error));
		if (segment->flags & TS_SEGMENT_REPAIRED_SILENCE)
			TS_TRY(ts_json_push(repaired, ts_json_text("silence"), error));
	}
	json_t *words = json_array();
	TS_TRY(ts_json_put(object, "words", words, error));
	return put_words(segment, words, error);
}

static enum ts_err put_segments(const struct ts_transcript *transcript, bool verbose, json_t *root,
                                struct ts_error *error)
{
	json_t *segments = json_array();

	TS_TRY(ts_json_put(root, "segments", segments, error));
	for (size_t i = 0; i < transcript->segment_count; i++) {
		const struct ts_segment *segment = &transcript->segments[i];
		json_t *object = json_object();
		TS_TRY(ts_json_push(segments, object, error));
		TS_TRY(ts_json_put(object, "id", json_integer((json_int_t)i), error));
		// Offset of the segment in frames of 10 ms, as Whisper counts.
		if (verbose)
			TS_TRY(ts_json_put(object, "seek", json_integer(segment->start_ms / 10), error));
		TS_TRY(put_times(object, segment->start_ms, segment->end_ms, error));
		TS_TRY(put_text_or_empty(object, "text", segment->text, error));
		if (verbose)
			TS_TRY(put_verbose_segment(segment, object, error));
	}
	return TS_OK;
}

// The parameters as an object; null when they are absent or no object (nothing of ours writes such).
static enum ts_err put_parameters(json_t *object, const char *text, struct ts_error *error)
{
	json_t *parameters = NULL;
	enum ts_err err = text ? ts_json_parse(text, strlen(text), &parameters, error) : TS_ERR_INVALID;

	if (err == TS_ERR_NOMEM)
		return err;
	if (err == TS_OK && json_is_object(parameters))
		return ts_json_put(object, "parameters", parameters, error);
	json_decref(parameters);
	return ts_json_put(object, "parameters", json_null(), error);
}

static enum ts_err put_receipt(const struct ts_receipt *receipt, json_t *root, struct ts_error *error)
{
	json_t *object = json_object();
	double audio = receipt->audio_seconds, spent = receipt->processing_seconds;

	TS_TRY(ts_json_put(root, "receipt", object, error));
	TS_TRY(ts_json_put(object, "engine", ts_json_text(receipt->engine), error));
	TS_TRY(ts_json_put(object, "engine_version", ts_json_text(receipt->engine_version), error));
	TS_TRY(ts_json_put(object, "model", ts_json_text(receipt->model), error));
	TS_TRY(ts_json_put(object, "model_digest", ts_json_text(receipt->model_digest), error));
	TS_TRY(ts_json_put(object, "compute_type", ts_json_text(receipt->compute_type), error));
	TS_TRY(put_parameters(object, receipt->parameters, error));
	TS_TRY(ts_json_put(object, "audio_seconds", ts_json_number(round(audio * 1000) / 1000), error));
	TS_TRY(ts_json_put(object, "processing_seconds", ts_json_number(round(spent * 1000) / 1000), error));
	double factor = audio > 0 ? round(spent / audio * 1e4) / 1e4 : (double)NAN;
	TS_TRY(ts_json_put(object, "real_time_factor", ts_json_number(factor), error));
	return ts_json_put(object, "attempts", json_integer(receipt->attempts), error);
}

static enum ts_err put_verbose_tail(const struct ts_transcript *transcript, json_t *root, struct ts_error *error)
{
	json_t *words = json_array();

	TS_TRY(ts_json_put(root, "words", words, error));
	for (size_t i = 0; i < transcript->segment_count; i++)
		TS_TRY(put_words(&transcript->segments[i], words, error));
	json_t *usage = json_object();
	TS_TRY(ts_json_put(root, "usage", usage, error));
	TS_TRY(ts_json_put(usage, "type", ts_json_text("duration"), error));
	TS_TRY(ts_json_put(usage, "seconds",
	                   json_integer((transcript->duration_ms / 1000) + (transcript->duration_ms % 1000 > 0)), error));
	return put_receipt(&transcript->receipt, root, error);
}

enum ts_err ts_format_write_json(const struct ts_transcript *transcript, bool verbose, struct ts_buf *buf,
                                 struct ts_error *error)
{
	TS_AUTOJSON json_t *root = json_object();
	TS_AUTOFREE char *text = NULL;

	if (!root)
		return ts_fail_nomem(error);
	TS_TRY(ts_transcript_text(transcript, &text, error));
	if (verbose)
		TS_TRY(ts_json_put(root, "task", ts_json_text("transcribe"), error));
	const char *language = transcript->language ? transcript->language : verbose ? "und" : NULL;
	TS_TRY(ts_json_put(root, "language", ts_json_text(language), error));
	TS_TRY(ts_json_put(root, "duration", seconds(transcript->duration_ms), error));
	TS_TRY(ts_json_put(root, "text", ts_json_text(text), error));
	TS_TRY(put_segments(transcript, verbose, root, error));
	if (verbose)
		TS_TRY(put_verbose_tail(transcript, root, error));
	TS_TRY(ts_json_write(root, buf, error));
	ts_buf_add_char(buf, '\n');
	return ts_buf_status(buf, error);
}
