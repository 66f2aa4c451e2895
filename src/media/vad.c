// Voice activity detection by energy over a tracked noise floor, with zero crossings to keep unvoiced consonants.
// Works on frames of 10 ms with a state that does not depend on how the samples were handed in.
// The floor is taken from energy smoothed over 80 ms. It falls at once, and rises when a second of sound is steady (hum,
// fan, tone) or to the minimum of three seconds (minimum statistics: speech always pauses that often, if only between
// syllables). Digital silence is no noise and tells nothing about it.
#include "media/vad.h"

#include "base/mem.h"
#include "media/media.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define FRAME 160 // 10 ms
#define FRAME_MS 10
#define BLOCK_FRAMES 100 // 1 s
#define BLOCKS 3
#define FLOOR_SMOOTH 8    // frames
#define DECISION_SMOOTH 3 // frames
#define SILENCE_DB (-80.0)
#define FLOOR_MIN_DB (-70.0)
#define FLOOR_START_MAX_DB (-40.0) // a stream that starts with loud speech must not take it for noise
#define STEADY_DB 6.0              // a second within this range is not speech
#define UNVOICED_CROSSINGS (FRAME * 3 / 10)
#define CANDIDATE_GAP_FRAMES 10
#define SPANS_MAX (1 << 20)

struct ts_vad {
	double on_db, off_db, unvoiced_db; // over the floor
	int64_t min_speech;                // frames
	int64_t quiet;                     // frames
	int64_t pad;                       // samples
	// The frame being filled.
	float frame[FRAME];
	size_t filled;
	float last_in, last_once, last_twice; // of the high-pass filter
	// Mean squares of the last frames, of all and of those since digital silence.
	double recent[DECISION_SMOOTH];
	double sounding[FLOOR_SMOOTH];
	int64_t sounding_count;
	// Noise floor.
	bool started; // something was heard
	double floor_db;
	double block_min, block_max;
	double minima[BLOCKS];
	size_t minima_count;
	int block_frames;
	// Speech.
	int64_t frames; // whole ones seen
	bool active;    // a burst is open: it may become speech or is speech
	bool confirmed; // it is long enough to be speech
	int64_t first_active, last_active, active_frames;
	int64_t last_end; // of the last span, samples
	bool flushed;
	// Finished spans, taken from `head`.
	struct ts_vad_span *spans;
	size_t head, count, capacity;
};

static enum ts_err check_option(const char *name, double value, double max, struct ts_error *error)
{
	if (value >= 0 && value <= max)
		return TS_OK;
	return ts_fail_field(error, TS_ERR_INVALID, name, "must be between 0 and %g", max);
}

enum ts_err ts_vad_create(const struct ts_vad_options *options, struct ts_vad **out, struct ts_error *error)
{
	TS_TRY(check_option("threshold_db", options->threshold_db, 60, error));
	TS_TRY(check_option("min_speech_ms", options->min_speech_ms, 10000, error));
	TS_TRY(check_option("min_silence_ms", options->min_silence_ms, 60000, error));
	TS_TRY(check_option("pad_ms", options->pad_ms, 10000, error));
	struct ts_vad *vad = ts_calloc(1, sizeof *vad);
	if (!vad)
		return ts_fail_nomem(error);
	const double threshold = options->threshold_db > 0 ? options->threshold_db : 9;
	const int32_t speech_ms = options->min_speech_ms ? options->min_speech_ms : 100;
	const int32_t silence_ms = options->min_silence_ms ? options->min_silence_ms : 500;
	const int32_t pad_ms = options->pad_ms ? options->pad_ms : 200;
	vad->on_db = threshold;
	vad->off_db = threshold * 7 / 9;
	vad->unvoiced_db = threshold / 2;
	vad->min_speech = (speech_ms + FRAME_MS - 1) / FRAME_MS;
	// Speech ends no sooner than its padding does, so that a span never reaches past what was fed.
	vad->quiet = ((silence_ms > pad_ms ? silence_ms : pad_ms) + FRAME_MS - 1) / FRAME_MS;
	vad->floor_db = FLOOR_MIN_DB;
	vad->pad = (int64_t)pad_ms * (TS_MEDIA_SAMPLE_RATE / 1000);
	*out = vad;
	return TS_OK;
}

