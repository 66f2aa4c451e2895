// Voice activity: speech by flite in silence, in noise and after level changes is found where it was put; silence,
// noise, hum and clicks are not speech; the quietest cut lies where it is quiet.
#include "unit.h"

#include "base/mem.h"
#include "base/rng.h"
#include "fault.h"
#include "media/media.h"
#include "media/vad.h"
#include "media_files.h"

#define RATE TS_MEDIA_SAMPLE_RATE
#define SPANS_MAX 64

static float *speech; // trimmed: begins and ends with voice
static size_t speech_count;

struct track {
	float *samples;
	size_t count;
};

static struct track make_track(double seconds)
{
	const struct track track = {calloc((size_t)(seconds * RATE), sizeof(float)), (size_t)(seconds * RATE)};

	assert_non_null(track.samples);
	return track;
}

static void add_speech(struct track *track, double at, double gain)
{
	const size_t start = (size_t)(at * RATE);

	assert_true(start + speech_count <= track->count);
	for (size_t i = 0; i < speech_count; i++)
		track->samples[start + i] += (float)gain * speech[i];
}

static void add_noise(struct track *track, double from, double to, double amplitude, uint64_t seed)
{
	struct ts_rng rng = ts_rng_seeded(seed);

	for (size_t i = (size_t)(from * RATE); i < (size_t)(to * RATE); i++)
		track->samples[i] += (float)(amplitude * (ts_rng_unit(&rng) * 2 - 1));
}

static void add_tone(struct track *track, double from, double to, double hertz, double amplitude)
{
	for (size_t i = (size_t)(from * RATE); i < (size_t)(to * RATE); i++)
		track->samples[i] += (float)(amplitude * sin(2 * M_PI * hertz * (double)i / RATE));
}

static size_t detect(const struct track *track, const struct ts_vad_options *options, struct ts_vad_span *spans)
{
	struct ts_error error = {0};
	struct ts_vad *vad;
	size_t count = 0;
	int64_t last = 0;

	assert_ok(ts_vad_create(options, &vad, &error), &error);
	assert_ok(ts_vad_feed(vad, track->samples, track->count, &error), &error);
	assert_ok(ts_vad_flush(vad, &error), &error);
	while (ts_vad_next(vad, &spans[count])) {
		assert_true(spans[count].start >= last);
		assert_true(spans[count].end > spans[count].start);
		assert_true(spans[count].end <= (int64_t)track->count);
		last = spans[count].end;
		assert_true(++count < SPANS_MAX);
	}
	ts_vad_destroy(vad);
	return count;
}

static double covered(const struct ts_vad_span *spans, size_t count, double from, double to)
{
	double sum = 0;

	for (size_t i = 0; i < count; i++) {
		const double start = fmax((double)spans[i].start / RATE, from);
		const double end = fmin((double)spans[i].end / RATE, to);
		sum += end > start ? end - start : 0;
	}
	return sum / (to - from);
}

// Speech put at these places is found there and nowhere else. Gives the track back.
static void assert_found(struct track *track, const double *places, size_t count, const char *what)
{
	const struct ts_vad_options options = {0};
	struct ts_vad_span spans[SPANS_MAX];
	const size_t found = detect(track, &options, spans);
	const double length = (double)speech_count / RATE;
	double before = 0;

	for (size_t i = 0; i < count; i++) {
		const double share = covered(spans, found, places[i], places[i] + length);
		if (share < 0.97)
			fail_msg("%s: only %.2f of the speech at %.1f s was found", what, share, places[i]);
		// What lies between, less a little more than the padding.
		if (places[i] - 0.3 > before) {
			const double noise = covered(spans, found, before, places[i] - 0.3);
			if (noise > 0)
				fail_msg("%s: %.2f of what precedes %.1f s was taken for speech", what, noise, places[i]);
		}
		before = places[i] + length + 0.3;
	}
	const double total = (double)track->count / RATE;
	if (covered(spans, found, before, total) > 0)
		fail_msg("%s: the end was taken for speech", what);
	free(track->samples);
}

