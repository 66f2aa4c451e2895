// api/router, api/query, api/header: paths, queries and header values.
#include "unit.h"

#include "api/header.h"
#include "api/query.h"
#include "api/router.h"

static const struct ts_route *match(enum ts_method method, const char *target, struct ts_match *out)
{
	ts_router_match(method, target, out);
	return out->route;
}

static void each_route_finds_itself(void **state)
{
	struct ts_match found;

	(void)state;
	for (int i = 0; i < TS_ROUTE_COUNT; i++) {
		const struct ts_route *route = ts_route_at((enum ts_route_id)i);
		assert_non_null(route->handler);
		assert_ptr_equal(route, match(route->method, route->path, &found)); // "{id}" is a fine segment
		assert_true(found.path_known);
		assert_contains(found.allow, ts_method_name(route->method));
		if (route->method == TS_METHOD_GET)
			assert_ptr_equal(route, match(TS_METHOD_HEAD, route->path, &found));
		assert_null(match(TS_METHOD_OTHER, route->path, &found));
		assert_true(found.path_known);
	}
}

static void segments_are_decoded_and_taken(void **state)
{
	struct ts_match found;

	(void)state;
	assert_ptr_equal(ts_route_at(TS_ROUTE_REDELIVER),
	                 match(TS_METHOD_POST, "/api/v1/transcriptions/a%2Fb%20c/deliveries/12/redeliver", &found));
	assert_string_equal(found.param[0], "a/b c");
	assert_string_equal(found.param[1], "12");
	assert_ptr_equal(ts_route_at(TS_ROUTE_LIVE), match(TS_METHOD_GET, "/%68ealth/live", &found));
	assert_ptr_equal(ts_route_at(TS_ROUTE_INDEX), match(TS_METHOD_GET, "http://h.example", &found));
	assert_ptr_equal(ts_route_at(TS_ROUTE_LIVE), match(TS_METHOD_GET, "HTTPS://h.example/health/live", &found));
}

static void other_paths_are_unknown(void **state)
{
	static const char *const paths[] = {"",
	                                    "*",
	                                    "health/live",
	                                    "/health",
	                                    "/health/",
	                                    "/health/live/",
	                                    "/health//live",
	                                    "/health%2Flive",
	                                    "/Health/live",
	                                    "/health/live%00",
	                                    "/health/./live",
	                                    "/api/v1/transcriptions/",
	                                    "/api/v1/transcriptions/%",
	                                    "/api/v1/transcriptions/%4",
	                                    "/api/v1/transcriptions/%00",
	                                    "/api/v1/transcriptions/x/transcript/y"};
	struct ts_match found;
	char longest[400] = "/api/v1/transcriptions/";

	(void)state;
	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
		if (match(TS_METHOD_GET, paths[i], &found) || found.path_known)
			fail_msg("\"%s\" was found", paths[i]);
	}
	memset(longest + strlen(longest), 'x', 300);
	assert_null(match(TS_METHOD_GET, longest, &found));
	assert_false(found.path_known);
}

static void methods(void **state)
{
	struct ts_match found;

	(void)state;
	assert_int_equal(TS_METHOD_GET, ts_method_parse("GET"));
	assert_int_equal(TS_METHOD_DELETE, ts_method_parse("DELETE"));
	assert_int_equal(TS_METHOD_OTHER, ts_method_parse("get"));
	assert_int_equal(TS_METHOD_OTHER, ts_method_parse("other"));
	assert_int_equal(TS_METHOD_OTHER, ts_method_parse(""));
	assert_null(match(TS_METHOD_DELETE, "/api/v1/transcriptions", &found));
	assert_string_equal(found.allow, "POST, GET, HEAD");
}

