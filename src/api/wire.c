// Submit bodies: jansson decodes, a table of fields judges.
#include "api/wire.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "core/json.h"
#include "net/url.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#define TEXT_MAX ((size_t)1 << 26) // far above any body

struct checker {
	const struct ts_wire_rules *rules;
	struct ts_job *job;
	struct ts_problem *problem;
};

struct field {
	const char *name;
	enum ts_err (*take)(const struct checker *check, const struct field *field, const json_t *value);
	size_t slot; // offset in struct ts_job of the string
};

static enum ts_err nomem(struct ts_problem *problem)
{
	struct ts_error error;

	ts_fail_nomem(&error);
	return ts_problem_from(problem, &error);
}

static enum ts_err store(const struct checker *check, const struct field *field, const char *text)
{
	char **slot = (char **)(void *)((char *)check->job + field->slot);
	return ts_str_set(slot, text) ? TS_OK : nomem(check->problem);
}

static const char *type_name(const json_t *value)
{
	static const char *const names[] = {"an object", "an array",  "a string",  "a whole number",
	                                    "a number",  "a boolean", "a boolean", "null"};
	return names[json_typeof(value)];
}

static enum ts_err want_type(const struct checker *check, const struct field *field, const json_t *value,
                             const char *wanted)
{
	return ts_problem_set(check->problem, TS_PROBLEM_INVALID_FIELD, field->name, "%s must be %s, not %s", field->name,
	                      wanted, type_name(value));
}

// A string without control characters, of min to max characters.
static enum ts_err take_text(const struct checker *check, const struct field *field, const json_t *value, size_t max,
                             const char **out)
{
	if (!json_is_string(value))
		return want_type(check, field, value, "a string");
	const char *text = json_string_value(value);
	size_t length = json_string_length(value);
	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c < 0x20 || c == 0x7f)
			return ts_problem_set(check->problem, TS_PROBLEM_INVALID_FIELD, field->name,
			                      "%s must not contain control characters (found U+%04X at byte %zu)", field->name,
			                      (unsigned)c, i);
	}
	size_t count = ts_utf8_count(text, length);
	if (count < 1 || count > max)
		return ts_problem_set(check->problem, TS_PROBLEM_INVALID_FIELD, field->name,
		                      "%s must be 1 to %zu characters long, it has %zu", field->name, max, count);
	*out = text;
	return TS_OK;
}

static enum ts_err take_id(const struct checker *check, const struct field *field, const json_t *value)
{
	const char *text = NULL;

	TS_TRY(take_text(check, field, value, TS_WIRE_ID_MAX, &text));
	return store(check, field, text);
}

static enum ts_err take_url(const struct checker *check, const struct field *field, const json_t *value,
                            const char *const *schemes)
{
	const char *text = NULL;
	struct ts_error error = {0};
	TS_AUTOURL struct ts_url url = {0};

	TS_TRY(take_text(check, field, value, TS_URL_MAX, &text));
	enum ts_err err = ts_url_parse(text, schemes, &url, &error);
	if (err == TS_ERR_NOMEM)
		return nomem(check->problem);
	if (err != TS_OK)
		return ts_problem_set(check->problem, TS_PROBLEM_INVALID_FIELD, field->name, "%s is not a usable URL: %s",
		                      field->name, error.message);
	return store(check, field, text);
}

static enum ts_err take_callback_url(const struct checker *check, const struct field *field, const json_t *value)
{
	static const char *const schemes[] = {"http", "https", NULL};
	return take_url(check, field, value, schemes);
}

static enum ts_err take_media_url(const struct checker *check, const struct field *field, const json_t *value)
{
	static const char *const schemes[] = {"http", "https", "file", NULL};
	static const char *const remote[] = {"http", "https", NULL};
	return take_url(check, field, value, check->rules->has_media_file_root ? schemes : remote);
}

