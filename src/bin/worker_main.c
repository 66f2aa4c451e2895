// transcription-worker: claims jobs, runs them, sends callbacks. Wiring only.
#include "base/mem.h"
#include "bin/wiring.h"
#include "bin/wiring_engine.h"
#include "bin/wiring_guard.h"
#include "bin/wiring_queue.h"
#include "bin/wiring_store.h"
#include "bin/worker_http.h"
#include "net/http.h"
#include "worker/worker.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DAY_MS (24 * 3600 * INT64_C(1000))

static const char usage[] =
    "Usage: transcription-worker [--name=value]...\n"
    "Runs the jobs of the transcription service: fetches media, transcribes it, stores the result, sends callbacks.\n"
    "SIGTERM, SIGINT: take no new job, give running ones SHUTDOWN_GRACE_SECONDS, hand back the rest, end.\n"
    "Again: end at once.\n";

// Everything that the worker borrows; made in order, released in reverse.
struct parts {
	struct ts_paths paths;
	struct ts_store *store;
	struct ts_queue_wiring queue;
	struct ts_asr *engine;
	struct ts_netguard *media_guard, *callback_guard;
	char *media_template;
	int64_t schedule[TS_CONFIG_SCHEDULE_MAX];
	size_t schedule_count;
	char owner[64];
	unsigned slots;
};

static void parts_finish(struct parts *parts)
{
	ts_asr_destroy(parts->engine);
	ts_netguard_destroy(parts->media_guard);
	ts_netguard_destroy(parts->callback_guard);
	ts_store_close(parts->store);
	ts_free(parts->media_template);
	ts_paths_finish(&parts->paths);
}

static void name_owner(char owner[64])
{
	struct ts_rng rng = ts_rng_system();
	char host[33] = "localhost";

	// Process ids repeat over hosts and restarts; the random part does not.
	if (gethostname(host, sizeof host - 1) != 0 || !*host)
		snprintf(host, sizeof host, "localhost");
	host[sizeof host - 1] = '\0';
	snprintf(owner, 64, "%s:%ld:%08" PRIx32, host, (long)getpid(), (uint32_t)ts_rng_u64(&rng));
}

static enum ts_err make_parts(const struct ts_program *program, struct parts *parts, struct ts_error *error)
{
	const struct ts_config *config = &program->config;

	TS_TRY(ts_http_global_init(error));
	TS_TRY(ts_config_media_template(config, &parts->media_template, error));
	TS_TRY(ts_wiring_guard("MEDIA_ALLOWED_HOSTS", config->media_allowed_hosts, parts->media_template,
	                       &parts->media_guard, error));
	TS_TRY(ts_wiring_guard("CALLBACK_ALLOWED_HOSTS", config->callback_allowed_hosts,
	                       config->video_processing_service_url, &parts->callback_guard, error));
	ts_config_callback_schedule(config, parts->schedule, &parts->schedule_count);
	name_owner(parts->owner);
	TS_TRY(ts_paths_load(config, &parts->paths, error));
	TS_TRY(ts_paths_make(config, &parts->paths, error));
	TS_TRY(ts_wiring_store(program, &parts->paths, &parts->store, error));
	parts->slots = ts_wiring_slots(config);
	ts_queue_wiring_init(&parts->queue, program, parts->store, parts->slots);
	TS_TRY(ts_wiring_queue_check(&parts->queue, error));
	return ts_wiring_engine(program, parts->slots, &parts->engine, error);
}

static struct ts_worker_options worker_options(const struct ts_program *program, struct parts *parts)
{
	const struct ts_config *config = &program->config;

