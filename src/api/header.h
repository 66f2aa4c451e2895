// Header values with parameters (RFC 9110 5.6.6), media type negotiation, and the checks of single values that come in
// with a request. Pure.
#ifndef TS_API_HEADER_H
#define TS_API_HEADER_H

#include <stdbool.h>
#include <stddef.h>

#define TS_HEADER_PARAMS_MAX 8
struct ts_header_params {
	char value[128]; // before the first ";", without surrounding spaces
	struct {
		char name[32];
		char value[1024]; // unquoted
	} item[TS_HEADER_PARAMS_MAX];
	size_t count;
};

// False: malformed, a parameter twice, too long or too many.
bool ts_header_parse(const char *text, struct ts_header_params *out);

// The quality (0 to 1000) that an Accept value gives to a media type ("text/vtt"); the most specific range counts.
// Malformed ranges count as absent. NULL accepts everything.
int ts_header_accepts(const char *accept, const char *media_type);

// A field name: a token of RFC 9110 5.6.2.
bool ts_header_is_name(const char *name, size_t length);
// Printable ASCII without spaces or quotes, 1 to max bytes (X-Request-Id).
bool ts_header_is_token(const char *text, size_t max);
// W3C Trace Context, version 00: 00-32 hex-16 hex-2 hex, lower case, ids not all zero.
bool ts_header_is_traceparent(const char *text);

#endif
