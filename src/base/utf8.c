// UTF-8 decoding by RFC 3629's table of well-formed byte sequences.
#include "base/utf8.h"

size_t ts_utf8_decode(const char *text, size_t length, uint32_t *out_code_point)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t size;
	uint32_t code, least;

	if (!length)
		return 0;
	if (s[0] < 0x80) {
		*out_code_point = s[0];
		return 1;
	}
	if (s[0] >= 0xc2 && s[0] <= 0xdf) {
		size = 2;
		code = s[0] & 0x1fu;
		least = 0x80;
	} else if (s[0] >= 0xe0 && s[0] <= 0xef) {
		size = 3;
		code = s[0] & 0x0fu;
		least = 0x800;
	} else if (s[0] >= 0xf0 && s[0] <= 0xf4) {
		size = 4;
		code = s[0] & 0x07u;
		least = 0x10000;
	} else {
		return 0;
	}
	if (length < size)
		return 0;
	for (size_t i = 1; i < size; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (s[i] & 0x3fu);
	}
	if (code < least || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return 0;
	*out_code_point = code;
	return size;
}

bool ts_utf8_is_valid(const char *text, size_t length)
{
	uint32_t code;

	for (size_t i = 0; i < length;) {
		size_t size = ts_utf8_decode(text + i, length - i, &code);
		if (!size)
			return false;
		i += size;
	}
	return true;
}

size_t ts_utf8_count(const char *text, size_t length)
{
	size_t count = 0;

	for (size_t i = 0; i < length; i++)
		count += ((unsigned char)text[i] & 0xc0) != 0x80;
	return count;
}

size_t ts_utf8_cut(const char *text, size_t length, size_t at)
{
	if (at >= length)
		return length;
	while (at > 0 && ((unsigned char)text[at] & 0xc0) == 0x80)
		at--;
	return at;
}
