// The writers behind ts_format_write, one file a family. Private to src/core.
#ifndef TS_CORE_FORMAT_WRITERS_H
#define TS_CORE_FORMAT_WRITERS_H

#include "core/format.h"

#include <stdbool.h>

// Formats of timed lines: srt, vtt, txt, tsv (format_cues.c).
enum ts_err ts_format_write_cues(const struct ts_transcript *transcript, enum ts_format format, struct ts_buf *buf,
                                 struct ts_error *error) TS_MUST_USE;

// json and verbose_json (format_json.c).
enum ts_err ts_format_write_json(const struct ts_transcript *transcript, bool verbose, struct ts_buf *buf,
                                 struct ts_error *error) TS_MUST_USE;

#endif