static enum ts_err take_upload_id(const struct checker *check, const struct field *field, const json_t *value)
{
	if (!json_is_string(value))
		return want_type(check, field, value, "a string");
	if (json_string_length(value) != TS_UUID_SIZE - 1 || !ts_uuid_is_valid(json_string_value(value)))
		return ts_problem_set(check->problem, TS_PROBLEM_INVALID_FIELD, field->name,
		                      "upload_id must be the id of an upload, a lower-case UUID");
	return store(check, field, json_string_value(value));
}

static enum ts_err take_language(const struct checker *check, const struct field *field, const json_t *value)
{
	struct ts_error error = {0};

	if (!json_is_string(value))
		return want_type(check, field, value, "a string");
	const char *text = json_string_value(value);
	if (json_string_length(value) != 2 || strspn(text, "abcdefghijklmnopqrstuvwxyz") != 2)
		return ts_problem_set(check->problem, TS_PROBLEM_INVALID_FIELD, field->name,
		                      "language must be an ISO 639-1 code of two lower-case letters, such as \"en\"");
	if (check->rules->check_language && check->rules->check_language(check->rules->check_ctx, text, &error) != TS_OK) {
		ts_problem_set(check->problem, TS_PROBLEM_INVALID_FIELD, field->name, "%s", error.message);
		ts_problem_hint(check->problem, "leave language out to let the engine decide");
		return TS_ERR_INVALID;
	}
	return store(check, field, text);
}

static enum ts_err take_priority(const struct checker *check, const struct field *field, const json_t *value)
{
	if (!json_is_string(value))
		return want_type(check, field, value, "a string");
	if (strlen(json_string_value(value)) != json_string_length(value) ||
	    ts_job_priority_parse(json_string_value(value), &check->job->priority, NULL) != TS_OK)
		return ts_problem_set(check->problem, TS_PROBLEM_INVALID_FIELD, field->name,
		                      "priority must be \"high\", \"normal\" or \"low\"");
	return TS_OK;
}

// Whether no string inside holds U+0000, which stores and C readers down the line would cut at.
static bool is_clean(const json_t *value, unsigned depth, bool *out_deep)
{
	const char *key;
	json_t *item;
	size_t i;

	if ((json_is_object(value) || json_is_array(value)) && depth == 0) {
		*out_deep = true;
		return false;
	}
	if (json_is_string(value))
		return strlen(json_string_value(value)) == json_string_length(value);
	if (json_is_object(value)) {
		// The macro's iterator takes a mutable object although it only reads.
		json_object_foreach((json_t *)(uintptr_t)value, key, item)
		{
			if (!is_clean(item, depth - 1, out_deep))
				return false;
		}
	} else if (json_is_array(value)) {
		json_array_foreach(value, i, item)
		{
			if (!is_clean(item, depth - 1, out_deep))
				return false;
		}
	}
	return true;
}

static enum ts_err take_metadata(const struct checker *check, const struct field *field, const json_t *value)
{
	bool deep = false;

	if (!json_is_object(value))
		return want_type(check, field, value, "an object");
	if (!is_clean(value, TS_WIRE_METADATA_DEPTH, &deep)) {
		if (deep)
			return ts_problem_set(check->problem, TS_PROBLEM_INVALID_FIELD, field->name,
			                      "metadata must not be nested deeper than %d levels", TS_WIRE_METADATA_DEPTH);
		return ts_problem_set(check->problem, TS_PROBLEM_INVALID_FIELD, field->name,
		                      "metadata must not contain U+0000");
	}
	TS_AUTOBUF struct ts_buf text;
	ts_buf_init(&text, TEXT_MAX);
	if (ts_json_write(value, &text, NULL) != TS_OK)
		return nomem(check->problem);
	if (text.length > TS_WIRE_METADATA_MAX)
		return ts_problem_set(check->problem, TS_PROBLEM_INVALID_FIELD, field->name,
		                      "metadata must be at most %d bytes of JSON, it has %zu", TS_WIRE_METADATA_MAX,
		                      text.length);
	return store(check, field, ts_buf_str(&text));
}

