// Windows over a stream: voice activity spans in, windows out. Positions are samples from the stream's beginning.
#include "asr/windows.h"

#include "base/mem.h"
#include "media/vad.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define RATE 16                         // samples in a millisecond
#define BLOCK ((size_t)100 * RATE)      // pulled at once
#define LOOKBACK ((int64_t)1000 * RATE) // the detector may put a beginning of speech that far back

struct ts_windows {
	const struct ts_asr_request *request;
	struct ts_asr_output *output; // NULL: none
	struct ts_vad *vad;           // NULL: everything is speech
	int64_t max, search, join;

	float *samples; // [length], of the stream from `base` on
	size_t length, capacity;
	int64_t base;
	int64_t emitted; // nothing before it goes out again
	bool ended;
	bool rest_taken; // without detection: the stream's end became a span

	struct ts_vad_span span; // the window that is being put together
	bool has_span;
	struct ts_vad_span next; // finished speech after it
	bool has_next;
};

enum ts_err ts_windows_create(const struct ts_asr_request *request, const struct ts_windows_options *options,
                              struct ts_windows **out, struct ts_error *error)
{
	assert(options->max_ms >= 1000 && options->search_ms >= 0 && options->search_ms <= options->max_ms &&
	       options->join_ms >= 0);
	struct ts_windows *windows = ts_calloc(1, sizeof *windows);
	if (!windows)
		return ts_fail_nomem(error);
	windows->request = request;
	windows->output = options->output;
	windows->max = (int64_t)options->max_ms * RATE;
	windows->search = options->search_ms ? (int64_t)options->search_ms * RATE : windows->max / 2;
	windows->join = (int64_t)options->join_ms * RATE;
	if (options->vad) {
		enum ts_err err = ts_vad_create(&(struct ts_vad_options){0}, &windows->vad, error);
		if (err != TS_OK) {
			ts_free(windows);
			return err;
		}
	}
	*out = windows;
	return TS_OK;
}

void ts_windows_destroy(struct ts_windows *windows)
{
	if (!windows)
		return;
	ts_vad_destroy(windows->vad);
	ts_free(windows->samples);
	ts_free(windows);
}

static int64_t position(const struct ts_windows *windows)
{
	return windows->base + (int64_t)windows->length;
}

int64_t ts_windows_position_ms(const struct ts_windows *windows)
{
	return position(windows) / RATE;
}

