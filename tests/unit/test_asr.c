// The interface before the engines: checks, segments from words, choice by name, falling back.
#include "asr/engines.h"
#include "asr/model_digest.h"
#include "asr/output.h"
#include "net/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "openai_server.h"

#define MODEL_DIR "/usr/share/pocketsphinx/model/en-us"

// An engine that reads `reads` blocks, puts `segments` out and ends as told.
struct scripted {
	struct ts_asr base;
	const char *name;
	enum ts_err check, run;
	int reads, segments, runs;
	bool *destroyed;
};

static void scripted_info(const struct ts_asr *engine, struct ts_asr_info *out)
{
	const struct scripted *self = (const struct scripted *)engine;

	*out = (struct ts_asr_info){.engine = self->name, .version = "1", .model = "m", .local = true, .slots = 1};
}

static enum ts_err scripted_check(const struct ts_asr *engine, const char *language, enum ts_asr_task task,
                                  struct ts_error *error)
{
	const struct scripted *self = (const struct scripted *)engine;

	(void)language;
	(void)task;
	return self->check == TS_OK ? TS_OK : ts_fail(error, self->check, "%s checked", self->name);
}

static enum ts_err scripted_run(struct ts_asr *engine, const struct ts_asr_request *request, struct ts_transcript *out,
                                struct ts_error *error)
{
	struct scripted *self = (struct scripted *)engine;
	struct ts_asr_output output;
	float samples[160];
	size_t count;

	self->runs++;
	ts_asr_output_init(&output, request, out);
	for (int i = 0; i < self->reads; i++) {
		TS_TRY(request->source.read(request->source.ctx, samples, 160, &count, error));
		ts_asr_output_progress(&output, (i + 1) * 10);
	}
	for (int i = 0; i < self->segments; i++) {
		TS_AUTOSEGMENT struct ts_segment segment;
		ts_segment_init(&segment);
		segment.text = ts_strdup(self->name);
		TS_TRY(ts_asr_output_segment(&output, &segment, error));
	}
	if (!ts_str_set(&out->receipt.engine, self->name))
		return ts_fail_nomem(error);
	return self->run == TS_OK ? TS_OK : ts_fail(error, self->run, "%s failed", self->name);
}

static void scripted_destroy(struct ts_asr *engine)
{
	const struct scripted *self = (const struct scripted *)engine;

	if (self->destroyed)
		*self->destroyed = true;
}

static const struct ts_asr_ops scripted_ops = {scripted_info, scripted_check, scripted_run, scripted_destroy};

static struct scripted script(const char *name, enum ts_err run, int reads, int segments)
{
	struct scripted self = {.name = name, .run = run, .reads = reads, .segments = segments};

	ts_asr_init(&self.base, &scripted_ops);
	return self;
}

static enum ts_err rewind_speech(void *ctx, struct ts_error *error)
{
	struct ts_speech_source *source = ctx;

	(void)error;
	source->at = 0;
	return TS_OK;
}

struct told {
	size_t segments;
	int64_t progress_ms;
	size_t progress_calls;
	enum ts_err answer;
};

static void take_progress(void *ctx, int64_t audio_ms, int64_t duration_ms)
{
	struct told *told = ctx;

	(void)duration_ms;
	assert_true(audio_ms > told->progress_ms);
	told->progress_ms = audio_ms;
	told->progress_calls++;
}

static enum ts_err take_segment(void *ctx, size_t index, const struct ts_segment *segment, struct ts_error *error)
{
	struct told *told = ctx;

	(void)segment;
	assert_int_equal(index, told->segments);
	told->segments++;
	return told->answer == TS_OK ? TS_OK : ts_fail(error, told->answer, "the sink says no");
}

