// The engine openai against a protocol-true endpoint: what is sent, how answers are joined, how failures are met.
#include "asr/engines.h"
#include "core/json.h"
#include "net/http.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "openai_server.h"

// Waits as the engine asked for them; nobody sleeps.
struct waits {
	int64_t ms[64];
	size_t count;
	atomic_bool *abort_at_once; // set by the first wait; NULL: not
};

static void take_wait(void *ctx, int64_t ms, const atomic_bool *abort)
{
	struct waits *waits = ctx;

	(void)abort;
	assert_true(waits->count < 64);
	waits->ms[waits->count++] = ms;
	if (waits->abort_at_once)
		atomic_store(waits->abort_at_once, true);
}

struct fixture {
	struct ts_openai_server *server;
	struct waits waits;
	struct ts_asr *engine;
	struct ts_speech speech;
	struct ts_speech_source source;
	struct ts_asr_request request;
	struct ts_transcript got;
	struct ts_error error;
	struct ts_openai_seen seen[64];
	size_t seen_count;
};

static struct ts_asr_openai_options options_for(struct fixture *f, double max_segment_s)
{
	return (struct ts_asr_openai_options){
	    .base_url = ts_openai_server_url(f->server),
	    .api_key = TS_OPENAI_SERVER_KEY,
	    .model = "whisper-1",
	    .max_request_bytes = TS_OPENAI_FILE_MAX,
	    .max_segment_s = max_segment_s,
	    .request_timeout_ms = 30000,
	    .max_tries = 4,
	    .max_retry_wait_ms = 60000,
	    .clock = ts_clock_system(),
	    .wait = take_wait,
	    .wait_ctx = &f->waits,
	};
}

// Words w0 ... w(seconds - 1), word k from k + 0.2 s to k + 0.6 s.
static void begin(struct fixture *f, const struct ts_openai_server_options *server, double max_segment_s, int seconds)
{
	memset(f, 0, sizeof *f);
	f->server = ts_openai_server_start(server);
	assert_non_null(f->server);
	struct ts_asr_openai_options options = options_for(f, max_segment_s);
	if (ts_asr_openai_create(&options, &f->engine, &f->error) != TS_OK)
		fail_msg("%s", f->error.message);
	for (int k = 0; k < seconds; k++)
		ts_beeps_add(&f->speech, k);
	f->source = (struct ts_speech_source){.speech = &f->speech};
	f->request =
	    (struct ts_asr_request){.source = {ts_speech_read, &f->source, (int64_t)seconds * 1000}, .word_times = true};
	ts_transcript_init(&f->got);
}

static enum ts_err run(struct fixture *f)
{
	enum ts_err err = ts_asr_run(f->engine, &f->request, &f->got, &f->error);

	f->seen_count = ts_openai_server_seen(f->server, f->seen, 64);
	assert_true(f->seen_count <= 64);
	return err;
}

static void end(struct fixture *f)
{
	ts_transcript_finish(&f->got);
	ts_asr_destroy(f->engine);
	ts_openai_server_stop(f->server);
	ts_speech_finish(&f->speech);
}

static void assert_run(struct fixture *f)
{
	if (run(f) != TS_OK)
		fail_msg("%s", f->error.message);
}

// Every word is there once, in order, when it was said.
static void assert_words(const struct ts_transcript *got, int seconds)
{
	char expected[16];
	int k = 0;

	for (size_t i = 0; i < got->segment_count; i++) {
		const struct ts_segment *segment = &got->segments[i];
		for (size_t w = 0; w < segment->word_count; w++, k++) {
			const struct ts_word *word = &segment->words[w];
			snprintf(expected, sizeof expected, "w%d", k);
			assert_string_equal(word->text, expected);
			if (word->start_ms < k * 1000 + 150 || word->start_ms > k * 1000 + 250 || word->end_ms < k * 1000 + 550 ||
			    word->end_ms > k * 1000 + 660)
				fail_msg("w%d lies at %d to %d ms", k, (int)word->start_ms, (int)word->end_ms);
			assert_true(word->start_ms >= segment->start_ms && word->end_ms <= segment->end_ms);
		}
	}
	assert_int_equal(k, seconds);
}

