// A slot's thread, and one attempt of a job in it: temporary folder, source, pipeline, result. Every way out removes
// the folder and settles the row: finished, failed, queued again, handed back, or (lease lost) left alone.
#include "worker/pipeline.h"
#include "worker/source.h"
#include "worker/tempdir.h"
#include "worker/worker_priv.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PERSIST_PAUSE_MS 500

const char *ts_run_stage_name(int stage)
{
	static const char *const names[] = {"fetching", "decoding", "transcribing", "storing"};

	return names[stage];
}

void ts_run_stop(struct ts_run *run, enum ts_run_stop reason)
{
	int none = TS_RUN_GOES_ON;

	if (atomic_compare_exchange_strong(&run->stop, &none, (int)reason))
		atomic_store(&run->abort, true);
}

// One attempt with what belongs to it; lives on the slot's stack.
struct attempt {
	struct ts_worker *worker;
	struct ts_run *run;
	struct ts_log log;
	char trace_id[TS_TRACE_ID_SIZE];
};

static void set_log(struct attempt *attempt)
{
	const struct ts_job *job = &attempt->run->job;

	attempt->log = ts_log_with(&attempt->worker->options.log, TS_STR("job_id", job->id));
	attempt->log = ts_log_with(&attempt->log, TS_INT("attempt", attempt->run->lease.attempt));
	if (job->request_id)
		attempt->log = ts_log_with(&attempt->log, TS_STR("request_id", job->request_id));
	// traceparent: version "-" trace-id (32 hex) "-" parent-id "-" flags
	if (job->traceparent && strlen(job->traceparent) >= 55) {
		memcpy(attempt->trace_id, job->traceparent + 3, TS_TRACE_ID_SIZE - 1);
		attempt->log = ts_log_with(&attempt->log, TS_STR("trace_id", attempt->trace_id));
	}
}

static void on_opened(void *ctx, const struct ts_media_info *info)
{
	const struct attempt *attempt = ctx;

	atomic_store(&attempt->run->duration_ms, info->duration_ms);
	atomic_store(&attempt->run->stage, TS_STAGE_TRANSCRIBING);
	ts_log_debug(&attempt->log, "media opened", TS_STR("container", info->container), TS_STR("codec", info->codec),
	             TS_INT("duration_ms", info->duration_ms), TS_INT("channels", info->channels),
	             TS_INT("sample_rate", info->sample_rate));
}

static void on_progress(void *ctx, int64_t audio_ms, int64_t duration_ms)
{
	const struct attempt *attempt = ctx;

	(void)duration_ms;
	atomic_store(&attempt->run->audio_ms, audio_ms);
}

static enum ts_err open_source(struct attempt *attempt, const struct ts_tempdir *dir, int *out_fd,
                               struct ts_error *error)
{
	const struct ts_worker_options *options = &attempt->worker->options;
	struct ts_job_source_options source = {
	    .store = options->store,
	    .upload_dir = options->upload_dir,
	    .temp_dir = dir->path,
	    .media_url_template = options->media_url_template,
	    .media_file_root = options->media_file_root,
	    .media_guard = options->media_guard,
	    .max_bytes = options->max_media_bytes,
	    .fetch_timeout_ms = options->fetch_timeout_ms,
	    .fetch_stall_ms = options->fetch_stall_ms,
	    .fetch_max_redirects = options->fetch_max_redirects,
	    .abort = &attempt->run->abort,
	    .log = &attempt->log,
	};
	return ts_job_source_open(&source, &attempt->run->job, out_fd, error);
}

static enum ts_err recognise(struct attempt *attempt, int fd, struct ts_transcript *out, struct ts_error *error)
{
	const struct ts_worker_options *options = &attempt->worker->options;
	struct ts_pipeline_options pipeline = {
	    .engine = options->engine,
	    .media = {.pool = attempt->worker->pool,
	              .memory_bytes = options->decoder_memory_bytes,
	              .max_duration_ms = options->max_media_duration_ms},
	    .language = attempt->run->job.language,
	    .task = TS_ASR_TRANSCRIBE,
	    .vad = options->vad,
	    .abort = &attempt->run->abort,
	    .log = &attempt->log,
	    .sink = {.progress = on_progress, .ctx = attempt},
	    .opened = on_opened,
	    .ctx = attempt,
	};
	int64_t started = ts_mono_ms(options->clock);

