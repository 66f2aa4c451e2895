// Windows over a stream: bounds, order, coverage, where cuts fall, what memory they need.
#include "asr/windows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fault.h"
#include "speech.h"

#define RATE 16

// Noise for `ms`, swelling by `swing` of its level four times a second; deterministic.
static void add(struct ts_speech *speech, int64_t ms, float level, float swing)
{
	static uint32_t state = 1;
	size_t count = (size_t)ms * RATE;
	float *samples = ts_alloc(count * sizeof *samples);

	assert_non_null(samples);
	for (size_t i = 0; i < count; i++) {
		state = state * 1664525U + 1013904223U;
		float noise = (float)(state >> 16) / 32768.0F - 1.0F;
		float syllable = 1 - swing + swing * (float)sin(2 * M_PI * 4 * (double)i / TS_SPEECH_RATE);
		samples[i] = noise * level * syllable;
	}
	ts_speech_add(speech, samples, count);
	ts_free(samples);
}

// Like syllables.
static void add_noise(struct ts_speech *speech, int64_t ms, float level)
{
	add(speech, ms, level, 0.4F);
}

// A pause as recorders give it: steady, not digital silence.
static void add_pause(struct ts_speech *speech, int64_t ms)
{
	add(speech, ms, 0.001F, 0);
}

struct heard {
	int64_t start_ms[256], end_ms[256];
	size_t count;
	int64_t position_ms;
	int64_t held_max; // samples between a window's start and what had been read by then
	double sum;       // of all samples, in order: tells one cutting from another
};

static enum ts_err cut(const struct ts_speech *speech, size_t chunk, const struct ts_windows_options *options,
                       struct heard *out, struct ts_error *error)
{
	struct ts_speech_source source = {.speech = speech, .chunk = chunk};
	struct ts_asr_request request = {.source = {ts_speech_read, &source, 0}};
	TS_AUTOWINDOWS struct ts_windows *windows = NULL;
	struct ts_window window;
	bool more;

	*out = (struct heard){0};
	TS_TRY(ts_windows_create(&request, options, &windows, error));
	for (;;) {
		TS_TRY(ts_windows_next(windows, &window, &more, error));
		if (!more)
			break;
		assert_true(out->count < 256);
		out->start_ms[out->count] = window.start_ms;
		out->end_ms[out->count] = window.start_ms + (int64_t)window.count / RATE;
		out->count++;
		int64_t held = (int64_t)source.at - window.start_ms * RATE;
		out->held_max = held > out->held_max ? held : out->held_max;
		for (size_t i = 0; i < window.count; i++) {
			assert_true(isfinite(window.samples[i]) && fabsf(window.samples[i]) <= 1.0F);
			out->sum += (double)window.samples[i] * (double)(i + 1);
		}
	}
	out->position_ms = ts_windows_position_ms(windows);
	return TS_OK;
}

static void assert_ordered(const struct heard *heard, int64_t max_ms)
{
	for (size_t i = 0; i < heard->count; i++) {
		assert_true(heard->end_ms[i] > heard->start_ms[i]);
		assert_true(heard->end_ms[i] - heard->start_ms[i] <= max_ms);
		assert_true(heard->end_ms[i] <= heard->position_ms);
		if (i)
			assert_true(heard->start_ms[i] >= heard->end_ms[i - 1]);
	}
}

static void without_detection_windows_cover_everything(void **state)
{
	struct ts_windows_options options = {.max_ms = 10000, .vad = false};
	struct ts_speech speech = {0};
	struct heard heard;

	(void)state;
	// Gaps at 7 s and 13.5 s after the first gap: in the second half of each window.
	add_noise(&speech, 7000, 0.3F);
	ts_speech_silence(&speech, 100);
	add_noise(&speech, 9000, 0.3F);
	ts_speech_silence(&speech, 100);
	add_noise(&speech, 3210, 0.3F);
	assert_int_equal(cut(&speech, 0, &options, &heard, NULL), TS_OK);
	assert_int_equal(heard.position_ms, 19410);
	assert_int_equal(heard.count, 3);
	assert_ordered(&heard, 10000);
	assert_int_equal(heard.start_ms[0], 0);
	assert_in_range(heard.end_ms[0], 7000, 7100);
	assert_int_equal(heard.start_ms[1], heard.end_ms[0]);
	assert_in_range(heard.end_ms[1], 16100, 16200);
	assert_int_equal(heard.start_ms[2], heard.end_ms[1]);
	assert_int_equal(heard.end_ms[2], 19410);
	ts_speech_finish(&speech);
}

