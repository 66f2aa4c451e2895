// Strict number parsing on strtoll/strtod, with everything they forgive refused first.
#include "base/num.h"

#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum ts_err ts_num_parse_i64(const char *text, int64_t min, int64_t max, int64_t *out, struct ts_error *error)
{
	const char *digits = text + (text[0] == '-');
	size_t length = strspn(digits, "0123456789");

	errno = 0;
	long long value = length ? strtoll(text, NULL, 10) : 0;
	if (!length || digits[length] != '\0' || errno == ERANGE || value < min || value > max)
		return ts_fail(error, TS_ERR_INVALID, "must be a whole number from %" PRId64 " to %" PRId64, min, max);
	*out = value;
	return TS_OK;
}

enum ts_err ts_num_parse_f64(const char *text, double min, double max, double *out, struct ts_error *error)
{
	char *end = NULL;

	// strtod reads the decimal point of the process's locale; ours is always ".". (glibc keeps the C locale ready.)
	locale_t c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
	errno = 0;
	double value = c_locale && strspn(text, "0123456789.-+eE") == strlen(text) ? strtod_l(text, &end, c_locale) : 0;
	bool range = errno == ERANGE;
	if (c_locale)
		freelocale(c_locale);
	if (!end || end == text || *end != '\0' || range || !isfinite(value) || value < min || value > max)
		return ts_fail(error, TS_ERR_INVALID, "must be a number from %g to %g", min, max);
	*out = value;
	return TS_OK;
}
