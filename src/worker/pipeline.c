// The pipeline: the jailed decoder's samples flow into the engine as it asks for them, so memory stays flat.
// Owns the decoder of the run, and starts it over when an engine that failed early is replaced by another.
#include "worker/pipeline.h"

struct source {
	int fd;
	const struct ts_pipeline_options *options;
	struct ts_media *media; // NULL: the last attempt to open it failed
	struct ts_media_info info;
};

static void source_close(struct source *source)
{
	ts_media_close(source->media);
	source->media = NULL;
}

static enum ts_err source_open(struct source *source, struct ts_error *error)
{
	struct ts_media_options media = source->options->media;

	media.abort = source->options->abort;
	media.log = source->options->log;
	return ts_media_open(source->fd, &media, &source->media, &source->info, error);
}

static enum ts_err source_read(void *ctx, float *samples, size_t capacity, size_t *out_count, struct ts_error *error)
{
	struct source *source = ctx;

	if (!source->media)
		return ts_fail(error, TS_ERR_INTERNAL, "the media could not be started over");
	return ts_media_read(source->media, samples, capacity, out_count, error);
}

enum ts_err ts_pipeline_rewind(void *source_ctx, struct ts_error *error)
{
	struct source *source = source_ctx;

	source_close(source);
	return source_open(source, error);
}

enum ts_err ts_pipeline_run(int fd, const struct ts_pipeline_options *options, struct ts_transcript *out,
                            struct ts_error *error)
{
	TS_CLEANUP(source_close) struct source source = {.fd = fd, .options = options};

	TS_TRY(source_open(&source, error));
	if (options->opened)
		options->opened(options->ctx, &source.info);
	struct ts_asr_request request = {
	    .source = {.read = source_read, .ctx = &source, .duration_ms = source.info.duration_ms},
	    .sink = options->sink,
	    .task = options->task,
	    .language = options->language,
	    .prompt = options->prompt,
	    .word_times = true,
	    .vad = options->vad,
	    .abort = options->abort,
	    .log = options->log,
	};
	TS_TRY(ts_asr_run(options->engine, &request, out, error));
	// An engine that counts no time of its own: the decoder knows how much it gave.
	if (out->duration_ms == 0 && source.media)
		out->duration_ms = ts_media_position_ms(source.media);
	return TS_OK;
}
