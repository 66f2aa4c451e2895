// The engine that runs on one engine and, when that fails through no fault of the recording and before anything was
// told to the caller, starts over on another.
#include "asr/engines.h"

#include "base/mem.h"

struct fallback {
	struct ts_asr base;
	struct ts_asr *first, *second;
	enum ts_err (*rewind)(void *source_ctx, struct ts_error *error);
};

// One run: stands between the engine and the caller's source and sink.
struct passage {
	const struct ts_asr_request *request; // the caller's
	bool caller_failed;                   // source or sink ended the run
	bool told;                            // a segment went out
	int64_t progress_ms;
};

static void info(const struct ts_asr *engine, struct ts_asr_info *out)
{
	const struct fallback *self = (const struct fallback *)engine;
	struct ts_asr_info second;

	ts_asr_info(self->first, out);
	ts_asr_info(self->second, &second);
	out->local = out->local && second.local;
}

static enum ts_err check(const struct ts_asr *engine, const char *language, enum ts_asr_task task,
                         struct ts_error *error)
{
	return ts_asr_check(((const struct fallback *)engine)->first, language, task, error);
}

static enum ts_err pass_read(void *ctx, float *samples, size_t capacity, size_t *out_count, struct ts_error *error)
{
	struct passage *passage = ctx;
	const struct ts_pcm_source *source = &passage->request->source;

	enum ts_err err = source->read(source->ctx, samples, capacity, out_count, error);
	passage->caller_failed = err != TS_OK;
	return err;
}

static void pass_progress(void *ctx, int64_t audio_ms, int64_t duration_ms)
{
	struct passage *passage = ctx;
	const struct ts_asr_sink *sink = &passage->request->sink;

	if (audio_ms <= passage->progress_ms)
		return; // the second engine catches up
	passage->progress_ms = audio_ms;
	if (sink->progress)
		sink->progress(sink->ctx, audio_ms, duration_ms);
}

static enum ts_err pass_segment(void *ctx, size_t index, const struct ts_segment *segment, struct ts_error *error)
{
	struct passage *passage = ctx;
	const struct ts_asr_sink *sink = &passage->request->sink;

	if (!sink->segment)
		return TS_OK; // nobody was told anything
	passage->told = true;
	enum ts_err err = sink->segment(sink->ctx, index, segment, error);
	passage->caller_failed = err != TS_OK;
	return err;
}

// Whether another engine may do better with the same recording.
static bool is_the_engines(enum ts_err err)
{
	static const enum ts_err list[] = {
	    TS_ERR_ENGINE,
	    TS_ERR_ENGINE_UNAVAILABLE,
	    TS_ERR_ENGINE_REJECTED,
	    TS_ERR_NET_UNREACHABLE,
	    TS_ERR_NET_FORBIDDEN,
	    TS_ERR_NET_STATUS,
	    TS_ERR_NET_STATUS_TEMPORARY,
	    TS_ERR_NET_INCOMPLETE,
	    TS_ERR_NET_RATE_LIMITED,
	    TS_ERR_TIMEOUT,
	};
	for (size_t i = 0; i < sizeof list / sizeof *list; i++)
		if (list[i] == err)
			return true;
	return false;
}

static enum ts_err run(struct ts_asr *engine, const struct ts_asr_request *request, struct ts_transcript *out,
                       struct ts_error *error)
{
	struct fallback *self = (struct fallback *)engine;
	struct passage passage = {.request = request, .progress_ms = -1};
	struct ts_asr_request passed = *request;
	struct ts_error why = {0};

	passed.source.read = pass_read;
	passed.source.ctx = &passage;
	passed.sink = (struct ts_asr_sink){pass_progress, pass_segment, &passage};
	enum ts_err err = ts_asr_run(self->first, &passed, out, &why);
	bool retry = is_the_engines(err) && !passage.caller_failed && !passage.told &&
	             ts_asr_check(self->second, request->language, request->task, NULL) == TS_OK;
	if (!retry) {
		if (err != TS_OK && error)
			*error = why;
		return err;
	}
	if (request->log) {
		struct ts_asr_info first, second;
		ts_asr_info(self->first, &first);
		ts_asr_info(self->second, &second);
		ts_log_warn(request->log, "engine failed, starting over on another", TS_STR("engine", first.engine),
		            TS_STR("next_engine", second.engine), TS_STR("error", ts_err_name(err)),
		            TS_STR("reason", why.message));
	}
	TS_TRY(self->rewind(request->source.ctx, error));
	return ts_asr_run(self->second, &passed, out, error);
}

static void destroy(struct ts_asr *engine)
{
	struct fallback *self = (struct fallback *)engine;

	ts_asr_destroy(self->first);
	ts_asr_destroy(self->second);
	ts_free(self);
}

static const struct ts_asr_ops ops = {.info = info, .check = check, .run = run, .destroy = destroy};

enum ts_err ts_asr_fallback_create(struct ts_asr *first, struct ts_asr *second,
                                   enum ts_err (*rewind)(void *source_ctx, struct ts_error *error), struct ts_asr **out,
                                   struct ts_error *error)
{
	struct fallback *self = ts_calloc(1, sizeof *self);

	if (!self) {
		ts_asr_destroy(first);
		ts_asr_destroy(second);
		return ts_fail_nomem(error);
	}
	self->first = first;
	self->second = second;
	self->rewind = rewind;
	ts_asr_init(&self->base, &ops);
	*out = &self->base;
	return TS_OK;
}
