// Names of the error codes, and filling of messages. The table is err.def.
#include "base/err.h"

#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	bool temporary;
} codes[] = {
    [TS_OK] = {"ok", false},
#define TS_ERR(symbol, text, temp) [TS_ERR_##symbol] = {text, (temp) != 0},
#include "base/err.def"
#undef TS_ERR
};

const char *ts_err_name(enum ts_err code)
{
	if ((unsigned)code >= TS_ERR_COUNT)
		return "internal";
	return codes[code].name;
}

enum ts_err ts_err_from_name(const char *name)
{
	for (unsigned i = 0; i < TS_ERR_COUNT; i++)
		if (strcmp(codes[i].name, name) == 0)
			return (enum ts_err)i;
	return TS_ERR_INTERNAL;
}

bool ts_err_is_temporary(enum ts_err code)
{
	return (unsigned)code < TS_ERR_COUNT && codes[code].temporary;
}

// Messages quote input and are cut to size: what is left is made one line of valid UTF-8, so that it can go into
// JSON, logs and headers as it is.
static void make_clean(char *text)
{
	uint32_t code;
	size_t length = strlen(text);

	for (size_t i = 0; i < length;) {
		size_t size = ts_utf8_decode(text + i, length - i, &code);
		if (size && code >= 0x20 && (code < 0x7f || code >= 0xa0)) {
			i += size;
			continue;
		}
		// A code point that begins in the last bytes was cut in two by the end of the array.
		if (!size && length - i < 4 && ((unsigned char)text[i] & 0xc0) == 0xc0) {
			text[i] = '\0';
			return;
		}
		for (size_t k = 0; k < (size ? size : 1); k++)
			text[i + k] = size ? ' ' : '?';
		i += size ? size : 1;
	}
}

static void fill(struct ts_error *error, enum ts_err code, const char *field, const char *format, va_list args)
    TS_PRINTF(4, 0);

static void fill(struct ts_error *error, enum ts_err code, const char *field, const char *format, va_list args)
{
	// Formatted aside first: callers may pass error->message itself as an argument.
	char message[sizeof error->message];
	char name[sizeof error->field];

	vsnprintf(message, sizeof message, format, args);
	snprintf(name, sizeof name, "%s", field);
	make_clean(message);
	make_clean(name);
	error->code = code;
	memcpy(error->message, message, sizeof message);
	memcpy(error->field, name, sizeof name);
}

enum ts_err ts_fail(struct ts_error *error, enum ts_err code, const char *format, ...)
{
	va_list args;

	if (!error)
		return code;
	va_start(args, format);
	fill(error, code, "", format, args);
	va_end(args);
	return code;
}

enum ts_err ts_fail_field(struct ts_error *error, enum ts_err code, const char *field, const char *format, ...)
{
	va_list args;

	if (!error)
		return code;
	va_start(args, format);
	fill(error, code, field, format, args);
	va_end(args);
	return code;
}

enum ts_err ts_fail_errno(struct ts_error *error, enum ts_err code, int errno_value, const char *format, ...)
{
	va_list args;
	char reason[128];

	if (!error)
		return code;
	va_start(args, format);
	fill(error, code, "", format, args);
	va_end(args);
	// The GNU strerror_r: thread safe, and returns the text wherever it lies.
	const char *text = strerror_r(errno_value, reason, sizeof reason);
	size_t used = strlen(error->message);
	snprintf(error->message + used, sizeof error->message - used, ": %s", text);
	return code;
}

enum ts_err ts_fail_nomem(struct ts_error *error)
{
	return ts_fail(error, TS_ERR_NOMEM, "out of memory");
}
