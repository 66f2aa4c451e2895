// api/wire: each field's rules at their edges, sources of media, digests, answers, and memory running out anywhere.
#include "unit.h"

#include "api/wire.h"
#include "base/utf8.h"
#include "core/json.h"
#include "fault.h"

static const struct ts_wire_rules template_rules = {.has_media_template = true};

// Parses and judges one body.
static enum ts_err take(const char *json, size_t length, const struct ts_wire_rules *rules, bool has_file,
                        struct ts_job *job, struct ts_problem *problem)
{
	json_auto_t *root = NULL;

	memset(problem, 0, sizeof *problem);
	TS_TRY(ts_wire_parse(json, length, &root, problem));
	return ts_wire_submit(root, rules, has_file, job, problem);
}

static void accepts(const char *json)
{
	TS_AUTOJOB struct ts_job job;
	struct ts_problem problem;

	ts_job_init(&job);
	if (take(json, strlen(json), &template_rules, false, &job, &problem) != TS_OK)
		fail_msg("%s: %s", json, problem.detail);
}

static void refuses(const char *json, enum ts_problem_kind kind, const char *field)
{
	TS_AUTOJOB struct ts_job job;
	struct ts_problem problem;

	ts_job_init(&job);
	if (take(json, strlen(json), &template_rules, false, &job, &problem) == TS_OK)
		fail_msg("%s was accepted", json);
	if (problem.kind != kind || strcmp(problem.field, field) != 0 || !problem.detail[0])
		fail_msg("%s: %s of \"%s\" (%s)", json, ts_problem_slug(problem.kind), problem.field, problem.detail);
	assert_null(job.video_id); // written only on success
}

static void whole_submit_is_taken(void **state)
{
	static const char json[] =
	    "{\"video_id\": \"v\", \"user_id\": \"u\", \"callback_url\": \"https://c.example/x?y=1\", "
	    "\"media_url\": \"http://m.example/v.mp4\", \"language\": \"de\", "
	    "\"metadata\": {\"b\": 0.1, \"a\": [true, null]}, \"priority\": \"high\"}";
	TS_AUTOJOB struct ts_job job;
	struct ts_problem problem;

	(void)state;
	ts_job_init(&job);
	assert_int_equal(TS_OK, take(json, sizeof json - 1, &template_rules, false, &job, &problem));
	assert_string_equal(job.video_id, "v");
	assert_string_equal(job.user_id, "u");
	assert_string_equal(job.callback_url, "https://c.example/x?y=1");
	assert_string_equal(job.media_url, "http://m.example/v.mp4");
	assert_string_equal(job.language, "de");
	assert_string_equal(job.metadata, "{\"b\":0.1,\"a\":[true,null]}"); // order and numbers as the caller wrote them
	assert_int_equal(job.priority, TS_PRIORITY_HIGH);
	assert_null(job.upload_id);
}

static void null_is_the_same_as_absent(void **state)
{
	TS_AUTOJOB struct ts_job job;
	struct ts_problem problem;
	static const char json[] = "{\"video_id\":\"v\",\"user_id\":null,\"callback_url\":null,\"media_url\":null,"
	                           "\"upload_id\":null,\"language\":null,\"metadata\":null,\"priority\":null}";

	(void)state;
	ts_job_init(&job);
	assert_int_equal(TS_OK, take(json, sizeof json - 1, &template_rules, false, &job, &problem));
	assert_null(job.user_id);
	assert_null(job.metadata);
	assert_int_equal(job.priority, TS_PRIORITY_NORMAL);
}

static void types_are_strict(void **state)
{
	static const char *const fields[] = {"video_id",  "user_id",  "callback_url", "media_url",
	                                     "upload_id", "language", "metadata",     "priority"};
	static const char *const values[] = {"1", "1.5", "true", "false", "[]", "[\"v\"]", "{}", "\"\""};
	char json[128];

	(void)state;
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
		for (size_t j = 0; j < sizeof values / sizeof *values; j++) {
			if (strcmp(fields[i], "metadata") == 0 && strcmp(values[j], "{}") == 0)
				continue;
			snprintf(json, sizeof json, "{%s\"%s\": %s}", i ? "\"video_id\": \"v\", " : "", fields[i], values[j]);
			refuses(json, TS_PROBLEM_INVALID_FIELD, fields[i]);
		}
	}
}