static int64_t max64(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

// Finished speech that has not gone out yet.
static bool take_span(struct ts_windows *windows, struct ts_vad_span *out)
{
	struct ts_vad_span span;

	if (!windows->vad) {
		if (!windows->ended || windows->rest_taken || windows->emitted >= position(windows))
			return false;
		windows->rest_taken = true;
		*out = (struct ts_vad_span){windows->emitted, position(windows)};
		return true;
	}
	while (ts_vad_next(windows->vad, &span)) {
		span.start = max64(span.start, max64(windows->emitted, windows->base));
		span.end = span.end < position(windows) ? span.end : position(windows);
		if (span.start < span.end) {
			*out = span;
			return true;
		}
	}
	return false;
}

// Speech that goes on at the end of what was pulled.
static bool open_speech(const struct ts_windows *windows, int64_t *out_start)
{
	int64_t start = 0;

	if (windows->ended)
		return false;
	if (windows->vad && !ts_vad_in_speech(windows->vad, &start))
		return false;
	*out_start = max64(start, max64(windows->emitted, windows->base));
	return true;
}

static void emit(struct ts_windows *windows, int64_t start, int64_t end, struct ts_window *out)
{
	assert(start >= windows->base && start < end && end <= position(windows));
	*out = (struct ts_window){windows->samples + (start - windows->base), (size_t)(end - start), start / RATE};
	windows->emitted = end;
}

// Emits the beginning of too long a stretch of speech, up to a quiet place. Returns where that ended.
static int64_t emit_cut(struct ts_windows *windows, int64_t start, struct ts_window *out)
{
	size_t from = (size_t)(windows->max - windows->search);
	size_t cut = ts_vad_quietest(windows->samples + (start - windows->base), (size_t)windows->max, from);

	if (cut == 0 || cut > (size_t)windows->max)
		cut = (size_t)windows->max;
	emit(windows, start, start + (int64_t)cut, out);
	return start + (int64_t)cut;
}

// Whether speech that is still to come may belong into the window that is being put together.
static bool may_grow(const struct ts_windows *windows)
{
	int64_t start;

	if (windows->ended || windows->has_next)
		return false;
	if (!open_speech(windows, &start))
		start = position(windows) - LOOKBACK;
	return start - windows->span.end <= windows->join && position(windows) - windows->span.start <= windows->max;
}

static bool emit_ready(struct ts_windows *windows, struct ts_window *out)
{
	int64_t start;

	for (;;) {
		if (!windows->has_span)
			windows->has_span = take_span(windows, &windows->span);
		if (windows->has_span && !windows->has_next)
			windows->has_next = take_span(windows, &windows->next);
		if (!windows->has_next || windows->next.start - windows->span.end > windows->join ||
		    windows->next.end - windows->span.start > windows->max)
			break;
		windows->span.end = windows->next.end;
		windows->has_next = false;
	}
	if (windows->has_span) {
		if (windows->span.end - windows->span.start > windows->max) {
			windows->span.start = emit_cut(windows, windows->span.start, out);
			return true;
		}
		if (may_grow(windows))
			return false;
		emit(windows, windows->span.start, windows->span.end, out);
		windows->span = windows->next;
		windows->has_span = windows->has_next;
		windows->has_next = false;
		return true;
	}
	if (open_speech(windows, &start) && position(windows) - start > windows->max) {
		emit_cut(windows, start, out);
		return true;
	}
	return false;
}

// The first sample that may still go out.
static int64_t needed_from(const struct ts_windows *windows)
{
	int64_t start;

	if (windows->has_span)
		return windows->span.start;
	if (open_speech(windows, &start))
		return start;
	return max64(windows->emitted, position(windows) - LOOKBACK);
}

static enum ts_err make_room(struct ts_windows *windows, struct ts_error *error)
{
	int64_t keep = max64(needed_from(windows), windows->base);
	size_t drop = (size_t)(keep - windows->base);

	// Moving the rest for each block would cost more than the memory it saves.
	if (drop > 0 && (drop >= windows->capacity / 2 || windows->length + BLOCK > windows->capacity)) {
		windows->length -= drop;
		windows->base = keep;
		memmove(windows->samples, windows->samples + drop, windows->length * sizeof *windows->samples);
	}
	if (windows->length + BLOCK <= windows->capacity)
		return TS_OK;
	size_t capacity = windows->capacity + windows->capacity / 2 + BLOCK;
	float *samples = ts_realloc(windows->samples, capacity, sizeof *samples);
	if (!samples)
		return ts_fail_nomem(error);
	windows->samples = samples;
	windows->capacity = capacity;
	return TS_OK;
}

// Decoders of damaged files put out anything.
static void make_sane(float *samples, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!isfinite(samples[i]))
			samples[i] = 0.0F;
		else if (samples[i] > 1.0F)
			samples[i] = 1.0F;
		else if (samples[i] < -1.0F)
			samples[i] = -1.0F;
	}
}

static enum ts_err pull(struct ts_windows *windows, struct ts_error *error)
{
	const struct ts_pcm_source *source = &windows->request->source;
	size_t count = 0;

	if (ts_asr_aborted(windows->request))
		return ts_asr_fail_aborted(error);
	TS_TRY(make_room(windows, error));
	float *at = windows->samples + windows->length;
	// Whole blocks, so that the windows do not depend on how the source hands its samples out.
	while (count < BLOCK && !windows->ended) {
		size_t got = 0;
		TS_TRY(source->read(source->ctx, at + count, BLOCK - count, &got, error));
		assert(got <= BLOCK - count);
		windows->ended = got == 0;
		count += got;
	}
	make_sane(at, count);
	windows->length += count;
	if (!windows->vad)
		return TS_OK;
	TS_TRY(ts_vad_feed(windows->vad, at, count, error));
	return windows->ended ? ts_vad_flush(windows->vad, error) : TS_OK;
}

enum ts_err ts_windows_next(struct ts_windows *windows, struct ts_window *out, bool *out_more, struct ts_error *error)
{
	for (;;) {
		if (emit_ready(windows, out)) {
			*out_more = true;
			return TS_OK;
		}
		if (windows->output)
			ts_asr_output_progress(windows->output, needed_from(windows) / RATE);
		if (windows->ended)
			break;
		TS_TRY(pull(windows, error));
	}
	*out_more = false;
	return TS_OK;
}