void ts_vad_destroy(struct ts_vad *vad)
{
	if (!vad)
		return;
	ts_free(vad->spans);
	ts_free(vad);
}

static double decibels(double mean_square)
{
	return 10 * log10(mean_square + 1e-10);
}

static void measure(struct ts_vad *vad, double *out_mean_square, int *out_crossings)
{
	double sum = 0;
	int crossings = 0;

	for (size_t i = 0; i < FRAME; i++) {
		// Twice a zero at 0 Hz and a pole at 150 Hz: below live mains hum and rumble, and little of speech.
		const float in = isfinite(vad->frame[i]) ? vad->frame[i] : 0;
		const float once = in - vad->last_in + 0.94F * vad->last_once;
		const float twice = once - vad->last_once + 0.94F * vad->last_twice;
		crossings += (twice < 0) != (vad->last_twice < 0);
		vad->last_in = in;
		vad->last_once = once;
		vad->last_twice = twice;
		sum += (double)twice * (double)twice;
	}
	*out_mean_square = sum / FRAME;
	*out_crossings = crossings;
}

// Puts a value into the window and returns the mean of those it holds.
static double smooth(double *window, int size, int64_t index, double value)
{
	const int held = index + 1 < size ? (int)index + 1 : size;
	double sum = 0;

	window[index % size] = value;
	for (int i = 0; i < held; i++)
		sum += window[i];
	return sum / held;
}

static double clamp(double value, double low, double high)
{
	return value < low ? low : value > high ? high : value;
}

// At the end of a block: the floor becomes what the last blocks' minima say.
static void raise_floor(struct ts_vad *vad)
{
	const bool steady = vad->block_max - vad->block_min < STEADY_DB;

	if (steady)
		vad->minima_count = 0; // what was before has been another place
	if (vad->minima_count == BLOCKS) {
		memmove(vad->minima, vad->minima + 1, (BLOCKS - 1) * sizeof vad->minima[0]);
		vad->minima_count--;
	}
	vad->minima[vad->minima_count++] = vad->block_min;
	double lowest = vad->minima[0];
	for (size_t i = 1; i < vad->minima_count; i++)
		lowest = fmin(lowest, vad->minima[i]);
	// Of a second or two that are not steady, the minimum may still be speech.
	const double most = steady || vad->minima_count == BLOCKS ? 0 : fmax(FLOOR_START_MAX_DB, vad->floor_db);
	vad->floor_db = clamp(lowest, FLOOR_MIN_DB, most);
}

static void track_floor(struct ts_vad *vad, double mean_square)
{
	if (decibels(mean_square) < SILENCE_DB) {
		vad->sounding_count = 0;
		vad->block_frames = 0;
		return;
	}
	const double db = decibels(smooth(vad->sounding, FLOOR_SMOOTH, vad->sounding_count++, mean_square));
	if (!vad->started)
		vad->floor_db = clamp(db, FLOOR_MIN_DB, FLOOR_START_MAX_DB);
	vad->started = true;
	vad->floor_db = clamp(fmin(vad->floor_db, db), FLOOR_MIN_DB, 0);
	if (vad->sounding_count < FLOOR_SMOOTH)
		return; // too few frames to be a minimum of anything
	if (vad->block_frames == 0)
		vad->block_min = vad->block_max = db;
	vad->block_min = fmin(vad->block_min, db);
	vad->block_max = fmax(vad->block_max, db);
	if (++vad->block_frames == BLOCK_FRAMES) {
		vad->block_frames = 0;
		raise_floor(vad);
	}
}

static int64_t span_start(const struct ts_vad *vad)
{
	const int64_t start = vad->first_active * FRAME - vad->pad;

	return start > vad->last_end ? start : vad->last_end;
}

