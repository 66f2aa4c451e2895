// Problem details: the table, the mapping of internal errors, the JSON.
#include "api/problem.h"

#include "base/utf8.h"
#include "core/json.h"

#include <stdint.h>
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

// What did not fit is cut off at a code point: texts may quote what the client sent.
static TS_PRINTF(3, 0) void put(char *out, size_t size, const char *format, va_list args)
{
	int length = vsnprintf(out, size, format, args);
	uint32_t code;

	if (length < 0)
		out[0] = '\0';
	if (length < 0 || (size_t)length < size)
		return;
	size_t last = size - 1;
	while (last > 0 && ((unsigned char)out[last - 1] & 0xc0) == 0x80)
		last--;
	last -= last > 0;
	if (last + ts_utf8_decode(out + last, size - 1 - last, &code) != size - 1)
		out[last] = '\0';
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
	TS_AUTOJSON json_t *root = json_object();
	if (!root || ts_json_put(root, "type", ts_json_text(type), NULL) != TS_OK ||
	    ts_json_put(root, "title", ts_json_text(problems[problem->kind].title), NULL) != TS_OK ||
	    ts_json_put(root, "status", json_integer(problems[problem->kind].status), NULL) != TS_OK ||
	    ts_json_put(root, "detail", ts_json_text(problem->detail), NULL) != TS_OK)
		return NULL;
	const struct {
		const char *key, *value;
	} optional[] = {
	    {"instance", instance},     {"field", problem->field},           {"hint", problem->hint},
	    {"request_id", request_id}, {"job_status", problem->job_status},
	};
	for (size_t i = 0; i < sizeof optional / sizeof *optional; i++) {
		// What the client chose may hold any byte; ts_json_text repairs it.
		if (optional[i].value && *optional[i].value &&
		    ts_json_put(root, optional[i].key, ts_json_text(optional[i].value), NULL) != TS_OK)
			return NULL;
	}
	return json_dumps(root, JSON_COMPACT);
}