static void failed_runs_leave_nothing(void **state)
{
	struct scripted engine = script("one", TS_ERR_ENGINE, 0, 3);
	struct ts_speech speech = {0};
	struct ts_speech_source source = {.speech = &speech};
	struct ts_asr_request request = {.source = {ts_speech_read, &source, 0}};
	TS_AUTOTRANSCRIPT struct ts_transcript got;
	atomic_bool aborted = true;
	struct ts_error error = {0};

	(void)state;
	ts_transcript_init(&got);
	assert_int_equal(ts_asr_run(&engine.base, &request, &got, &error), TS_ERR_ENGINE);
	assert_int_equal(got.segment_count, 0);
	assert_null(got.receipt.engine);
	engine.check = TS_ERR_LANGUAGE;
	assert_int_equal(ts_asr_run(&engine.base, &request, &got, &error), TS_ERR_LANGUAGE);
	assert_int_equal(engine.runs, 1);
	engine.check = TS_OK;
	request.abort = &aborted;
	assert_int_equal(ts_asr_run(&engine.base, &request, &got, &error), TS_ERR_ABORTED);
	assert_int_equal(engine.runs, 1);
	aborted = false;
	engine.run = TS_OK;
	assert_int_equal(ts_asr_run(&engine.base, &request, &got, &error), TS_OK);
	assert_int_equal(got.segment_count, 3);
	ts_asr_destroy(NULL);
}

struct fallback_case {
	enum ts_err first_run;
	int first_segments;
	size_t source_fails_at;
	enum ts_err sink, second_check;
	enum ts_err expected;
	int second_runs;
};

static void another_engine_takes_over(void **state)
{
	static const struct fallback_case cases[] = {
	    {.first_run = TS_OK, .expected = TS_OK, .second_runs = 0},
	    {.first_run = TS_ERR_ENGINE, .expected = TS_OK, .second_runs = 1},
	    {.first_run = TS_ERR_ENGINE_REJECTED, .expected = TS_OK, .second_runs = 1},
	    {.first_run = TS_ERR_NET_UNREACHABLE, .expected = TS_OK, .second_runs = 1},
	    {.first_run = TS_ERR_NET_RATE_LIMITED, .expected = TS_OK, .second_runs = 1},
	    {.first_run = TS_ERR_TIMEOUT, .expected = TS_OK, .second_runs = 1},
	    // Not the engine's fault.
	    {.first_run = TS_ERR_ABORTED, .expected = TS_ERR_ABORTED},
	    {.first_run = TS_ERR_NOMEM, .expected = TS_ERR_NOMEM},
	    {.first_run = TS_ERR_LANGUAGE, .expected = TS_ERR_LANGUAGE},
	    {.first_run = TS_OK, .source_fails_at = 320, .expected = TS_ERR_TIMEOUT},
	    {.first_run = TS_OK, .first_segments = 1, .sink = TS_ERR_TIMEOUT, .expected = TS_ERR_TIMEOUT},
	    // Something went out already.
	    {.first_run = TS_ERR_ENGINE, .first_segments = 1, .expected = TS_ERR_ENGINE},
	    // The other cannot do it.
	    {.first_run = TS_ERR_ENGINE, .second_check = TS_ERR_LANGUAGE, .expected = TS_ERR_ENGINE},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct fallback_case *c = &cases[i];
		struct scripted first = script("first", c->first_run, 5, c->first_segments);
		struct scripted second = script("second", TS_OK, 7, 2);
		struct ts_speech speech = {0};
		struct told told = {.progress_ms = -1, .answer = c->sink};
		struct ts_speech_source source = {
		    .speech = &speech, .fail_at = c->source_fails_at, .fail_with = TS_ERR_TIMEOUT};
		struct ts_asr_request request = {.source = {ts_speech_read, &source, 0},
		                                 .sink = {take_progress, take_segment, &told}};
		TS_AUTOTRANSCRIPT struct ts_transcript got;
		struct ts_error error = {0};
		struct ts_asr *fallback = NULL;
		bool gone[2] = {false, false};

		first.destroyed = &gone[0];
		second.destroyed = &gone[1];
		second.check = c->second_check;
		ts_speech_silence(&speech, 70); // exactly what the second one reads
		assert_int_equal(ts_asr_fallback_create(&first.base, &second.base, rewind_speech, &fallback, NULL), TS_OK);
		ts_transcript_init(&got);
		assert_int_equal(ts_asr_run(fallback, &request, &got, &error), c->expected);
		assert_int_equal(second.runs, c->second_runs);
		if (c->expected == TS_OK) {
			assert_string_equal(got.receipt.engine, c->second_runs ? "second" : "first");
			assert_int_equal(source.at, c->second_runs ? 7 * 160 : 5 * 160);
			assert_int_equal(told.progress_calls, c->second_runs ? 7 : 5); // the second's first five are no news
		} else {
			assert_true(error.message[0]);
			assert_int_equal(error.code, c->expected);
		}
		ts_asr_destroy(fallback);
		assert_true(gone[0] && gone[1]);
		ts_speech_finish(&speech);
	}
}