static void test_speech_in_silence(void **state)
{
	(void)state;
	const double places[] = {1.5, 6.5};
	struct track track = make_track(12);

	add_speech(&track, places[0], 1);
	add_speech(&track, places[1], 1);
	assert_found(&track, places, 2, "digital silence");
}

static void test_speech_in_noise(void **state)
{
	(void)state;
	const double places[] = {2, 7};
	static const double amplitudes[] = {0.0005, 0.002, 0.008};

	for (size_t i = 0; i < sizeof amplitudes / sizeof amplitudes[0]; i++) {
		struct track track = make_track(12);
		add_speech(&track, places[0], 1);
		add_speech(&track, places[1], 0.5);
		add_noise(&track, 0, 12, amplitudes[i], 7 + i);
		assert_found(&track, places, 2, "noise");
	}
}

static void test_digital_silence_before_a_noisy_recording(void **state)
{
	(void)state;
	const double places[] = {1.2, 5.5};
	struct track track = make_track(10);

	add_noise(&track, 0.5, 10, 0.01, 15);
	add_speech(&track, places[0], 1);
	add_speech(&track, places[1], 1);
	assert_found(&track, places, 2, "after digital silence");
}

static void test_quiet_speech(void **state)
{
	(void)state;
	const double places[] = {2};
	struct track track = make_track(7);

	add_speech(&track, 2, 0.03); // peaks around -40 dBFS
	add_noise(&track, 0, 7, 0.0002, 3);
	assert_found(&track, places, 1, "quiet");
}

static void test_speech_from_the_first_sample(void **state)
{
	(void)state;
	const double places[] = {0};
	struct track track = make_track(5);

	add_speech(&track, 0, 1);
	add_noise(&track, 0, 5, 0.001, 4);
	assert_found(&track, places, 1, "at once");
}

static void assert_nothing(struct track *track, const char *what)
{
	const struct ts_vad_options options = {0};
	struct ts_vad_span spans[SPANS_MAX];
	const size_t found = detect(track, &options, spans);

	if (found != 0)
		fail_msg("%s: speech from %.2f to %.2f s", what, (double)spans[0].start / RATE, (double)spans[0].end / RATE);
	free(track->samples);
}

static void test_no_speech(void **state)
{
	(void)state;
	struct track track = make_track(20);
	assert_nothing(&track, "digital silence");

	track = make_track(20);
	add_noise(&track, 0, 20, 0.01, 5);
	assert_nothing(&track, "noise");

	track = make_track(20);
	add_tone(&track, 0, 20, 50, 0.2);
	add_noise(&track, 0, 20, 0.001, 6);
	assert_nothing(&track, "mains hum");

	track = make_track(20);
	for (size_t i = 0; i < track.count; i++)
		track.samples[i] = 0.3F;
	assert_nothing(&track, "direct current");

	track = make_track(20);
	add_noise(&track, 0, 20, 0.001, 8);
	for (int i = 2; i < 18; i++) // clicks of 20 ms
		add_tone(&track, i, i + 0.02, 2000, 0.5);
	assert_nothing(&track, "clicks");

	track = make_track(20);
	track.samples[7] = NAN;
	track.samples[9] = INFINITY;
	assert_nothing(&track, "not numbers");
}

static void test_noise_that_grows_is_not_speech_for_long(void **state)
{
	(void)state;
	const struct ts_vad_options options = {0};
	struct ts_vad_span spans[SPANS_MAX];
	struct track track = make_track(20);

	add_noise(&track, 0, 20, 0.001, 9);
	add_noise(&track, 5, 20, 0.05, 10); // a fan is switched on
	const size_t found = detect(&track, &options, spans);
	assert_true(covered(spans, found, 0, 4.7) == 0);
	assert_true(covered(spans, found, 8, 20) == 0);
	free(track.samples);
}

