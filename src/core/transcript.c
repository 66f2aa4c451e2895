// The life of transcripts and segments: growing, moving, joining of their text.
#include "core/transcript.h"

#include "base/buf.h"
#include "base/mem.h"

#include <math.h>
#include <string.h>

// Makes room for one more element; the array grows by half, so that a long transcript does not double its peak.
static bool grow(void **array, size_t count, size_t *capacity, size_t size)
{
	if (count < *capacity)
		return true;
	size_t wanted = *capacity < 8 ? 8 : *capacity + *capacity / 2;
	void *larger = ts_realloc(*array, wanted, size);
	if (!larger)
		return false;
	*array = larger;
	*capacity = wanted;
	return true;
}

void ts_segment_init(struct ts_segment *segment)
{
	*segment =
	    (struct ts_segment){.avg_logprob = NAN, .compression_ratio = NAN, .no_speech_prob = NAN, .temperature = NAN};
}

void ts_segment_finish(struct ts_segment *segment)
{
	if (!segment)
		return;
	ts_free(segment->text);
	for (size_t i = 0; i < segment->word_count; i++)
		ts_free(segment->words[i].text);
	ts_free(segment->words);
	ts_segment_init(segment);
}

enum ts_err ts_segment_add_word(struct ts_segment *segment, const char *text, int64_t start_ms, int64_t end_ms,
                                float probability, struct ts_error *error)
{
	void *words = segment->words;

	if (segment->word_count >= TS_SEGMENT_WORDS_MAX)
		return ts_fail(error, TS_ERR_LIMIT, "a segment has more than %d words", TS_SEGMENT_WORDS_MAX);
	if (!grow(&words, segment->word_count, &segment->word_capacity, sizeof *segment->words))
		return ts_fail_nomem(error);
	segment->words = words;
	char *copy = ts_strdup(text);
	if (!copy)
		return ts_fail_nomem(error);
	segment->words[segment->word_count++] = (struct ts_word){copy, start_ms, end_ms, probability};
	return TS_OK;
}

void ts_transcript_init(struct ts_transcript *transcript)
{
	*transcript = (struct ts_transcript){0};
}

void ts_transcript_finish(struct ts_transcript *transcript)
{
	if (!transcript)
		return;
	for (size_t i = 0; i < transcript->segment_count; i++)
		ts_segment_finish(&transcript->segments[i]);
	ts_free(transcript->segments);
	ts_free(transcript->language);
	ts_free(transcript->receipt.engine);
	ts_free(transcript->receipt.engine_version);
	ts_free(transcript->receipt.model);
	ts_free(transcript->receipt.model_digest);
	ts_free(transcript->receipt.compute_type);
	ts_free(transcript->receipt.parameters);
	ts_transcript_init(transcript);
}

enum ts_err ts_transcript_add(struct ts_transcript *transcript, struct ts_segment *segment, struct ts_error *error)
{
	void *segments = transcript->segments;

	if (transcript->segment_count >= TS_TRANSCRIPT_SEGMENTS_MAX)
		return ts_fail(error, TS_ERR_LIMIT, "a transcript has more than %d segments", TS_TRANSCRIPT_SEGMENTS_MAX);
	if (!grow(&segments, transcript->segment_count, &transcript->segment_capacity, sizeof *segment))
		return ts_fail_nomem(error);
	transcript->segments = segments;
	transcript->segments[transcript->segment_count++] = *segment;
	ts_segment_init(segment);
	return TS_OK;
}

enum ts_err ts_transcript_text(const struct ts_transcript *transcript, char **out_text, struct ts_error *error)
{
	TS_AUTOBUF struct ts_buf buf;

	ts_buf_init(&buf, (size_t)1 << 30);
	for (size_t i = 0; i < transcript->segment_count; i++) {
		const char *text = transcript->segments[i].text;
		if (!text || !*text)
			continue;
		if (buf.length)
			ts_buf_add_char(&buf, ' ');
		ts_buf_add_str(&buf, text);
	}
	return ts_buf_take(&buf, out_text, error);
}

size_t ts_transcript_word_count(const struct ts_transcript *transcript)
{
	size_t count = 0;

	for (size_t i = 0; i < transcript->segment_count; i++)
		count += transcript->segments[i].word_count;
	return count;
}
