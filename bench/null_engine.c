// A recogniser that recognises nothing: it takes all samples and says one fixed sentence per half minute. Linked in the
// place of bin/wiring_engine.c, so that a bench measures everything but recognition. Never part of a program that is
// installed.
#include "bin/wiring_engine.h"

#include "base/mem.h"

#define WINDOW_MS INT64_C(30000)
#define SAMPLES_PER_MS 16
#define BLOCK 16000

unsigned ts_wiring_slots(const struct ts_config *config)
{
	return ts_config_concurrency(config, 1);
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

// A sentence of five words over [start_ms, end_ms).
static enum ts_err say(const struct ts_asr_request *request, struct ts_transcript *out, int64_t start_ms,
                       int64_t end_ms, struct ts_error *error)
{
	static const char *const words[] = {"nothing", "was", "recognised", "in", "here"};
	TS_AUTOSEGMENT struct ts_segment segment = {0};
	int64_t step = (end_ms - start_ms) / 5;

	ts_segment_init(&segment);
	segment.text = ts_strdup("nothing was recognised in here");
	if (!segment.text)
		return ts_fail_nomem(error);
	segment.start_ms = start_ms;
	segment.end_ms = end_ms;
	for (int i = 0; i < 5; i++)
		TS_TRY(ts_segment_add_word(&segment, words[i], start_ms + i * step, start_ms + (i + 1) * step, 1, error));
	if (request->sink.segment)
		TS_TRY(request->sink.segment(request->sink.ctx, out->segment_count, &segment, error));
	return ts_transcript_add(out, &segment, error);
}

static enum ts_err run(struct ts_asr *engine, const struct ts_asr_request *request, struct ts_transcript *out,
                       struct ts_error *error)
{
	TS_AUTOFREE float *block = ts_calloc(BLOCK, sizeof *block);
	int64_t samples = 0, said_ms = 0;
	size_t count;

	(void)engine;
	if (!block)
		return ts_fail_nomem(error);
	do {
		if (request->abort && atomic_load(request->abort))
			return ts_fail(error, TS_ERR_ABORTED, "aborted");
		TS_TRY(request->source.read(request->source.ctx, block, BLOCK, &count, error));
		samples += (int64_t)count;
		int64_t now_ms = samples / SAMPLES_PER_MS;
		if (now_ms - said_ms >= WINDOW_MS || (!count && now_ms > said_ms)) {
			TS_TRY(say(request, out, said_ms, now_ms, error));
			said_ms = now_ms;
		}
		if (request->sink.progress)
			request->sink.progress(request->sink.ctx, now_ms, request->source.duration_ms);
	} while (count);
	out->duration_ms = samples / SAMPLES_PER_MS;
	out->receipt.audio_seconds = (double)out->duration_ms / 1000;
	return ts_str_set(&out->language, "en") && ts_str_set(&out->receipt.engine, "null") ? TS_OK : ts_fail_nomem(error);
}

static void destroy(struct ts_asr *engine)
{
	ts_free(engine);
}

enum ts_err ts_wiring_engine(const struct ts_program *program, unsigned slots, struct ts_asr **out,
                             struct ts_error *error)
{
	static const struct ts_asr_ops ops = {.info = info, .check = check, .run = run, .destroy = destroy};
	struct ts_asr *engine = ts_calloc(1, sizeof *engine);

	(void)program;
	(void)slots;
	if (!engine)
		return ts_fail_nomem(error);
	engine->ops = &ops;
	*out = engine;
	return TS_OK;
}
