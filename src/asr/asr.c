// Dispatch to the engine behind the interface, with the checks that all engines share.
#include "asr/asr.h"

#include "asr/output.h"

#include <assert.h>

void ts_asr_init(struct ts_asr *engine, const struct ts_asr_ops *ops)
{
	assert(ops->info && ops->check && ops->run && ops->destroy);
	engine->ops = ops;
}

void ts_asr_info(const struct ts_asr *engine, struct ts_asr_info *out)
{
	engine->ops->info(engine, out);
}

enum ts_err ts_asr_check(const struct ts_asr *engine, const char *language, enum ts_asr_task task,
                         struct ts_error *error)
{
	return engine->ops->check(engine, language, task, error);
}

enum ts_err ts_asr_run(struct ts_asr *engine, const struct ts_asr_request *request, struct ts_transcript *out,
                       struct ts_error *error)
{
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;

	assert(request->source.read);
	assert(!out->segments && !out->language && !out->receipt.engine);
	ts_transcript_init(&transcript);
	if (ts_asr_aborted(request))
		return ts_asr_fail_aborted(error);
	TS_TRY(engine->ops->check(engine, request->language, request->task, error));
	TS_TRY(engine->ops->run(engine, request, &transcript, error));
	*out = transcript;
	ts_transcript_init(&transcript);
	return TS_OK;
}

void ts_asr_destroy(struct ts_asr *engine)
{
	if (engine)
		engine->ops->destroy(engine);
}
