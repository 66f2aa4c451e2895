// docs/api.md against the tables: each route, problem type, metric and field is described, and nothing else is.
#include "unit.h"

#include "api/problem.h"
#include "api/router.h"
#include "api/wire.h"

#include <stdlib.h>

static char doc[1 << 17];

static int read_doc(void **state)
{
	char path[4096];
	const char *root = getenv("TS_SOURCE_ROOT");

	(void)state;
	assert_non_null(root);
	snprintf(path, sizeof path, "%s/docs/api.md", root);
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	doc[fread(doc, 1, sizeof doc - 1, file)] = '\0';
	fclose(file);
	return 0;
}

static void each_route_is_described(void **state)
{
	unsigned rows = 0;

	(void)state;
	for (int i = 0; i < TS_ROUTE_COUNT; i++) {
		const struct ts_route *route = ts_route_at((enum ts_route_id)i);
		char row[256];
		snprintf(row, sizeof row, "\n| `%s %s` | ", ts_method_name(route->method), route->path);
		assert_contains(doc, row);
	}
	for (const char *at = doc; (at = strstr(at, "\n| `")) != NULL; at++) {
		char method[16];
		if (sscanf(at, "\n| `%15[A-Z] /", method) == 1 && at[4 + strlen(method)] == ' ')
			rows++;
	}
	assert_int_equal(rows, TS_ROUTE_COUNT);
}

static void each_problem_is_described(void **state)
{
	(void)state;
	for (int kind = TS_PROBLEM_NONE + 1; kind < TS_PROBLEM_COUNT; kind++) {
		char row[128];
		snprintf(row, sizeof row, "\n| `%s` | %u | ", ts_problem_slug((enum ts_problem_kind)kind),
		         ts_problem_status((enum ts_problem_kind)kind));
		assert_contains(doc, row);
	}
	unsigned rows = 0;
	for (const char *line = strstr(doc, "\n| Type | Status | When |"); line && line[1] == '|';
	     line = strchr(line + 1, '\n'))
		rows += strncmp(line, "\n| `", 4) == 0;
	assert_int_equal(rows, TS_PROBLEM_COUNT - 1);
}

static void each_metric_is_described(void **state)
{
	static const char *const names[] = {
#define TS_METRIC(symbol, name, type, help) name,
#include "api/metrics.def"
#undef TS_METRIC
	};

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char text[128];
		snprintf(text, sizeof text, "`%s`", names[i]);
		assert_contains(doc, text);
	}
	for (const char *at = doc; (at = strstr(at, "`transcription_")) != NULL; at++) {
		bool known = false;
		for (size_t i = 0; i < sizeof names / sizeof *names; i++)
			known = known || (strncmp(at + 1, names[i], strlen(names[i])) == 0 && at[1 + strlen(names[i])] == '`');
		if (!known)
			fail_msg("unknown metric %.60s", at);
	}
}

// The fields of a submit: the rows between the table's head and the first empty line.
static void each_field_is_described(void **state)
{
	unsigned rows = 0;

	(void)state;
	for (const char *line = strstr(doc, "\n| Field | | |"); line && line[1] == '|'; line = strchr(line + 1, '\n')) {
		char name[64];
		if (sscanf(line, "\n| `%63[a-z_]` |", name) != 1)
			continue;
		rows++;
		assert_true(ts_wire_knows(name) || strcmp(name, "file") == 0);
	}
	assert_int_equal(rows, 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_route_is_described),
	    cmocka_unit_test(each_problem_is_described),
	    cmocka_unit_test(each_metric_is_described),
	    cmocka_unit_test(each_field_is_described),
	};
	return cmocka_run_group_tests(tests, read_doc, NULL);
}