static void test_bursts(void **state)
{
	(void)state;
	struct ts_vad_span spans[SPANS_MAX];
	struct track track = make_track(10);

	add_tone(&track, 2, 2.3, 500, 0.3);
	add_tone(&track, 5, 5.3, 500, 0.3);
	add_tone(&track, 5.6, 5.9, 500, 0.3); // after a gap shorter than min_silence_ms
	add_noise(&track, 0, 10, 0.001, 11);
	assert_int_equal(detect(&track, &(struct ts_vad_options){0}, spans), 2);
	assert_true(llabs(spans[0].start - (int64_t)(1.8 * RATE)) <= RATE / 25);
	assert_true(llabs(spans[0].end - (int64_t)(2.5 * RATE)) <= RATE / 25);
	assert_true(llabs(spans[1].start - (int64_t)(4.8 * RATE)) <= RATE / 25);
	assert_true(llabs(spans[1].end - (int64_t)(6.1 * RATE)) <= RATE / 25);
	// The options count.
	const struct ts_vad_options close = {.min_silence_ms = 200, .pad_ms = 50};
	assert_int_equal(detect(&track, &close, spans), 3);
	const struct ts_vad_options patient = {.min_speech_ms = 400};
	assert_int_equal(detect(&track, &patient, spans), 0);
	const struct ts_vad_options deaf = {.threshold_db = 60};
	assert_int_equal(detect(&track, &deaf, spans), 0);
	free(track.samples);
}

static void test_in_speech(void **state)
{
	(void)state;
	const struct ts_vad_options options = {0};
	struct ts_error error = {0};
	struct ts_vad *vad;
	struct ts_vad_span span;
	int64_t start = -1;
	struct track track = make_track(5);

	add_noise(&track, 0, 5, 0.001, 12);
	add_tone(&track, 2, 2.8, 300, 0.3);
	assert_ok(ts_vad_create(&options, &vad, &error), &error);
	assert_ok(ts_vad_feed(vad, track.samples, (size_t)(1.9 * RATE), &error), &error);
	assert_false(ts_vad_in_speech(vad, &start));
	assert_ok(ts_vad_feed(vad, track.samples + (size_t)(1.9 * RATE), (size_t)(0.5 * RATE), &error), &error);
	assert_true(ts_vad_in_speech(vad, &start));
	assert_true(ts_vad_in_speech(vad, NULL));
	assert_false(ts_vad_next(vad, &span));
	assert_ok(ts_vad_feed(vad, track.samples + (size_t)(2.4 * RATE), (size_t)(2 * RATE), &error), &error);
	assert_false(ts_vad_in_speech(vad, NULL));
	assert_true(ts_vad_next(vad, &span));
	assert_int_equal(span.start, start); // what was said then holds
	assert_false(ts_vad_next(vad, &span));
	ts_vad_destroy(vad);
	free(track.samples);
}

static void test_flush_ends_open_speech(void **state)
{
	(void)state;
	struct ts_vad_span spans[SPANS_MAX];
	struct track track = make_track(3);

	add_noise(&track, 0, 3, 0.001, 13);
	add_tone(&track, 2.5, 3, 300, 0.3);
	track.count -= 77; // not a whole number of frames
	assert_int_equal(detect(&track, &(struct ts_vad_options){0}, spans), 1);
	assert_int_equal(spans[0].end, track.count);
	free(track.samples);
}

