// Writers of the transcript formats that users download: json, verbose_json (OpenAI's shape), srt (SubRip),
// vtt (WebVTT, W3C), txt (a line a segment), tsv (start, end in ms, text; as whisper writes it).
// Text is made safe for each format: no blank line or "-->" inside a cue, no tab in tsv, WebVTT's & < > escaped.
// Cues have start < end and do not run backwards.
#ifndef TS_CORE_FORMAT_H
#define TS_CORE_FORMAT_H

#include "base/buf.h"
#include "core/transcript.h"

enum ts_format {
#define TS_FORMAT(symbol, name, type, ending) TS_FORMAT_##symbol,
#include "core/formats.def"
#undef TS_FORMAT
	TS_FORMAT_COUNT
};

const char *ts_format_name(enum ts_format format);
const char *ts_format_media_type(enum ts_format format);
const char *ts_format_ending(enum ts_format format); // without the dot
enum ts_err ts_format_parse(const char *name, enum ts_format *out, struct ts_error *error) TS_MUST_USE;

// Appends the transcript to buf (initialised, ceiling chosen by the caller).
enum ts_err ts_format_write(const struct ts_transcript *transcript, enum ts_format format, struct ts_buf *buf,
                            struct ts_error *error) TS_MUST_USE;

#endif
