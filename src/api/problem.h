// Errors as users see them: RFC 9457 problem details from one table (problems.def), naming the field at fault and
// what is allowed. Refuses to carry internals: texts of unexpected errors go to the log, not to the client.
#ifndef TS_API_PROBLEM_H
#define TS_API_PROBLEM_H

#include "base/attr.h"
#include "base/err.h"

enum ts_problem_kind {
	TS_PROBLEM_NONE,
#define TS_PROBLEM(symbol, slug, status, title) TS_PROBLEM_##symbol,
#include "api/problems.def"
#undef TS_PROBLEM
	TS_PROBLEM_COUNT
};

// A zeroed struct is "no problem". Plain value.
struct ts_problem {
	enum ts_problem_kind kind;
	char field[64];         // field, parameter or header at fault; "" when none
	char detail[640];       // one sentence, UTF-8
	char hint[256];         // what to do about it; "" when there is nothing to add
	const char *job_status; // static; NULL: not about a job's state
	unsigned retry_after_s; // 0: no Retry-After
};

// Fills *problem and returns TS_ERR_INVALID, so that callers write `return ts_problem_set(...)`. field may be NULL.
enum ts_err ts_problem_set(struct ts_problem *problem, enum ts_problem_kind kind, const char *field, const char *format,
                           ...) TS_PRINTF(4, 5);
void ts_problem_hint(struct ts_problem *problem, const char *format, ...) TS_PRINTF(2, 3);
// The problem an error of the store, the queue or the machine stands for; returns the error's code.
enum ts_err ts_problem_from(struct ts_problem *problem, const struct ts_error *error);

unsigned ts_problem_status(enum ts_problem_kind kind);
const char *ts_problem_slug(enum ts_problem_kind kind); // NULL past the end and for NONE
const char *ts_problem_title(enum ts_problem_kind kind);
enum ts_problem_kind ts_problem_by_slug(const char *slug); // NONE: unknown

// The application/problem+json text, owned by the caller; NULL when memory is out. instance and request_id may be NULL.
char *ts_problem_json(const struct ts_problem *problem, const char *instance, const char *request_id);

#endif
