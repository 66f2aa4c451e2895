// Values of each type: text to field, field to text, and the sentence that says what is allowed.
#include "config/config_table.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define BYTES_PER_MB 1048576
#define SCHEDULE_PAUSE_MAX 604800

static void *field_of(const struct ts_config_row *row, struct ts_config *config)
{
	return (char *)config + row->offset;
}

static const void *field_in(const struct ts_config_row *row, const struct ts_config *config)
{
	return (const char *)config + row->offset;
}

static bool has_control(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return true;
	return false;
}

static bool is_printable_ascii(const char *text)
{
	for (; *text; text++)
		if (*text <= 0x20 || *text > 0x7e)
			return false;
	return true;
}

// Keys between commas, none of them empty.
static bool is_key_list(const char *text)
{
	if (!*text)
		return true;
	if (!is_printable_ascii(text) || *text == ',' || text[strlen(text) - 1] == ',')
		return false;
	return !strstr(text, ",,");
}

// An absolute URL as far as a base needs it; what is built from it is parsed strictly where it is used.
static bool is_base_url(const char *text)
{
	size_t scheme = strncasecmp(text, "http://", 7) == 0 ? 7 : strncasecmp(text, "https://", 8) == 0 ? 8 : 0;

	if (!*text)
		return true;
	if (!scheme || !is_printable_ascii(text) || strpbrk(text, "?#{}\"<>\\^`|"))
		return false;
	size_t authority = strcspn(text + scheme, "/");
	return authority > 0 && text[scheme] != ':' && !memchr(text + scheme, '@', authority);
}

static bool is_template(const char *text)
{
	static const char variable[] = "{video_id}";

	if (!*text)
		return true;
	const char *found = strstr(text, variable);
	if (!is_printable_ascii(text) || !found || strpbrk(text, "\"<>\\^`|"))
		return false;
	// Any other brace is a variable that nobody will replace.
	const char *cursor = text;
	while ((cursor = strpbrk(cursor, "{}")) != NULL) {
		if (strncmp(cursor, variable, sizeof variable - 1) != 0)
			return false;
		cursor += sizeof variable - 1;
	}
	return strncasecmp(text, "http://", 7) == 0 || strncasecmp(text, "https://", 8) == 0 ||
	       strncasecmp(text, "file://", 7) == 0;
}

// "postgresql://" and what follows; NULL: not such a URL.
static const char *postgres_rest(const char *text)
{
	if (strncmp(text, "postgresql://", 13) == 0)
		return text + 13;
	return strncmp(text, "postgres://", 11) == 0 ? text + 11 : NULL;
}

// A password has its place before the @, where it is masked.
static bool is_postgres(const char *rest)
{
	return *rest && is_printable_ascii(rest) && !strstr(rest, "password=");
}

static bool is_database(const char *text)
{
	if (!*text)
		return true;
	if (postgres_rest(text))
		return is_postgres(postgres_rest(text));
	if (strncmp(text, "sqlite:", 7) != 0)
		return false;
	// "sqlite://..." means different files to different programs, and a memory database cannot be shared.
	return text[7] != '\0' && strncmp(text + 7, "//", 2) != 0 && strcmp(text + 7, ":memory:") != 0;
}

bool ts_config_schedule_next(const char **cursor, int64_t *out_ms)
{
	char number[32];
	double seconds;

	size_t length = strcspn(*cursor, ",");
	if (!length || length >= sizeof number)
		return false;
	memcpy(number, *cursor, length);
	number[length] = '\0';
	if (ts_num_parse_f64(number, 0, SCHEDULE_PAUSE_MAX, &seconds, NULL) != TS_OK)
		return false;
	*out_ms = llround(seconds * 1000);
	*cursor += length;
	// A comma promises one more number: a trailing one stays, and so is told from the end.
	if (**cursor == ',' && (*cursor)[1] != '\0')
		(*cursor)++;
	return true;
}

static bool is_schedule(const char *text)
{
	int64_t ms;
	int count = 0;

	while (ts_config_schedule_next(&text, &ms))
		count++;
	return *text == '\0' && count >= 1 && count <= TS_CONFIG_SCHEDULE_MAX;
}

