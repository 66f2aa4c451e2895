// multipart/form-data (RFC 7578 over RFC 2046) as a stream: bytes come in pieces of any size, parts go out through
// callbacks, and the same body gives the same parts however it was cut. Strict: what browsers and curl send is
// accepted, anything else is refused. Memory is bounded by one part's header. Fuzzed (fuzz_multipart).
#ifndef TS_API_MULTIPART_H
#define TS_API_MULTIPART_H

#include "api/problem.h"

#include <stdbool.h>
#include <stddef.h>

#define TS_MULTIPART_NAME_MAX 128
#define TS_MULTIPART_FILENAME_MAX 255
#define TS_MULTIPART_HEADER_MAX 4096
#define TS_MULTIPART_PARTS_MAX 32

struct ts_multipart_part {
	char name[TS_MULTIPART_NAME_MAX + 1];
	bool has_filename;
	char filename[TS_MULTIPART_FILENAME_MAX + 1]; // as sent, UTF-8, the path of old browsers cut off
	char type[128];                               // of Content-Type; "" when absent
};

// Any non-OK return stops the parser with that problem.
struct ts_multipart_sink {
	enum ts_err (*begin)(void *ctx, const struct ts_multipart_part *part, struct ts_problem *problem);
	enum ts_err (*data)(void *ctx, const void *bytes, size_t length, struct ts_problem *problem); // length > 0
	enum ts_err (*end)(void *ctx, struct ts_problem *problem);
	void *ctx;
};

struct ts_multipart;

// content_type: the whole header value, "multipart/form-data; boundary=...".
enum ts_err ts_multipart_create(const char *content_type, const struct ts_multipart_sink *sink,
                                struct ts_multipart **out, struct ts_problem *problem) TS_MUST_USE;
void ts_multipart_destroy(struct ts_multipart *parser); // NULL-safe

// After a failure no more calls but destroy.
enum ts_err ts_multipart_feed(struct ts_multipart *parser, const void *bytes, size_t length,
                              struct ts_problem *problem) TS_MUST_USE;
// The body has ended: it must have had its closing delimiter.
enum ts_err ts_multipart_finish(struct ts_multipart *parser, struct ts_problem *problem) TS_MUST_USE;

#endif
