// Transcripts for tests: a small known one, a comparison, and a seeded generator that likes the edges.
#ifndef TS_TESTS_TRANSCRIPTS_H
#define TS_TESTS_TRANSCRIPTS_H

#include "base/mem.h"
#include "base/rng.h"
#include "core/transcript.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

static inline bool ts_same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

// Bit for bit, except that any NAN equals any other.
static inline bool ts_same_float(float a, float b)
{
	return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0;
}

static inline bool ts_same_double(double a, double b)
{
	return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0;
}

static inline bool ts_same_segment(const struct ts_segment *a, const struct ts_segment *b)
{
	if (!ts_same_text(a->text, b->text) || a->start_ms != b->start_ms || a->end_ms != b->end_ms ||
	    a->word_count != b->word_count || a->flags != b->flags || !ts_same_float(a->avg_logprob, b->avg_logprob) ||
	    !ts_same_float(a->compression_ratio, b->compression_ratio) ||
	    !ts_same_float(a->no_speech_prob, b->no_speech_prob) || !ts_same_float(a->temperature, b->temperature))
		return false;
	for (size_t i = 0; i < a->word_count; i++) {
		const struct ts_word *x = &a->words[i], *y = &b->words[i];
		if (!ts_same_text(x->text, y->text) || x->start_ms != y->start_ms || x->end_ms != y->end_ms ||
		    !ts_same_float(x->probability, y->probability))
			return false;
	}
	return true;
}

static inline bool ts_same_transcript(const struct ts_transcript *a, const struct ts_transcript *b)
{
	const struct ts_receipt *r = &a->receipt, *s = &b->receipt;

	if (!ts_same_text(a->language, b->language) || a->duration_ms != b->duration_ms ||
	    a->segment_count != b->segment_count || !ts_same_text(r->engine, s->engine) ||
	    !ts_same_text(r->engine_version, s->engine_version) || !ts_same_text(r->model, s->model) ||
	    !ts_same_text(r->model_digest, s->model_digest) || !ts_same_text(r->compute_type, s->compute_type) ||
	    !ts_same_text(r->parameters, s->parameters) || !ts_same_double(r->audio_seconds, s->audio_seconds) ||
	    !ts_same_double(r->processing_seconds, s->processing_seconds) || r->attempts != s->attempts)
		return false;
	for (size_t i = 0; i < a->segment_count; i++)
		if (!ts_same_segment(&a->segments[i], &b->segments[i]))
			return false;
	return true;
}

// Adds a segment with this text and times, split into words of equal length. Measures are set.
static inline enum ts_err ts_add_plain_segment(struct ts_transcript *transcript, const char *text, int64_t start_ms,
                                               int64_t end_ms, struct ts_error *error)
{
	TS_AUTOSEGMENT struct ts_segment segment;
	char word[256];
	size_t count = 1, i = 0;

	ts_segment_init(&segment);
	segment.text = ts_strdup(text);
	if (!segment.text)
		return ts_fail_nomem(error);
	segment.start_ms = start_ms;
	segment.end_ms = end_ms;
	segment.avg_logprob = -0.25f;
	segment.no_speech_prob = 0.01f;
	segment.temperature = 0;
	for (const char *c = text; *c; c++)
		count += *c == ' ';
	int64_t step = (end_ms - start_ms) / (int64_t)count;
	for (const char *at = text; *at; i++) {
		size_t length = strcspn(at, " ");
		size_t kept = length < sizeof word - 1 ? length : sizeof word - 1;
		memcpy(word, at, kept);
		word[kept] = '\0';
		TS_TRY(ts_segment_add_word(&segment, word, start_ms + (int64_t)i * step, start_ms + (int64_t)(i + 1) * step,
		                           0.9f, error));
		at += length + (at[length] == ' ');
	}
	return ts_transcript_add(transcript, &segment, error);
}

// Two segments, English, of a known engine.
static inline enum ts_err ts_fill_small_transcript(struct ts_transcript *transcript, struct ts_error *error)
{
	transcript->duration_ms = 5250;
	transcript->receipt.audio_seconds = 5.25;
	transcript->receipt.processing_seconds = 1.3125;
	transcript->receipt.attempts = 1;
	if (!ts_str_set(&transcript->language, "en") || !ts_str_set(&transcript->receipt.engine, "pocketsphinx") ||
	    !ts_str_set(&transcript->receipt.model, "en-us") ||
	    !ts_str_set(&transcript->receipt.parameters, "{\"beam\":1e-48,\"vad\":true}"))
		return ts_fail_nomem(error);
	TS_TRY(ts_add_plain_segment(transcript, "hello world", 0, 1500, error));
	return ts_add_plain_segment(transcript, "salt & <pepper> --> now", 1500, 5250, error);
}