static bool text_is_allowed(const struct ts_config_row *row, const char *text)
{
	size_t length = strlen(text);

	if (length < (size_t)row->min || length > (size_t)row->max || has_control(text) || !ts_utf8_is_valid(text, length))
		return false;
	switch (row->type) {
	case TS_CONFIG_KEYS: return is_key_list(text);
	case TS_CONFIG_URL: return is_base_url(text);
	case TS_CONFIG_TEMPLATE: return is_template(text);
	case TS_CONFIG_DATABASE: return is_database(text);
	case TS_CONFIG_SCHEDULE: return is_schedule(text);
	case TS_CONFIG_STRING:
	case TS_CONFIG_PATH:
	case TS_CONFIG_SECRET:
	case TS_CONFIG_CHOICE:
	case TS_CONFIG_INT:
	case TS_CONFIG_SECONDS:
	case TS_CONFIG_MB:
	case TS_CONFIG_BOOL:
	default: return true;
	}
}

static enum ts_err refuse(const struct ts_config_row *row, struct ts_error *error)
{
	TS_AUTOBUF struct ts_buf buf;

	ts_buf_init(&buf, sizeof error->message);
	ts_config_value_allowed(row, &buf);
	TS_TRY(ts_buf_status(&buf, error));
	return ts_fail_field(error, TS_ERR_INVALID, row->name, "must be %s", ts_buf_str(&buf));
}

static enum ts_err set_text(const struct ts_config_row *row, const char *text, struct ts_config *config,
                            struct ts_error *error)
{
	char **field = field_of(row, config);

	if (!text_is_allowed(row, text))
		return refuse(row, error);
	if (!ts_str_set(field, text))
		return ts_fail_nomem(error);
	if (row->type == TS_CONFIG_URL)
		for (size_t end = strlen(*field); end > 0 && (*field)[end - 1] == '/'; end--)
			(*field)[end - 1] = '\0';
	return TS_OK;
}

static enum ts_err set_choice(const struct ts_config_row *row, const char *text, struct ts_config *config,
                              struct ts_error *error)
{
	const char *choice = row->unit;

	for (int i = 0;; i++) {
		size_t length = strcspn(choice, "|");
		if (strlen(text) == length && strncasecmp(text, choice, length) == 0) {
			*(int *)field_of(row, config) = i;
			return TS_OK;
		}
		if (choice[length] == '\0')
			return refuse(row, error);
		choice += length + 1;
	}
}

static enum ts_err set_bool(const struct ts_config_row *row, const char *text, struct ts_config *config,
                            struct ts_error *error)
{
	static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		if (strcasecmp(text, words[i]) == 0) {
			*(bool *)field_of(row, config) = i % 2 == 1;
			return TS_OK;
		}
	}
	return refuse(row, error);
}

static enum ts_err set_number(const struct ts_config_row *row, const char *text, struct ts_config *config,
                              struct ts_error *error)
{
	int64_t *field = field_of(row, config);
	int64_t whole;
	double number;

	if (row->type == TS_CONFIG_SECONDS) {
		if (ts_num_parse_f64(text, (double)row->min, (double)row->max, &number, NULL) != TS_OK)
			return refuse(row, error);
		*field = llround(number * 1000);
		return TS_OK;
	}
	if (ts_num_parse_i64(text, row->min, row->max, &whole, NULL) != TS_OK)
		return refuse(row, error);
	*field = row->type == TS_CONFIG_MB ? whole * BYTES_PER_MB : whole;
	return TS_OK;
}

enum ts_err ts_config_value_set(const struct ts_config_row *row, const char *text, struct ts_config *config,
                                struct ts_error *error)
{
	if (ts_config_row_is_text(row))
		return set_text(row, text, config, error);
	if (row->type == TS_CONFIG_CHOICE)
		return set_choice(row, text, config, error);
	if (row->type == TS_CONFIG_BOOL)
		return set_bool(row, text, config, error);
	return set_number(row, text, config, error);
}

static void format_choice(const struct ts_config_row *row, int index, struct ts_buf *buf)
{
	const char *choice = row->unit;

	for (int i = 0; i < index; i++)
		choice += strcspn(choice, "|") + 1;
	ts_buf_add(buf, choice, strcspn(choice, "|"));
}

static void format_seconds(int64_t ms, struct ts_buf *buf)
{
	char fraction[8] = "";

	if (ms % 1000) {
		snprintf(fraction, sizeof fraction, ".%03d", (int)(ms % 1000));
		for (size_t end = strlen(fraction); fraction[end - 1] == '0'; end--)
			fraction[end - 1] = '\0';
	}
	ts_buf_printf(buf, "%" PRId64 "%s", ms / 1000, fraction);
}

