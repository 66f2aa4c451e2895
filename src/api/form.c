// Parts into fields and a file.
#include "api/form.h"

#include "api/multipart.h"
#include "api/wire.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <string.h>

#define FIELD_MAX 16384 // bytes of one field's text

struct ts_form {
	struct ts_form_options options;
	struct ts_multipart *parser;
	json_t *fields;
	struct ts_upload_file *file;
	char filename[TS_MULTIPART_FILENAME_MAX + 1];
	char name[TS_MULTIPART_NAME_MAX + 1]; // of the part that is coming in
	bool in_file;
	struct ts_buf text;
};

static enum ts_err nomem(struct ts_problem *problem)
{
	struct ts_error error;

	ts_fail_nomem(&error);
	return ts_problem_from(problem, &error);
}

static enum ts_err begin_file(struct ts_form *form, const struct ts_multipart_part *part, struct ts_problem *problem)
{
	if (!part->has_filename || !part->filename[0])
		return ts_problem_set(problem, TS_PROBLEM_INVALID_MULTIPART, "file",
		                      "the part file must have a filename in its Content-Disposition");
	for (const char *c = part->filename; *c; c++) {
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			return ts_problem_set(problem, TS_PROBLEM_INVALID_MULTIPART, "file",
			                      "the filename must not contain control characters");
	}
	memcpy(form->filename, part->filename, sizeof form->filename);
	form->in_file = true;
	return ts_upload_file_create(form->options.upload_dir, form->options.max_file_bytes, form->options.now_ms,
	                             &form->file, problem);
}

static enum ts_err begin(void *ctx, const struct ts_multipart_part *part, struct ts_problem *problem)
{
	struct ts_form *form = ctx;
	bool is_file = strcmp(part->name, "file") == 0;

	if (!is_file && !ts_wire_knows(part->name))
		return ts_wire_unknown(part->name, problem);
	if (is_file ? form->file != NULL : json_object_get(form->fields, part->name) != NULL)
		return ts_problem_set(problem, TS_PROBLEM_INVALID_MULTIPART, part->name, "%s is given twice", part->name);
	memcpy(form->name, part->name, sizeof form->name);
	form->in_file = false;
	if (is_file)
		return begin_file(form, part, problem);
	if (part->has_filename)
		return ts_problem_set(problem, TS_PROBLEM_INVALID_MULTIPART, part->name,
		                      "%s must be a plain field, only the part file may have a filename", part->name);
	ts_buf_clear(&form->text);
	return TS_OK;
}

static enum ts_err data(void *ctx, const void *bytes, size_t length, struct ts_problem *problem)
{
	struct ts_form *form = ctx;

	if (form->in_file)
		return ts_upload_file_write(form->file, bytes, length, problem);
	ts_buf_add(&form->text, bytes, length);
	enum ts_err err = ts_buf_status(&form->text, NULL);
	if (err == TS_ERR_LIMIT)
		return ts_problem_set(problem, TS_PROBLEM_BODY_TOO_LARGE, form->name, "%s is longer than %d bytes", form->name,
		                      FIELD_MAX);
	return err == TS_OK ? TS_OK : nomem(problem);
}

static enum ts_err end(void *ctx, struct ts_problem *problem)
{
	struct ts_form *form = ctx;
	const char *text = ts_buf_str(&form->text);
	json_t *value = NULL;

	if (form->in_file) {
		if (ts_upload_file_size(form->file) == 0)
			return ts_problem_set(problem, TS_PROBLEM_INVALID_FIELD, "file", "the file is empty");
		return ts_upload_file_seal(form->file, problem);
	}
	if (!ts_utf8_is_valid(text, form->text.length))
		return ts_problem_set(problem, TS_PROBLEM_INVALID_FIELD, form->name, "%s must be UTF-8", form->name);
	if (strcmp(form->name, "metadata") == 0) {
		enum ts_err err = ts_wire_parse(text, form->text.length, &value, problem);
		if (err != TS_OK) {
			struct ts_problem inner = *problem;
			return inner.kind == TS_PROBLEM_OVERLOADED
			           ? err
			           : ts_problem_set(problem, TS_PROBLEM_INVALID_FIELD, "metadata",
			                            "metadata must be the text of a JSON object: %s", inner.detail);
		}
	} else {
		value = json_stringn(text, form->text.length);
	}
	return json_object_set_new(form->fields, form->name, value) == 0 ? TS_OK : nomem(problem);
}

void ts_form_destroy(struct ts_form *form)
{
	if (!form)
		return;
	ts_multipart_destroy(form->parser);
	ts_upload_file_destroy(form->file);
	json_decref(form->fields);
	ts_buf_finish(&form->text);
	ts_free(form);
}

TS_DEFINE_CLEANUP(destroy_form, struct ts_form, ts_form_destroy)

enum ts_err ts_form_create(const char *content_type, const struct ts_form_options *options, struct ts_form **out,
                           struct ts_problem *problem)
{
	TS_CLEANUP(destroy_form) struct ts_form *form = ts_calloc(1, sizeof *form);
	const struct ts_multipart_sink sink = {.begin = begin, .data = data, .end = end, .ctx = form};

	if (!form)
		return nomem(problem);
	form->options = *options;
	ts_buf_init(&form->text, FIELD_MAX);
	form->fields = json_object();
	if (!form->fields)
		return nomem(problem);
	TS_TRY(ts_multipart_create(content_type, &sink, &form->parser, problem));
	*out = form;
	form = NULL;
	return TS_OK;
}

enum ts_err ts_form_feed(struct ts_form *form, const void *bytes, size_t length, struct ts_problem *problem)
{
	return ts_multipart_feed(form->parser, bytes, length, problem);
}

enum ts_err ts_form_finish(struct ts_form *form, struct ts_problem *problem)
{
	return ts_multipart_finish(form->parser, problem);
}

const json_t *ts_form_fields(const struct ts_form *form)
{
	return form->fields;
}

struct ts_upload_file *ts_form_file(const struct ts_form *form)
{
	return form->file;
}

const char *ts_form_filename(const struct ts_form *form)
{
	return form->filename;
}