static void silence_is_skipped(void **state)
{
	struct ts_windows_options options = {.max_ms = 10000, .join_ms = 1000, .vad = true};
	struct ts_speech speech = {0};
	struct heard heard;

	(void)state;
	add_pause(&speech, 4000);
	add_noise(&speech, 2000, 0.3F); // 4.0 to 6.0
	add_pause(&speech, 5000);
	add_noise(&speech, 3000, 0.3F); // 11.0 to 14.0
	add_pause(&speech, 8000);
	add_noise(&speech, 1500, 0.3F); // 22.0 to 23.5, up to the end
	assert_int_equal(cut(&speech, 0, &options, &heard, NULL), TS_OK);
	assert_ordered(&heard, 10000);
	assert_int_equal(heard.count, 3);
	static const int64_t truth[3][2] = {{4000, 6000}, {11000, 14000}, {22000, 23500}};
	for (size_t i = 0; i < 3; i++) {
		assert_true(heard.start_ms[i] <= truth[i][0] && heard.start_ms[i] >= truth[i][0] - 600);
		assert_true(heard.end_ms[i] >= truth[i][1] && heard.end_ms[i] <= truth[i][1] + 1000);
	}
	ts_speech_finish(&speech);
}

static void short_pauses_stay_inside(void **state)
{
	struct ts_windows_options options = {.max_ms = 10000, .join_ms = 2000, .vad = true};
	struct ts_speech speech = {0};
	struct heard heard;

	(void)state;
	add_pause(&speech, 3000);
	add_noise(&speech, 2000, 0.3F);
	add_pause(&speech, 1300);
	add_noise(&speech, 2000, 0.3F);
	add_pause(&speech, 1300);
	add_noise(&speech, 6000, 0.3F); // does not fit any more
	add_pause(&speech, 3000);
	assert_int_equal(cut(&speech, 0, &options, &heard, NULL), TS_OK);
	assert_ordered(&heard, 10000);
	assert_int_equal(heard.count, 2);
	assert_in_range(heard.start_ms[0], 2400, 3000);
	assert_in_range(heard.end_ms[0], 8300, 9300);
	assert_in_range(heard.start_ms[1], 9000, 9600);
	assert_in_range(heard.end_ms[1], 15600, 16600);
	ts_speech_finish(&speech);
}

static void nothing_but_silence_gives_no_window(void **state)
{
	struct ts_windows_options options = {.max_ms = 10000, .join_ms = 1000, .vad = true};
	struct ts_speech speech = {0}, empty = {0};
	struct heard heard;

	(void)state;
	ts_speech_silence(&speech, 20000);
	assert_int_equal(cut(&speech, 0, &options, &heard, NULL), TS_OK);
	assert_int_equal(heard.count, 0);
	assert_int_equal(heard.position_ms, 20000);
	assert_int_equal(cut(&empty, 0, &options, &heard, NULL), TS_OK);
	assert_int_equal(heard.count, 0);
	options.vad = false;
	assert_int_equal(cut(&empty, 0, &options, &heard, NULL), TS_OK);
	assert_int_equal(heard.count, 0);
	ts_speech_finish(&speech);
}

static void windows_do_not_depend_on_the_source(void **state)
{
	struct ts_windows_options options = {.max_ms = 5000, .join_ms = 1000, .vad = true};
	static const size_t chunks[] = {1, 37, 1601, 100000};
	struct ts_speech speech = {0};
	struct heard first, heard;

	(void)state;
	for (int i = 0; i < 6; i++) {
		add_noise(&speech, 900 + 1700 * i, 0.2F);
		add_pause(&speech, 600 + 400 * i);
	}
	assert_int_equal(cut(&speech, 0, &options, &first, NULL), TS_OK);
	assert_true(first.count >= 6);
	assert_ordered(&first, 5000);
	for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
		assert_int_equal(cut(&speech, chunks[i], &options, &heard, NULL), TS_OK);
		assert_int_equal(heard.count, first.count);
		assert_memory_equal(heard.start_ms, first.start_ms, first.count * sizeof *first.start_ms);
		assert_memory_equal(heard.end_ms, first.end_ms, first.count * sizeof *first.end_ms);
		assert_true(heard.sum == first.sum);
	}
	ts_speech_finish(&speech);
}