#define SLOT(member) offsetof(struct ts_job, member)
static const struct field fields[] = {
    {"video_id", take_id, SLOT(video_id)},
    {"user_id", take_id, SLOT(user_id)},
    {"callback_url", take_callback_url, SLOT(callback_url)},
    {"media_url", take_media_url, SLOT(media_url)},
    {"upload_id", take_upload_id, SLOT(upload_id)},
    {"language", take_language, SLOT(language)},
    {"metadata", take_metadata, SLOT(metadata)},
    {"priority", take_priority, 0},
};
#define FIELD_COUNT (sizeof fields / sizeof *fields)

bool ts_wire_knows(const char *name)
{
	for (size_t i = 0; i < FIELD_COUNT; i++) {
		if (strcmp(fields[i].name, name) == 0)
			return true;
	}
	return false;
}

enum ts_err ts_wire_unknown(const char *name, struct ts_problem *problem)
{
	ts_problem_set(problem, TS_PROBLEM_UNKNOWN_FIELD, name, "there is no such field");
	// The field as the problem shows it: cut to its size.
	char shown[sizeof problem->field];
	memcpy(shown, problem->field, sizeof shown);
	ts_problem_set(problem, TS_PROBLEM_UNKNOWN_FIELD, shown, "there is no field \"%s\"", shown);
	ts_problem_hint(problem, "the fields are video_id, user_id, callback_url, media_url, upload_id, language, "
	                         "metadata and priority, and file in a form");
	return TS_ERR_INVALID;
}

// One source of media, or one that this installation derives from the video_id.
static enum ts_err check_source(const struct checker *check, bool has_file)
{
	const struct ts_job *job = check->job;

	if (has_file && (job->media_url || job->upload_id))
		return ts_problem_set(check->problem, TS_PROBLEM_INVALID_FIELD, job->media_url ? "media_url" : "upload_id",
		                      "only one of file, media_url and upload_id may be given");
	if (job->media_url && job->upload_id)
		return ts_problem_set(check->problem, TS_PROBLEM_INVALID_FIELD, "upload_id",
		                      "only one of file, media_url and upload_id may be given");
	if (has_file || job->media_url || job->upload_id || check->rules->has_media_template)
		return TS_OK;
	ts_problem_set(check->problem, TS_PROBLEM_MISSING_FIELD, "media_url",
	               "media_url, upload_id or a file is needed: neither MEDIA_URL_TEMPLATE nor "
	               "VIDEO_PROCESSING_SERVICE_URL is set, so a video_id alone does not lead to the media");
	ts_problem_hint(check->problem,
	                "send media_url, upload the file as multipart/form-data, or ask the operator to set "
	                "MEDIA_URL_TEMPLATE");
	return TS_ERR_INVALID;
}

enum ts_err ts_wire_submit(const json_t *root, const struct ts_wire_rules *rules, bool has_file, struct ts_job *out,
                           struct ts_problem *problem)
{
	TS_AUTOJOB struct ts_job job;
	const struct checker check = {.rules = rules, .job = &job, .problem = problem};
	const char *key;
	json_t *value;

	ts_job_init(&job);
	json_object_foreach((json_t *)(uintptr_t)root, key, value)
	{
		if (!ts_wire_knows(key))
			return ts_wire_unknown(key, problem);
	}
	for (size_t i = 0; i < FIELD_COUNT; i++) {
		value = json_object_get(root, fields[i].name);
		if (value && !json_is_null(value)) // null is the same as leaving it out
			TS_TRY(fields[i].take(&check, &fields[i], value));
	}
	if (!job.video_id)
		return ts_problem_set(problem, TS_PROBLEM_MISSING_FIELD, "video_id",
		                      "video_id is required, a string of 1 to %d characters", TS_WIRE_ID_MAX);
	TS_TRY(check_source(&check, has_file));
	ts_job_finish(out);
	*out = job;
	ts_job_init(&job);
	return TS_OK;
}

