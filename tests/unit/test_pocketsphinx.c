// The engine pocketsphinx on speech that flite says when the test runs: words, times, receipt, determinism, abort,
// several runs at once.
#include "asr/engines.h"
#include "core/json.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "speech.h"

#define MODEL_DIR "/usr/share/pocketsphinx/model/en-us"
#define TEXT                                                                                                        \
	"This short video shows how the service works. You send a video, and the machine listens to every word. Every " \
	"change should be small, and every change should be checked before it is used by other people."

static struct ts_speech speech;   // TEXT, with 1 s of silence before and after
static struct ts_speech sentence; // a few seconds, where any words will do
static struct ts_asr *engine;     // two slots

static struct ts_asr *make_engine(unsigned slots)
{
	struct ts_asr_pocketsphinx_options options = {MODEL_DIR, slots, ts_clock_system()};
	struct ts_asr *made = NULL;
	struct ts_error error = {0};

	if (ts_asr_pocketsphinx_create(&options, &made, &error) != TS_OK)
		fail_msg("%s", error.message);
	return made;
}

static int set_up(void **state)
{
	(void)state;
	ts_speech_silence(&speech, 1000);
	if (!ts_speech_say(&speech, "slt", TEXT) ||
	    !ts_speech_say(&sentence, "slt", "You send a video, and the machine listens to every word.")) {
		print_message("flite cannot be run: is it installed?\n");
		return -1;
	}
	ts_speech_silence(&speech, 1000);
	engine = make_engine(2);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	ts_asr_destroy(engine);
	ts_speech_finish(&speech);
	ts_speech_finish(&sentence);
	return 0;
}

static struct ts_asr_request request_for(struct ts_speech_source *source)
{
	return (struct ts_asr_request){
	    .source = {ts_speech_read, source, (int64_t)source->speech->count * 1000 / TS_SPEECH_RATE},
	    .word_times = true,
	    .vad = true,
	};
}

static void run_on(struct ts_asr *on, const struct ts_speech *what, struct ts_transcript *out)
{
	struct ts_speech_source source = {.speech = what};
	struct ts_asr_request request = request_for(&source);
	struct ts_error error = {0};

	ts_transcript_init(out);
	if (ts_asr_run(on, &request, out, &error) != TS_OK)
		fail_msg("%s", error.message);
}

static void assert_same(const struct ts_transcript *a, const struct ts_transcript *b)
{
	assert_int_equal(a->segment_count, b->segment_count);
	for (size_t i = 0; i < a->segment_count; i++) {
		const struct ts_segment *x = &a->segments[i], *y = &b->segments[i];
		assert_string_equal(x->text, y->text);
		assert_int_equal(x->word_count, y->word_count);
		for (size_t k = 0; k < x->word_count; k++) {
			assert_string_equal(x->words[k].text, y->words[k].text);
			assert_int_equal(x->words[k].start_ms, y->words[k].start_ms);
			assert_int_equal(x->words[k].end_ms, y->words[k].end_ms);
			assert_true(x->words[k].probability == y->words[k].probability);
		}
	}
}

