// transcription-api: the HTTP API and the outbox's relay over the store. Wiring only.
#include "api/api.h"
#include "base/mem.h"
#include "bin/wiring.h"
#include "bin/wiring_queue.h"
#include "bin/wiring_store.h"

#include <stdio.h>
#include <string.h>

static const char usage[] =
    "Usage: transcription-api [--name=value]...\n"
    "Serves the HTTP API of the transcription service. Jobs are run by transcription-worker.\n"
    "SIGTERM, SIGINT: stop taking requests, let running ones finish, end. Again: end at once.\n";

static const char openai_url[] = "https://api.openai.com/v1";

// ENGINE=auto takes the remote engine when it has a key, or an endpoint of one's own.
static bool engine_is_local(const struct ts_config *config)
{
	if (config->engine == TS_ENGINE_AUTO)
		return !*config->openai_api_key && strcmp(config->openai_base_url, openai_url) == 0;
	return config->engine == TS_ENGINE_POCKETSPHINX;
}

static enum ts_err english_only(void *ctx, const char *language, struct ts_error *error)
{
	(void)ctx;
	if (strcmp(language, "en") == 0)
		return TS_OK;
	return ts_fail(error, TS_ERR_LANGUAGE, "the engine pocketsphinx supports \"en\" only, not \"%s\"", language);
}

static struct ts_api_options api_options(const struct ts_program *program, struct ts_queue_wiring *queue,
                                         const struct ts_paths *paths, const char *media_template)
{
	const struct ts_config *config = &program->config;

	return (struct ts_api_options){
	    .host = config->host,
	    .port = (uint16_t)config->port,
	    .threads = (unsigned)config->http_threads,
	    .max_connections = (unsigned)config->max_connections,
	    .store = queue->store,
	    .queue_open = ts_wiring_queue,
	    .queue_ctx = queue,
	    .clock = ts_clock_system(),
	    .log = program->log,
	    .api_keys = config->service_api_key,
	    .public_url = config->public_url,
	    .upload_dir = paths->uploads,
	    .has_media_template = *media_template != '\0',
	    .has_media_file_root = *config->media_file_root != '\0',
	    .max_body_bytes = (uint64_t)config->max_body_bytes,
	    .max_upload_bytes = (uint64_t)config->max_upload_bytes,
	    .max_headers = (unsigned)config->max_headers,
	    .max_header_bytes = (size_t)config->max_header_bytes,
	    .request_timeout_ms = config->request_timeout_ms,
	    .upload_timeout_ms = config->upload_timeout_ms,
	    .max_wait_ms = config->max_wait_ms,
	    .max_queued = config->max_queued_jobs,
	    .upload_ttl_ms = config->upload_ttl_ms,
	    .idempotency_ttl_ms = config->idempotency_ttl_ms,
	    .job_max_attempts = (int32_t)config->job_max_attempts,
	    .check_language = engine_is_local(config) ? english_only : NULL,
	};
}

static enum ts_err serve(struct ts_program *program, struct ts_store *store, const struct ts_paths *paths,
                         struct ts_error *error)
{
	TS_AUTOFREE char *media_template = NULL;
	struct ts_queue_wiring queue;
	struct ts_api *api;
	char line[64];

	TS_TRY(ts_config_media_template(&program->config, &media_template, error));
	ts_queue_wiring_init(&queue, program, store, 0);
	TS_TRY(ts_wiring_queue_check(&queue, error));
	struct ts_api_options options = api_options(program, &queue, paths, media_template);
	TS_TRY(ts_api_start(&options, &api, error));
	ts_log_info(&program->log, "listening", TS_STR("host", options.host), TS_INT("port", ts_api_port(api)),
	            TS_STR("version", TS_VERSION));
	snprintf(line, sizeof line, "%u\n", (unsigned)ts_api_port(api));
	ts_program_ready(program, line);
	int signal_number = ts_signals_wait();
	ts_signals_release();
	ts_log_info(&program->log, "stopping", TS_INT("signal", signal_number));
	ts_api_drain(api);
	ts_api_stop(api, program->config.shutdown_grace_ms);
	ts_api_destroy(api);
	ts_log_info(&program->log, "stopped");
	return TS_OK;
}

static int run(struct ts_program *program, const struct ts_args *args)
{
	TS_AUTOPATHS struct ts_paths paths = {0};
	struct ts_store *store = NULL;
	struct ts_error error = {0};

	(void)args;
	int code = ts_program_check_service(program, TS_WARN_OPEN);
	if (code != TS_EXIT_OK)
		return code;
	if (ts_paths_load(&program->config, &paths, &error) != TS_OK ||
	    ts_paths_make(&program->config, &paths, &error) != TS_OK ||
	    ts_wiring_store(program, &paths, &store, &error) != TS_OK)
		return ts_program_fail(program, &error);
	enum ts_err err = serve(program, store, &paths, &error);
	ts_store_close(store);
	return err == TS_OK ? TS_EXIT_OK : ts_program_fail(program, &error);
}

int main(int argc, char **argv)
{
	const struct ts_program_spec spec = {.name = "transcription-api", .component = "api", .usage = usage, .run = run};

	return ts_program_main(&spec, argc, argv);
}