static void texts_are_counted_in_characters(void **state)
{
	char json[2048] = "{\"video_id\":\"";

	(void)state;
	for (int i = 0; i < 200; i++)
		strcat(json, "\xf0\x9f\x8e\xac"); // four bytes each
	size_t length = strlen(json);
	strcpy(json + length, "\"}");
	accepts(json);
	strcpy(json + length, "x\"}");
	refuses(json, TS_PROBLEM_INVALID_FIELD, "video_id");
	refuses("{\"video_id\": \"a\\u007f\"}", TS_PROBLEM_INVALID_FIELD, "video_id");
	refuses("{\"video_id\": \"a\\tb\"}", TS_PROBLEM_INVALID_FIELD, "video_id");
	accepts("{\"video_id\": \" ' \\\" \\\\ ; -- \\u00e9\"}");
}

static void languages(void **state)
{
	static const char *const bad[] = {"e", "eng", "EN", "e1", "en\\u0000", "\xc3\xa9", "en-US"};
	char json[64];

	(void)state;
	accepts("{\"video_id\":\"v\",\"language\":\"en\"}");
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		snprintf(json, sizeof json, "{\"video_id\":\"v\",\"language\":\"%s\"}", bad[i]);
		refuses(json, TS_PROBLEM_INVALID_FIELD, "language");
	}
}

static void metadata_is_bounded(void **state)
{
	static char json[3 * TS_WIRE_METADATA_MAX];

	(void)state;
	accepts("{\"video_id\":\"v\",\"metadata\":{\"1\":{\"2\":{\"3\":{\"4\":{\"5\":{\"6\":{\"7\":{}}}}}}}}}");
	refuses("{\"video_id\":\"v\",\"metadata\":{\"1\":{\"2\":{\"3\":{\"4\":{\"5\":{\"6\":{\"7\":{\"8\":[]}}}}}}}}}",
	        TS_PROBLEM_INVALID_FIELD, "metadata");
	refuses("{\"video_id\":\"v\",\"metadata\":{\"a\":[\"x\\u0000\"]}}", TS_PROBLEM_INVALID_FIELD, "metadata");
	// Spaces do not count.
	strcpy(json, "{\"video_id\":\"v\",\"metadata\":{");
	size_t used = strlen(json);
	memset(json + used, ' ', TS_WIRE_METADATA_MAX);
	strcpy(json + used + TS_WIRE_METADATA_MAX, "\"k\":1}}");
	accepts(json);
	// Nor does nesting exhaust the stack.
	used = (size_t)sprintf(json, "{\"video_id\":\"v\",\"metadata\":{\"a\":");
	memset(json + used, '[', 2000);
	memset(json + used + 2000, ']', 2000);
	strcpy(json + used + 4000, "}}");
	refuses(json, TS_PROBLEM_INVALID_FIELD, "metadata");
}

