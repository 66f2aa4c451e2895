// Problem details: the table, the mapping of internal errors, the JSON.
#include "api/problem.h"

#include "base/utf8.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *slug, *title;
	unsigned status;
} problems[] = {
    [TS_PROBLEM_NONE] = {NULL, NULL, 0},
#define TS_PROBLEM(symbol, slug_, status_, title_) \
	[TS_PROBLEM_##symbol] = {.slug = (slug_), .title = (title_), .status = (status_)},
#include "api/problems.def"
#undef TS_PROBLEM
};

// Cuts at a code point: a detail may quote what the client sent.
static void put(char *out, size_t size, const char *format, va_list args)
{
	int length = vsnprintf(out, size, format, args);

	if (length < 0)
		out[0] = '\0';
	else if ((size_t)length >= size)
		out[ts_utf8_cut(out, size - 1, size - 1)] = '\0';
}

enum ts_err ts_problem_set(struct ts_problem *problem, enum ts_problem_kind kind, const char *field, const char *format,
                           ...)
{
	va_list args;

	*problem = (struct ts_problem){.kind = kind};
	if (field) {
		size_t length = strlen(field);
		size_t cut = length < sizeof problem->field ? length : ts_utf8_cut(field, length, sizeof problem->field - 1);
		memcpy(problem->field, field, cut);
	}
	va_start(args, format);
	put(problem->detail, sizeof problem->detail, format, args);
	va_end(args);
	return TS_ERR_INVALID;
}

void ts_problem_hint(struct ts_problem *problem, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	put(problem->hint, sizeof problem->hint, format, args);
	va_end(args);
}

enum ts_err ts_problem_from(struct ts_problem *problem, const struct ts_error *error)
{
	switch ((int)error->code) {
	case TS_ERR_INVALID:
	case TS_ERR_LIMIT:
	case TS_ERR_LANGUAGE:
	case TS_ERR_UNSUPPORTED:
		ts_problem_set(problem, TS_PROBLEM_INVALID_FIELD, error->field, "%s", error->message);
		break;
	case TS_ERR_NOT_FOUND: ts_problem_set(problem, TS_PROBLEM_NOT_FOUND, error->field, "%s", error->message); break;
	case TS_ERR_CONFLICT: ts_problem_set(problem, TS_PROBLEM_CONFLICT, error->field, "%s", error->message); break;
	case TS_ERR_BUSY:
		ts_problem_set(problem, TS_PROBLEM_BACKLOG_FULL, NULL, "the backlog of unfinished jobs is full");
		ts_problem_hint(problem, "send it again after Retry-After seconds, with the same Idempotency-Key");
		problem->retry_after_s = 10;
		break;
	case TS_ERR_STORE:
	case TS_ERR_SCHEMA:
		ts_problem_set(problem, TS_PROBLEM_STORE_UNAVAILABLE, NULL, "the job store does not answer now");
		problem->retry_after_s = 2;
		break;
	case TS_ERR_NOMEM:
		ts_problem_set(problem, TS_PROBLEM_OVERLOADED, NULL, "memory is short now");
		problem->retry_after_s = 2;
		break;
	default:
		ts_problem_set(problem, TS_PROBLEM_INTERNAL, NULL, "an unexpected error; the log has it under the request id");
		break;
	}
	return error->code;
}

unsigned ts_problem_status(enum ts_problem_kind kind)
{
	return problems[kind].status;
}

const char *ts_problem_slug(enum ts_problem_kind kind)
{
	return kind > TS_PROBLEM_NONE && kind < TS_PROBLEM_COUNT ? problems[kind].slug : NULL;
}

const char *ts_problem_title(enum ts_problem_kind kind)
{
	return kind > TS_PROBLEM_NONE && kind < TS_PROBLEM_COUNT ? problems[kind].title : NULL;
}

enum ts_problem_kind ts_problem_by_slug(const char *slug)
{
	for (int kind = TS_PROBLEM_NONE + 1; kind < TS_PROBLEM_COUNT; kind++) {
		if (strcmp(problems[kind].slug, slug) == 0)
			return (enum ts_problem_kind)kind;
	}
	return TS_PROBLEM_NONE;
}

char *ts_problem_json(const struct ts_problem *problem, const char *instance, const char *request_id)
{
	char type[80];

	snprintf(type, sizeof type, "/problems/%s", problems[problem->kind].slug);
	json_auto_t *root = json_pack("{s:s, s:s, s:i, s:s}", "type", type, "title", problems[problem->kind].title,
	                              "status", (int)problems[problem->kind].status, "detail", problem->detail);
	if (!root)
		return NULL;
	const struct {
		const char *key, *value;
	} optional[] = {
	    {"instance", instance},     {"field", problem->field},           {"hint", problem->hint},
	    {"request_id", request_id}, {"job_status", problem->job_status},
	};
	for (size_t i = 0; i < sizeof optional / sizeof *optional; i++) {
		if (optional[i].value && *optional[i].value) {
			// Paths of requests may hold any byte; a text that isn't UTF-8 is left out rather than failing the answer.
			json_t *value = json_string(optional[i].value);
			if (value && json_object_set_new(root, optional[i].key, value) != 0)
				return NULL;
		}
	}
	return json_dumps(root, JSON_COMPACT);
}
