// application/x-www-form-urlencoded queries ("+" is a space).
#include "api/query.h"

#include "api/router.h"
#include "base/utf8.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool decode(const char *text, size_t length, char *out, size_t size)
{
	char raw[3 * TS_QUERY_VALUE_SIZE];

	if (length >= sizeof raw)
		return false;
	for (size_t i = 0; i < length; i++)
		raw[i] = text[i] == '+' ? ' ' : text[i];
	return ts_percent_decode(raw, length, out, size) && ts_utf8_is_valid(out, strlen(out));
}

static enum ts_err unknown(struct ts_problem *problem, const char *name, const char *const *known)
{
	char list[200] = "";

	for (size_t i = 0; known[i]; i++) {
		size_t used = strlen(list);
		snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", known[i]);
	}
	ts_problem_set(problem, TS_PROBLEM_UNKNOWN_PARAMETER, name, "there is no query parameter \"%.64s\" here", name);
	if (known[0])
		ts_problem_hint(problem, "the parameters are %s", list);
	else
		ts_problem_hint(problem, "this request takes no query parameters");
	return TS_ERR_INVALID;
}

enum ts_err ts_query_parse(const char *text, const char *const *known, struct ts_query *out, struct ts_problem *problem)
{
	char name[64];

	out->count = 0;
	while (text && *text) {
		size_t length = strcspn(text, "&"), name_length = strcspn(text, "=&");
		const char *value = text + name_length + (text[name_length] == '=');
		size_t value_length = (size_t)(text + length - value);
		size_t i = 0;

		if (length == 0) {
			text++;
			continue;
		}
		if (!decode(text, name_length, name, sizeof name))
			return ts_problem_set(problem, TS_PROBLEM_UNKNOWN_PARAMETER, NULL, "the query is malformed");
		while (known[i] && strcmp(known[i], name) != 0)
			i++;
		if (!known[i])
			return unknown(problem, name, known);
		if (ts_query_get(out, name))
			return ts_problem_set(problem, TS_PROBLEM_INVALID_PARAMETER, name, "%s is given twice", name);
		if (!decode(value, value_length, out->item[out->count].value, TS_QUERY_VALUE_SIZE))
			return ts_problem_set(problem, TS_PROBLEM_INVALID_PARAMETER, name,
			                      "%s must be percent-encoded UTF-8 shorter than %d bytes", name, TS_QUERY_VALUE_SIZE);
		out->item[out->count++].name = known[i];
		text += length + (text[length] == '&');
	}
	return TS_OK;
}

const char *ts_query_get(const struct ts_query *query, const char *name)
{
	for (size_t i = 0; i < query->count; i++) {
		if (strcmp(query->item[i].name, name) == 0)
			return query->item[i].value;
	}
	return NULL;
}
