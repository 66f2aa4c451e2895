// Log lines, built in a fixed buffer (a line over its size is cut, and stays valid JSON) and written at once.
// Text is escaped by RFC 8259; invalid UTF-8 becomes U+FFFD, so that a log reader never chokes on input.
#include "base/log.h"

#include "base/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES 8192
#define VALUE_MAX_BYTES 2048
// Kept free behind each value so that the closing of the line always fits.
#define TAIL_BYTES 8

struct line {
	char text[LINE_MAX_BYTES];
	size_t length;
	bool full; // something did not fit
};

static void put(struct line *line, const char *text, size_t length)
{
	if (length > sizeof line->text - TAIL_BYTES - line->length) {
		line->full = true;
		return;
	}
	memcpy(line->text + line->length, text, length);
	line->length += length;
}

static void put_str(struct line *line, const char *text)
{
	put(line, text, strlen(text));
}

// Cut at VALUE_MAX_BYTES of its escaped form, and then ends with "...".
static void put_escaped(struct line *line, const char *text)
{
	size_t begin = line->length;
	uint32_t code;
	char escape[8];

	for (const char *at = text; *at;) {
		size_t size = ts_utf8_decode(at, strnlen(at, 4), &code);
		if (line->length - begin > VALUE_MAX_BYTES) {
			put_str(line, "...");
			return;
		}
		if (!size) {
			put_str(line, "\xef\xbf\xbd");
			at++;
			continue;
		}
		if (code == '"' || code == '\\') {
			escape[0] = '\\';
			escape[1] = (char)code;
			put(line, escape, 2);
		} else if (code < 0x20 || (code >= 0x7f && code < 0xa0)) { // C1 controls steer terminals too
			snprintf(escape, sizeof escape, "\\u%04x", (unsigned)code);
			put(line, escape, 6);
		} else {
			put(line, at, size);
		}
		at += size;
	}
}

static void put_value(struct line *line, const struct ts_field *field, bool quote)
{
	char number[64];

	switch (field->kind) {
	case TS_FIELD_STR:
		if (!field->str) {
			put_str(line, "null");
			return;
		}
		if (quote)
			put_str(line, "\"");
		put_escaped(line, field->str);
		if (quote)
			put_str(line, "\"");
		return;
	case TS_FIELD_INT: snprintf(number, sizeof number, "%" PRId64, field->i); break;
	case TS_FIELD_NUM:
		if (!isfinite(field->num))
			snprintf(number, sizeof number, "null");
		else
			snprintf(number, sizeof number, "%.6g", field->num);
		break;
	case TS_FIELD_BOOL: snprintf(number, sizeof number, "%s", field->i ? "true" : "false"); break;
	case TS_FIELD_END:
	default: return;
	}
	put_str(line, number);
}

static void put_json_field(struct line *line, const struct ts_field *field)
{
	size_t begin = line->length;

	line->full = false;
	put_str(line, ",\"");
	put_str(line, field->key);
	put_str(line, "\":");
	put_value(line, field, true);
	// The whole field or none of it, so that a cut line is still JSON.
	if (line->full)
		line->length = begin;
}

static void begin_json(struct line *line, const struct ts_log_sink *sink, enum ts_log_level level, const char *message)
{
	char time[TS_RFC3339_SIZE];

	put_str(line, "{\"time\":\"");
	put_str(line, ts_time_format(ts_wall_ms(sink->clock), time));
	put_str(line, "\",\"level\":\"");
	put_str(line, ts_log_level_name(level));
	put_str(line, "\",\"component\":\"");
	put_str(line, sink->component);
	put_str(line, "\",\"message\":\"");
	put_escaped(line, message);
	put_str(line, "\"");
}

static void begin_text(struct line *line, const struct ts_log_sink *sink, enum ts_log_level level, const char *message)
{
	static const char *const colours[] = {"\033[2m", "\033[32m", "\033[33m", "\033[31m"};
	char time[TS_RFC3339_SIZE], head[64];

	ts_time_format(ts_wall_ms(sink->clock), time);
	snprintf(head, sizeof head, "%.12s %s%-5s%s %-6s ", time + 11, sink->colour ? colours[level] : "",
	         ts_log_level_name(level), sink->colour ? "\033[0m" : "", sink->component);
	put_str(line, head);
	put_escaped(line, message);
}

static void put_text_field(struct line *line, const struct ts_field *field, bool colour)
{
	bool spaces = field->kind == TS_FIELD_STR && field->str && (strpbrk(field->str, " =\"") || !*field->str);

	put_str(line, colour ? "  \033[2m" : "  ");
	put_str(line, field->key);
	put_str(line, "=");
	if (colour)
		put_str(line, "\033[0m");
	put_value(line, field, spaces);
}

static void put_field(struct line *line, const struct ts_log_sink *sink, const struct ts_field *field)
{
	if (sink->format == TS_LOG_JSON)
		put_json_field(line, field);
	else
		put_text_field(line, field, sink->colour);
}

void ts_log_write(const struct ts_log *log, enum ts_log_level level, const char *message, ...)
{
	struct line line;
	va_list args;

	if (!log || !log->sink || level < log->sink->level)
		return;
	line.length = 0;
	line.full = false;
	if (log->sink->format == TS_LOG_JSON)
		begin_json(&line, log->sink, level, message);
	else
		begin_text(&line, log->sink, level, message);
	for (unsigned i = 0; i < log->context_count; i++)
		put_field(&line, log->sink, &log->context[i]);
	va_start(args, message);
	for (;;) {
		struct ts_field field = va_arg(args, struct ts_field);
		if (field.kind == TS_FIELD_END)
			break;
		put_field(&line, log->sink, &field);
	}
	va_end(args);
	if (log->sink->format == TS_LOG_JSON)
		line.text[line.length++] = '}';
	line.text[line.length++] = '\n';
	for (size_t done = 0; done < line.length;) {
		ssize_t wrote = write(log->sink->fd, line.text + done, line.length - done);
		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote <= 0)
			return; // nobody is left to be told that the log is gone
		done += (size_t)wrote;
	}
}

struct ts_log ts_log_to(const struct ts_log_sink *sink)
{
	return (struct ts_log){.sink = sink};
}

struct ts_log ts_log_with(const struct ts_log *log, struct ts_field field)
{
	struct ts_log more = *log;

	for (unsigned i = 0; i < more.context_count; i++) {
		if (strcmp(more.context[i].key, field.key) == 0) {
			more.context[i] = field;
			return more;
		}
	}
	if (more.context_count < TS_LOG_CONTEXT_MAX)
		more.context[more.context_count++] = field;
	return more;
}

const char *ts_log_level_name(enum ts_log_level level)
{
	static const char *const names[] = {"debug", "info", "warn", "error"};
	return names[level];
}
