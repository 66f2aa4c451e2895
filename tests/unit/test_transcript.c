// core/transcript: growing and moving, the joined text, and the stored form with its strict inverse.
#include "unit.h"

#include "base/mem.h"
#include "core/json.h"
#include "core/transcript.h"
#include "fault.h"
#include "transcripts.h"

static void segments_move_in(void **state)
{
	struct ts_transcript transcript;
	struct ts_segment segment;
	(void)state;

	ts_transcript_init(&transcript);
	for (int i = 0; i < 1000; i++) {
		ts_segment_init(&segment);
		assert_true(isnan(segment.avg_logprob) && isnan(segment.temperature));
		for (int k = 0; k < i % 40; k++)
			assert_ok(ts_segment_add_word(&segment, "word", k, k + 1, 0.5f, NULL), NULL);
		assert_ok(ts_transcript_add(&transcript, &segment, NULL), NULL);
		assert_null(segment.words);
		assert_int_equal(segment.word_count, 0);
	}
	assert_int_equal(transcript.segment_count, 1000);
	assert_int_equal(ts_transcript_word_count(&transcript), 25 * (39 * 40 / 2));
	assert_int_equal(transcript.segments[999].words[38].start_ms, 38);
	ts_transcript_finish(&transcript);
	assert_int_equal(transcript.segment_count, 0);
	ts_transcript_finish(NULL);
	ts_segment_finish(NULL);
}

static void words_have_a_ceiling(void **state)
{
	struct ts_segment segment;
	struct ts_error error;
	(void)state;

	ts_segment_init(&segment);
	for (int i = 0; i < TS_SEGMENT_WORDS_MAX; i++)
		assert_ok(ts_segment_add_word(&segment, "", 0, 0, 0, NULL), NULL);
	assert_err(ts_segment_add_word(&segment, "", 0, 0, 0, &error), TS_ERR_LIMIT);
	assert_int_equal(segment.word_count, TS_SEGMENT_WORDS_MAX);
	ts_segment_finish(&segment);
}

static void segments_have_a_ceiling(void **state)
{
	struct ts_transcript transcript;
	struct ts_segment segment;
	struct ts_error error;
	(void)state;

	ts_transcript_init(&transcript);
	ts_segment_init(&segment);
	for (int i = 0; i < TS_TRANSCRIPT_SEGMENTS_MAX; i++)
		assert_ok(ts_transcript_add(&transcript, &segment, NULL), NULL);
	segment.text = ts_strdup("one too many");
	assert_err(ts_transcript_add(&transcript, &segment, &error), TS_ERR_LIMIT);
	assert_string_equal(segment.text, "one too many"); // still the caller's
	ts_segment_finish(&segment);
	ts_transcript_finish(&transcript);
}

static void text_joins_segments(void **state)
{
	static const char *const texts[] = {"one", "", NULL, "two", "three"};
	struct ts_transcript transcript;
	char *text = NULL;
	(void)state;

	ts_transcript_init(&transcript);
	assert_ok(ts_transcript_text(&transcript, &text, NULL), NULL);
	assert_string_equal(text, "");
	ts_free(text);
	for (int i = 0; i < 5; i++) {
		struct ts_segment segment;
		ts_segment_init(&segment);
		segment.text = ts_strdup(texts[i]);
		assert_ok(ts_transcript_add(&transcript, &segment, NULL), NULL);
	}
	assert_ok(ts_transcript_text(&transcript, &text, NULL), NULL);
	assert_string_equal(text, "one two three");
	ts_free(text);
	ts_transcript_finish(&transcript);
}

static enum ts_err store_and_load(void *ctx, struct ts_error *error)
{
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;
	TS_AUTOTRANSCRIPT struct ts_transcript back;
	TS_AUTOFREE char *json = NULL;
	TS_AUTOFREE char *text = NULL;

	(void)ctx;
	ts_transcript_init(&transcript);
	ts_transcript_init(&back);
	TS_TRY(ts_fill_small_transcript(&transcript, error));
	TS_TRY(ts_transcript_text(&transcript, &text, error));
	assert_string_equal(text, "hello world salt & <pepper> --> now");
	TS_TRY(ts_transcript_to_json(&transcript, &json, error));
	TS_TRY(ts_transcript_from_json(json, strlen(json), &back, error));
	assert_true(ts_same_transcript(&transcript, &back));
	// Onto one that holds something: it is replaced, not joined.
	TS_TRY(ts_transcript_from_json(json, strlen(json), &back, error));
	assert_int_equal(back.segment_count, 2);
	return TS_OK;
}

static void stored_form_comes_back(void **state)
{
	(void)state;
	ts_fault_each(store_and_load, NULL, 100);
}

static const char stored[] =
    "{\"version\":1,\"language\":null,\"duration_ms\":1000,\"receipt\":{\"engine\":\"x\",\"engine_version\":null,"
    "\"model\":null,\"model_digest\":null,\"compute_type\":null,\"parameters\":null,\"audio_seconds\":1.5,"
    "\"processing_seconds\":0.25,\"attempts\":1},\"segments\":[{\"text\":\"hi\",\"start_ms\":0,\"end_ms\":900,"
    "\"avg_logprob\":-0.5,\"compression_ratio\":null,\"no_speech_prob\":0,\"temperature\":0.2,\"flags\":1,"
    "\"words\":[[\"hi\",0,900,0.75]]}]}";