static void one_piece(void **state)
{
	const struct ts_openai_server_options server = {0};
	struct fixture f;

	(void)state;
	begin(&f, &server, 600, 12);
	f.request.language = "en";
	f.request.prompt = "Beeps and bleeps.";
	assert_run(&f);
	assert_words(&f.got, 12);
	assert_int_equal(f.seen_count, 1);
	assert_string_equal(f.seen[0].path, "/v1/audio/transcriptions");
	assert_string_equal(f.seen[0].model, "whisper-1");
	assert_string_equal(f.seen[0].language, "en");
	assert_string_equal(f.seen[0].response_format, "verbose_json");
	assert_string_equal(f.seen[0].prompt, "Beeps and bleeps.");
	assert_string_equal(f.seen[0].temperature, "0");
	assert_true(f.seen[0].wants_words && f.seen[0].wants_segments && f.seen[0].authorized);
	assert_in_range(f.seen[0].samples, 12 * 16000 - 800, 12 * 16000 + 800);
	assert_true(f.seen[0].file_bytes < 12 * 32000); // compressed
	// Three words a segment, the server's measures, no leading spaces.
	assert_int_equal(f.got.segment_count, 4);
	assert_string_equal(f.got.segments[1].text, "w3 w4 w5");
	assert_true(f.got.segments[1].avg_logprob == -0.25F && f.got.segments[1].compression_ratio == 1.5F &&
	            f.got.segments[1].no_speech_prob == 0.125F && f.got.segments[1].temperature == 0.0F);
	assert_true(isnan(f.got.segments[1].words[0].probability));
	assert_string_equal(f.got.language, "en");
	assert_int_equal(f.got.duration_ms, 12000);
	assert_string_equal(f.got.receipt.engine, "openai");
	assert_string_equal(f.got.receipt.model, "whisper-1");
	assert_null(strstr(f.got.receipt.parameters, TS_OPENAI_SERVER_KEY));
	end(&f);
}

static void pieces_are_joined(void **state)
{
	const struct ts_openai_server_options server = {0};
	struct fixture f;
	size_t total = 0;

	(void)state;
	begin(&f, &server, 10, 64);
	f.request.prompt = "Names.";
	assert_run(&f);
	assert_words(&f.got, 64);
	assert_true(f.seen_count >= 7 && f.seen_count <= 14);
	for (size_t i = 0; i < f.seen_count; i++) {
		assert_true(f.seen[i].samples <= 10 * 16000 + 800);
		total += f.seen[i].samples;
	}
	assert_in_range(total, 63 * 16000, 66 * 16000);
	// The prompt carries the end of what came before.
	assert_string_equal(f.seen[0].prompt, "Names.");
	const char *last = strrchr(f.seen[1].prompt, ' ');
	assert_non_null(last);
	assert_int_equal(strncmp(f.seen[1].prompt, "Names. w0 w1 ", 13), 0);
	assert_true(strlen(f.seen[f.seen_count - 1].prompt) <= 800);
	assert_null(strstr(f.seen[f.seen_count - 1].prompt, "w63"));
	assert_string_equal(f.got.language, "en"); // as the endpoint found out
	end(&f);
}

static void silence_is_not_sent(void **state)
{
	const struct ts_openai_server_options server = {0};
	struct fixture f;

	(void)state;
	begin(&f, &server, 600, 0);
	ts_speech_silence(&f.speech, 8000);
	assert_true(ts_speech_say(&f.speech, "slt", "hello world, how are you today"));
	ts_speech_silence(&f.speech, 10000);
	f.request.vad = true;
	assert_run(&f);
	assert_int_equal(f.seen_count, 1);
	assert_true(f.seen[0].samples < f.speech.count - 16 * 16000);
	assert_int_equal(f.got.duration_ms, f.speech.count / 16);
	end(&f);

	begin(&f, &server, 600, 0);
	ts_speech_silence(&f.speech, 30000);
	f.request.vad = true;
	assert_run(&f);
	assert_int_equal(f.seen_count, 0);
	assert_int_equal(f.got.segment_count, 0);
	end(&f);
}

static void translation_has_its_own_route(void **state)
{
	const struct ts_openai_server_options server = {0};
	struct fixture f;

	(void)state;
	begin(&f, &server, 600, 6);
	f.request.task = TS_ASR_TRANSLATE;
	f.request.language = "de";
	assert_run(&f);
	assert_int_equal(f.seen_count, 1);
	assert_string_equal(f.seen[0].path, "/v1/audio/translations");
	assert_string_equal(f.seen[0].language, "");
	assert_string_equal(f.got.language, "en");
	assert_int_equal(f.got.segment_count, 2);
	assert_string_equal(f.got.segments[0].text, "w0 w1 w2");
	end(&f);
}

