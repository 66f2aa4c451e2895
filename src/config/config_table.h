// The rows of config.def as data, and how a value of each type is read and written. Private to src/config.
#ifndef TS_CONFIG_CONFIG_TABLE_H
#define TS_CONFIG_CONFIG_TABLE_H

#include "config/config.h"

enum ts_config_type {
	TS_CONFIG_STRING,
	TS_CONFIG_PATH,
	TS_CONFIG_SECRET,
	TS_CONFIG_KEYS,
	TS_CONFIG_URL,
	TS_CONFIG_TEMPLATE,
	TS_CONFIG_DATABASE,
	TS_CONFIG_SCHEDULE,
	TS_CONFIG_CHOICE,
	TS_CONFIG_INT,
	TS_CONFIG_SECONDS,
	TS_CONFIG_MB,
	TS_CONFIG_BOOL,
};

struct ts_config_row {
	enum ts_config_type type;
	size_t offset; // of the field in struct ts_config
	const char *name;
	const char *fallback; // the default, as it would be written
	int64_t min, max;
	const char *unit;
	bool secret;
	const char *group;
	const char *help;
};

extern const struct ts_config_row ts_config_rows[TS_CONFIG_COUNT];

static inline bool ts_config_row_is_text(const struct ts_config_row *row)
{
	return row->type <= TS_CONFIG_SCHEDULE;
}

// Sets the row's field from text; the message says what is allowed and not what was given.
enum ts_err ts_config_value_set(const struct ts_config_row *row, const char *text, struct ts_config *config,
                                struct ts_error *error) TS_MUST_USE;
// Appends the field as it would be written.
void ts_config_value_format(const struct ts_config_row *row, const struct ts_config *config, struct ts_buf *buf);
// Appends what is allowed, as in "a whole number from 0 to 65535".
void ts_config_value_allowed(const struct ts_config_row *row, struct ts_buf *buf);

// Reads one number of seconds of a schedule into ms and moves *cursor behind it and its comma. False at the end
// or when the text is no schedule; the two differ by **cursor being '\0'.
bool ts_config_schedule_next(const char **cursor, int64_t *out_ms);

#endif