	return (struct ts_worker_options){
	    .owner = parts->owner,
	    .slots = parts->slots,
	    .store = parts->store,
	    .queue_open = ts_wiring_queue,
	    .queue_ctx = &parts->queue,
	    .engine = parts->engine,
	    .clock = ts_clock_system(),
	    .log = program->log,
	    .temp_dir = parts->paths.temp,
	    .upload_dir = parts->paths.uploads,
	    .media_url_template = *parts->media_template ? parts->media_template : NULL,
	    .media_file_root = *config->media_file_root ? config->media_file_root : NULL,
	    .media_guard = parts->media_guard,
	    .max_media_bytes = (uint64_t)config->max_audio_bytes,
	    .max_media_duration_ms = config->max_media_duration_ms,
	    .fetch_timeout_ms = config->fetch_timeout_ms,
	    .fetch_stall_ms = config->fetch_stall_ms,
	    .fetch_max_redirects = (unsigned)config->fetch_max_redirects,
	    .decoder_memory_bytes = (uint64_t)config->media_memory_bytes,
	    .vad = config->vad_enabled,
	    .job_timeout_ms = config->transcription_timeout_ms,
	    .lease_ms = config->lease_ms,
	    .retry_base_ms = config->job_retry_base_ms,
	    .retry_max_ms = config->job_retry_max_ms,
	    .orphan_after_ms = ts_wiring_orphan_after_ms(config),
	    .retention_ms = config->job_retention_days * DAY_MS,
	    .callback_secret = config->callback_secret,
	    .callback_guard = parts->callback_guard,
	    .callback_timeout_ms = config->callback_timeout_ms,
	    .callback_schedule_ms = parts->schedule,
	    .callback_schedule_count = parts->schedule_count,
	    .callback_max_attempts = (unsigned)config->callback_max_attempts,
	};
}

static void tell_ready(struct ts_program *program, const struct parts *parts)
{
	struct ts_asr_info info;
	char line[256];

	ts_asr_info(parts->engine, &info);
	ts_log_info(&program->log, "ready", TS_STR("owner", parts->owner), TS_INT("slots", parts->slots),
	            TS_STR("engine", info.engine), TS_STR("model", info.model), TS_STR("version", TS_VERSION));
	snprintf(line, sizeof line, "%.64s, model %.128s, %u at a time\n", info.engine, info.model, parts->slots);
	ts_program_ready(program, line);
}

static enum ts_err serve(struct ts_program *program, struct parts *parts, struct ts_error *error)
{
	struct ts_worker_options options = worker_options(program, parts);
	struct ts_worker_http *http = NULL;
	struct ts_worker *worker;

	TS_TRY(ts_worker_start(&options, &worker, error));
	if (program->config.metrics_port) {
		struct ts_worker_http_options serving = {.host = program->config.host,
		                                         .port = (uint16_t)program->config.metrics_port,
		                                         .worker = worker,
		                                         .store = parts->store};
		enum ts_err err = ts_worker_http_start(&serving, &http, error);
		if (err != TS_OK) {
			ts_worker_destroy(worker);
			return err;
		}
	}
	tell_ready(program, parts);
	int signal_number = ts_signals_wait();
	ts_signals_release();
	ts_log_info(&program->log, "stopping", TS_INT("signal", signal_number),
	            TS_INT("grace_ms", program->config.shutdown_grace_ms));
	ts_worker_http_drain(http);
	ts_worker_drain(worker);
	ts_worker_stop(worker, program->config.shutdown_grace_ms);
	ts_worker_http_stop(http);
	ts_worker_destroy(worker);
	ts_log_info(&program->log, "stopped");
	return TS_OK;
}

static int run(struct ts_program *program, const struct ts_args *args)
{
	TS_CLEANUP(parts_finish) struct parts parts = {0};
	struct ts_error error = {0};

	(void)args;
	int code = ts_program_check_service(program, TS_WARN_UNSIGNED);
	if (code != TS_EXIT_OK)
		return code;
	if (make_parts(program, &parts, &error) != TS_OK || serve(program, &parts, &error) != TS_OK)
		return ts_program_fail(program, &error);
	return TS_EXIT_OK;
}

int main(int argc, char **argv)
{
	const struct ts_program_spec spec = {
	    .name = "transcription-worker", .component = "worker", .usage = usage, .run = run};
	int status;

	if (ts_media_child_main(argc, argv, &status))
		return status;
	return ts_program_main(&spec, argc, argv);
}
