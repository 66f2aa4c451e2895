// Helpers over jansson. Two of its habits are made good here: when memory runs out while parsing it reports
// a syntax error (or drops bytes), and it writes reals with 17 digits, so that 0.1 becomes 0.10000000000000001.
#include "core/json.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_CEILING ((size_t)1 << 30)

// Allocations that jansson asked for and did not get. Only compared before and after a parse.
static atomic_size_t denials;

static void *json_alloc(size_t size)
{
	void *p = ts_alloc(size);
	if (!p)
		atomic_fetch_add(&denials, 1);
	return p;
}

size_t ts_json_denials(void)
{
	return atomic_load(&denials);
}

void ts_json_use_mem(void)
{
	json_set_alloc_funcs(json_alloc, ts_free);
}

// A string value of text with each malformed byte replaced.
static json_t *repaired_text(const char *text, size_t length)
{
	TS_AUTOBUF struct ts_buf repaired;
	uint32_t code;

	ts_buf_init(&repaired, TEXT_CEILING);
	for (size_t i = 0; i < length;) {
		size_t size = ts_utf8_decode(text + i, length - i, &code);
		ts_buf_add(&repaired, size ? text + i : "\xef\xbf\xbd", size ? size : 3);
		i += size ? size : 1;
	}
	if (ts_buf_status(&repaired, NULL) != TS_OK)
		return NULL;
	return json_stringn_nocheck(repaired.data, repaired.length);
}

json_t *ts_json_text(const char *text)
{
	if (!text)
		return json_null();
	size_t length = strlen(text);
	if (ts_utf8_is_valid(text, length))
		return json_stringn_nocheck(text, length);
	return repaired_text(text, length);
}

json_t *ts_json_number(double value)
{
	return isfinite(value) ? json_real(value) : json_null();
}

json_t *ts_json_float(float value)
{
	char digits[32];

	if (!isfinite(value))
		return json_null();
	double shortest = (double)value;
	for (int precision = 6; precision <= 9; precision++) {
		snprintf(digits, sizeof digits, "%.*g", precision, (double)value);
		double candidate = strtod(digits, NULL);
		// Equal bit for bit is what is meant: the decimal has to read back as this very float.
		if (!((float)candidate < value) && !((float)candidate > value)) {
			shortest = candidate;
			break;
		}
	}
	return json_real(shortest);
}

enum ts_err ts_json_put(json_t *object, const char *key, json_t *value, struct ts_error *error)
{
	if (!value || json_object_set_new_nocheck(object, key, value) != 0)
		return ts_fail_nomem(error);
	return TS_OK;
}

enum ts_err ts_json_push(json_t *array, json_t *value, struct ts_error *error)
{
	if (!value || json_array_append_new(array, value) != 0)
		return ts_fail_nomem(error);
	return TS_OK;
}

enum ts_err ts_json_parse(const char *text, size_t length, json_t **out_json, struct ts_error *error)
{
	json_error_t why;
	size_t before = atomic_load(&denials);

	TS_AUTOJSON json_t *json = json_loadb(text, length, JSON_REJECT_DUPLICATES, &why);
	if (atomic_load(&denials) != before)
		return ts_fail_nomem(error);
	if (!json) {
		if (json_error_code(&why) == json_error_out_of_memory)
			return ts_fail_nomem(error);
		return ts_fail(error, TS_ERR_INVALID, "is not valid JSON: %s (line %d, column %d)", why.text, why.line,
		               why.column);
	}
	*out_json = json;
	json = NULL;
	return TS_OK;
}

// Digits that every real below `json` needs to read back as itself, at least `digits`.
// Depth is bounded: jansson parses 2048 levels at most, and what we build is flat.
static int digits_needed(const json_t *json, int digits)
{
	char text[40];

	if (json_is_real(json)) {
		double value = json_real_value(json);
		for (; digits < 17; digits++) {
			snprintf(text, sizeof text, "%.*g", digits, value);
			double back = strtod(text, NULL);
			if (!(back < value) && !(back > value))
				break;
		}
		return digits;
	}
	if (json_is_array(json)) {
		for (size_t i = 0; i < json_array_size(json) && digits < 17; i++)
			digits = digits_needed(json_array_get(json, i), digits);
	} else if (json_is_object(json)) {
		// The iterator functions take a non-const object and do not change it.
		json_t *object = json_incref((json_t *)(uintptr_t)json);
		for (void *at = json_object_iter(object); at && digits < 17; at = json_object_iter_next(object, at))
			digits = digits_needed(json_object_iter_value(at), digits);
		json_decref(object);
	}
	return digits;
}

static int append(const char *bytes, size_t length, void *ctx)
{
	struct ts_buf *buf = ctx;

	ts_buf_add(buf, bytes, length);
	return ts_buf_status(buf, NULL) == TS_OK ? 0 : -1;
}

enum ts_err ts_json_write(const json_t *json, struct ts_buf *buf, struct ts_error *error)
{
	size_t flags = JSON_COMPACT | JSON_REAL_PRECISION((size_t)digits_needed(json, 15));

	int failed = json_dump_callback(json, append, buf, flags);
	TS_TRY(ts_buf_status(buf, error));
	return failed ? ts_fail_nomem(error) : TS_OK;
}
