// api/problem: the table, the mapping of errors, the JSON.
#include "unit.h"

#include "api/problem.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "core/json.h"
#include "fault.h"

static void table_is_sane(void **state)
{
	(void)state;
	for (int kind = TS_PROBLEM_NONE + 1; kind < TS_PROBLEM_COUNT; kind++) {
		const char *slug = ts_problem_slug((enum ts_problem_kind)kind);
		assert_int_equal(strlen(slug), strspn(slug, "abcdefghijklmnopqrstuvwxyz-"));
		assert_int_equal(kind, ts_problem_by_slug(slug)); // and so no slug stands twice
		assert_in_range(ts_problem_status((enum ts_problem_kind)kind), 400, 599);
		assert_true(strlen(ts_problem_title((enum ts_problem_kind)kind)) > 5);
	}
	assert_int_equal(TS_PROBLEM_NONE, ts_problem_by_slug("no-such"));
	assert_null(ts_problem_slug(TS_PROBLEM_NONE));
	assert_null(ts_problem_slug(TS_PROBLEM_COUNT));
}

static void json_has_what_is_known(void **state)
{
	struct ts_problem problem;
	json_error_t why;

	(void)state;
	assert_int_equal(TS_ERR_INVALID, ts_problem_set(&problem, TS_PROBLEM_INVALID_FIELD, "media_url", "it is %d", 7));
	ts_problem_hint(&problem, "try %s", "again");
	problem.job_status = "queued";
	TS_AUTOFREE char *text = ts_problem_json(&problem, "/api/v1/x", "req-1");
	json_auto_t *json = json_loads(text, JSON_REJECT_DUPLICATES, &why);
	json_auto_t *expected = json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:s}", "type",
	                                  "/problems/invalid-field", "title", "A field has a value that is not allowed",
	                                  "status", 400, "detail", "it is 7", "instance", "/api/v1/x", "field", "media_url",
	                                  "hint", "try again", "request_id", "req-1", "job_status", "queued");
	assert_true(json_equal(json, expected));

	ts_problem_set(&problem, TS_PROBLEM_NOT_FOUND, NULL, "gone");
	TS_AUTOFREE char *bare = ts_problem_json(&problem, "/\xff", NULL); // a path that JSON cannot hold
	json_auto_t *small = json_loads(bare, 0, &why);
	assert_int_equal(5, json_object_size(small));
	assert_string_equal("/\xef\xbf\xbd", json_string_value(json_object_get(small, "instance")));
}

static void long_texts_are_cut_between_characters(void **state)
{
	struct ts_problem problem;
	char text[4000];

	(void)state;
	for (size_t i = 0; i + 3 < sizeof text; i += 3)
		memcpy(text + i, "\xe2\x82\xac", 4);
	for (size_t shift = 0; shift < 3; shift++) {
		ts_problem_set(&problem, TS_PROBLEM_UNKNOWN_FIELD, text, "%.*s%s", (int)shift, "ab", text);
		ts_problem_hint(&problem, "%.*s%s", (int)shift, "ab", text);
		assert_true(ts_utf8_is_valid(problem.field, strlen(problem.field)));
		assert_true(ts_utf8_is_valid(problem.detail, strlen(problem.detail)));
		assert_true(ts_utf8_is_valid(problem.hint, strlen(problem.hint)));
		assert_in_range(strlen(problem.detail), sizeof problem.detail - 4, sizeof problem.detail - 1);
	}
}

static void errors_become_problems(void **state)
{
	static const struct {
		enum ts_err code;
		enum ts_problem_kind kind;
		bool tells, retry;
	} cases[] = {
	    {TS_ERR_INVALID, TS_PROBLEM_INVALID_FIELD, true, false},
	    {TS_ERR_LANGUAGE, TS_PROBLEM_INVALID_FIELD, true, false},
	    {TS_ERR_NOT_FOUND, TS_PROBLEM_NOT_FOUND, true, false},
	    {TS_ERR_CONFLICT, TS_PROBLEM_CONFLICT, true, false},
	    {TS_ERR_BUSY, TS_PROBLEM_BACKLOG_FULL, false, true},
	    {TS_ERR_STORE, TS_PROBLEM_STORE_UNAVAILABLE, false, true},
	    {TS_ERR_SCHEMA, TS_PROBLEM_STORE_UNAVAILABLE, false, true},
	    {TS_ERR_NOMEM, TS_PROBLEM_OVERLOADED, false, true},
	    {TS_ERR_INTERNAL, TS_PROBLEM_INTERNAL, false, false},
	    {TS_ERR_IO, TS_PROBLEM_INTERNAL, false, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct ts_error error = {0};
		struct ts_problem problem;
		(void)!ts_fail(&error, cases[i].code, "the inner truth");
		assert_int_equal(cases[i].code, ts_problem_from(&problem, &error));
		assert_int_equal(problem.kind, cases[i].kind);
		// Internals stay inside.
		assert_int_equal(cases[i].tells, strstr(problem.detail, "inner truth") != NULL);
		assert_int_equal(cases[i].retry, problem.retry_after_s > 0);
	}
}

static enum ts_err render(void *ctx, struct ts_error *error)
{
	struct ts_problem problem;

	(void)ctx;
	ts_problem_set(&problem, TS_PROBLEM_INVALID_FIELD, "f", "d");
	TS_AUTOFREE char *text = ts_problem_json(&problem, "/x", "r");
	return text ? TS_OK : ts_fail_nomem(error);
}

static void memory_may_run_out(void **state)
{
	(void)state;
	ts_fault_each(render, NULL, 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(table_is_sane),
	    cmocka_unit_test(json_has_what_is_known),
	    cmocka_unit_test(long_texts_are_cut_between_characters),
	    cmocka_unit_test(errors_become_problems),
	    cmocka_unit_test(memory_may_run_out),
	};
	ts_json_use_mem();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