// The top-level member whose value (or name) holds byte `at`: lets a problem of the decoder name the field.
static void member_at(const char *body, size_t at, char *out, size_t size)
{
	unsigned depth = 0;
	bool expects_key = false;

	out[0] = '\0';
	for (size_t i = 0; i < at; i++) {
		switch (body[i]) {
		case '{':
		case '[':
			depth++;
			expects_key = depth == 1 && body[i] == '{';
			break;
		case '}':
		case ']':
			depth -= depth > 0;
			if (depth == 0)
				out[0] = '\0';
			break;
		case ',':
			if (depth != 1)
				break;
			expects_key = true;
			out[0] = '\0';
			break;
		case '"': {
			size_t start = i + 1;
			for (i = start; i < at && body[i] != '"'; i++)
				i += body[i] == '\\';
			size_t length = (i < at ? i : at) - start;
			if (expects_key && depth == 1) {
				bool fits = length < size && ts_utf8_is_valid(body + start, length);
				snprintf(out, size, "%.*s", fits ? (int)length : 0, body + start);
				expects_key = false;
			}
			break;
		}
		default: break;
		}
	}
}

static enum ts_err decode_problem(const char *body, size_t length, const json_error_t *error,
                                  struct ts_problem *problem)
{
	char member[64];
	size_t at = error->position > 0 ? (size_t)error->position : 0;

	switch ((int)json_error_code(error)) {
	case json_error_out_of_memory: return nomem(problem);
	case json_error_duplicate_key: {
		// The text is: duplicate object key near '"name"'
		const char *start = strstr(error->text, "near '\"");
		size_t name = start ? strcspn(start + 7, "\"") : 0;
		snprintf(member, sizeof member, "%.*s", name < sizeof member ? (int)name : 0, start ? start + 7 : "");
		return ts_problem_set(problem, TS_PROBLEM_INVALID_JSON, member, "a field is given twice (line %d, column %d)",
		                      error->line, error->column);
	}
	default: break;
	}
	// The position is behind the token that was not expected.
	at -= at > 0;
	member_at(body, at < length ? at : length, member, sizeof member);
	// The decoder quotes raw input, so its text may hold broken UTF-8.
	bool quotable = ts_utf8_is_valid(error->text, strlen(error->text));
	return ts_problem_set(problem, TS_PROBLEM_INVALID_JSON, member, "line %d, column %d (byte %zu): %s", error->line,
	                      error->column, at, quotable ? error->text : "malformed text");
}

enum ts_err ts_wire_parse(const char *body, size_t length, json_t **out, struct ts_problem *problem)
{
	json_error_t error = {0};
	size_t denials = ts_json_denials();

	if (length == 0)
		return ts_problem_set(problem, TS_PROBLEM_INVALID_JSON, NULL, "the body is empty; it must be a JSON object");
	json_t *root = json_loadb(body, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
	if (ts_json_denials() != denials) {
		json_decref(root);
		return nomem(problem);
	}
	if (!root)
		return decode_problem(body, length, &error, problem);
	if (!json_is_object(root)) {
		const char *found = type_name(root);
		json_decref(root);
		return ts_problem_set(problem, TS_PROBLEM_INVALID_JSON, NULL, "the body must be a JSON object, not %s", found);
	}
	*out = root;
	return TS_OK;
}

enum ts_err ts_wire_digest(const json_t *root, const char *file_sha256, char out[TS_SHA256_HEX_SIZE],
                           struct ts_error *error)
{
	unsigned char digest[32];

	TS_AUTOFREE char *canonical = json_dumps(root, JSON_COMPACT | JSON_SORT_KEYS);
	if (!canonical)
		return ts_fail_nomem(error);
	TS_AUTOFREE char *text = ts_asprintf("%s\n%s", canonical, file_sha256 ? file_sha256 : "");
	if (!text)
		return ts_fail_nomem(error);
	if (EVP_Digest(text, strlen(text), digest, NULL, EVP_sha256(), NULL) != 1)
		return ts_fail(error, TS_ERR_INTERNAL, "SHA-256 is not available");
	for (size_t i = 0; i < sizeof digest; i++)
		snprintf(out + 2 * i, 3, "%02x", (unsigned)digest[i]);
	return TS_OK;
}
