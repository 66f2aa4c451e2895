// The table of formats and the way to their writers.
#include "core/format.h"

#include "core/format_writers.h"

#include <string.h>

static const struct {
	const char *name, *media_type, *ending;
} formats[] = {
#define TS_FORMAT(symbol, format_name, type, file_ending) [TS_FORMAT_##symbol] = {format_name, type, file_ending},
#include "core/formats.def"
#undef TS_FORMAT
};

const char *ts_format_name(enum ts_format format)
{
	return formats[format].name;
}

const char *ts_format_media_type(enum ts_format format)
{
	return formats[format].media_type;
}

const char *ts_format_ending(enum ts_format format)
{
	return formats[format].ending;
}

enum ts_err ts_format_parse(const char *name, enum ts_format *out, struct ts_error *error)
{
	for (unsigned i = 0; i < TS_FORMAT_COUNT; i++) {
		if (strcmp(formats[i].name, name) == 0) {
			*out = (enum ts_format)i;
			return TS_OK;
		}
	}
	return ts_fail(error, TS_ERR_INVALID, "must be json, verbose_json, srt, vtt, txt or tsv");
}

enum ts_err ts_format_write(const struct ts_transcript *transcript, enum ts_format format, struct ts_buf *buf,
                            struct ts_error *error)
{
	switch (format) {
	case TS_FORMAT_JSON: return ts_format_write_json(transcript, false, buf, error);
	case TS_FORMAT_VERBOSE_JSON: return ts_format_write_json(transcript, true, buf, error);
	case TS_FORMAT_SRT:
	case TS_FORMAT_VTT:
	case TS_FORMAT_TXT:
	case TS_FORMAT_TSV: return ts_format_write_cues(transcript, format, buf, error);
	case TS_FORMAT_COUNT:
	default: return ts_fail(error, TS_ERR_INTERNAL, "no such transcript format");
	}
}