static void put_words(struct ts_segment *pile, int64_t at_ms, int count, float probability)
{
	for (int i = 0; i < count; i++)
		assert_int_equal(ts_segment_add_word(pile, "word", at_ms + i * 500, at_ms + i * 500 + 400, probability, NULL),
		                 TS_OK);
}

static void words_become_segments(void **state)
{
	struct ts_asr_request request = {.word_times = true};
	TS_AUTOTRANSCRIPT struct ts_transcript got;
	TS_AUTOSEGMENT struct ts_segment pile;
	struct ts_asr_output output;

	(void)state;
	ts_transcript_init(&got);
	ts_segment_init(&pile);
	put_words(&pile, 1000, 3, 0.5F);
	put_words(&pile, 4000, 1, NAN); // after a pause; the engine does not say how sure it is
	put_words(&pile, 6000, 12, 1);  // 5.9 s, then a short gap, then 8.9 s: too long together
	put_words(&pile, 12200, 18, 1);
	ts_asr_output_init(&output, &request, &got);
	assert_int_equal(ts_asr_output_words(&output, &pile, NULL), TS_OK);
	assert_int_equal(got.segment_count, 4);
	assert_string_equal(got.segments[0].text, "word word word");
	assert_int_equal(got.segments[0].start_ms, 1000);
	assert_int_equal(got.segments[0].end_ms, 2400);
	assert_true(fabsf(got.segments[0].avg_logprob - logf(0.5F)) < 1e-6F);
	assert_true(isnan(got.segments[1].avg_logprob));
	assert_int_equal(got.segments[2].start_ms, 6000);
	assert_int_equal(got.segments[2].word_count, 12);
	assert_int_equal(got.segments[3].start_ms, 12200);
	assert_int_equal(got.segments[3].word_count, 18);
	assert_int_equal(pile.word_count, 34); // borrowed

	// A speaker who never pauses, and one word that never ends.
	TS_AUTOTRANSCRIPT struct ts_transcript breathless;
	TS_AUTOSEGMENT struct ts_segment stream;
	size_t words = 0;
	ts_transcript_init(&breathless);
	ts_segment_init(&stream);
	put_words(&stream, 0, 300, 1);
	assert_int_equal(ts_segment_add_word(&stream, "aaah", 150000, 190000, 1, NULL), TS_OK);
	ts_asr_output_init(&output, &request, &breathless);
	assert_int_equal(ts_asr_output_words(&output, &stream, NULL), TS_OK);
	for (size_t i = 0; i < breathless.segment_count; i++) {
		const struct ts_segment *segment = &breathless.segments[i];
		assert_true(segment->end_ms - segment->start_ms <= 10000 || segment->word_count == 1);
		words += segment->word_count;
	}
	assert_int_equal(words, 301);
	assert_true(breathless.segment_count <= 40);
}

static struct ts_asr_choice choice_for(const char *name, const char *base_url, const char *key)
{
	return (struct ts_asr_choice){
	    .name = name,
	    .pocketsphinx = {MODEL_DIR, 1, ts_clock_system()},
	    .openai = {.base_url = base_url,
	               .api_key = key,
	               .model = "whisper-1",
	               .max_request_bytes = TS_OPENAI_FILE_MAX,
	               .max_segment_s = 600,
	               .request_timeout_ms = 10000,
	               .max_tries = 1,
	               .clock = ts_clock_system()},
	};
}