	atomic_store(&attempt->run->stage, TS_STAGE_DECODING);
	TS_TRY(ts_pipeline_run(fd, &pipeline, out, error));
	int64_t took = ts_mono_ms(options->clock) - started;
	out->receipt.attempts = attempt->run->lease.attempt;
	atomic_fetch_add(&attempt->worker->audio_ms, out->duration_ms);
	atomic_fetch_add(&attempt->worker->recognition_ms, took);
	return TS_OK;
}

static enum ts_err transcribe(struct attempt *attempt, struct ts_transcript *out, struct ts_error *error)
{
	const struct ts_worker_options *options = &attempt->worker->options;
	const struct ts_job *job = &attempt->run->job;
	TS_AUTOTEMPDIR struct ts_tempdir dir = TS_TEMPDIR_NONE;
	int fd;

	// Before anything is fetched: what the engine can't do at all.
	enum ts_err err = ts_asr_check(options->engine, job->language, TS_ASR_TRANSCRIBE, error);
	if (err != TS_OK)
		return err;
	TS_TRY(ts_tempdir_create(options->temp_dir, job->id, attempt->run->lease.fence, &dir, error));
	TS_TRY(open_source(attempt, &dir, &fd, error));
	err = recognise(attempt, fd, out, error);
	close(fd);
	return err;
}

// A final state was written: a callback may be due, and a stop waits until the deliverers have looked.
static void note_final(struct ts_worker *worker)
{
	pthread_mutex_lock(&worker->lock);
	worker->finals_written++;
	pthread_mutex_unlock(&worker->lock);
}

// A write of the result, tried again while the store is away and the lease may still hold.
static bool worth_another_try(struct attempt *attempt, enum ts_err err)
{
	if (err != TS_ERR_STORE || atomic_load(&attempt->run->abort))
		return false;
	ts_log_warn(&attempt->log, "the store does not answer; trying again");
	ts_worker_pause(attempt->worker, PERSIST_PAUSE_MS, &attempt->run->abort);
	return !atomic_load(&attempt->run->abort);
}

static void settle_lost(struct attempt *attempt, const char *why)
{
	atomic_fetch_add(&attempt->worker->lost, 1);
	ts_log_info(&attempt->log, "job stopped: nothing written", TS_STR("reason", why));
}

static enum ts_err store_finish(struct attempt *attempt, const struct ts_transcript *transcript, struct ts_error *error)
{
	enum ts_err err;

	atomic_store(&attempt->run->stage, TS_STAGE_STORING);
	do {
		err = ts_store_finish(attempt->worker->options.store, &attempt->run->lease, transcript, error);
	} while (worth_another_try(attempt, err));
	return err;
}

// Full jitter: any moment up to the exponential ceiling.
static int64_t retry_at(struct attempt *attempt)
{
	const struct ts_worker_options *options = &attempt->worker->options;
	struct ts_rng rng = ts_rng_system();
	unsigned earlier = attempt->run->lease.attempt > 0 ? (unsigned)attempt->run->lease.attempt - 1 : 0;
	int64_t ceiling = ts_worker_backoff(options->retry_base_ms, options->retry_max_ms, earlier);

	return ts_wall_ms(options->clock) + 1 + (int64_t)(ts_rng_unit(&rng) * (double)ceiling);
}

static void settle_failed(struct attempt *attempt, const struct ts_error *cause)
{
	struct ts_worker *worker = attempt->worker;
	struct ts_error error = {0};
	enum ts_job_state state = TS_JOB_FAILED;
	int64_t again = ts_err_is_temporary(cause->code) ? retry_at(attempt) : 0;
	enum ts_err err;

	do {
		err = ts_store_fail(worker->options.store, &attempt->run->lease, cause, again, &state, &error);
	} while (worth_another_try(attempt, err));
	if (err == TS_ERR_FENCED) {
		settle_lost(attempt, "lease lost");
		return;
	}
	if (err != TS_OK) {
		atomic_fetch_add(&worker->lost, 1);
		ts_log_error(&attempt->log, "failure not recorded; the lease will expire", TS_STR("error", error.message));
		return;
	}
	if (state == TS_JOB_QUEUED) {
		atomic_fetch_add(&worker->retried, 1);
		ts_log_warn(&attempt->log, "attempt failed; the job is tried again",
		            TS_STR("error_code", ts_err_name(cause->code)), TS_STR("error", cause->message),
		            TS_INT("retry_in_ms", again - ts_wall_ms(worker->options.clock)));
		return;
	}
	atomic_fetch_add(&worker->failed, 1);
	note_final(worker);
	ts_log_error(&attempt->log, "job failed", TS_STR("error_code", ts_err_name(cause->code)),
	             TS_STR("error", cause->message));
}

