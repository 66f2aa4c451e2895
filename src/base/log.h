// Structured logging: one event a line, as JSON (production) or readable text (terminal).
// A logger is a plain value: a shared sink plus context fields (request id, job id) that stand on every
// line. Refuses globals and secrets: callers pass fields by name, and nothing else is written.
#ifndef TS_BASE_LOG_H
#define TS_BASE_LOG_H

#include "base/clock.h"

#include <stdbool.h>
#include <stdint.h>

enum ts_log_level { TS_LOG_DEBUG, TS_LOG_INFO, TS_LOG_WARN, TS_LOG_ERROR };
enum ts_log_format { TS_LOG_JSON, TS_LOG_TEXT };

enum ts_field_kind { TS_FIELD_END, TS_FIELD_STR, TS_FIELD_INT, TS_FIELD_NUM, TS_FIELD_BOOL };

struct ts_field {
	enum ts_field_kind kind;
	const char *key;
	const char *str; // NULL prints as null
	int64_t i;
	double num;
};

#define TS_STR(key_, value_) ((struct ts_field){.kind = TS_FIELD_STR, .key = (key_), .str = (value_)})
#define TS_INT(key_, value_) ((struct ts_field){.kind = TS_FIELD_INT, .key = (key_), .i = (int64_t)(value_)})
#define TS_NUM(key_, value_) ((struct ts_field){.kind = TS_FIELD_NUM, .key = (key_), .num = (value_)})
#define TS_BOOL(key_, value_) ((struct ts_field){.kind = TS_FIELD_BOOL, .key = (key_), .i = (value_)})
#define TS_FIELDS_END ((struct ts_field){.kind = TS_FIELD_END})

// Where lines go. One per process, made in src/bin. Lines are written whole with one write(2), so
// processes that share a descriptor do not interleave.
struct ts_log_sink {
	int fd;
	enum ts_log_format format;
	enum ts_log_level level;
	bool colour;           // text format only
	const char *component; // "api", "worker", ...; borrowed
	const struct ts_clock *clock;
};

#define TS_LOG_CONTEXT_MAX 6
// A logger. The sink and the strings of its context are borrowed. A zeroed logger is silent.
struct ts_log {
	const struct ts_log_sink *sink;
	struct ts_field context[TS_LOG_CONTEXT_MAX];
	unsigned context_count;
};

struct ts_log ts_log_to(const struct ts_log_sink *sink);
// The same logger with one more field on every line (an existing key is replaced).
struct ts_log ts_log_with(const struct ts_log *log, struct ts_field field);

// Writes one line: the message, the logger's context, then fields up to TS_FIELDS_END.
void ts_log_write(const struct ts_log *log, enum ts_log_level level, const char *message, ...);

// ts_log_info(log, "job claimed", TS_STR("job_id", id), TS_INT("attempt", 2));
#define ts_log_debug(log, ...) ts_log_write((log), TS_LOG_DEBUG, __VA_ARGS__, TS_FIELDS_END)
#define ts_log_info(log, ...) ts_log_write((log), TS_LOG_INFO, __VA_ARGS__, TS_FIELDS_END)
#define ts_log_warn(log, ...) ts_log_write((log), TS_LOG_WARN, __VA_ARGS__, TS_FIELDS_END)
#define ts_log_error(log, ...) ts_log_write((log), TS_LOG_ERROR, __VA_ARGS__, TS_FIELDS_END)

const char *ts_log_level_name(enum ts_log_level level);

#endif