static void the_best_engine_is_taken(void **state)
{
	static const struct {
		const char *name, *base_url, *key, *expected;
	} cases[] = {
	    {"auto", "https://api.openai.com/v1", "", "pocketsphinx"},
	    {"auto", "https://api.openai.com/v1/", "", "pocketsphinx"},
	    {"auto", "https://api.openai.com/v1", "sk-1", "openai"},
	    {"auto", "http://127.0.0.1:9/v1", "", "openai"},
	    {"pocketsphinx", "https://api.openai.com/v1", "sk-1", "pocketsphinx"},
	    {"openai", "https://api.openai.com/v1", "", "openai"},
	};
	struct ts_asr_info info;
	struct ts_asr *engine = NULL;
	struct ts_error error = {0};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct ts_asr_choice choice = choice_for(cases[i].name, cases[i].base_url, cases[i].key);
		assert_int_equal(ts_asr_create(&choice, &engine, &error), TS_OK);
		ts_asr_info(engine, &info);
		assert_string_equal(info.engine, cases[i].expected);
		assert_int_equal(info.local, strcmp(info.engine, "pocketsphinx") == 0);
		ts_asr_destroy(engine);
	}
	struct ts_asr_choice unknown = choice_for("siri", "", "");
	assert_int_equal(ts_asr_create(&unknown, &engine, &error), TS_ERR_INVALID);
	assert_string_equal(error.field, "engine");
	struct ts_asr_choice nowhere = choice_for("auto", "", "");
	nowhere.pocketsphinx.model_dir = "/nonexistent";
	assert_int_equal(ts_asr_create(&nowhere, &engine, &error), TS_ERR_ENGINE_UNAVAILABLE);
}

static void a_dead_endpoint_falls_back_to_the_local_engine(void **state)
{
	const struct ts_openai_server_options options = {0};
	struct ts_openai_server *server = ts_openai_server_start(&options);
	struct ts_speech speech = {0};
	struct ts_speech_source source = {.speech = &speech};
	struct ts_asr_request request = {.source = {ts_speech_read, &source, 0}, .vad = true, .word_times = true};
	TS_AUTOTRANSCRIPT struct ts_transcript got;
	struct ts_asr *engine = NULL;
	struct ts_error error = {0};

	(void)state;
	assert_non_null(server);
	struct ts_asr_choice choice = choice_for("auto", ts_openai_server_url(server), "sk-wrong");
	choice.fallback = true;
	choice.rewind = rewind_speech;
	ts_speech_silence(&speech, 500);
	assert_true(ts_speech_say(&speech, "slt", "You send a video, and the machine listens to every word."));
	ts_transcript_init(&got);
	assert_int_equal(ts_asr_create(&choice, &engine, &error), TS_OK);
	assert_int_equal(ts_asr_run(engine, &request, &got, &error), TS_OK);
	assert_string_equal(got.receipt.engine, "pocketsphinx");
	assert_true(got.segment_count > 0);
	assert_int_equal(ts_openai_server_seen(server, NULL, 0), 1);
	ts_asr_destroy(engine);
	ts_openai_server_stop(server);
	ts_speech_finish(&speech);
}

static void digest_names_the_file_it_misses(void **state)
{
	static const char *const files[] = {"en-us/mdef", "en-us/none"};
	char digest[TS_MODEL_DIGEST_SIZE] = "";
	struct ts_error error = {0};

	(void)state;
	assert_int_equal(ts_model_digest(MODEL_DIR, files, 1, digest, &error), TS_OK);
	assert_int_equal(strlen(digest), 71);
	assert_int_equal(ts_model_digest(MODEL_DIR, files, 2, digest, &error), TS_ERR_ENGINE_UNAVAILABLE);
	assert_non_null(strstr(error.message, "en-us/none"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(failed_runs_leave_nothing),
	    cmocka_unit_test(another_engine_takes_over),
	    cmocka_unit_test(words_become_segments),
	    cmocka_unit_test(the_best_engine_is_taken),
	    cmocka_unit_test(a_dead_endpoint_falls_back_to_the_local_engine),
	    cmocka_unit_test(digest_names_the_file_it_misses),
	};
	if (ts_http_global_init(NULL) != TS_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
