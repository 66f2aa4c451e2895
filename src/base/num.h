// Strict number parsing: the whole text or nothing, bounds included. Refuses locale, sign surprises, spaces.
#ifndef TS_BASE_NUM_H
#define TS_BASE_NUM_H

#include "base/err.h"

#include <stdint.h>

// Decimal integer in [min, max]; the message names the bounds.
enum ts_err ts_num_parse_i64(const char *text, int64_t min, int64_t max, int64_t *out,
                             struct ts_error *error) TS_MUST_USE;

// Decimal number in [min, max], "." as the point; no nan, inf or hex.
enum ts_err ts_num_parse_f64(const char *text, double min, double max, double *out, struct ts_error *error) TS_MUST_USE;

#endif
