// Names of states and priorities, the table of legal transitions, and the life of the record.
#include "core/job.h"

#include "base/mem.h"

#include <string.h>

static const struct {
	const char *name;
	bool final;
} states[] = {
#define TS_STATE(symbol, text, is_final) [TS_JOB_##symbol] = {text, (is_final) != 0},
#include "core/states.def"
#undef TS_STATE
};

static const struct {
	enum ts_job_state from, to;
} transitions[] = {
#define TS_TRANSITION(before, after, reason) {TS_JOB_##before, TS_JOB_##after},
#include "core/transitions.def"
#undef TS_TRANSITION
};

static const char *const priorities[] = {
    [TS_PRIORITY_HIGH] = "high",
    [TS_PRIORITY_NORMAL] = "normal",
    [TS_PRIORITY_LOW] = "low",
};

const char *ts_job_state_name(enum ts_job_state state)
{
	return (unsigned)state < TS_JOB_STATE_COUNT ? states[state].name : "unknown";
}

enum ts_err ts_job_state_parse(const char *name, enum ts_job_state *out, struct ts_error *error)
{
	for (unsigned i = 0; i < TS_JOB_STATE_COUNT; i++) {
		if (strcmp(states[i].name, name) == 0) {
			*out = (enum ts_job_state)i;
			return TS_OK;
		}
	}
	return ts_fail(error, TS_ERR_INVALID, "must be queued, processing, completed, failed or cancelled");
}

bool ts_job_state_is_final(enum ts_job_state state)
{
	return (unsigned)state < TS_JOB_STATE_COUNT && states[state].final;
}

bool ts_job_transition_is_legal(enum ts_job_state from, enum ts_job_state to)
{
	for (size_t i = 0; i < sizeof transitions / sizeof transitions[0]; i++)
		if (transitions[i].from == from && transitions[i].to == to)
			return true;
	return false;
}

const char *ts_job_priority_name(enum ts_job_priority priority)
{
	return (unsigned)priority < TS_PRIORITY_COUNT ? priorities[priority] : "unknown";
}

enum ts_err ts_job_priority_parse(const char *name, enum ts_job_priority *out, struct ts_error *error)
{
	for (unsigned i = 0; i < TS_PRIORITY_COUNT; i++) {
		if (strcmp(priorities[i], name) == 0) {
			*out = (enum ts_job_priority)i;
			return TS_OK;
		}
	}
	return ts_fail(error, TS_ERR_INVALID, "must be high, normal or low");
}

// Every owned string of the record, so that none is forgotten when it is copied or freed.
#define EACH_STRING(X) \
	X(video_id)        \
	X(user_id)         \
	X(callback_url)    \
	X(media_url)       \
	X(upload_id)       \
	X(language) X(metadata) X(request_id) X(traceparent) X(lease_owner) X(stage) X(error_code) X(error_message)

void ts_job_init(struct ts_job *job)
{
	*job = (struct ts_job){.priority = TS_PRIORITY_NORMAL, .state = TS_JOB_QUEUED};
}

void ts_job_finish(struct ts_job *job)
{
	if (!job)
		return;
#define FREE(field) ts_free(job->field);
	EACH_STRING(FREE)
#undef FREE
	ts_job_init(job);
}

enum ts_err ts_job_copy(const struct ts_job *from, struct ts_job *out, struct ts_error *error)
{
	TS_AUTOJOB struct ts_job copy = *from;

#define FORGET(field) copy.field = NULL;
	EACH_STRING(FORGET)
#undef FORGET
#define COPY(field)                            \
	if (!ts_str_set(&copy.field, from->field)) \
		return ts_fail_nomem(error);
	EACH_STRING(COPY)
#undef COPY
	ts_job_finish(out);
	*out = copy;
	ts_job_init(&copy);
	return TS_OK;
}
