// Laws of transcripts under a seeded generator: the stored form is lossless, every format is well-formed whatever
// the transcript is, and cues of a transcript that is in order keep its times to the millisecond.
#include "unit.h"

#include "core/format.h"
#include "core/json.h"
#include "format_laws.h"
#include "prop.h"
#include "transcripts.h"

#define CEILING ((size_t)1 << 24)

static const char *stored_form_is_lossless(struct ts_rng *rng)
{
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;
	TS_AUTOTRANSCRIPT struct ts_transcript back;
	TS_AUTOFREE char *json = NULL;
	TS_AUTOFREE char *again = NULL;

	ts_transcript_init(&transcript);
	ts_transcript_init(&back);
	if (!ts_fill_random_transcript(rng, 20, &transcript))
		return "the generator failed";
	if (ts_transcript_to_json(&transcript, &json, NULL) != TS_OK)
		return "a transcript could not be stored";
	if (ts_transcript_from_json(json, strlen(json), &back, NULL) != TS_OK)
		return "a stored transcript could not be read";
	if (!ts_same_transcript(&transcript, &back))
		return "a transcript came back changed";
	if (ts_transcript_to_json(&back, &again, NULL) != TS_OK || strcmp(json, again) != 0)
		return "storing again gives another text";
	return NULL;
}

static const char *formats_are_well_formed(struct ts_rng *rng)
{
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;

	ts_transcript_init(&transcript);
	if (!ts_fill_random_transcript(rng, 40, &transcript))
		return "the generator failed";
	return ts_laws_all(&transcript, CEILING, NULL);
}

static const char *order_keeps_times(struct ts_rng *rng)
{
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;
	TS_AUTOBUF struct ts_buf buf;
	TS_AUTOBUF struct ts_buf expected;
	int64_t now = 0;

	ts_transcript_init(&transcript);
	ts_buf_init(&buf, CEILING);
	ts_buf_init(&expected, CEILING);
	ts_buf_add_str(&expected, "start\tend\ttext\n");
	for (uint64_t i = ts_rng_u64(rng) % 50; i > 0; i--) {
		int64_t start = now + (int64_t)(ts_rng_u64(rng) % 3000);
		now = start + 1 + (int64_t)(ts_rng_u64(rng) % 9000);
		if (ts_add_plain_segment(&transcript, "some words", start, now, NULL) != TS_OK)
			return "the generator failed";
		ts_buf_printf(&expected, "%" PRId64 "\t%" PRId64 "\tsome words\n", start, now);
	}
	if (ts_format_write(&transcript, TS_FORMAT_TSV, &buf, NULL) != TS_OK)
		return "a tsv could not be written";
	if (strcmp(ts_buf_str(&buf), ts_buf_str(&expected)) != 0)
		return "times that were in order were changed";
	return NULL;
}

static void the_stored_form_is_lossless(void **state)
{
	(void)state;
	ts_prop_run("stored_form_is_lossless", stored_form_is_lossless, 300);
}

static void all_formats_are_well_formed(void **state)
{
	(void)state;
	ts_prop_run("formats_are_well_formed", formats_are_well_formed, 400);
}

static void times_in_order_are_kept(void **state)
{
	(void)state;
	ts_prop_run("order_keeps_times", order_keeps_times, 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_stored_form_is_lossless),
	    cmocka_unit_test(all_formats_are_well_formed),
	    cmocka_unit_test(times_in_order_are_kept),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