static void words_and_times_are_right(void **state)
{
	TS_AUTOTRANSCRIPT struct ts_transcript got;
	TS_AUTOFREE char *text = NULL;
	int64_t last = 1000 - 250; // nothing is said in the first second

	(void)state;
	run_on(engine, &speech, &got);
	assert_int_equal(ts_transcript_text(&got, &text, NULL), TS_OK);
	double errors = ts_speech_word_errors(TEXT, text);
	if (errors > 0.1)
		fail_msg("%.0f %% of the words are wrong: %s", errors * 100, text);
	assert_string_equal(got.language, "en");
	assert_int_equal(got.duration_ms, speech.count / 16);
	assert_true(got.segment_count >= 2);
	assert_true(ts_transcript_word_count(&got) >= 20);
	for (size_t i = 0; i < got.segment_count; i++) {
		const struct ts_segment *segment = &got.segments[i];
		assert_true(segment->word_count > 0);
		assert_int_equal(segment->start_ms, segment->words[0].start_ms);
		assert_int_equal(segment->end_ms, segment->words[segment->word_count - 1].end_ms);
		assert_true(segment->end_ms - segment->start_ms <= 10000);
		assert_true(segment->avg_logprob <= 0);
		for (size_t k = 0; k < segment->word_count; k++) {
			const struct ts_word *word = &segment->words[k];
			assert_true(word->start_ms >= last && word->end_ms > word->start_ms);
			assert_true(word->end_ms <= got.duration_ms - 1000 + 250);
			assert_true(word->probability >= 0 && word->probability <= 1);
			assert_null(strpbrk(word->text, "<>[]()"));
			last = word->end_ms;
		}
	}
}

static void receipt_tells_how(void **state)
{
	TS_AUTOTRANSCRIPT struct ts_transcript got;
	TS_AUTOJSON json_t *parameters = NULL;
	struct ts_speech silence = {0};
	char line[128] = "", expected[80] = "";

	(void)state;
	ts_speech_silence(&silence, 3000);
	run_on(engine, &silence, &got);
	ts_speech_finish(&silence);
	assert_int_equal(got.segment_count, 0);
	assert_string_equal(got.receipt.engine, "pocketsphinx");
	assert_true(got.receipt.engine_version[0]);
	assert_string_equal(got.receipt.model, "en-us");
	assert_true(got.receipt.audio_seconds == 3.0);
	assert_true(got.receipt.processing_seconds >= 0);
	assert_int_equal(ts_json_parse(got.receipt.parameters, strlen(got.receipt.parameters), &parameters, NULL), TS_OK);
	assert_true(json_is_true(json_object_get(parameters, "vad")));
	// The digest is what coreutils say.
	FILE *tool =
	    popen("cd " MODEL_DIR " && sha256sum cmudict-en-us.dict en-us.lm.bin en-us/feat.params en-us/mdef "
	          "en-us/means en-us/noisedict en-us/sendump en-us/transition_matrices en-us/variances | sha256sum",
	          "re");
	assert_non_null(tool);
	assert_non_null(fgets(line, sizeof line, tool));
	pclose(tool);
	snprintf(expected, sizeof expected, "sha256:%.64s", line);
	assert_string_equal(got.receipt.model_digest, expected);
}

static void earlier_recordings_leave_no_trace(void **state)
{
	TS_AUTOTRANSCRIPT struct ts_transcript first, other, again;
	struct ts_asr *one = make_engine(1); // so that the same decoder is used
	struct ts_speech man = {0};

	(void)state;
	assert_true(ts_speech_say(&man, "rms", "The weather in the mountains changes quickly."));
	for (size_t i = 0; i < man.count; i++)
		man.samples[i] *= 0.2F;
	run_on(one, &sentence, &first);
	run_on(one, &man, &other);
	run_on(one, &sentence, &again);
	assert_true(first.segment_count > 0 && other.segment_count > 0);
	assert_same(&first, &again);
	ts_asr_destroy(one);
	ts_speech_finish(&man);
}

struct thread_run {
	struct ts_transcript got;
	enum ts_err err;
};

static void *thread_main(void *ctx)
{
	struct thread_run *run = ctx;
	struct ts_speech_source source = {.speech = &sentence};
	struct ts_asr_request request = request_for(&source);

	ts_transcript_init(&run->got);
	run->err = ts_asr_run(engine, &request, &run->got, NULL);
	return NULL;
}

static void runs_side_by_side_agree(void **state)
{
	TS_AUTOTRANSCRIPT struct ts_transcript alone;
	struct thread_run runs[3]; // one more than there are slots
	pthread_t threads[3];

	(void)state;
	run_on(engine, &sentence, &alone);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, thread_main, &runs[i]), 0);
	for (int i = 0; i < 3; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(runs[i].err, TS_OK);
		assert_same(&alone, &runs[i].got);
		ts_transcript_finish(&runs[i].got);
	}
}

