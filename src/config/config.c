// The table as data, the life of the struct, and the values that follow from others.
#include "config/config.h"

#include "base/mem.h"
#include "config/config_table.h"

#include <string.h>
#include <strings.h>

#define DEFAULT_MEDIA_PATH "/api/v1/videos/{video_id}/media"
#define CONCURRENCY_MAX 64

const struct ts_config_row ts_config_rows[TS_CONFIG_COUNT] = {
#define TS_CONFIG(row_type, field, row_name, row_default, row_min, row_max, row_unit, is_secret, row_group, row_help) \
	[TS_CONFIG_ID_##field] = {.type = TS_CONFIG_##row_type,                                                           \
	                          .offset = offsetof(struct ts_config, field),                                            \
	                          .name = row_name,                                                                       \
	                          .fallback = row_default,                                                                \
	                          .min = row_min,                                                                         \
	                          .max = row_max,                                                                         \
	                          .unit = row_unit,                                                                       \
	                          .secret = (is_secret) != 0,                                                             \
	                          .group = row_group,                                                                     \
	                          .help = row_help},
#include "config/config.def"
#undef TS_CONFIG
};

void ts_config_init(struct ts_config *config)
{
	*config = (struct ts_config){0};
}

void ts_config_finish(struct ts_config *config)
{
	if (!config)
		return;
	for (size_t i = 0; i < TS_CONFIG_COUNT; i++) {
		const struct ts_config_row *row = &ts_config_rows[i];
		if (!ts_config_row_is_text(row))
			continue;
		char **text = (char **)(void *)((char *)config + row->offset);
		if (*text && row->secret)
			explicit_bzero(*text, strlen(*text));
		ts_free(*text);
	}
	ts_config_init(config);
}

const char *ts_config_name(enum ts_config_id id)
{
	return ts_config_rows[id].name;
}

const char *ts_config_source_name(enum ts_config_source source)
{
	static const char *const names[] = {"default", "file", "environment", "command line"};
	return names[source];
}

enum ts_err ts_config_check_engine(const struct ts_config *config, struct ts_error *error)
{
	if (config->engine == TS_ENGINE_OPENAI && !*config->openai_api_key &&
	    config->source[TS_CONFIG_ID_openai_base_url] == TS_CONFIG_FROM_DEFAULT)
		return ts_fail_field(error, TS_ERR_INVALID, "OPENAI_API_KEY",
		                     "OPENAI_API_KEY: must be set when ENGINE is openai, unless OPENAI_BASE_URL names another "
		                     "endpoint");
	return TS_OK;
}

enum ts_err ts_config_check(const struct ts_config *config, struct ts_error *error)
{
	if (config->environment == TS_ENVIRONMENT_PRODUCTION && !*config->service_api_key)
		return ts_fail_field(error, TS_ERR_INVALID, "SERVICE_API_KEY",
		                     "SERVICE_API_KEY: must be set when ENVIRONMENT is production (from the %s)",
		                     ts_config_source_name(config->source[TS_CONFIG_ID_environment]));
	TS_TRY(ts_config_check_engine(config, error));
	if (config->job_retry_base_ms > config->job_retry_max_ms)
		return ts_fail_field(error, TS_ERR_INVALID, "JOB_RETRY_BASE_SECONDS",
		                     "JOB_RETRY_BASE_SECONDS (%s): must not be over JOB_RETRY_MAX_SECONDS",
		                     ts_config_source_name(config->source[TS_CONFIG_ID_job_retry_base_ms]));
	return TS_OK;
}

static enum ts_err own(char *text, char **out_text, struct ts_error *error)
{
	if (!text)
		return ts_fail_nomem(error);
	*out_text = text;
	return TS_OK;
}

// Path below the storage folder.
static enum ts_err in_storage(const struct ts_config *config, const char *name, char **out_path, struct ts_error *error)
{
	const char *folder = config->local_storage_path;
	const char *slash = folder[strlen(folder) - 1] == '/' ? "" : "/";

	return own(ts_asprintf("%s%s%s", folder, slash, name), out_path, error);
}

bool ts_config_is_postgres(const struct ts_config *config)
{
	if (*config->database_url)
		return strncmp(config->database_url, "postgres", 8) == 0;
	return *config->postgres_server != '\0';
}

const char *ts_config_postgres_sslmode(const struct ts_config *config)
{
	static const char *const names[] = {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"};

	return names[config->postgres_sslmode];
}

enum ts_err ts_config_database_path(const struct ts_config *config, char **out_path, struct ts_error *error)
{
	if (*config->database_url && !ts_config_is_postgres(config))
		return own(ts_strdup(config->database_url + strlen("sqlite:")), out_path, error);
	return in_storage(config, "transcription.db", out_path, error);
}

enum ts_err ts_config_temp_dir(const struct ts_config *config, char **out_path, struct ts_error *error)
{
	if (*config->temp_dir)
		return own(ts_strdup(config->temp_dir), out_path, error);
	return in_storage(config, "tmp", out_path, error);
}

enum ts_err ts_config_uploads_dir(const struct ts_config *config, char **out_path, struct ts_error *error)
{
	return in_storage(config, "uploads", out_path, error);
}

enum ts_err ts_config_media_template(const struct ts_config *config, char **out_template, struct ts_error *error)
{
	if (*config->media_url_template || !*config->video_processing_service_url)
		return own(ts_strdup(config->media_url_template), out_template, error);
	return own(ts_asprintf("%s" DEFAULT_MEDIA_PATH, config->video_processing_service_url), out_template, error);
}

unsigned ts_config_concurrency(const struct ts_config *config, unsigned cpus)
{
	if (config->max_concurrent_transcriptions > 0)
		return (unsigned)config->max_concurrent_transcriptions;
	return cpus < 1 ? 1 : cpus > CONCURRENCY_MAX ? CONCURRENCY_MAX : cpus;
}

int64_t ts_config_heartbeat_ms(const struct ts_config *config)
{
	return config->lease_ms / 3;
}

void ts_config_callback_schedule(const struct ts_config *config, int64_t out_ms[TS_CONFIG_SCHEDULE_MAX],
                                 size_t *out_count)
{
	const char *cursor = config->callback_retry_schedule;
	size_t count = 0;

	while (count < TS_CONFIG_SCHEDULE_MAX && ts_config_schedule_next(&cursor, &out_ms[count]))
		count++;
	*out_count = count;
}

bool ts_config_log_is_json(const struct ts_config *config, bool terminal)
{
	if (config->log_format == TS_CONFIG_LOG_AUTO)
		return !(terminal && config->environment == TS_ENVIRONMENT_DEVELOPMENT);
	return config->log_format == TS_CONFIG_LOG_JSON;
}