static enum ts_err finish_span(struct ts_vad *vad, int64_t total, struct ts_error *error)
{
	const int64_t end = (vad->last_active + 1) * FRAME + vad->pad;
	const struct ts_vad_span span = {span_start(vad), end < total ? end : total};

	vad->active = false;
	if (!vad->confirmed)
		return TS_OK;
	vad->confirmed = false;
	if (vad->head > 0 && vad->head == vad->count)
		vad->head = vad->count = 0;
	if (vad->count == vad->capacity) {
		if (vad->count >= SPANS_MAX)
			return ts_fail(error, TS_ERR_LIMIT, "more than %d stretches of speech wait to be fetched", SPANS_MAX);
		const size_t capacity = vad->capacity ? vad->capacity * 2 : 16;
		struct ts_vad_span *spans = ts_realloc(vad->spans, capacity, sizeof *spans);
		if (!spans)
			return ts_fail_nomem(error);
		vad->spans = spans;
		vad->capacity = capacity;
	}
	vad->spans[vad->count++] = span;
	vad->last_end = span.end;
	return TS_OK;
}

static enum ts_err take_frame(struct ts_vad *vad, struct ts_error *error)
{
	double mean_square;
	int crossings;

	measure(vad, &mean_square, &crossings);
	track_floor(vad, mean_square);
	const int64_t now = vad->frames++;
	const double over = decibels(smooth(vad->recent, DECISION_SMOOTH, now, mean_square)) - vad->floor_db;
	const bool heard = vad->active ? over > vad->off_db || (over > vad->unvoiced_db && crossings >= UNVOICED_CROSSINGS)
	                               : over > vad->on_db;
	if (heard) {
		if (!vad->active) {
			vad->active = true;
			vad->confirmed = false;
			vad->first_active = now;
			vad->active_frames = 0;
		}
		vad->last_active = now;
		if (++vad->active_frames >= vad->min_speech)
			vad->confirmed = true;
		return TS_OK;
	}
	const int64_t gap = now - vad->last_active;
	if (vad->active && gap >= (vad->confirmed ? vad->quiet : CANDIDATE_GAP_FRAMES))
		return finish_span(vad, vad->frames * FRAME, error);
	return TS_OK;
}

enum ts_err ts_vad_feed(struct ts_vad *vad, const float *samples, size_t count, struct ts_error *error)
{
	assert(!vad->flushed);
	while (count > 0) {
		const size_t room = FRAME - vad->filled;
		const size_t n = count < room ? count : room;
		memcpy(vad->frame + vad->filled, samples, n * sizeof *samples);
		vad->filled += n;
		samples += n;
		count -= n;
		if (vad->filled < FRAME)
			break;
		vad->filled = 0;
		TS_TRY(take_frame(vad, error));
	}
	return TS_OK;
}

enum ts_err ts_vad_flush(struct ts_vad *vad, struct ts_error *error)
{
	vad->flushed = true;
	return vad->active ? finish_span(vad, vad->frames * FRAME + (int64_t)vad->filled, error) : TS_OK;
}

bool ts_vad_next(struct ts_vad *vad, struct ts_vad_span *out)
{
	if (vad->head == vad->count)
		return false;
	*out = vad->spans[vad->head++];
	return true;
}

bool ts_vad_in_speech(const struct ts_vad *vad, int64_t *out_start)
{
	if (!vad->active)
		return false;
	if (out_start)
		*out_start = span_start(vad);
	return true;
}

size_t ts_vad_quietest(const float *samples, size_t count, size_t from)
{
	const size_t length = (size_t)FRAME * 2;
	size_t best = count;
	double best_sum = 0;

	for (size_t at = from; at < count && count - at >= length; at += FRAME) {
		double sum = 0;
		for (size_t i = 0; i < length; i++)
			sum += (double)samples[at + i] * (double)samples[at + i];
		if (best == count || sum <= best_sum) {
			best = at + length / 2;
			best_sum = sum;
		}
	}
	return best;
}
