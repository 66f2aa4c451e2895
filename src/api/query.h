// The query of a request, decoded strictly: a parameter that the route does not know, comes twice or is not
// percent-encoded UTF-8 is a problem that names it.
#ifndef TS_API_QUERY_H
#define TS_API_QUERY_H

#include "api/problem.h"

#include <stddef.h>

#define TS_QUERY_PARAMS_MAX 12
#define TS_QUERY_VALUE_SIZE 1024

struct ts_query {
	size_t count;
	struct {
		const char *name; // one of `known`
		char value[TS_QUERY_VALUE_SIZE];
	} item[TS_QUERY_PARAMS_MAX];
};

// text: as sent, without "?"; NULL: none. known: NULL-terminated list of names, at most TS_QUERY_PARAMS_MAX.
enum ts_err ts_query_parse(const char *text, const char *const *known, struct ts_query *out,
                           struct ts_problem *problem) TS_MUST_USE;
// NULL: not given.
const char *ts_query_get(const struct ts_query *query, const char *name);

#endif
