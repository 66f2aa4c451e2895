// api/auth: which headers open the door, and who they say is coming in.
#include "unit.h"

#include "api/auth.h"
#include "base/mem.h"

#include <stdlib.h>

static struct ts_auth *auth_of(const char *keys)
{
	struct ts_auth *auth = NULL;
	struct ts_error error;

	assert_ok(ts_auth_create(keys, &auth, &error), &error);
	return auth;
}

static bool opens(const struct ts_auth *auth, const char *header)
{
	char caller[TS_AUTH_CALLER_SIZE];
	struct ts_problem problem = {0};

	if (ts_auth_check(auth, header, caller, &problem) == TS_OK)
		return true;
	assert_int_equal(problem.kind, TS_PROBLEM_UNAUTHORIZED);
	assert_string_equal(problem.field, "Authorization");
	assert_true(problem.detail[0] && problem.hint[0]);
	if (header && strlen(header) > 12)
		assert_null(strstr(problem.detail, header + 7)); // the key is not repeated
	return false;
}

static void keys_open_and_nothing_else_does(void **state)
{
	struct ts_auth *auth = auth_of(" alpha-key,beta-key ,, gamma-key");

	(void)state;
	assert_false(ts_auth_is_open(auth));
	static const char *const good[] = {"Bearer alpha-key", "bearer beta-key", "BEARER   gamma-key",
	                                   "Bearer beta-key  "};
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		assert_true(opens(auth, good[i]));
	static const char *const bad[] = {"",
	                                  "Bearer",
	                                  "Bearer ",
	                                  "Bearer alpha-ke",
	                                  "Bearer alpha-keyx",
	                                  "alpha-key",
	                                  "Basic YTpi",
	                                  "Bearer ALPHA-KEY",
	                                  "Beareralpha-key",
	                                  "Bearer\talpha-key",
	                                  "Bearer alpha-key,beta-key"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		if (opens(auth, bad[i]))
			fail_msg("\"%s\" was let in", bad[i]);
	}
	assert_false(opens(auth, NULL));
	ts_auth_destroy(auth);
}

static void no_keys_no_door(void **state)
{
	(void)state;
	const char *const none[] = {NULL, "", " , "};
	for (size_t i = 0; i < 3; i++) {
		struct ts_auth *auth = auth_of(none[i]);
		assert_true(ts_auth_is_open(auth));
		assert_true(opens(auth, NULL));
		assert_true(opens(auth, "Bearer whatever"));
		ts_auth_destroy(auth);
	}
	ts_auth_destroy(NULL);
}

static void callers_are_told_apart(void **state)
{
	struct ts_auth *auth = auth_of("one-key,two-key");
	char one[TS_AUTH_CALLER_SIZE], again[TS_AUTH_CALLER_SIZE], two[TS_AUTH_CALLER_SIZE];
	struct ts_problem problem;

	(void)state;
	assert_int_equal(TS_OK, ts_auth_check(auth, "Bearer one-key", one, &problem));
	assert_int_equal(TS_OK, ts_auth_check(auth, "bearer  one-key", again, &problem));
	assert_int_equal(TS_OK, ts_auth_check(auth, "Bearer two-key", two, &problem));
	assert_string_equal(one, again);
	assert_string_not_equal(one, two);
	assert_null(strstr(one, "one"));
	ts_auth_destroy(auth);
}

static void unusable_keys_are_refused(void **state)
{
	struct ts_auth *auth = NULL;
	struct ts_error error;
	char many[4 * 70] = "";

	(void)state;
	assert_err(ts_auth_create("a b", &auth, &error), TS_ERR_INVALID);
	assert_err(ts_auth_create("k\xc3\xa9y", &auth, &error), TS_ERR_INVALID);
	assert_null(strstr(error.message, "k\xc3\xa9y"));
	for (int i = 0; i < 65; i++)
		strcat(many, "k,");
	assert_err(ts_auth_create(many, &auth, &error), TS_ERR_LIMIT);
	assert_null(auth);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(keys_open_and_nothing_else_does),
	    cmocka_unit_test(no_keys_no_door),
	    cmocka_unit_test(callers_are_told_apart),
	    cmocka_unit_test(unusable_keys_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