static void memory_is_that_of_one_window(void **state)
{
	struct ts_windows_options options = {.max_ms = 8000, .join_ms = 1000, .vad = true};
	struct ts_speech speech = {0};
	struct heard heard;

	(void)state;
	for (int i = 0; i < 12; i++) {
		add_noise(&speech, 2500 * (i % 5 + 1), 0.2F);
		add_pause(&speech, 900 * (i % 4 + 1));
	}
	add_pause(&speech, 60000);
	add_noise(&speech, 25000, 0.2F);
	for (int vad = 0; vad < 2; vad++) {
		options.vad = vad;
		assert_int_equal(cut(&speech, 0, &options, &heard, NULL), TS_OK);
		assert_ordered(&heard, 8000);
		assert_true(heard.count > 10);
		assert_in_range(heard.held_max, 1, (8000 + 1000 + 2000) * RATE);
	}
	ts_speech_finish(&speech);
}

static void wild_samples_are_tamed(void **state)
{
	struct ts_windows_options options = {.max_ms = 5000, .vad = false};
	struct ts_speech speech = {0};
	struct heard heard;

	(void)state;
	add_noise(&speech, 3000, 0.5F);
	speech.samples[100] = NAN;
	speech.samples[200] = INFINITY;
	speech.samples[300] = -1e30F;
	speech.samples[400] = 7;
	assert_int_equal(cut(&speech, 0, &options, &heard, NULL), TS_OK); // asserts the range of each sample
	assert_int_equal(heard.count, 1);
	options.vad = true;
	assert_int_equal(cut(&speech, 0, &options, &heard, NULL), TS_OK);
	assert_true(isfinite(heard.sum));
	ts_speech_finish(&speech);
}

static void errors_and_aborts_come_through(void **state)
{
	struct ts_windows_options options = {.max_ms = 5000, .vad = false};
	struct ts_speech speech = {0};
	atomic_bool abort_flag = false;
	struct ts_speech_source source = {.speech = &speech, .fail_at = 32000};
	struct ts_asr_request request = {.source = {ts_speech_read, &source, 0}, .abort = &abort_flag};
	struct ts_windows *windows = NULL;
	struct ts_window window;
	struct ts_error error = {0};
	bool more;

	(void)state;
	ts_speech_silence(&speech, 20000);
	assert_int_equal(ts_windows_create(&request, &options, &windows, NULL), TS_OK);
	assert_int_equal(ts_windows_next(windows, &window, &more, &error), TS_ERR_IO);
	assert_string_equal(error.message, "the test's source broke");
	ts_windows_destroy(windows);

	source = (struct ts_speech_source){.speech = &speech, .abort_at = 16000, .abort = &abort_flag};
	assert_int_equal(ts_windows_create(&request, &options, &windows, NULL), TS_OK);
	assert_int_equal(ts_windows_next(windows, &window, &more, &error), TS_ERR_ABORTED);
	assert_int_equal(source.at, 16000); // not a block more
	ts_windows_destroy(windows);
	ts_windows_destroy(NULL);
	ts_speech_finish(&speech);
}

static enum ts_err fault_work(void *ctx, struct ts_error *error)
{
	struct ts_windows_options options = {.max_ms = 2000, .join_ms = 500, .vad = true};
	struct heard heard;

	return cut(ctx, 0, &options, &heard, error);
}

static void memory_may_run_out_anywhere(void **state)
{
	struct ts_speech speech = {0};

	(void)state;
	add_noise(&speech, 6000, 0.3F);
	ts_fault_each(fault_work, &speech, 3);
	ts_speech_finish(&speech);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(without_detection_windows_cover_everything),
	    cmocka_unit_test(silence_is_skipped),
	    cmocka_unit_test(short_pauses_stay_inside),
	    cmocka_unit_test(nothing_but_silence_gives_no_window),
	    cmocka_unit_test(windows_do_not_depend_on_the_source),
	    cmocka_unit_test(memory_is_that_of_one_window),
	    cmocka_unit_test(wild_samples_are_tamed),
	    cmocka_unit_test(errors_and_aborts_come_through),
	    cmocka_unit_test(memory_may_run_out_anywhere),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
