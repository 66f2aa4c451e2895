#include "engine_script.h"

#include "base/mem.h"
#include "unit.h"

#include <errno.h>
#include <math.h>
#include <time.h>

#define PATIENCE_S 30
#define LOOK_MS 5

static struct timespec in_ms(long ms)
{
	struct timespec at;

	clock_gettime(CLOCK_REALTIME, &at);
	at.tv_sec += ms / 1000;
	at.tv_nsec += ms % 1000 * 1000000;
	if (at.tv_nsec >= 1000000000) {
		at.tv_sec++;
		at.tv_nsec -= 1000000000;
	}
	return at;
}

static void info(const struct ts_asr *engine, struct ts_asr_info *out)
{
	(void)engine;
	*out = (struct ts_asr_info){.engine = "script", .version = "1", .model = "none", .local = true};
}

static enum ts_err check(const struct ts_asr *engine, const char *language, enum ts_asr_task task,
                         struct ts_error *error)
{
	const struct engine_script *script = (const struct engine_script *)(const void *)engine;

	(void)task;
	if (language && script->language_only && strcmp(language, script->language_only) != 0)
		return ts_fail(error, TS_ERR_LANGUAGE, "only %s is supported, not %s", script->language_only, language);
	return TS_OK;
}

static bool aborted(const struct engine_script *script, const struct ts_asr_request *request)
{
	return !script->deaf && request->abort && atomic_load(request->abort);
}

// Stands still; true: told to stop.
static bool stand_held(struct engine_script *script, const struct ts_asr_request *request)
{
	pthread_mutex_lock(&script->lock);
	script->running++;
	pthread_cond_broadcast(&script->changed);
	while (script->hold && !aborted(script, request)) {
		struct timespec at = in_ms(LOOK_MS);
		pthread_cond_timedwait(&script->changed, &script->lock, &at);
	}
	script->running--;
	bool stop = aborted(script, request);
	script->aborted += stop;
	pthread_cond_broadcast(&script->changed);
	pthread_mutex_unlock(&script->lock);
	return stop;
}

static enum ts_err read_all(const struct ts_asr_request *request, int64_t *out_samples, struct ts_error *error)
{
	float samples[1600];
	size_t count;

	*out_samples = 0;
	do {
		TS_TRY(request->source.read(request->source.ctx, samples, 1600, &count, error));
		*out_samples += (int64_t)count;
		if (request->sink.progress)
			request->sink.progress(request->sink.ctx, *out_samples / 16, request->source.duration_ms);
	} while (count);
	return TS_OK;
}

static enum ts_err run(struct ts_asr *engine, const struct ts_asr_request *request, struct ts_transcript *out,
                       struct ts_error *error)
{
	struct engine_script *script = (struct engine_script *)(void *)engine;
	TS_AUTOSEGMENT struct ts_segment segment;
	int64_t samples;

	ts_segment_init(&segment);
	TS_TRY(read_all(request, &samples, error));
	if (stand_held(script, request))
		return ts_fail(error, TS_ERR_ABORTED, "told to stop");
	pthread_mutex_lock(&script->lock);
	script->runs++;
	script->samples = samples;
	bool fail = script->fail_times > 0;
	script->fail_times -= fail;
	pthread_mutex_unlock(&script->lock);
	if (fail)
		return ts_fail(error, script->fail_with, "the script says so");
	if (!ts_str_set(&out->receipt.engine, "script"))
		return ts_fail_nomem(error);
	if (!script->text)
		return TS_OK;
	if (!ts_str_set(&segment.text, script->text))
		return ts_fail_nomem(error);
	segment.end_ms = samples / 16;
	return ts_transcript_add(out, &segment, error);
}

static void destroy(struct ts_asr *engine)
{
	(void)engine;
}

void engine_script_init(struct engine_script *script, const char *text)
{
	static const struct ts_asr_ops ops = {info, check, run, destroy};

	*script = (struct engine_script){.engine = {&ops}, .text = text};
	pthread_mutex_init(&script->lock, NULL);
	pthread_cond_init(&script->changed, NULL);
}

void engine_script_finish(struct engine_script *script)
{
	pthread_cond_destroy(&script->changed);
	pthread_mutex_destroy(&script->lock);
}

void engine_script_release(struct engine_script *script)
{
	pthread_mutex_lock(&script->lock);
	script->hold = false;
	pthread_cond_broadcast(&script->changed);
	pthread_mutex_unlock(&script->lock);
}

void engine_script_wait_held(struct engine_script *script, unsigned count)
{
	struct timespec at = in_ms(PATIENCE_S * 1000);
	int failed = 0;

	pthread_mutex_lock(&script->lock);
	while (script->running != count && !failed)
		failed = pthread_cond_timedwait(&script->changed, &script->lock, &at);
	pthread_mutex_unlock(&script->lock);
	if (failed)
		fail_msg("no %u runs stand held", count);
}
