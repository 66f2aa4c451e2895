// What must hold of every transcript that is written out, whatever was in it. Each check reads the text strictly
// and returns NULL, or a sentence that says which law is broken. Shared by the property tests and the fuzz targets.
#ifndef TS_TESTS_FORMAT_LAWS_H
#define TS_TESTS_FORMAT_LAWS_H

#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "core/format.h"

#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct ts_laws_cues {
	size_t count;
	int64_t start_ms, end_ms; // of the last one
};

// One line of `*cursor`, moved behind its newline. False when there is none.
static inline bool ts_laws_line(const char **cursor, const char **out_line, size_t *out_length)
{
	const char *newline = strchr(*cursor, '\n');

	if (!newline)
		return false;
	*out_line = *cursor;
	*out_length = (size_t)(newline - *cursor);
	*cursor = newline + 1;
	return true;
}

static inline bool ts_laws_digits(const char **at, int least, int most, int64_t *out)
{
	int count = 0;

	*out = 0;
	while (count < most && **at >= '0' && **at <= '9') {
		*out = *out * 10 + (**at - '0');
		(*at)++;
		count++;
	}
	return count >= least;
}

static inline bool ts_laws_time(const char **at, char point, int64_t *out_ms)
{
	int64_t h, m, s, ms;

	if (!ts_laws_digits(at, 2, 3, &h) || *(*at)++ != ':' || !ts_laws_digits(at, 2, 2, &m) || *(*at)++ != ':' ||
	    !ts_laws_digits(at, 2, 2, &s) || *(*at)++ != point || !ts_laws_digits(at, 3, 3, &ms) || m > 59 || s > 59)
		return false;
	*out_ms = ((h * 60 + m) * 60 + s) * 1000 + ms;
	return true;
}

// The next cue's times: in order, and not over the one before.
static inline const char *ts_laws_next(struct ts_laws_cues *cues, int64_t start_ms, int64_t end_ms)
{
	if (start_ms >= end_ms)
		return "a cue does not start before its end";
	if (cues->count && start_ms < cues->end_ms)
		return "a cue starts before the end of the one before";
	cues->count++;
	cues->start_ms = start_ms;
	cues->end_ms = end_ms;
	return NULL;
}

static inline const char *ts_laws_timing(const char *line, size_t length, char point, struct ts_laws_cues *cues)
{
	const char *at = line;
	int64_t start, end;

	if (!ts_laws_time(&at, point, &start) || strncmp(at, " --> ", 5) != 0)
		return "a timing line is malformed";
	at += 5;
	if (!ts_laws_time(&at, point, &end) || at != line + length)
		return "a timing line is malformed at its end";
	return ts_laws_next(cues, start, end);
}

// Text of one cue or line: visible, one line, no blanks at the ends, no controls.
static inline const char *ts_laws_text(const char *line, size_t length)
{
	if (!length)
		return "a line of text is empty";
	if (line[0] == ' ' || line[length - 1] == ' ')
		return "a line of text has blanks at its ends";
	for (size_t i = 0; i < length; i++) {
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			return "a line of text has a control character";
		if (line[i] == ' ' && line[i + 1] == ' ')
			return "a line of text has two blanks together";
	}
	return NULL;
}

static inline bool ts_laws_has(const char *line, size_t length, const char *part)
{
	return memmem(line, length, part, strlen(part)) != NULL;
}

static inline const char *ts_laws_srt(const char *text, struct ts_laws_cues *cues)
{
	const char *line, *broken;
	char number[24];
	size_t length;

	while (*text) {
		int digits = snprintf(number, sizeof number, "%zu", cues->count + 1);
		if (!ts_laws_line(&text, &line, &length) || length != (size_t)digits || memcmp(line, number, length) != 0)
			return "an srt block does not begin with its number";
		if (!ts_laws_line(&text, &line, &length))
			return "an srt block ends early";
		if ((broken = ts_laws_timing(line, length, ',', cues)))
			return broken;
		if (!ts_laws_line(&text, &line, &length))
			return "an srt block ends early";
		if ((broken = ts_laws_text(line, length)))
			return broken;
		if (ts_laws_has(line, length, "-->"))
			return "an srt text contains an arrow";
		if (!ts_laws_line(&text, &line, &length) || length != 0)
			return "an srt block is not followed by a blank line";
	}
	return NULL;
}

static inline const char *ts_laws_vtt_text(const char *line, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (line[i] == '<' || line[i] == '>')
			return "a vtt text has a bare angle bracket";
		if (line[i] == '&' && strncmp(line + i, "&amp;", 5) != 0 && strncmp(line + i, "&lt;", 4) != 0 &&
		    strncmp(line + i, "&gt;", 4) != 0)
			return "a vtt text has a bare ampersand";
	}
	return ts_laws_text(line, length);
}

static inline const char *ts_laws_vtt(const char *text, struct ts_laws_cues *cues)
{
	const char *line, *broken;
	size_t length;

	if (strncmp(text, "WEBVTT\n\n", 8) != 0)
		return "a vtt file does not begin with its header";
	for (text += 8; *text;) {
		if (!ts_laws_line(&text, &line, &length))
			return "a vtt block ends early";
		if ((broken = ts_laws_timing(line, length, '.', cues)))
			return broken;
		if (!ts_laws_line(&text, &line, &length))
			return "a vtt block ends early";
		if ((broken = ts_laws_vtt_text(line, length)))
			return broken;
		if (!ts_laws_line(&text, &line, &length) || length != 0)
			return "a vtt block is not followed by a blank line";
	}
	return NULL;
}