// Without its password.
static void format_postgres(const char *text, struct ts_buf *buf)
{
	const char *rest = postgres_rest(text);
	const char *at = strrchr(rest, '@'), *colon = strchr(rest, ':');

	if (!at || !colon || colon > at) {
		ts_buf_add_str(buf, text);
		return;
	}
	ts_buf_add(buf, text, (size_t)(colon + 1 - text));
	ts_buf_add_str(buf, "***");
	ts_buf_add_str(buf, at);
}

void ts_config_value_format(const struct ts_config_row *row, const struct ts_config *config, struct ts_buf *buf)
{
	const void *field = field_in(row, config);

	if (ts_config_row_is_text(row)) {
		const char *text = *(char *const *)field;
		if (row->secret)
			text = *text ? "***" : "";
		if (row->type == TS_CONFIG_DATABASE && postgres_rest(text)) {
			format_postgres(text, buf);
			return;
		}
		ts_buf_add_str(buf, text);
	} else if (row->type == TS_CONFIG_CHOICE) {
		format_choice(row, *(const int *)field, buf);
	} else if (row->type == TS_CONFIG_BOOL) {
		ts_buf_add_str(buf, *(const bool *)field ? "true" : "false");
	} else if (row->type == TS_CONFIG_SECONDS) {
		format_seconds(*(const int64_t *)field, buf);
	} else {
		ts_buf_printf(buf, "%" PRId64, *(const int64_t *)field / (row->type == TS_CONFIG_MB ? BYTES_PER_MB : 1));
	}
}

static void allowed_choices(const struct ts_config_row *row, struct ts_buf *buf)
{
	const char *choice = row->unit;

	if (!strchr(choice, '|')) {
		ts_buf_add_str(buf, choice);
		return;
	}
	for (;;) {
		size_t length = strcspn(choice, "|");
		ts_buf_add(buf, choice, length);
		if (choice[length] == '\0')
			return;
		choice += length + 1;
		ts_buf_add_str(buf, strchr(choice, '|') ? ", " : " or ");
	}
}

void ts_config_value_allowed(const struct ts_config_row *row, struct ts_buf *buf)
{
	switch (row->type) {
	case TS_CONFIG_CHOICE: allowed_choices(row, buf); return;
	case TS_CONFIG_BOOL: ts_buf_add_str(buf, "true or false"); return;
	case TS_CONFIG_INT: ts_buf_printf(buf, "a whole number from %" PRId64 " to %" PRId64, row->min, row->max); break;
	case TS_CONFIG_MB:
		ts_buf_printf(buf, "a whole number of MB from %" PRId64 " to %" PRId64, row->min, row->max);
		return;
	case TS_CONFIG_SECONDS:
		ts_buf_printf(buf, "a number of seconds from %" PRId64 " to %" PRId64, row->min, row->max);
		return;
	case TS_CONFIG_KEYS: ts_buf_add_str(buf, "keys of printable ASCII without spaces, separated by commas"); break;
	case TS_CONFIG_URL: ts_buf_add_str(buf, "an http:// or https:// URL without user, query or fragment"); break;
	case TS_CONFIG_TEMPLATE:
		ts_buf_add_str(buf, "an http://, https:// or file:// URL that contains {video_id} and no other variable");
		break;
	case TS_CONFIG_DATABASE:
		ts_buf_add_str(buf, "sqlite:PATH with the path of a file, or postgresql://USER:PASSWORD@HOST:PORT/DATABASE");
		break;
	case TS_CONFIG_SCHEDULE:
		ts_buf_printf(buf, "1 to %d numbers of seconds from 0 to %d, separated by commas", TS_CONFIG_SCHEDULE_MAX,
		              SCHEDULE_PAUSE_MAX);
		return;
	case TS_CONFIG_STRING:
	case TS_CONFIG_PATH:
	case TS_CONFIG_SECRET:
	default: ts_buf_add_str(buf, "a text without control characters"); break;
	}
	if (ts_config_row_is_text(row)) {
		if (row->min == 0)
			ts_buf_printf(buf, ", at most %" PRId64 " bytes, or empty", row->max);
		else
			ts_buf_printf(buf, ", %" PRId64 " to %" PRId64 " bytes", row->min, row->max);
	}
}