static void the_stored_form_is_this_one(void **state)
{
	struct ts_transcript transcript;
	struct ts_error error;
	char *json = NULL;
	(void)state;

	// What is in databases has to stay readable: change this text only together with its version.
	ts_transcript_init(&transcript);
	assert_ok(ts_transcript_from_json(stored, sizeof stored - 1, &transcript, &error), &error);
	assert_null(transcript.language);
	assert_int_equal(transcript.segments[0].flags, TS_SEGMENT_REPAIRED_LOOP);
	assert_true(isnan(transcript.segments[0].compression_ratio));
	assert_ok(ts_transcript_to_json(&transcript, &json, NULL), NULL);
	char expected[sizeof stored + 8];
	const char *zero = strstr(stored, "\"no_speech_prob\":0,");
	int head = (int)(zero - stored) + 18; // a measure is written as a real
	snprintf(expected, sizeof expected, "%.*s.0%s", head, stored, stored + head);
	assert_string_equal(json, expected);
	ts_free(json);
	ts_transcript_finish(&transcript);
}

// Each edit of the stored text makes it wrong in one way.
static void other_texts_are_refused(void **state)
{
	static const struct {
		const char *part, *instead;
	} edits[] = {
	    {"\"version\":1", "\"version\":2"},
	    {"\"version\":1", "\"version\":\"1\""},
	    {"\"version\":1,", ""},
	    {"\"version\":1,", "\"version\":1,\"more\":1,"},
	    {"\"version\":1,", "\"version\":1,\"version\":1,"},
	    {"\"language\":null", "\"language\":7"},
	    {"\"duration_ms\":1000", "\"duration_ms\":1000.5"},
	    {"\"duration_ms\":1000", "\"duration_ms\":null"},
	    {"\"duration_ms\":1000", "\"duration_ms\":9223372036854775808"},
	    {"\"engine\":\"x\"", "\"engine\":[]"},
	    {"\"engine\":\"x\"", "\"engines\":\"x\""},
	    {"\"engine\":\"x\"", "\"engine\":\"x\",\"y\":1"},
	    {"\"audio_seconds\":1.5", "\"audio_seconds\":\"1.5\""},
	    {"\"attempts\":1", "\"attempts\":2147483648"},
	    {"\"attempts\":1", "\"attempts\":true"},
	    {"\"text\":\"hi\"", "\"text\":null"},
	    {"\"text\":\"hi\"", "\"text\":\"h\\u0000i\""},
	    {"\"text\":\"hi\"", "\"text\":\"\xff\""},
	    {"\"start_ms\":0", "\"start\":0"},
	    {"\"end_ms\":900", "\"end_ms\":\"900\""},
	    {"\"avg_logprob\":-0.5", "\"avg_logprob\":1e39"},
	    {"\"avg_logprob\":-0.5", "\"avg_logprob\":false"},
	    {"\"flags\":1", "\"flags\":4"},
	    {"\"flags\":1", "\"flags\":-1"},
	    {"\"flags\":1", "\"flags\":1,\"extra\":0"},
	    {"[\"hi\",0,900,0.75]", "[\"hi\",0,900]"},
	    {"[\"hi\",0,900,0.75]", "[\"hi\",0,900,0.75,1]"},
	    {"[\"hi\",0,900,0.75]", "[1,0,900,0.75]"},
	    {"[\"hi\",0,900,0.75]", "[\"hi\",0.5,900,0.75]"},
	    {"[\"hi\",0,900,0.75]", "{}"},
	    {"[[\"hi\",0,900,0.75]]", "null"},
	    {"\"segments\":[", "\"segments\":[7,"},
	    {"}]}", "}]}x"},
	    {"}]}", "}]"},
	};
	struct ts_transcript transcript;
	struct ts_error error;
	char text[sizeof stored + 64];
	(void)state;

	ts_transcript_init(&transcript);
	assert_true(ts_str_set(&transcript.language, "kept"));
	for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
		const char *at = strstr(stored, edits[i].part);
		assert_non_null(at);
		snprintf(text, sizeof text, "%.*s%s%s", (int)(at - stored), stored, edits[i].instead,
		         at + strlen(edits[i].part));
		if (ts_transcript_from_json(text, strlen(text), &transcript, &error) != TS_ERR_INVALID)
			fail_msg("accepted: %s", text);
		assert_true(error.message[0] != '\0');
		assert_string_equal(transcript.language, "kept");
	}
	ts_transcript_finish(&transcript);
}

int main(void)
{
	ts_json_use_mem();
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(segments_move_in),        cmocka_unit_test(words_have_a_ceiling),
	    cmocka_unit_test(segments_have_a_ceiling), cmocka_unit_test(text_joins_segments),
	    cmocka_unit_test(stored_form_comes_back),  cmocka_unit_test(the_stored_form_is_this_one),
	    cmocka_unit_test(other_texts_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