static void rate_limits_and_failures_are_sat_out(void **state)
{
	static const enum ts_openai_fault faults[] = {TS_FAULT_RATE_LIMIT, TS_FAULT_RATE_LIMIT_MS, TS_FAULT_NONE,
	                                              TS_FAULT_500,        TS_FAULT_500,           TS_FAULT_CUT};
	const struct ts_openai_server_options server = {.faults = faults, .fault_count = 6};
	struct fixture f;

	(void)state;
	begin(&f, &server, 10, 18);
	assert_run(&f);
	assert_words(&f.got, 18);
	assert_true(f.waits.count >= 5);
	assert_int_equal(f.waits.ms[0], 7000);
	assert_int_equal(f.waits.ms[1], 1500);
	assert_in_range(f.waits.ms[2], 375, 500); // a quarter of jitter
	assert_in_range(f.waits.ms[3], 750, 1000);
	assert_in_range(f.waits.ms[4], 1500, 2000);
	end(&f);
}

// Runs six seconds against one fault, many times over.
static enum ts_err run_into(struct fixture *f, enum ts_openai_fault fault)
{
	enum ts_openai_fault faults[16];
	struct ts_openai_server_options server = {.faults = faults, .fault_count = 16};

	for (size_t i = 0; i < 16; i++)
		faults[i] = fault;
	begin(f, &server, 600, 6);
	enum ts_err err = run(f);
	assert_int_equal(f->got.segment_count, 0);
	assert_null(strstr(f->error.message, TS_OPENAI_SERVER_KEY));
	return err;
}

static void giving_up_names_the_reason(void **state)
{
	static const struct {
		enum ts_openai_fault fault;
		enum ts_err err;
		size_t requests;
		const char *says;
	} cases[] = {
	    {TS_FAULT_RATE_LIMIT, TS_ERR_NET_RATE_LIMITED, 4, "Rate limit reached"},
	    {TS_FAULT_RATE_LIMIT_LONG, TS_ERR_NET_RATE_LIMITED, 1, "Rate limit reached"},
	    {TS_FAULT_QUOTA, TS_ERR_ENGINE_REJECTED, 1, "quota"},
	    {TS_FAULT_500, TS_ERR_NET_STATUS_TEMPORARY, 4, "The server had an error"},
	    {TS_FAULT_401, TS_ERR_ENGINE_REJECTED, 1, "401"},
	    {TS_FAULT_404, TS_ERR_ENGINE_REJECTED, 1, "`whisper-9` does not exist (key ****"},
	    {TS_FAULT_BROKEN_JSON, TS_ERR_ENGINE, 1, "not a transcription"},
	    {TS_FAULT_WRONG_JSON, TS_ERR_ENGINE, 1, "no `text`"},
	};
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(run_into(&f, cases[i].fault), cases[i].err);
		assert_int_equal(f.seen_count, cases[i].requests);
		assert_int_equal(f.waits.count, cases[i].requests - 1);
		if (!strstr(f.error.message, cases[i].says))
			fail_msg("\"%s\" does not say \"%s\"", f.error.message, cases[i].says);
		end(&f);
	}
	assert_int_equal(run_into(&f, TS_FAULT_CUT), TS_ERR_NET_INCOMPLETE);
	assert_int_equal(f.seen_count, 4);
	end(&f);
}

static void wrong_key_is_said_plainly(void **state)
{
	const struct ts_openai_server_options server = {0};
	struct fixture f;

	(void)state;
	begin(&f, &server, 600, 3);
	ts_asr_destroy(f.engine);
	struct ts_asr_openai_options options = options_for(&f, 600);
	options.api_key = "sk-wrong-0815";
	assert_int_equal(ts_asr_openai_create(&options, &f.engine, NULL), TS_OK);
	assert_int_equal(run(&f), TS_ERR_ENGINE_REJECTED);
	assert_non_null(strstr(f.error.message, "OPENAI_API_KEY"));
	assert_null(strstr(f.error.message, "sk-wrong-0815"));
	end(&f);
}

static void unreachable_endpoint(void **state)
{
	const struct ts_openai_server_options server = {0};
	struct fixture f;

	(void)state;
	begin(&f, &server, 600, 3);
	ts_openai_server_stop(f.server); // its port is closed now
	f.server = ts_openai_server_start(&server);
	assert_int_equal(ts_asr_run(f.engine, &f.request, &f.got, &f.error), TS_ERR_NET_UNREACHABLE);
	assert_int_equal(f.waits.count, 3);
	end(&f);
}