static void one_source_of_media(void **state)
{
	static const struct ts_wire_rules none = {0}, files = {.has_media_file_root = true};
	static const char bare[] = "{\"video_id\":\"v\"}", remote[] = "{\"video_id\":\"v\",\"media_url\":\"https://h/v\"}",
	                  local[] = "{\"video_id\":\"v\",\"media_url\":\"file:///v.mp4\"}",
	                  upload[] = "{\"video_id\":\"v\",\"upload_id\":\"01890000-0000-7000-8000-000000000000\"}",
	                  both[] = "{\"video_id\":\"v\",\"upload_id\":\"01890000-0000-7000-8000-000000000000\","
	                           "\"media_url\":\"https://h/v\"}";
	const struct {
		const char *json;
		const struct ts_wire_rules *rules;
		bool has_file;
		const char *field; // NULL: accepted
	} cases[] = {
	    {bare, &template_rules, false, NULL}, {bare, &none, false, "media_url"},  {bare, &none, true, NULL},
	    {remote, &none, false, NULL},         {remote, &none, true, "media_url"}, {upload, &none, false, NULL},
	    {upload, &none, true, "upload_id"},   {both, &none, false, "upload_id"},  {local, &none, false, "media_url"},
	    {local, &files, false, NULL},         {local, &files, true, "media_url"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		TS_AUTOJOB struct ts_job job;
		struct ts_problem problem;
		ts_job_init(&job);
		enum ts_err err = take(cases[i].json, strlen(cases[i].json), cases[i].rules, cases[i].has_file, &job, &problem);
		if ((err == TS_OK) != (cases[i].field == NULL) ||
		    (cases[i].field && strcmp(problem.field, cases[i].field) != 0))
			fail_msg("case %zu: %s \"%s\" %s", i, ts_err_name(err), problem.field, problem.detail);
	}
}

static void syntax_errors_name_place_and_field(void **state)
{
	static const struct {
		const char *json, *field;
	} cases[] = {
	    {"", ""},
	    {"{\"video_id\": \"v\", \"metadata\": {\"x\": tru}}", "metadata"},
	    {"{\"metadata\": {\"x\": [1, 2}, \"video_id\": 1}", "metadata"},
	    {"{\"video_id\": \"v\\", "video_id"},
	    {"{\"user_id\": \"a,b{c\", \"video_id\": nope}", "video_id"},
	    {"{\"video_id\": \"v\" \"user_id\": \"u\"}", "video_id"},
	    {"{\"video_id\": 1e999}", "video_id"},
	    {"{\"video_id\": 99999999999999999999}", "video_id"},
	    {"\xef\xbb\xbf{}", ""},
	    {"null", ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		refuses(cases[i].json, TS_PROBLEM_INVALID_JSON, cases[i].field);
	refuses("{\"video_id\":\"v\",\"video_id\":\"w\"}", TS_PROBLEM_INVALID_JSON, "video_id");
	refuses("{\"video_id\":\"v\",\"nosuch\":1}", TS_PROBLEM_UNKNOWN_FIELD, "nosuch");
}

static void long_unknown_fields_are_shown_cut(void **state)
{
	TS_AUTOJOB struct ts_job job;
	struct ts_problem problem;
	char json[400] = "{\"";

	(void)state;
	for (int i = 0; i < 60; i++)
		strcat(json, "\xe2\x82\xac");
	strcat(json, "\": 1}");
	ts_job_init(&job);
	assert_int_not_equal(TS_OK, take(json, strlen(json), &template_rules, false, &job, &problem));
	assert_int_equal(problem.kind, TS_PROBLEM_UNKNOWN_FIELD);
	assert_int_equal(63, strlen(problem.field));
	assert_true(ts_utf8_is_valid(problem.detail, strlen(problem.detail)));
}

static void bytes_after_a_zero_count(void **state)
{
	TS_AUTOJOB struct ts_job job;
	struct ts_problem problem;
	static const char json[] = "{\"video_id\":\"v\"}\0garbage";

	(void)state;
	ts_job_init(&job);
	assert_int_not_equal(TS_OK, take(json, sizeof json - 1, &template_rules, false, &job, &problem));
	assert_int_equal(problem.kind, TS_PROBLEM_INVALID_JSON);
}

static void digest_of(const char *json, const char *file, char out[TS_SHA256_HEX_SIZE])
{
	json_auto_t *root = NULL;
	struct ts_problem problem;
	struct ts_error error;

	assert_int_equal(TS_OK, ts_wire_parse(json, strlen(json), &root, &problem));
	assert_ok(ts_wire_digest(root, file, out, &error), &error);
}

static void digests_tell_requests_apart(void **state)
{
	char a[TS_SHA256_HEX_SIZE], b[TS_SHA256_HEX_SIZE];

	(void)state;
	digest_of("{\"video_id\":\"v\",\"metadata\":{\"a\":1,\"b\":2}}", NULL, a);
	digest_of("{ \"metadata\": {\"b\":2,\"a\":1},\n\"video_id\":\"\\u0076\" }", NULL, b);
	assert_string_equal(a, b);
	digest_of("{\"video_id\":\"v\",\"metadata\":{\"a\":1,\"b\":3}}", NULL, b);
	assert_string_not_equal(a, b);
	digest_of("{\"video_id\":\"v\",\"metadata\":{\"a\":1,\"b\":2}}", "00ff", b);
	assert_string_not_equal(a, b);
	assert_int_equal(64, strlen(a));
}

static void job_is_written_whole(void **state)
{
	TS_AUTOJOB struct ts_job job;
	static const char json[] = "{\"video_id\": \"v\", \"metadata\": {\"k\": [1]}}";
	struct ts_problem problem;

	(void)state;
	ts_job_init(&job);
	assert_int_equal(TS_OK, take(json, sizeof json - 1, &template_rules, false, &job, &problem));
	strcpy(job.id, "01890000-0000-7000-8000-000000000000");
	job.created_at = INT64_C(1790000000123);
	job.progress = 1.0 / 3;
	job.media_duration_ms = 12345;
	json_auto_t *out = ts_wire_job(&job, "https://api.example");
	assert_non_null(out);
	static const char *const keys[] = {
	    "id",         "video_id",   "user_id",   "status",     "progress",   "stage",        "attempts", "max_attempts",
	    "priority",   "language",   "media_url", "upload_id",  "duration",   "callback_url", "metadata", "error",
	    "request_id", "created_at", "links",     "updated_at", "started_at", "finished_at"};
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		assert_non_null(json_object_get(out, keys[i]));
	assert_int_equal(sizeof keys / sizeof *keys, json_object_size(out));
	assert_string_equal("2026-09-21T14:13:20.123Z", json_string_value(json_object_get(out, "created_at")));
	assert_true(json_is_null(json_object_get(out, "finished_at")));
	assert_true(json_real_value(json_object_get(out, "progress")) == 0.333);
	assert_true(json_real_value(json_object_get(out, "duration")) == 12.345);
	assert_string_equal("https://api.example/api/v1/transcriptions/01890000-0000-7000-8000-000000000000/transcript",
	                    json_string_value(json_object_get(json_object_get(out, "links"), "transcript")));
}

static enum ts_err in_and_out(void *ctx, struct ts_error *error)
{
	static const char json[] = "{\"video_id\": \"video-1\", \"user_id\": \"u\", \"media_url\": \"http://h.example/a\", "
	                           "\"metadata\": {\"k\": [1, \"two\"]}, \"language\": \"en\"}";
	TS_AUTOJOB struct ts_job job;
	json_auto_t *root = NULL;
	struct ts_problem problem = {0};
	char digest[TS_SHA256_HEX_SIZE];

	(void)ctx;
	ts_job_init(&job);
	enum ts_err err = ts_wire_parse(json, sizeof json - 1, &root, &problem);
	if (err == TS_OK)
		err = ts_wire_submit(root, &template_rules, false, &job, &problem);
	if (err != TS_OK)
		return problem.kind == TS_PROBLEM_OVERLOADED ? ts_fail_nomem(error)
		                                             : ts_fail(error, TS_ERR_INVALID, "%s", problem.detail);
	TS_TRY(ts_wire_digest(root, NULL, digest, error));
	strcpy(job.id, "01890000-0000-7000-8000-000000000000");
	json_auto_t *out = ts_wire_job(&job, "");
	if (!out)
		return ts_fail_nomem(error);
	assert_string_equal("two",
	                    json_string_value(json_array_get(json_object_get(json_object_get(out, "metadata"), "k"), 1)));
	return TS_OK;
}

static void memory_may_run_out_anywhere(void **state)
{
	(void)state;
	ts_fault_each(in_and_out, NULL, 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(whole_submit_is_taken),
	    cmocka_unit_test(null_is_the_same_as_absent),
	    cmocka_unit_test(types_are_strict),
	    cmocka_unit_test(texts_are_counted_in_characters),
	    cmocka_unit_test(languages),
	    cmocka_unit_test(metadata_is_bounded),
	    cmocka_unit_test(one_source_of_media),
	    cmocka_unit_test(syntax_errors_name_place_and_field),
	    cmocka_unit_test(long_unknown_fields_are_shown_cut),
	    cmocka_unit_test(bytes_after_a_zero_count),
	    cmocka_unit_test(digests_tell_requests_apart),
	    cmocka_unit_test(job_is_written_whole),
	    cmocka_unit_test(memory_may_run_out_anywhere),
	};
	ts_json_use_mem();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
