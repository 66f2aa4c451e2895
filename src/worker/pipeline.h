// Media in, transcript out: decode in the jail, recognise. What the worker runs for a job and the command line runs
// for a file: one piece of code for both.
#ifndef TS_WORKER_PIPELINE_H
#define TS_WORKER_PIPELINE_H

#include "asr/asr.h"
#include "media/media.h"

struct ts_pipeline_options {
	struct ts_asr *engine;
	struct ts_media_options media;
	const char *language; // NULL: detect
	const char *prompt;
	enum ts_asr_task task;
	bool vad;
	const atomic_bool *abort;
	const struct ts_log *log;
	struct ts_asr_sink sink;
	// Called once the media's duration is known (0: the file does not tell). NULL: not wanted.
	void (*opened)(void *ctx, const struct ts_media_info *info);
	void *ctx;
};

// fd: a regular file (borrowed). *out is initialised. Errors of ts_media_open, ts_media_read and ts_asr_run.
enum ts_err ts_pipeline_run(int fd, const struct ts_pipeline_options *options, struct ts_transcript *out,
                            struct ts_error *error) TS_MUST_USE;

// The `rewind` that ts_asr_create wants: starts the pipeline's source over.
enum ts_err ts_pipeline_rewind(void *source_ctx, struct ts_error *error);

#endif