static void too_large_pieces_are_halved(void **state)
{
	const struct ts_openai_server_options server = {.max_file_bytes = 80000};
	const struct ts_openai_server_options hopeless = {.max_file_bytes = 100};
	struct fixture f;

	(void)state;
	begin(&f, &server, 600, 60);
	for (size_t i = 0; i < f.speech.count; i++) // what does not compress
		f.speech.samples[i] += ((float)((i * 2654435761U >> 7) & 1023) / 1024.0F - 0.5F) * 0.05F;
	assert_run(&f);
	assert_words(&f.got, 60);
	size_t refused = 0;
	for (size_t i = 0; i < f.seen_count; i++)
		refused += f.seen[i].status == 413;
	assert_true(refused >= 1 && refused <= 5); // it learns
	assert_int_equal(f.waits.count, 0);
	end(&f);

	begin(&f, &hopeless, 600, 20);
	assert_int_equal(run(&f), TS_ERR_ENGINE_REJECTED);
	assert_non_null(strstr(f.error.message, "too large"));
	assert_true(f.seen_count <= 8);
	end(&f);
}

static void endpoints_with_text_only(void **state)
{
	const struct ts_openai_server_options server = {.plain_only = true};
	struct fixture f;
	TS_AUTOFREE char *text = NULL;

	(void)state;
	begin(&f, &server, 600, 70);
	assert_run(&f);
	assert_int_equal(ts_transcript_word_count(&f.got), 0);
	assert_int_equal(ts_transcript_text(&f.got, &text, NULL), TS_OK);
	assert_true(strncmp(text, "w0 w1 w2 ", 9) == 0 && strstr(text, " w68 w69"));
	// Asked once for more; then in short pieces, so that the text has times.
	assert_int_equal(f.seen[0].status, 400);
	size_t refused = 0;
	for (size_t i = 0; i < f.seen_count; i++)
		refused += f.seen[i].status == 400;
	assert_int_equal(refused, 1);
	assert_string_equal(f.seen[f.seen_count - 1].response_format, "json");
	assert_true(f.got.segment_count >= 1);
	// The second run knows.
	size_t before = f.seen_count;
	ts_transcript_finish(&f.got);
	f.source.at = 0;
	assert_run(&f);
	for (size_t i = before; i < f.seen_count; i++)
		assert_int_equal(f.seen[i].status, 200);
	assert_true(f.got.segment_count >= 3);
	for (size_t i = 0; i < f.got.segment_count; i++)
		assert_true(f.got.segments[i].end_ms - f.got.segments[i].start_ms <= 30000);
	assert_in_range(f.got.segments[f.got.segment_count - 1].end_ms, 69990, 70000);
	end(&f);
}

static void endpoints_with_part_of_the_times(void **state)
{
	const struct ts_openai_server_options no_fields = {.no_granularities = true};
	const struct ts_openai_server_options segments = {.segments_only = true};
	const struct ts_openai_server_options words = {.words_only = true};
	struct fixture f;

	(void)state;
	begin(&f, &no_fields, 10, 18);
	assert_run(&f);
	assert_int_equal(f.seen[0].status, 400);
	assert_int_equal(f.seen[1].status, 200);
	assert_string_equal(f.seen[1].response_format, "verbose_json");
	assert_int_equal(f.got.segments[0].start_ms / 100, 2);
	end(&f);

	begin(&f, &segments, 10, 18);
	assert_run(&f);
	assert_int_equal(ts_transcript_word_count(&f.got), 0);
	assert_string_equal(f.got.segments[0].text, "w0 w1 w2");
	assert_in_range(f.got.segments[0].end_ms, 2550, 2660);
	end(&f);

	begin(&f, &words, 600, 18);
	assert_run(&f);
	assert_words(&f.got, 18);
	assert_true(f.got.segment_count >= 2); // by length
	assert_true(isnan(f.got.segments[0].avg_logprob));
	end(&f);
}

static void wild_times_stay_inside(void **state)
{
	static const enum ts_openai_fault faults[] = {TS_FAULT_WILD_TIMES};
	const struct ts_openai_server_options server = {.faults = faults, .fault_count = 1};
	struct fixture f;

	(void)state;
	begin(&f, &server, 600, 9);
	assert_run(&f);
	assert_int_equal(f.got.segment_count, 3);
	for (size_t i = 0; i < 3; i++)
		assert_true(f.got.segments[i].start_ms == 0 && f.got.segments[i].end_ms <= 9100);
	end(&f);
}

