// A submit as multipart/form-data: the same fields as the JSON body as plain parts, metadata as JSON text, and the
// part `file` streamed to disk. Refuses unknown and repeated fields as soon as their part begins.
#ifndef TS_API_FORM_H
#define TS_API_FORM_H

#include "api/problem.h"
#include "api/uploads.h"

#include <jansson.h>
#include <stddef.h>

struct ts_form;

struct ts_form_options {
	const char *upload_dir;
	uint64_t max_file_bytes;
	int64_t now_ms; // wall clock
};

enum ts_err ts_form_create(const char *content_type, const struct ts_form_options *options, struct ts_form **out,
                           struct ts_problem *problem) TS_MUST_USE;
enum ts_err ts_form_feed(struct ts_form *form, const void *bytes, size_t length,
                         struct ts_problem *problem) TS_MUST_USE;
// The body is whole. The file, if any, is sealed.
enum ts_err ts_form_finish(struct ts_form *form, struct ts_problem *problem) TS_MUST_USE;
void ts_form_destroy(struct ts_form *form); // NULL-safe; removes a file that was not released

const json_t *ts_form_fields(const struct ts_form *form);
struct ts_upload_file *ts_form_file(const struct ts_form *form); // NULL: no file came
const char *ts_form_filename(const struct ts_form *form);

#endif
