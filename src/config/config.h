// The configuration of the programs: one table (config.def) gives names, types, bounds, defaults and help, from
// which the struct, the loader, `--help`, `transcription config` and docs/configuration.md are made.
// Refuses to read the process's environment or to print: both are handed in and out.
#ifndef TS_CONFIG_CONFIG_H
#define TS_CONFIG_CONFIG_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The choices, in the order of their lists in config.def.
enum ts_config_environment { TS_ENVIRONMENT_DEVELOPMENT, TS_ENVIRONMENT_PRODUCTION };
enum ts_config_log_level { TS_CONFIG_LOG_DEBUG, TS_CONFIG_LOG_INFO, TS_CONFIG_LOG_WARN, TS_CONFIG_LOG_ERROR };
enum ts_config_log_format { TS_CONFIG_LOG_AUTO, TS_CONFIG_LOG_JSON, TS_CONFIG_LOG_TEXT };
enum ts_config_storage { TS_STORAGE_LOCAL };
enum ts_config_engine { TS_ENGINE_AUTO, TS_ENGINE_POCKETSPHINX, TS_ENGINE_OPENAI };

// C type of a field by its TYPE. Texts are owned and never NULL ("" when empty).
#define TS_CONFIG_FIELD_STRING char *
#define TS_CONFIG_FIELD_PATH char *
#define TS_CONFIG_FIELD_SECRET char *
#define TS_CONFIG_FIELD_KEYS char *     // comma-separated, each of printable ASCII without spaces
#define TS_CONFIG_FIELD_URL char *      // http(s), absolute; trailing slashes are removed
#define TS_CONFIG_FIELD_TEMPLATE char * // http(s) or file URL that contains {video_id}
#define TS_CONFIG_FIELD_DATABASE char * // sqlite:PATH or a postgresql:// URL
#define TS_CONFIG_FIELD_SCHEDULE char * // seconds, comma-separated
#define TS_CONFIG_FIELD_CHOICE int      // one of the enums above
#define TS_CONFIG_FIELD_INT int64_t
#define TS_CONFIG_FIELD_SECONDS int64_t // milliseconds; written as seconds, with a fraction if need be
#define TS_CONFIG_FIELD_MB int64_t      // bytes; written in MB of 1,048,576 bytes
#define TS_CONFIG_FIELD_BOOL bool       // true|false, also yes|no, on|off, 1|0

enum ts_config_id {
#define TS_CONFIG(type, field, ...) TS_CONFIG_ID_##field,
#include "config/config.def"
#undef TS_CONFIG
	TS_CONFIG_COUNT
};

// Later sources win over earlier ones.
enum ts_config_source {
	TS_CONFIG_FROM_DEFAULT,
	TS_CONFIG_FROM_FILE,
	TS_CONFIG_FROM_ENVIRONMENT,
	TS_CONFIG_FROM_COMMAND_LINE,
};

struct ts_config {
#define TS_CONFIG(type, field, ...) TS_CONFIG_FIELD_##type field;
#include "config/config.def"
#undef TS_CONFIG
	enum ts_config_source source[TS_CONFIG_COUNT]; // of each value, by enum ts_config_id
};

struct ts_config_sources {
	const char *file;             // KEY=VALUE lines; NULL: CONFIG_FILE of `environment`, if set
	char *const *environment;     // "NAME=value", NULL-terminated; NULL: none. NAME_FILE names a file with the value
	const char *const *overrides; // "--name=value" (the name lower-case, with dashes) or "NAME=value"
	size_t override_count;
};

// Allocates nothing; texts are NULL until loaded. ts_config_finish is NULL-safe and wipes secrets.
void ts_config_init(struct ts_config *config);
void ts_config_finish(struct ts_config *config);
#define TS_AUTOCONFIG TS_CLEANUP(ts_config_finish)

// Fills *out (initialised; written only on success) from defaults < file < environment < overrides. A bad value,
// a key that the file may not have, or a name given as NAME and NAME_FILE is TS_ERR_INVALID with one line that
// names the value, its source and what is allowed (secrets are not repeated); error->field is the NAME.
enum ts_err ts_config_load(const struct ts_config_sources *sources, struct ts_config *out,
                           struct ts_error *error) TS_MUST_USE;

// What the service (api, worker, serve) demands beyond each value by itself: a key in production, ENGINE=openai
// with a key, pauses in order.
enum ts_err ts_config_check(const struct ts_config *config, struct ts_error *error) TS_MUST_USE;

// Of these, what recognition alone demands.
enum ts_err ts_config_check_engine(const struct ts_config *config, struct ts_error *error) TS_MUST_USE;

// Whether `argument` is "--name" or "--name=..." of a configuration value. *out_has_value tells the two apart;
// `out_id` and `out_has_value` may be NULL.
bool ts_config_is_option(const char *argument, enum ts_config_id *out_id, bool *out_has_value);

const char *ts_config_name(enum ts_config_id id);                // "MAX_UPLOAD_MB"
const char *ts_config_source_name(enum ts_config_source source); // "default", "file", "environment", "command line"

// Values that follow from others. Owned by the caller.
// Whether the database is PostgreSQL: by DATABASE_URL, or by POSTGRES_SERVER when that is empty.
bool ts_config_is_postgres(const struct ts_config *config);
// The value of POSTGRES_SSLMODE as libpq names it.
const char *ts_config_postgres_sslmode(const struct ts_config *config);
// Path of the SQLite file: DATABASE_URL's, or LOCAL_STORAGE_PATH/transcription.db (also where PostgreSQL is used).
enum ts_err ts_config_database_path(const struct ts_config *config, char **out_path,
                                    struct ts_error *error) TS_MUST_USE;
enum ts_err ts_config_temp_dir(const struct ts_config *config, char **out_path, struct ts_error *error) TS_MUST_USE;
enum ts_err ts_config_uploads_dir(const struct ts_config *config, char **out_path, struct ts_error *error) TS_MUST_USE;
// MEDIA_URL_TEMPLATE, or VIDEO_PROCESSING_SERVICE_URL with the usual path, or "" when neither is set.
enum ts_err ts_config_media_template(const struct ts_config *config, char **out_template,
                                     struct ts_error *error) TS_MUST_USE;
// Jobs side by side: MAX_CONCURRENT_TRANSCRIPTIONS, or `cpus` (bounded by 64) when that is 0. At least 1.
unsigned ts_config_concurrency(const struct ts_config *config, unsigned cpus);
// A third of the lease.
int64_t ts_config_heartbeat_ms(const struct ts_config *config);
#define TS_CONFIG_SCHEDULE_MAX 100
// CALLBACK_RETRY_SCHEDULE in ms; *out_count is at least 1.
void ts_config_callback_schedule(const struct ts_config *config, int64_t out_ms[TS_CONFIG_SCHEDULE_MAX],
                                 size_t *out_count);
// Whether log lines are JSON, given whether the log goes to a terminal.
bool ts_config_log_is_json(const struct ts_config *config, bool terminal);

// Texts made from the table, appended to buf. Failure is in the buffer's status.
void ts_config_print(const struct ts_config *config, struct ts_buf *buf); // NAME=value  # source; help
void ts_config_help(struct ts_buf *buf);                                  // for --help: grouped, defaults, bounds
void ts_config_markdown(struct ts_buf *buf);                              // docs/configuration.md

#endif