static void queries(void **state)
{
	static const char *const known[] = {"a", "long_name", NULL};
	static const struct {
		const char *text;
		enum ts_problem_kind kind;
		const char *field, *a;
	} cases[] = {
	    {NULL, TS_PROBLEM_NONE, "", NULL},
	    {"", TS_PROBLEM_NONE, "", NULL},
	    {"a=1", TS_PROBLEM_NONE, "", "1"},
	    {"a", TS_PROBLEM_NONE, "", ""},
	    {"a=", TS_PROBLEM_NONE, "", ""},
	    {"a=x+y%2B%20", TS_PROBLEM_NONE, "", "x y+ "},
	    {"&&a=1&&long_name=2&", TS_PROBLEM_NONE, "", "1"},
	    {"%61=b=c", TS_PROBLEM_NONE, "", "b=c"},
	    {"a=1&a=1", TS_PROBLEM_INVALID_PARAMETER, "a", NULL},
	    {"a=%", TS_PROBLEM_INVALID_PARAMETER, "a", NULL},
	    {"a=%f", TS_PROBLEM_INVALID_PARAMETER, "a", NULL},
	    {"a=%00", TS_PROBLEM_INVALID_PARAMETER, "a", NULL},
	    {"a=%c3", TS_PROBLEM_INVALID_PARAMETER, "a", NULL},
	    {"b=1", TS_PROBLEM_UNKNOWN_PARAMETER, "b", NULL},
	    {"A=1", TS_PROBLEM_UNKNOWN_PARAMETER, "A", NULL},
	    {"=1", TS_PROBLEM_UNKNOWN_PARAMETER, "", NULL},
	    {"%ff=1", TS_PROBLEM_UNKNOWN_PARAMETER, "", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct ts_query query;
		struct ts_problem problem = {0};
		enum ts_err err = ts_query_parse(cases[i].text, known, &query, &problem);
		if ((err == TS_OK) != (cases[i].kind == TS_PROBLEM_NONE) || problem.kind != cases[i].kind ||
		    strcmp(problem.field, cases[i].field) != 0)
			fail_msg("\"%s\": %d %s \"%s\"", cases[i].text, err, problem.detail, problem.field);
		if (err != TS_OK)
			continue;
		const char *a = ts_query_get(&query, "a");
		if (!cases[i].a)
			assert_null(a);
		else
			assert_string_equal(a, cases[i].a);
	}
	// Too long a value is refused, whether plain or encoded.
	char text[4096] = "a=";
	struct ts_query query;
	struct ts_problem problem;
	memset(text + 2, 'x', TS_QUERY_VALUE_SIZE - 1);
	assert_int_equal(TS_OK, ts_query_parse(text, known, &query, &problem));
	memset(text + 2, 'x', TS_QUERY_VALUE_SIZE);
	assert_int_not_equal(TS_OK, ts_query_parse(text, known, &query, &problem));
	memset(text + 2, 'x', sizeof text - 3);
	assert_int_not_equal(TS_OK, ts_query_parse(text, known, &query, &problem));
}

static void acceptance(void **state)
{
	static const struct {
		const char *accept, *type;
		int quality;
	} cases[] = {
	    {NULL, "text/vtt", 1000},
	    {"", "text/vtt", 1000},
	    {"*/*", "text/vtt", 1000},
	    {"text/*", "text/vtt; charset=utf-8", 1000},
	    {"TEXT/VTT", "text/vtt", 1000},
	    {"text/vtt;q=0.5", "text/vtt", 500},
	    {"text/vtt;q=0", "text/vtt", 0},
	    {"text/*;q=0.8, text/vtt;q=0.2, */*", "text/vtt", 200},
	    {"text/*;q=0.8, text/vtt;q=0.2, */*", "text/plain", 800},
	    {"text/*;q=0.8, text/vtt;q=0.2, */*;q=0.125", "application/json", 125},
	    {"application/json", "text/vtt", 0},
	    {"text/vttx", "text/vtt", 0},
	    {"text/vt", "text/vtt", 0},
	    {"text", "text/vtt", 0},
	    {"text/vtt;q=2", "text/vtt", 0},
	    {"text/vtt;q=x", "text/vtt", 0},
	    {";;,, text/vtt", "text/vtt", 1000},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		int quality = ts_header_accepts(cases[i].accept, cases[i].type);
		if (quality != cases[i].quality)
			fail_msg("\"%s\" gives %s %d instead of %d", cases[i].accept, cases[i].type, quality, cases[i].quality);
	}
}

static void parameters(void **state)
{
	struct ts_header_params params;

	(void)state;
	assert_true(ts_header_parse("form-data; name=\"a;b\\\"c\"; filename=x.mp4 ; ", &params));
	assert_string_equal(params.value, "form-data");
	assert_int_equal(2, params.count);
	assert_string_equal(params.item[0].value, "a;b\"c");
	assert_string_equal(params.item[1].name, "filename");
	assert_string_equal(params.item[1].value, "x.mp4");
	static const char *const bad[] = {"",
	                                  ";a=b",
	                                  "x; a",
	                                  "x; a=",
	                                  "x; =b",
	                                  "x; a=\"b",
	                                  "x; a=\"b\"c",
	                                  "x; a=b; A=c",
	                                  "x; a b=c",
	                                  "x; a=b c",
	                                  "x;1=1;2=2;3=3;4=4;5=5;6=6;7=7;8=8;9=9"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		if (ts_header_parse(bad[i], &params))
			fail_msg("\"%s\" was accepted", bad[i]);
	}
}

static void ids_and_traces(void **state)
{
	char text[200];

	(void)state;
	memset(text, 'x', sizeof text);
	text[128] = '\0';
	assert_true(ts_header_is_token(text, 128));
	assert_false(ts_header_is_token(text, 127));
	assert_true(ts_header_is_token("a:b/c~1", 128));
	assert_false(ts_header_is_token("", 128));
	assert_false(ts_header_is_token("a b", 128));
	assert_false(ts_header_is_token("a\"b", 128));
	assert_false(ts_header_is_token("a\x7f", 128));
	assert_false(ts_header_is_token("\xc3\xa9", 128));
	assert_true(ts_header_is_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"));
	static const char *const bad[] = {
	    "",
	    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
	    "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	    "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	    "00-00000000000000000000000000000000-b7ad6b7169203331-01",
	    "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
	    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g",
	    "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_false(ts_header_is_traceparent(bad[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_route_finds_itself),
	    cmocka_unit_test(segments_are_decoded_and_taken),
	    cmocka_unit_test(other_paths_are_unknown),
	    cmocka_unit_test(methods),
	    cmocka_unit_test(queries),
	    cmocka_unit_test(acceptance),
	    cmocka_unit_test(parameters),
	    cmocka_unit_test(ids_and_traces),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