struct abort_at {
	atomic_bool flag;
	int64_t at_ms;
	int64_t last_ms;
	int later; // calls after the flag was set
};

static void abort_on_progress(void *ctx, int64_t audio_ms, int64_t duration_ms)
{
	struct abort_at *at = ctx;

	(void)duration_ms;
	assert_true(audio_ms > at->last_ms);
	at->last_ms = audio_ms;
	at->later += atomic_load(&at->flag);
	if (audio_ms >= at->at_ms)
		atomic_store(&at->flag, true);
}

static void abort_is_answered_within_a_block(void **state)
{
	struct ts_speech_source source = {.speech = &speech};
	struct ts_asr_request request = request_for(&source);
	struct abort_at at = {.at_ms = 2500, .last_ms = -1};
	TS_AUTOTRANSCRIPT struct ts_transcript got, after;
	struct ts_error error = {0};

	(void)state;
	request.abort = &at.flag;
	request.sink = (struct ts_asr_sink){.progress = abort_on_progress, .ctx = &at};
	ts_transcript_init(&got);
	assert_int_equal(ts_asr_run(engine, &request, &got, &error), TS_ERR_ABORTED);
	assert_int_equal(at.later, 0);
	assert_in_range(at.last_ms, 2500, 2600);
	assert_int_equal(got.segment_count, 0);
	assert_null(got.language);
	run_on(engine, &sentence, &after); // the engine is as good as new
	assert_true(after.segment_count > 0);
}

// A source that gives nothing until it is told to.
struct gate {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	bool reading, open;
};

static enum ts_err gate_read(void *ctx, float *samples, size_t capacity, size_t *out_count, struct ts_error *error)
{
	struct gate *gate = ctx;

	(void)samples;
	(void)capacity;
	(void)error;
	pthread_mutex_lock(&gate->mutex);
	gate->reading = true;
	pthread_cond_broadcast(&gate->changed);
	while (!gate->open)
		pthread_cond_wait(&gate->changed, &gate->mutex);
	pthread_mutex_unlock(&gate->mutex);
	*out_count = 0;
	return TS_OK;
}

struct gate_run {
	struct ts_asr *engine;
	struct gate *gate;
	enum ts_err err;
};

static void *gate_main(void *ctx)
{
	struct gate_run *run = ctx;
	struct ts_asr_request request = {.source = {gate_read, run->gate, 0}};
	TS_AUTOTRANSCRIPT struct ts_transcript got;

	ts_transcript_init(&got);
	run->err = ts_asr_run(run->engine, &request, &got, NULL);
	return NULL;
}

static void *set_flag(void *flag)
{
	atomic_store((atomic_bool *)flag, true);
	return NULL;
}

static void waiting_for_a_slot_can_be_aborted(void **state)
{
	struct gate gate = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
	struct gate_run holder = {make_engine(1), &gate, TS_ERR_INTERNAL};
	struct ts_speech_source source = {.speech = &speech};
	struct ts_asr_request request = request_for(&source);
	TS_AUTOTRANSCRIPT struct ts_transcript got;
	atomic_bool flag = false;
	pthread_t thread, setter;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, gate_main, &holder), 0);
	pthread_mutex_lock(&gate.mutex);
	while (!gate.reading)
		pthread_cond_wait(&gate.changed, &gate.mutex);
	pthread_mutex_unlock(&gate.mutex);
	// The only slot is taken: this run can end only by its flag.
	request.abort = &flag;
	ts_transcript_init(&got);
	assert_int_equal(pthread_create(&setter, NULL, set_flag, &flag), 0);
	assert_int_equal(ts_asr_run(holder.engine, &request, &got, NULL), TS_ERR_ABORTED);
	assert_int_equal(source.at, 0);
	pthread_join(setter, NULL);
	pthread_mutex_lock(&gate.mutex);
	gate.open = true;
	pthread_cond_broadcast(&gate.changed);
	pthread_mutex_unlock(&gate.mutex);
	pthread_join(thread, NULL);
	assert_int_equal(holder.err, TS_OK);
	ts_asr_destroy(holder.engine);
}

