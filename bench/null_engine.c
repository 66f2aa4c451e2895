#include "null_engine.h"

#include "base/mem.h"

#include <time.h>

#define CHUNK 16000 // samples: a second

int64_t bench_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void info(const struct ts_asr *engine, struct ts_asr_info *out)
{
	(void)engine;
	*out = (struct ts_asr_info){.engine = "null", .version = "", .model = "none", .local = true};
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

static void note(_Atomic int64_t *place)
{
	if (place)
		*place = bench_now_ns();
}

// One word over the whole recording, so that a transcript is written as for any other job.
static enum ts_err give_word(struct ts_transcript *out, int64_t duration_ms, struct ts_error *error)
{
	TS_AUTOSEGMENT struct ts_segment segment;

	ts_segment_init(&segment);
	segment.end_ms = duration_ms;
	segment.text = ts_strdup("word");
	out->receipt.engine = ts_strdup("null");
	if (!segment.text || !out->receipt.engine)
		return ts_fail_nomem(error);
	TS_TRY(ts_segment_add_word(&segment, "word", 0, duration_ms, 1, error));
	return ts_transcript_add(out, &segment, error);
}

static enum ts_err run(struct ts_asr *asr, const struct ts_asr_request *request, struct ts_transcript *out,
                       struct ts_error *error)
{
	const struct bench_null_engine *engine = (const struct bench_null_engine *)asr;
	static _Thread_local float samples[CHUNK];
	int64_t total = 0;
	size_t count;

	note(engine->begun_ns);
	do {
		if (request->abort && atomic_load(request->abort))
			return ts_fail(error, TS_ERR_ABORTED, "stopped");
		TS_TRY(request->source.read(request->source.ctx, samples, CHUNK, &count, error));
		total += (int64_t)count;
		if (request->sink.progress)
			request->sink.progress(request->sink.ctx, total / 16, request->source.duration_ms);
	} while (count > 0);
	note(engine->drained_ns);
	out->duration_ms = total / 16;
	return give_word(out, out->duration_ms, error);
}

static void destroy(struct ts_asr *engine)
{
	(void)engine;
}

void bench_null_engine_init(struct bench_null_engine *engine)
{
	static const struct ts_asr_ops ops = {.info = info, .check = check, .run = run, .destroy = destroy};

	*engine = (struct bench_null_engine){0};
	ts_asr_init(&engine->asr, &ops);
}
