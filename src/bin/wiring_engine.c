// Engine options from the configuration.
#include "bin/wiring_engine.h"

#include "asr/engines.h"
#include "worker/pipeline.h"

#include <unistd.h>

#define REMOTE_TIMEOUT_MS (10 * 60 * INT64_C(1000))
#define REMOTE_TRIES 5
#define REMOTE_WAIT_MAX_MS (2 * 60 * INT64_C(1000))

unsigned ts_wiring_slots(const struct ts_config *config)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	return ts_config_concurrency(config, cpus > 0 ? (unsigned)cpus : 1);
}

enum ts_err ts_wiring_engine(const struct ts_program *program, unsigned slots, struct ts_asr **out,
                             struct ts_error *error)
{
	static const char *const names[] = {"auto", "pocketsphinx", "openai"};
	const struct ts_config *config = &program->config;
	struct ts_asr_choice choice = {
	    .name = names[config->engine],
	    .pocketsphinx = {.model_dir = config->pocketsphinx_model_dir, .slots = slots, .clock = ts_clock_system()},
	    .openai = {.base_url = config->openai_base_url,
	               .api_key = config->openai_api_key,
	               .model = config->whisper_model,
	               .max_request_bytes = (size_t)config->max_remote_request_bytes,
	               .max_segment_s = (double)config->max_segment_duration_ms / 1000,
	               .request_timeout_ms = REMOTE_TIMEOUT_MS,
	               .max_tries = REMOTE_TRIES,
	               .max_retry_wait_ms = REMOTE_WAIT_MAX_MS,
	               .clock = ts_clock_system()},
	    .fallback = config->engine_fallback,
	    .rewind = ts_pipeline_rewind,
	    .log = &program->log,
	};
	return ts_asr_create(&choice, out, error);
}
