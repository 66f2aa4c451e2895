// The statements of a store against the table of transitions: every change of a job's state names the states it may
// leave, each is legal, and each legal one has a statement.
#ifndef TS_TESTS_STATEMENT_LAWS_H
#define TS_TESTS_STATEMENT_LAWS_H

#include "store_fixture.h"

struct statement {
	const char *name;
	const char *sql;
};

static inline enum ts_job_state quoted_state(const char **at)
{
	struct ts_error error;
	enum ts_job_state state;
	char name[32];
	const char *open = strchr(*at, '\''), *close = open ? strchr(open + 1, '\'') : NULL;

	assert_non_null(close);
	snprintf(name, sizeof name, "%.*s", (int)(close - open - 1), open + 1);
	assert_int_equal(ts_job_state_parse(name, &state, &error), TS_OK);
	*at = close + 1;
	return state;
}

// Every state that the WHERE lets through.
static inline unsigned states_left(const char *where, bool left[TS_JOB_STATE_COUNT])
{
	unsigned count = 0;

	for (const char *at = where; (at = strstr(at, "state ")); at++) {
		const char *end, *next;
		if (strncmp(at, "state IN (", 10) == 0)
			end = strchr(at, ')');
		else if (strncmp(at, "state = '", 9) == 0)
			end = at + 9;
		else
			continue;
		for (next = at; next < end; count++)
			left[quoted_state(&next)] = true;
	}
	return count;
}

static inline void check_transitions(const struct statement *statements, size_t count)
{
	bool found[TS_JOB_STATE_COUNT][TS_JOB_STATE_COUNT] = {{false}};
	unsigned changes = 0;

	for (size_t i = 0; i < count; i++) {
		static const char start[] = "UPDATE jobs SET state = ";
		const char *at = statements[i].sql + sizeof start - 1;
		bool left[TS_JOB_STATE_COUNT] = {false};
		if (strncmp(statements[i].sql, start, sizeof start - 1) != 0) {
			// Nobody else touches it.
			if (strncmp(statements[i].sql, "UPDATE jobs SET", 15) == 0)
				assert_null(strstr(statements[i].sql, "SET state"));
			continue;
		}
		enum ts_job_state to = quoted_state(&at);
		const char *where = strstr(at, "WHERE ");
		if (!where || states_left(where, left) == 0)
			fail_msg("%s names no state it may leave", statements[i].name);
		for (int from = 0; from < TS_JOB_STATE_COUNT; from++) {
			if (!left[from])
				continue;
			if (!ts_job_transition_is_legal((enum ts_job_state)from, to))
				fail_msg("%s: %s may not become %s", statements[i].name, ts_job_state_name((enum ts_job_state)from),
				         ts_job_state_name(to));
			found[from][to] = true;
		}
		changes++;
	}
	assert_true(changes >= 8);
	for (int from = 0; from < TS_JOB_STATE_COUNT; from++)
		for (int to = 0; to < TS_JOB_STATE_COUNT; to++)
			if (ts_job_transition_is_legal((enum ts_job_state)from, (enum ts_job_state)to) && !found[from][to])
				fail_msg("no statement takes %s to %s", ts_job_state_name((enum ts_job_state)from),
				         ts_job_state_name((enum ts_job_state)to));
}

#endif
