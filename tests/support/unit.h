// cmocka with what it needs before it, and checks on our status values.
#ifndef TS_TESTS_UNIT_H
#define TS_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"

static inline void ts_check_ok(enum ts_err err, const struct ts_error *error, const char *file, int line)
{
	if (err != TS_OK) {
		print_error("returned %s: %s\n", ts_err_name(err), error ? error->message : "");
		_fail(file, line);
	}
}

// The call returned TS_OK; otherwise the message of the error is shown.
#define assert_ok(call, error) ts_check_ok((call), (error), __FILE__, __LINE__)
// The call returned this error code.
#define assert_err(call, code) assert_string_equal(ts_err_name(call), ts_err_name(code))
// text contains part.
#define assert_contains(text, part)                                     \
	do {                                                                \
		if (!strstr((text), (part)))                                    \
			fail_msg("\"%s\" does not contain \"%s\"", (text), (part)); \
	} while (0)

#endif
