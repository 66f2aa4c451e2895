// Segments and progress of one run. Segments are cut where a speaker pauses, so that subtitles made of them start and
// end with what is heard.
#include "asr/output.h"

#include "base/buf.h"
#include "base/mem.h"

#include <math.h>

#define PAUSE_MS 700         // a longer gap between words ends a segment
#define SEGMENT_MAX_MS 10000 // longer ones are cut at their longest pause
#define SEGMENT_TEXT_MAX ((size_t)1 << 20)

void ts_asr_output_init(struct ts_asr_output *output, const struct ts_asr_request *request,
                        struct ts_transcript *transcript)
{
	*output = (struct ts_asr_output){.request = request, .transcript = transcript, .progress_ms = -1};
}

void ts_asr_output_progress(struct ts_asr_output *output, int64_t audio_ms)
{
	const struct ts_asr_sink *sink = &output->request->sink;

	if (audio_ms <= output->progress_ms)
		return;
	output->progress_ms = audio_ms;
	if (sink->progress)
		sink->progress(sink->ctx, audio_ms, output->request->source.duration_ms);
}

enum ts_err ts_asr_output_segment(struct ts_asr_output *output, struct ts_segment *segment, struct ts_error *error)
{
	const struct ts_asr_sink *sink = &output->request->sink;

	if (!output->request->word_times) {
		for (size_t i = 0; i < segment->word_count; i++)
			ts_free(segment->words[i].text);
		segment->word_count = 0;
	}
	if (sink->segment)
		TS_TRY(sink->segment(sink->ctx, output->transcript->segment_count, segment, error));
	return ts_transcript_add(output->transcript, segment, error);
}

// One segment of words [first, last).
static enum ts_err put_range(struct ts_asr_output *output, const struct ts_segment *pile, size_t first, size_t last,
                             struct ts_error *error)
{
	TS_AUTOSEGMENT struct ts_segment segment;
	TS_AUTOBUF struct ts_buf text;
	double log_sum = 0;

	ts_segment_init(&segment);
	ts_buf_init(&text, SEGMENT_TEXT_MAX);
	for (size_t i = first; i < last; i++) {
		const struct ts_word *word = &pile->words[i];
		if (i > first)
			ts_buf_add_char(&text, ' ');
		ts_buf_add_str(&text, word->text);
		// NAN, "the engine does not say", stays NAN.
		log_sum += log(word->probability < 1e-10F ? 1e-10 : (double)word->probability);
		TS_TRY(ts_segment_add_word(&segment, word->text, word->start_ms, word->end_ms, word->probability, error));
	}
	TS_TRY(ts_buf_take(&text, &segment.text, error));
	segment.start_ms = pile->words[first].start_ms;
	segment.end_ms = pile->words[last - 1].end_ms;
	segment.avg_logprob = (float)(log_sum / (double)(last - first));
	return ts_asr_output_segment(output, &segment, error);
}

static int64_t gap_before(const struct ts_segment *pile, size_t i)
{
	return pile->words[i].start_ms - pile->words[i - 1].end_ms;
}

// Index of the first word after the place to cut [first, last): the longest pause, between equals the one nearest to
// the middle; the first and the last second are left whole.
static size_t cut_of(const struct ts_segment *pile, size_t first, size_t last)
{
	int64_t start = pile->words[first].start_ms, end = pile->words[last - 1].end_ms;
	size_t best = first + (last - first) / 2;
	int64_t best_gap = -1, best_off = 0;

	for (size_t i = first + 1; i < last; i++) {
		int64_t at = pile->words[i].start_ms;
		int64_t off = at * 2 - start - end;
		off = off < 0 ? -off : off;
		if (at - start < 1000 || end - at < 1000)
			continue;
		int64_t gap = gap_before(pile, i);
		if (gap > best_gap || (gap == best_gap && off < best_off)) {
			best = i;
			best_gap = gap;
			best_off = off;
		}
	}
	return best;
}

// Halves until short enough; the depth is bounded by the number of words.
static enum ts_err put_split(struct ts_asr_output *output, const struct ts_segment *pile, size_t first, size_t last,
                             struct ts_error *error)
{
	while (last - first > 1 && pile->words[last - 1].end_ms - pile->words[first].start_ms > SEGMENT_MAX_MS) {
		size_t cut = cut_of(pile, first, last);
		TS_TRY(put_split(output, pile, first, cut, error));
		first = cut;
	}
	return put_range(output, pile, first, last, error);
}

enum ts_err ts_asr_output_words(struct ts_asr_output *output, const struct ts_segment *pile, struct ts_error *error)
{
	size_t first = 0;

	for (size_t i = 1; i <= pile->word_count; i++) {
		if (i < pile->word_count && gap_before(pile, i) <= PAUSE_MS)
			continue;
		TS_TRY(put_split(output, pile, first, i, error));
		first = i;
	}
	return TS_OK;
}

bool ts_asr_aborted(const struct ts_asr_request *request)
{
	return request->abort && atomic_load_explicit(request->abort, memory_order_relaxed);
}

enum ts_err ts_asr_fail_aborted(struct ts_error *error)
{
	return ts_fail(error, TS_ERR_ABORTED, "recognition was aborted");
}