static inline const char *ts_laws_txt(const char *text, struct ts_laws_cues *cues)
{
	const char *line, *broken;
	size_t length;

	while (*text) {
		if (!ts_laws_line(&text, &line, &length))
			return "a txt line has no end";
		if ((broken = ts_laws_text(line, length)))
			return broken;
		cues->count++;
	}
	return NULL;
}

static inline const char *ts_laws_tsv(const char *text, struct ts_laws_cues *cues)
{
	const char *line, *broken;
	size_t length;
	int64_t start, end;

	if (strncmp(text, "start\tend\ttext\n", 15) != 0)
		return "a tsv file does not begin with its header";
	for (text += 15; *text;) {
		if (!ts_laws_line(&text, &line, &length))
			return "a tsv line has no end";
		const char *at = line;
		if (!ts_laws_digits(&at, 1, 12, &start) || *at++ != '\t' || !ts_laws_digits(&at, 1, 12, &end) || *at++ != '\t')
			return "a tsv line has no times";
		if ((broken = ts_laws_next(cues, start, end)))
			return broken;
		if ((broken = ts_laws_text(at, length - (size_t)(at - line))))
			return broken;
	}
	return NULL;
}

// The seconds of this many ms, exact to the ms as long as a double is.
static inline bool ts_laws_seconds(const json_t *value, int64_t ms)
{
	if (!json_is_real(value))
		return false;
	if (ms > 1000000000000 || ms < -1000000000000)
		return true;
	return llround(json_real_value(value) * 1000) == ms;
}

static inline const char *ts_laws_json(const char *text, const struct ts_transcript *transcript, bool verbose)
{
	static const char *const numbers[] = {"temperature", "avg_logprob", "compression_ratio", "no_speech_prob"};
	const char *broken = NULL;
	size_t words = 0;

	json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	if (!root)
		return "json does not parse";
	const json_t *segments = json_object_get(root, "segments");
	if (!json_is_string(json_object_get(root, "text")) ||
	    !ts_laws_seconds(json_object_get(root, "duration"), transcript->duration_ms))
		broken = "json lacks its text or duration";
	else if (json_array_size(segments) != transcript->segment_count)
		broken = "json does not have every segment";
	else if (verbose && !json_is_string(json_object_get(root, "language")))
		broken = "verbose_json has no language";
	for (size_t i = 0; !broken && i < transcript->segment_count; i++) {
		const json_t *segment = json_array_get(segments, i);
		if (json_integer_value(json_object_get(segment, "id")) != (json_int_t)i ||
		    !json_is_string(json_object_get(segment, "text")) ||
		    !ts_laws_seconds(json_object_get(segment, "start"), transcript->segments[i].start_ms) ||
		    !ts_laws_seconds(json_object_get(segment, "end"), transcript->segments[i].end_ms))
			broken = "a json segment is not the transcript's";
		for (size_t k = 0; verbose && k < 4; k++)
			if (!json_is_real(json_object_get(segment, numbers[k])))
				broken = "a measure of verbose_json is no number";
		words += transcript->segments[i].word_count;
	}
	if (!broken && verbose && json_array_size(json_object_get(root, "words")) != words)
		broken = "verbose_json does not have every word";
	json_decref(root);
	return broken;
}

// Writes the transcript in every format and checks all laws. `ceiling` bounds each text.
static inline const char *ts_laws_all(const struct ts_transcript *transcript, size_t ceiling, size_t *out_cues)
{
	size_t counts[TS_FORMAT_COUNT] = {0};
	const char *broken = NULL;

	for (unsigned i = 0; !broken && i < TS_FORMAT_COUNT; i++) {
		enum ts_format format = (enum ts_format)i;
		struct ts_laws_cues cues = {0};
		struct ts_buf buf;
		ts_buf_init(&buf, ceiling);
		enum ts_err err = ts_format_write(transcript, format, &buf, NULL);
		const char *text = ts_buf_str(&buf);
		if (err != TS_OK)
			broken = "a format could not be written";
		else if (strlen(text) != buf.length || !ts_utf8_is_valid(text, buf.length))
			broken = "a format is no UTF-8 text";
		else if (format == TS_FORMAT_SRT)
			broken = ts_laws_srt(text, &cues);
		else if (format == TS_FORMAT_VTT)
			broken = ts_laws_vtt(text, &cues);
		else if (format == TS_FORMAT_TXT)
			broken = ts_laws_txt(text, &cues);
		else if (format == TS_FORMAT_TSV)
			broken = ts_laws_tsv(text, &cues);
		else
			broken = ts_laws_json(text, transcript, format == TS_FORMAT_VERBOSE_JSON);
		counts[i] = cues.count;
		ts_buf_finish(&buf);
	}
	if (!broken && (counts[TS_FORMAT_SRT] != counts[TS_FORMAT_VTT] || counts[TS_FORMAT_SRT] != counts[TS_FORMAT_TSV] ||
	                counts[TS_FORMAT_SRT] != counts[TS_FORMAT_TXT]))
		broken = "the formats do not have the same number of cues";
	if (!broken && out_cues)
		*out_cues = counts[TS_FORMAT_SRT];
	return broken;
}

#endif