static void test_options_are_checked(void **state)
{
	(void)state;
	static const struct {
		struct ts_vad_options options;
		const char *field;
	} rows[] = {
	    {{.threshold_db = -1}, "threshold_db"},   {{.threshold_db = (double)NAN}, "threshold_db"},
	    {{.min_speech_ms = -1}, "min_speech_ms"}, {{.min_silence_ms = 60001}, "min_silence_ms"},
	    {{.pad_ms = INT32_MAX}, "pad_ms"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct ts_error error = {0};
		struct ts_vad *vad = NULL;
		assert_err(ts_vad_create(&rows[i].options, &vad, &error), TS_ERR_INVALID);
		assert_string_equal(error.field, rows[i].field);
		assert_null(vad);
	}
	ts_vad_destroy(NULL);
}

static enum ts_err feed_all(void *ctx, struct ts_error *error)
{
	const struct track *track = ctx;
	const struct ts_vad_options options = {0};
	struct ts_vad *vad;

	TS_TRY(ts_vad_create(&options, &vad, error));
	enum ts_err err = ts_vad_feed(vad, track->samples, track->count, error);
	if (err == TS_OK)
		err = ts_vad_flush(vad, error);
	ts_vad_destroy(vad);
	return err;
}

static void test_allocation_failure(void **state)
{
	(void)state;
	struct track track = make_track(40);

	for (int i = 1; i < 39; i++)
		add_tone(&track, i, i + 0.2, 500, 0.3);
	ts_fault_each(feed_all, &track, 3);
	free(track.samples);
}

static void test_quietest(void **state)
{
	(void)state;
	struct track track = make_track(4);

	add_noise(&track, 0, 4, 0.1, 14);
	for (size_t i = 0; i < 480; i++) // 30 ms of near silence at 2.5 s
		track.samples[(size_t)(2.5 * RATE) + i] *= 0.01F;
	const size_t cut = ts_vad_quietest(track.samples, track.count, RATE);
	assert_true(cut >= (size_t)(2.5 * RATE) && cut <= (size_t)(2.53 * RATE));
	const size_t later = ts_vad_quietest(track.samples, track.count, 3 * RATE);
	assert_true(later >= 3 * RATE && later < track.count);
	memset(track.samples, 0, track.count * sizeof(float));
	const size_t last = ts_vad_quietest(track.samples, track.count, RATE);
	assert_true(last >= track.count - 320 && last < track.count); // the last among equals
	assert_int_equal(ts_vad_quietest(track.samples, 1000, 800), 1000);
	assert_int_equal(ts_vad_quietest(track.samples, 1000, 1000), 1000);
	assert_int_equal(ts_vad_quietest(track.samples, 0, 0), 0);
	free(track.samples);
}

static int make_speech(void **state)
{
	(void)state;
	size_t from = 0;

	media_folder_make();
	media_make_speech("slt", "The quick brown fox jumps over the lazy dog.", "speech.wav", "speech.raw");
	speech = media_samples("speech.raw", &speech_count);
	while (from < speech_count && fabsf(speech[from]) < 0.02F)
		from++;
	while (speech_count > from && fabsf(speech[speech_count - 1]) < 0.02F)
		speech_count--;
	speech_count -= from;
	memmove(speech, speech + from, speech_count * sizeof(float));
	assert_true(speech_count > 2 * RATE && speech_count < 4 * RATE);
	return 0;
}

static int free_speech(void **state)
{
	(void)state;
	free(speech);
	media_folder_remove();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_speech_in_silence),
	    cmocka_unit_test(test_speech_in_noise),
	    cmocka_unit_test(test_digital_silence_before_a_noisy_recording),
	    cmocka_unit_test(test_quiet_speech),
	    cmocka_unit_test(test_speech_from_the_first_sample),
	    cmocka_unit_test(test_no_speech),
	    cmocka_unit_test(test_noise_that_grows_is_not_speech_for_long),
	    cmocka_unit_test(test_bursts),
	    cmocka_unit_test(test_in_speech),
	    cmocka_unit_test(test_flush_ends_open_speech),
	    cmocka_unit_test(test_options_are_checked),
	    cmocka_unit_test(test_allocation_failure),
	    cmocka_unit_test(test_quietest),
	};
	return cmocka_run_group_tests(tests, make_speech, free_speech);
}
