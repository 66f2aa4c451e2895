// Errors as values: one must-use status and, when the caller wants it, a message in an explicit
// struct passed last. Refuses thread-local state, errno leakage and printing.
#ifndef TS_BASE_ERR_H
#define TS_BASE_ERR_H

#include "base/attr.h"

#include <stdarg.h>
#include <stdbool.h>

enum ts_err {
	TS_OK = 0,
#define TS_ERR(symbol, name, temporary) TS_ERR_##symbol,
#include "base/err.def"
#undef TS_ERR
	TS_ERR_COUNT
};

// What went wrong, for people. A zeroed struct is "no error". Plain value; copy freely.
struct ts_error {
	enum ts_err code;
	char field[64];    // the input field at fault, "" when none
	char message[512]; // one sentence, UTF-8, no trailing newline
};

// Stable lower-case name of a code ("ok" for TS_OK); never NULL.
const char *ts_err_name(enum ts_err code);

// Inverse of ts_err_name; TS_ERR_INTERNAL for an unknown name.
enum ts_err ts_err_from_name(const char *name);

// Whether trying again later may help without anybody changing anything.
bool ts_err_is_temporary(enum ts_err code);

// Fills *error (NULL allowed) and returns `code`, so that callers write `return ts_fail(...)`.
enum ts_err ts_fail(struct ts_error *error, enum ts_err code, const char *format, ...) TS_PRINTF(3, 4);

// Like ts_fail, and names the input field at fault.
enum ts_err ts_fail_field(struct ts_error *error, enum ts_err code, const char *field, const char *format, ...)
    TS_PRINTF(4, 5);

// Like ts_fail, appending ": " and the text of `errno_value`.
enum ts_err ts_fail_errno(struct ts_error *error, enum ts_err code, int errno_value, const char *format, ...)
    TS_PRINTF(4, 5);

// TS_ERR_NOMEM with the usual message.
enum ts_err ts_fail_nomem(struct ts_error *error);

// The one propagate macro: returns from the caller when `expression` is not TS_OK.
#define TS_TRY(expression)                     \
	do {                                       \
		enum ts_err ts_try_err = (expression); \
		if (ts_try_err != TS_OK)               \
			return ts_try_err;                 \
	} while (0)

#endif