static void silence_and_noise_say_nothing(void **state)
{
	struct ts_speech quiet = {0};
	uint32_t seed = 99;

	(void)state;
	ts_speech_silence(&quiet, 20000);
	TS_AUTOTRANSCRIPT struct ts_transcript got, hiss;
	run_on(engine, &quiet, &got);
	assert_int_equal(got.segment_count, 0);
	assert_int_equal(got.duration_ms, 20000);
	for (size_t i = 0; i < quiet.count; i++) {
		seed = seed * 1664525U + 1013904223U;
		quiet.samples[i] = ((float)(seed >> 16) / 32768.0F - 1.0F) * 0.01F;
	}
	run_on(engine, &quiet, &hiss);
	assert_int_equal(hiss.segment_count, 0);
	ts_speech_finish(&quiet);
}

static void without_detection_it_still_works(void **state)
{
	struct ts_speech_source source = {.speech = &speech};
	struct ts_asr_request request = request_for(&source);
	TS_AUTOTRANSCRIPT struct ts_transcript got;
	TS_AUTOFREE char *text = NULL;

	(void)state;
	request.vad = false;
	request.word_times = false;
	ts_transcript_init(&got);
	assert_int_equal(ts_asr_run(engine, &request, &got, NULL), TS_OK);
	assert_int_equal(ts_transcript_text(&got, &text, NULL), TS_OK);
	assert_true(ts_speech_word_errors(TEXT, text) <= 0.2);
	assert_int_equal(ts_transcript_word_count(&got), 0);
}

static void what_it_cannot_do_is_refused(void **state)
{
	struct ts_asr_pocketsphinx_options options = {"/nonexistent", 1, ts_clock_system()};
	struct ts_speech_source source = {.speech = &speech};
	struct ts_asr_request request = request_for(&source);
	TS_AUTOTRANSCRIPT struct ts_transcript got;
	struct ts_asr *none = NULL;
	struct ts_error error = {0};

	(void)state;
	assert_int_equal(ts_asr_pocketsphinx_create(&options, &none, &error), TS_ERR_ENGINE_UNAVAILABLE);
	assert_non_null(strstr(error.message, "/nonexistent/cmudict-en-us.dict"));
	assert_null(none);
	ts_transcript_init(&got);
	request.language = "de";
	assert_int_equal(ts_asr_run(engine, &request, &got, &error), TS_ERR_LANGUAGE);
	assert_string_equal(error.field, "language");
	assert_non_null(strstr(error.message, "\"de\""));
	request.language = "en";
	request.task = TS_ASR_TRANSLATE;
	assert_int_equal(ts_asr_run(engine, &request, &got, &error), TS_ERR_UNSUPPORTED);
	assert_int_equal(source.at, 0);
	source.fail_at = 16000 * 2;
	request.task = TS_ASR_TRANSCRIBE;
	assert_int_equal(ts_asr_run(engine, &request, &got, &error), TS_ERR_IO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(words_and_times_are_right),         cmocka_unit_test(receipt_tells_how),
	    cmocka_unit_test(earlier_recordings_leave_no_trace), cmocka_unit_test(runs_side_by_side_agree),
	    cmocka_unit_test(abort_is_answered_within_a_block),  cmocka_unit_test(waiting_for_a_slot_can_be_aborted),
	    cmocka_unit_test(silence_and_noise_say_nothing),     cmocka_unit_test(without_detection_it_still_works),
	    cmocka_unit_test(what_it_cannot_do_is_refused),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
