// UTF-8 (RFC 3629): validation and safe cutting. Refuses surrogates, overlong forms and code points over U+10FFFF.
#ifndef TS_BASE_UTF8_H
#define TS_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Decodes one code point at text (length bytes left). Returns its length in bytes, 0 when malformed.
size_t ts_utf8_decode(const char *text, size_t length, uint32_t *out_code_point);

bool ts_utf8_is_valid(const char *text, size_t length);

// Number of code points of a valid text.
size_t ts_utf8_count(const char *text, size_t length);

// Largest cut <= at that does not split a code point of a valid text.
size_t ts_utf8_cut(const char *text, size_t length, size_t at);

#endif
