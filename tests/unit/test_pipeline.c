// The pipeline with the real, jailed decoder and a scripted engine.
#include "worker/pipeline.h"

#include "engine_script.h"
#include "unit.h"

#include "rig.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static char wav[64];
static struct engine_script script;
static struct ts_media_info opened_info;
static unsigned opened_times;
static int64_t last_progress;

static int set_up(void **state)
{
	(void)state;
	snprintf(wav, sizeof wav, "/tmp/ts-pipeline-XXXXXX");
	int fd = mkstemp(wav);
	if (fd < 0)
		return -1;
	close(fd);
	rig_write_wav(wav, 16000);
	engine_script_init(&script, "hello");
	opened_times = 0;
	last_progress = -1;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	engine_script_finish(&script);
	return unlink(wav);
}

static void opened(void *ctx, const struct ts_media_info *info)
{
	assert_ptr_equal(ctx, &script);
	opened_info = *info;
	opened_times++;
}

static void progress(void *ctx, int64_t audio_ms, int64_t duration_ms)
{
	(void)ctx;
	(void)duration_ms;
	assert_true(audio_ms >= last_progress);
	last_progress = audio_ms;
}

static enum ts_err run_on(const char *path, struct ts_asr *engine, const atomic_bool *abort, struct ts_transcript *out,
                          struct ts_error *error)
{
	struct ts_pipeline_options options = {
	    .engine = engine,
	    .abort = abort,
	    .sink = {.progress = progress},
	    .opened = opened,
	    .ctx = &script,
	};
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	enum ts_err err = ts_pipeline_run(fd, &options, out, error);
	close(fd);
	return err;
}

static void samples_reach_the_engine(void **state)
{
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;
	struct ts_error error = {0};

	(void)state;
	ts_transcript_init(&transcript);
	assert_ok(run_on(wav, &script.engine, NULL, &transcript, &error), &error);
	assert_int_equal(opened_times, 1);
	assert_int_equal(opened_info.sample_rate, 16000);
	assert_int_equal(opened_info.duration_ms, 1000);
	assert_int_equal(script.samples, 16000);
	assert_int_equal(last_progress, 1000);
	assert_int_equal(transcript.segment_count, 1);
	assert_string_equal(transcript.segments[0].text, "hello");
	assert_int_equal(transcript.duration_ms, 1000);
}

static void no_speech_is_an_empty_transcript(void **state)
{
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;
	struct ts_error error = {0};

	(void)state;
	ts_transcript_init(&transcript);
	script.text = NULL;
	assert_ok(run_on(wav, &script.engine, NULL, &transcript, &error), &error);
	assert_int_equal(transcript.segment_count, 0);
	assert_int_equal(transcript.duration_ms, 1000);
}

static void not_media(void **state)
{
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;
	struct ts_error error = {0};
	FILE *file = fopen(wav, "wb");

	(void)state;
	assert_non_null(file);
	for (int i = 0; i < 5000; i++)
		fputs("this is a text about sound, not sound. ", file);
	assert_int_equal(fclose(file), 0);
	ts_transcript_init(&transcript);
	enum ts_err err = run_on(wav, &script.engine, NULL, &transcript, &error);
	assert_true(err == TS_ERR_MEDIA_NOT_MEDIA || err == TS_ERR_MEDIA_NO_AUDIO);
	assert_int_equal(opened_times, 0);
}

static void abort_before_the_start(void **state)
{
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;
	struct ts_error error = {0};
	atomic_bool abort = true;

	(void)state;
	ts_transcript_init(&transcript);
	assert_err(run_on(wav, &script.engine, &abort, &transcript, &error), TS_ERR_ABORTED);
}

// An engine that reads, then starts the source over and reads it all again, as a fallback does.
static enum ts_err run_twice(struct ts_asr *engine, const struct ts_asr_request *request, struct ts_transcript *out,
                             struct ts_error *error)
{
	float samples[100];
	size_t count;

	(void)engine;
	TS_TRY(request->source.read(request->source.ctx, samples, 100, &count, error));
	assert_int_equal(count, 100);
	TS_TRY(ts_pipeline_rewind(request->source.ctx, error));
	return ts_asr_run(&script.engine, request, out, error);
}

static void info(const struct ts_asr *engine, struct ts_asr_info *out)
{
	(void)engine;
	*out = (struct ts_asr_info){.engine = "twice", .version = "", .model = ""};
}

static enum ts_err check(const struct ts_asr *engine, const char *language, enum ts_asr_task task,
                         struct ts_error *error)
{
	(void)engine;
	(void)language;
	(void)task;
	(void)error;
	return TS_OK;
}

static void destroy(struct ts_asr *engine)
{
	(void)engine;
}

static void rewind_starts_over(void **state)
{
	static const struct ts_asr_ops ops = {info, check, run_twice, destroy};
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;
	struct ts_asr twice = {&ops};
	struct ts_error error = {0};

	(void)state;
	ts_transcript_init(&transcript);
	assert_ok(run_on(wav, &twice, NULL, &transcript, &error), &error);
	assert_int_equal(script.samples, 16000);
	assert_int_equal(opened_times, 1);
}

int main(int argc, char **argv)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    CASE(samples_reach_the_engine),
	    CASE(no_speech_is_an_empty_transcript),
	    CASE(not_media),
	    CASE(abort_before_the_start),
	    CASE(rewind_starts_over),
	};
	int status;

	if (ts_media_child_main(argc, argv, &status))
		return status;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
