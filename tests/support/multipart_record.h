// A multipart body turned into one text that shows every event, independent of how the data arrived: what the unit test
// compares and the fuzz target's law speaks of.
#ifndef TS_TESTS_MULTIPART_RECORD_H
#define TS_TESTS_MULTIPART_RECORD_H

#include "api/multipart.h"
#include "base/buf.h"

#include <string.h>

static inline enum ts_err record_begin(void *ctx, const struct ts_multipart_part *part, struct ts_problem *problem)
{
	struct ts_buf *out = ctx;
	(void)problem;
	ts_buf_printf(out, "[%s|%s|%s]", part->name, part->has_filename ? part->filename : "-", part->type);
	return TS_OK;
}

static inline enum ts_err record_data(void *ctx, const void *bytes, size_t length, struct ts_problem *problem)
{
	(void)problem;
	ts_buf_add(ctx, bytes, length);
	return TS_OK;
}

static inline enum ts_err record_end(void *ctx, struct ts_problem *problem)
{
	(void)problem;
	ts_buf_add_str(ctx, "[end]");
	return TS_OK;
}

// Feeds `length` bytes in pieces of `piece` (0: pieces of growing size). out: initialised; ends with "[ok]" or the
// problem's text.
static inline void record_multipart(const char *content_type, const void *bytes, size_t length, size_t piece,
                                    struct ts_buf *out)
{
	const struct ts_multipart_sink sink = {.begin = record_begin, .data = record_data, .end = record_end, .ctx = out};
	struct ts_multipart *parser = NULL;
	struct ts_problem problem = {0};
	size_t step = piece ? piece : 1;

	enum ts_err err = ts_multipart_create(content_type, &sink, &parser, &problem);
	for (size_t at = 0; err == TS_OK && at < length;) {
		size_t count = length - at < step ? length - at : step;
		err = ts_multipart_feed(parser, (const char *)bytes + at, count, &problem);
		at += count;
		if (!piece)
			step = step % 7 + 1;
	}
	if (err == TS_OK)
		err = ts_multipart_finish(parser, &problem);
	ts_multipart_destroy(parser);
	if (err == TS_OK)
		ts_buf_add_str(out, "[ok]");
	else
		ts_buf_printf(out, "[%s: %s]", problem.field, problem.detail);
}

#endif