static void abort_cuts_the_wait_short(void **state)
{
	static const enum ts_openai_fault faults[] = {TS_FAULT_500, TS_FAULT_500, TS_FAULT_500, TS_FAULT_500};
	const struct ts_openai_server_options server = {.faults = faults, .fault_count = 4};
	atomic_bool flag = false;
	struct fixture f;

	(void)state;
	begin(&f, &server, 600, 3);
	f.request.abort = &flag;
	f.waits.abort_at_once = &flag;
	assert_int_equal(run(&f), TS_ERR_ABORTED);
	assert_int_equal(f.seen_count, 1);
	end(&f);
}

struct counting {
	size_t segments;
	int64_t progress_ms;
};

static enum ts_err count_segment(void *ctx, size_t index, const struct ts_segment *segment, struct ts_error *error)
{
	struct counting *counting = ctx;

	assert_int_equal(index, counting->segments);
	assert_true(segment->text[0]);
	counting->segments++;
	return counting->segments == 5 ? ts_fail(error, TS_ERR_FENCED, "the caller lost its lease") : TS_OK;
}

static void take_progress(void *ctx, int64_t audio_ms, int64_t duration_ms)
{
	struct counting *counting = ctx;

	assert_int_equal(duration_ms, 40000);
	assert_true(audio_ms > counting->progress_ms);
	counting->progress_ms = audio_ms;
}

static void sink_is_told_and_may_stop(void **state)
{
	const struct ts_openai_server_options server = {0};
	struct counting counting = {0, -1};
	struct fixture f;

	(void)state;
	begin(&f, &server, 10, 40);
	f.request.sink = (struct ts_asr_sink){take_progress, count_segment, &counting};
	assert_int_equal(run(&f), TS_ERR_FENCED);
	assert_string_equal(f.error.message, "the caller lost its lease");
	assert_int_equal(counting.segments, 5);
	assert_in_range(counting.progress_ms, 5000, 30000);
	end(&f);
}

static void bad_options_are_refused(void **state)
{
	static const char *const urls[] = {"",
	                                   "api.example.com/v1",
	                                   "ftp://example.com/v1",
	                                   "http://",
	                                   "http://a b/v1",
	                                   "https://user:secret@example.com/v1",
	                                   "https://example.com/v1?key=1"};
	struct ts_asr_openai_options options = {.api_key = "",
	                                        .model = "whisper-1",
	                                        .max_request_bytes = TS_OPENAI_FILE_MAX,
	                                        .max_segment_s = 600,
	                                        .request_timeout_ms = 1000,
	                                        .max_tries = 1,
	                                        .clock = ts_clock_system()};
	struct ts_asr *engine = NULL;
	struct ts_error error;

	(void)state;
	for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
		options.base_url = urls[i];
		error = (struct ts_error){0};
		assert_int_equal(ts_asr_openai_create(&options, &engine, &error), TS_ERR_INVALID);
		assert_string_equal(error.field, "base_url");
		assert_null(engine);
	}
	options.base_url = "https://example.com/v1///";
	options.api_key = "two\r\nlines";
	assert_int_equal(ts_asr_openai_create(&options, &engine, &error), TS_ERR_INVALID);
	assert_string_equal(error.field, "api_key");
	options.api_key = "";
	assert_int_equal(ts_asr_openai_create(&options, &engine, &error), TS_OK);
	assert_int_equal(ts_asr_check(engine, "deutsch", TS_ASR_TRANSCRIBE, &error), TS_ERR_LANGUAGE);
	assert_int_equal(ts_asr_check(engine, "en-US", TS_ASR_TRANSCRIBE, &error), TS_ERR_LANGUAGE);
	assert_int_equal(ts_asr_check(engine, "de", TS_ASR_TRANSLATE, &error), TS_OK);
	ts_asr_destroy(engine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_piece),
	    cmocka_unit_test(pieces_are_joined),
	    cmocka_unit_test(silence_is_not_sent),
	    cmocka_unit_test(translation_has_its_own_route),
	    cmocka_unit_test(rate_limits_and_failures_are_sat_out),
	    cmocka_unit_test(giving_up_names_the_reason),
	    cmocka_unit_test(wrong_key_is_said_plainly),
	    cmocka_unit_test(unreachable_endpoint),
	    cmocka_unit_test(too_large_pieces_are_halved),
	    cmocka_unit_test(endpoints_with_text_only),
	    cmocka_unit_test(endpoints_with_part_of_the_times),
	    cmocka_unit_test(wild_times_stay_inside),
	    cmocka_unit_test(abort_cuts_the_wait_short),
	    cmocka_unit_test(sink_is_told_and_may_stop),
	    cmocka_unit_test(bad_options_are_refused),
	};
	if (ts_http_global_init(NULL) != TS_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