static void settle_released(struct attempt *attempt)
{
	struct ts_error error = {0};
	enum ts_err err = ts_store_release(attempt->worker->options.store, &attempt->run->lease, &error);

	if (err == TS_OK) {
		atomic_fetch_add(&attempt->worker->released, 1);
		ts_log_info(&attempt->log, "job handed back");
		return;
	}
	if (err == TS_ERR_FENCED) {
		settle_lost(attempt, "lease lost");
		return;
	}
	atomic_fetch_add(&attempt->worker->lost, 1);
	ts_log_error(&attempt->log, "job not handed back; the lease will expire", TS_STR("error", error.message));
}

static void settle_completed(struct attempt *attempt, const struct ts_transcript *transcript)
{
	struct ts_worker *worker = attempt->worker;

	atomic_fetch_add(&worker->completed, 1);
	note_final(worker);
	ts_log_info(&attempt->log, "job completed", TS_STR("engine", transcript->receipt.engine),
	            TS_INT("audio_ms", transcript->duration_ms), TS_INT("segments", transcript->segment_count),
	            TS_INT("duration_ms", ts_mono_ms(worker->options.clock) - attempt->run->claimed_mono));
}

static void settle(struct attempt *attempt, enum ts_err err, const struct ts_transcript *transcript,
                   struct ts_error *cause)
{
	if (err == TS_OK) {
		err = store_finish(attempt, transcript, cause);
		if (err == TS_OK) {
			settle_completed(attempt, transcript);
			return;
		}
	}
	cause->code = err;
	if (err == TS_ERR_FENCED) {
		settle_lost(attempt, "lease lost");
		return;
	}
	switch ((enum ts_run_stop)atomic_load(&attempt->run->stop)) {
	case TS_RUN_FENCED: settle_lost(attempt, "lease lost"); return;
	case TS_RUN_STORE_LOST: settle_lost(attempt, "store unreachable for longer than the lease"); return;
	case TS_RUN_SHUTDOWN: settle_released(attempt); return;
	case TS_RUN_TIMEOUT:
		ts_fail(cause, TS_ERR_TIMEOUT, "the attempt took longer than the limit of %lld s",
		        (long long)(attempt->worker->options.job_timeout_ms / 1000));
		break;
	case TS_RUN_GOES_ON:
	default: break;
	}
	settle_failed(attempt, cause);
}

static void run_job(struct ts_worker *worker, struct ts_run *run)
{
	struct attempt attempt = {.worker = worker, .run = run};
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;
	struct ts_error error = {0};

	set_log(&attempt);
	ts_log_info(&attempt.log, "job claimed", TS_STR("video_id", run->job.video_id),
	            TS_INT("waited_ms", run->claimed_wall - run->job.created_at));
	ts_transcript_init(&transcript);
	enum ts_err err = transcribe(&attempt, &transcript, &error);
	settle(&attempt, err, &transcript, &error);
}

void *ts_slot_main(void *arg)
{
	struct ts_slot *slot = arg;
	struct ts_worker *worker = slot->worker;

	pthread_mutex_lock(&worker->lock);
	for (;;) {
		while (slot->state != TS_SLOT_READY && !worker->slots_quit)
			ts_worker_wait(worker, 60000);
		if (slot->state != TS_SLOT_READY)
			break;
		slot->state = TS_SLOT_RUNNING;
		pthread_cond_broadcast(&worker->changed);
		pthread_mutex_unlock(&worker->lock);
		run_job(worker, &slot->run);
		ts_media_pool_refill(worker->pool); // mends what died, now that the result is out
		pthread_mutex_lock(&worker->lock);
		slot->generation++;
		atomic_fetch_sub(&worker->busy, 1);
		slot->state = TS_SLOT_FREE;
		ts_job_finish(&slot->run.job);
		pthread_cond_broadcast(&worker->changed);
	}
	pthread_mutex_unlock(&worker->lock);
	return NULL;
}