// A text of up to `most` pieces; empty, blank, hostile or plain.
static inline char *ts_random_text(struct ts_rng *rng, size_t most)
{
	static const char *const pieces[] = {"a",
	                                     "hello",
	                                     " ",
	                                     "  ",
	                                     "\n",
	                                     "\n\n",
	                                     "\r\n",
	                                     "\t",
	                                     "-->",
	                                     "--",
	                                     ">",
	                                     "<i>",
	                                     "&amp;",
	                                     "&",
	                                     "\xc3\xa9",
	                                     "\xf0\x9f\x98\x80",
	                                     "\x01",
	                                     "\x7f",
	                                     "\xc2\x85",
	                                     "\xe2\x80\xa8",
	                                     "\xef\xbb\xbf",
	                                     "\xc2\xa0",
	                                     "\"",
	                                     "\\",
	                                     "1\n00:00:00,000 --> 00:00:01,000",
	                                     "WEBVTT",
	                                     "NOTE",
	                                     "{\\an8}",
	                                     "\xe3\x80\x80",
	                                     "12",
	                                     ","};
	size_t count = most ? ts_rng_u64(rng) % (most + 1) : 0;
	char text[64 * 40];
	size_t length = 0;

	for (size_t i = 0; i < count && i < 60; i++) {
		const char *piece = pieces[ts_rng_u64(rng) % (sizeof pieces / sizeof pieces[0])];
		memcpy(text + length, piece, strlen(piece));
		length += strlen(piece);
	}
	return ts_strndup(text, length);
}

static inline int64_t ts_random_ms(struct ts_rng *rng)
{
	switch (ts_rng_u64(rng) % 8) {
	case 0: return 0;
	case 1: return -(int64_t)(ts_rng_u64(rng) % 100000);
	case 2: return (int64_t)ts_rng_u64(rng);
	case 3: return (int64_t)(ts_rng_u64(rng) % 5);
	case 4: return INT64_MAX - (int64_t)(ts_rng_u64(rng) % 3);
	default: return (int64_t)(ts_rng_u64(rng) % 36000000);
	}
}

static inline float ts_random_measure(struct ts_rng *rng)
{
	uint32_t bits = (uint32_t)ts_rng_u64(rng);
	float value;

	if (ts_rng_u64(rng) % 4 == 0)
		return NAN;
	if (ts_rng_u64(rng) % 2)
		return (float)ts_rng_unit(rng);
	memcpy(&value, &bits, sizeof value); // any float there is
	return isfinite(value) ? value : NAN;
}

static inline char *ts_random_optional(struct ts_rng *rng)
{
	return ts_rng_u64(rng) % 3 ? ts_random_text(rng, 4) : NULL;
}

// A transcript as no engine would make it: disorder, odd texts, any float. False: memory is out.
static inline bool ts_fill_random_transcript(struct ts_rng *rng, size_t most_segments, struct ts_transcript *transcript)
{
	struct ts_receipt *receipt = &transcript->receipt;
	size_t segments = ts_rng_u64(rng) % (most_segments + 1);

	transcript->language = ts_random_optional(rng);
	transcript->duration_ms = ts_random_ms(rng);
	receipt->engine = ts_random_optional(rng);
	receipt->engine_version = ts_random_optional(rng);
	receipt->model = ts_random_optional(rng);
	receipt->model_digest = ts_random_optional(rng);
	receipt->compute_type = ts_random_optional(rng);
	receipt->parameters = ts_random_optional(rng);
	receipt->audio_seconds = ts_rng_unit(rng) * 1e5;
	receipt->processing_seconds = ts_rng_u64(rng) % 5 ? ts_rng_unit(rng) : 0;
	receipt->attempts = (int32_t)ts_rng_u64(rng);
	for (size_t i = 0; i < segments; i++) {
		TS_AUTOSEGMENT struct ts_segment segment;
		ts_segment_init(&segment);
		segment.text = ts_random_text(rng, 12);
		segment.start_ms = ts_random_ms(rng);
		segment.end_ms = ts_random_ms(rng);
		segment.avg_logprob = ts_random_measure(rng);
		segment.compression_ratio = ts_random_measure(rng);
		segment.no_speech_prob = ts_random_measure(rng);
		segment.temperature = ts_random_measure(rng);
		segment.flags = (unsigned)(ts_rng_u64(rng) % 4);
		for (size_t words = ts_rng_u64(rng) % 20; words > 0; words--) {
			TS_AUTOFREE char *word = ts_random_text(rng, 3);
			int64_t start = ts_random_ms(rng), end = ts_random_ms(rng);
			if (!word || ts_segment_add_word(&segment, word, start, end, ts_random_measure(rng), NULL) != TS_OK)
				return false;
		}
		if (!segment.text || ts_transcript_add(transcript, &segment, NULL) != TS_OK)
			return false;
	}
	return true;
}

#endif
