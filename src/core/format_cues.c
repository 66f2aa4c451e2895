// Timed lines: SubRip, WebVTT (W3C), plain text and TSV. A cue is a segment whose text is not blank, brought into
// order: its text becomes one line (so no blank line, tab or break can end a cue early), it starts later than the
// cue before, and ends after its start but not after the next one's start.
#include "core/format_writers.h"

#include "base/utf8.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

// Subtitle clocks have two or three digits of hours; 999 h is beyond any media.
#define TIME_MAX_MS ((int64_t)999 * 3600 * 1000)

struct cue {
	int64_t start_ms, end_ms;
	const char *text; // of the segment, as it came
};

static bool is_blank(uint32_t code)
{
	return code <= 0x20 || (code >= 0x7f && code <= 0xa0) || code == 0x1680 || (code >= 0x2000 && code <= 0x200a) ||
	       code == 0x2028 || code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x3000 || code == 0xfeff;
}

// Next code point of a NUL-terminated text that may be malformed: bad bytes count as U+FFFD.
static size_t next_code(const char *text, uint32_t *out_code)
{
	size_t left = strnlen(text, 4);
	size_t size = ts_utf8_decode(text, left, out_code);

	if (size)
		return size;
	*out_code = 0xfffd;
	return 1;
}

static bool has_text(const char *text)
{
	uint32_t code;

	for (; text && *text; text += next_code(text, &code)) {
		next_code(text, &code);
		if (!is_blank(code))
			return true;
	}
	return false;
}

static void put_code(struct ts_buf *buf, const char *text, size_t size, uint32_t code, enum ts_format format)
{
	if (code == 0xfffd)
		ts_buf_add_str(buf, "\xef\xbf\xbd");
	else if (format == TS_FORMAT_VTT && code == '&')
		ts_buf_add_str(buf, "&amp;");
	else if (format == TS_FORMAT_VTT && code == '<')
		ts_buf_add_str(buf, "&lt;");
	else if (format == TS_FORMAT_VTT && code == '>')
		ts_buf_add_str(buf, "&gt;");
	else
		ts_buf_add(buf, text, size);
}

// The text as one line: runs of blanks and controls become one space, none at the ends. SubRip knows no escapes,
// so the arrow that would look like a timing line becomes U+2192.
static void put_line(struct ts_buf *buf, const char *text, enum ts_format format)
{
	bool gap = false, begun = false;
	uint32_t code;

	while (*text) {
		size_t size = next_code(text, &code);
		if (is_blank(code)) {
			gap = begun;
			text += size;
			continue;
		}
		if (gap)
			ts_buf_add_char(buf, ' ');
		gap = false;
		begun = true;
		if (format == TS_FORMAT_SRT && strncmp(text, "-->", 3) == 0) {
			ts_buf_add_str(buf, "\xe2\x86\x92");
			text += 3;
			continue;
		}
		put_code(buf, text, size, code, format);
		text += size;
	}
}

static void put_time(struct ts_buf *buf, int64_t ms, char point)
{
	ts_buf_printf(buf, "%02" PRId64 ":%02d:%02d%c%03d", ms / 3600000, (int)(ms / 60000 % 60), (int)(ms / 1000 % 60),
	              point, (int)(ms % 1000));
}

static void put_timing(struct ts_buf *buf, const struct cue *cue, char point)
{
	put_time(buf, cue->start_ms, point);
	ts_buf_add_str(buf, " --> ");
	put_time(buf, cue->end_ms, point);
	ts_buf_add_char(buf, '\n');
}

static void put_cue(struct ts_buf *buf, const struct cue *cue, size_t number, enum ts_format format)
{
	if (format == TS_FORMAT_SRT) {
		ts_buf_printf(buf, "%zu\n", number);
		put_timing(buf, cue, ',');
	} else if (format == TS_FORMAT_VTT) {
		put_timing(buf, cue, '.');
	} else if (format == TS_FORMAT_TSV) {
		ts_buf_printf(buf, "%" PRId64 "\t%" PRId64 "\t", cue->start_ms, cue->end_ms);
	}
	put_line(buf, cue->text, format);
	ts_buf_add_char(buf, '\n');
	if (format == TS_FORMAT_SRT || format == TS_FORMAT_VTT)
		ts_buf_add_char(buf, '\n');
}

static int64_t clamp(int64_t ms)
{
	return ms < 0 ? 0 : ms > TIME_MAX_MS ? TIME_MAX_MS : ms;
}

enum ts_err ts_format_write_cues(const struct ts_transcript *transcript, enum ts_format format, struct ts_buf *buf,
                                 struct ts_error *error)
{
	struct cue pending = {.start_ms = -1};
	size_t count = 0;

	if (format == TS_FORMAT_VTT)
		ts_buf_add_str(buf, "WEBVTT\n\n");
	else if (format == TS_FORMAT_TSV)
		ts_buf_add_str(buf, "start\tend\ttext\n");
	// A cue is written once the next one's start is known.
	for (size_t i = 0; i < transcript->segment_count; i++) {
		const struct ts_segment *segment = &transcript->segments[i];
		if (!has_text(segment->text))
			continue;
		struct cue cue = {clamp(segment->start_ms), clamp(segment->end_ms), segment->text};
		if (cue.start_ms <= pending.start_ms)
			cue.start_ms = pending.start_ms + 1;
		if (cue.end_ms <= cue.start_ms)
			cue.end_ms = cue.start_ms + 1;
		if (pending.text) {
			if (pending.end_ms > cue.start_ms)
				pending.end_ms = cue.start_ms;
			put_cue(buf, &pending, ++count, format);
		}
		pending = cue;
	}
	if (pending.text)
		put_cue(buf, &pending, ++count, format);
	return ts_buf_status(buf, error);
}
