// What every user of jansson here needs: building values without losing track of memory, parsing that tells bad
// input from memory that is out, and writing numbers short and without loss.
// Refuses to hide jansson: json_t and its functions are used directly beside these.
#ifndef TS_CORE_JSON_H
#define TS_CORE_JSON_H

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>

// Routes jansson's memory through base/mem.h. Process-wide: a program (or a test that fails allocations) calls it
// first thing in main, before any JSON value is made and before threads start.
void ts_json_use_mem(void);

// How many allocations jansson was denied so far (0 without ts_json_use_mem). A caller of jansson's own decoder compares
// it before and after, because a decoder short of memory reports a syntax error or drops bytes. Thread safe.
size_t ts_json_denials(void);

static inline TS_UNUSED void ts_json_release(json_t **slot)
{
	json_decref(*slot);
}
#define TS_AUTOJSON TS_CLEANUP(ts_json_release)

// A string value; JSON null for NULL. Invalid UTF-8 is repaired with U+FFFD. NULL only when memory is out.
json_t *ts_json_text(const char *text) TS_MUST_USE;

// A number; JSON null when it is not finite. NULL only when memory is out.
json_t *ts_json_number(double value) TS_MUST_USE;

// Like ts_json_number, for a float: the shortest decimal that reads back as the same float (0.9, not 0.899999976).
json_t *ts_json_float(float value) TS_MUST_USE;

// object[key] = value, taking the reference over in any case. A NULL value counts as memory that is out.
enum ts_err ts_json_put(json_t *object, const char *key, json_t *value, struct ts_error *error) TS_MUST_USE;
// Appends to an array, likewise.
enum ts_err ts_json_push(json_t *array, json_t *value, struct ts_error *error) TS_MUST_USE;

// Parses one JSON text (RFC 8259; an object or array; duplicate keys, \u0000 and trailing bytes refused).
// TS_ERR_INVALID with line and column, or TS_ERR_NOMEM. The caller releases *out_json.
enum ts_err ts_json_parse(const char *text, size_t length, json_t **out_json, struct ts_error *error) TS_MUST_USE;

// Appends compact JSON to buf. Reals get 15 digits, more only when one of them would change by that.
enum ts_err ts_json_write(const json_t *json, struct ts_buf *buf, struct ts_error *error) TS_MUST_USE;

#endif
