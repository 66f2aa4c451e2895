// Parsing of header values, without allocation.
#include "api/header.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool is_token_char(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c && strchr("!#$%&'*+-.^_`|~", c));
}

// The value of a parameter: a token, or a quoted string in which only \" and \\ are escapes, as browsers and curl
// write file names with plain backslashes.
static const char *take_value(const char *text, char *out, size_t size)
{
	size_t used = 0;

	if (*text != '"') {
		while (*text && *text != ';' && *text != ' ' && *text != '\t') {
			if (*text == '"' || used + 1 >= size)
				return NULL;
			out[used++] = *text++;
		}
		out[used] = '\0';
		return used ? text : NULL;
	}
	for (text++; *text != '"'; text++) {
		if (*text == '\\' && (text[1] == '"' || text[1] == '\\'))
			text++;
		if (!*text || used + 1 >= size)
			return NULL;
		out[used++] = *text;
	}
	out[used] = '\0';
	return text + 1;
}

bool ts_header_parse(const char *text, struct ts_header_params *out)
{
	text += strspn(text, " \t");
	size_t length = strcspn(text, ";");
	const char *next = text + length;

	while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == '\t'))
		length--;
	if (length == 0 || length >= sizeof out->value)
		return false;
	memcpy(out->value, text, length);
	out->value[length] = '\0';
	out->count = 0;
	while (*next) {
		next += strspn(next, " \t");
		if (!*next)
			break;
		if (*next++ != ';')
			return false;
		next += strspn(next, " \t");
		if (!*next || *next == ';')
			continue; // empty parameters are allowed
		size_t name = 0;
		while (is_token_char(next[name]))
			name++;
		if (name == 0 || name >= sizeof out->item->name || next[name] != '=' || out->count == TS_HEADER_PARAMS_MAX)
			return false;
		memcpy(out->item[out->count].name, next, name);
		out->item[out->count].name[name] = '\0';
		for (size_t i = 0; i < out->count; i++) {
			if (strcasecmp(out->item[i].name, out->item[out->count].name) == 0)
				return false;
		}
		next = take_value(next + name + 1, out->item[out->count].value, sizeof out->item->value);
		if (!next)
			return false;
		out->count++;
	}
	return true;
}

// "0.85" -> 850; malformed: -1.
static int quality(const char *text)
{
	char *end = NULL;

	if (strspn(text, "0123456789.") != strlen(text) || !*text || strlen(text) > 5)
		return -1;
	double value = strtod(text, &end);
	return *end == '\0' && value >= 0 && value <= 1 ? (int)(value * 1000 + 0.5) : -1;
}

int ts_header_accepts(const char *accept, const char *media_type)
{
	size_t type_length = strcspn(media_type, ";"), major = strcspn(media_type, "/");
	int best = 0, best_rank = -1;

	if (!accept || accept[strspn(accept, " \t")] == '\0')
		return 1000;
	while (*accept) {
		char range[256];
		struct ts_header_params params;
		size_t length = strcspn(accept, ",");
		const char *start = accept;
		accept += length + (accept[length] == ',');
		if (length >= sizeof range)
			continue;
		memcpy(range, start, length);
		range[length] = '\0';
		if (!ts_header_parse(range, &params))
			continue;
		int q = 1000, rank;
		for (size_t i = 0; i < params.count; i++) {
			if (strcasecmp(params.item[i].name, "q") == 0)
				q = quality(params.item[i].value);
		}
		if (strcmp(params.value, "*/*") == 0)
			rank = 0;
		else if (strlen(params.value) == major + 2 && strcmp(params.value + major, "/*") == 0 &&
		         strncasecmp(params.value, media_type, major) == 0)
			rank = 1;
		else if (strlen(params.value) == type_length && strncasecmp(params.value, media_type, type_length) == 0)
			rank = 2;
		else
			continue;
		if (q >= 0 && rank > best_rank) {
			best = q;
			best_rank = rank;
		}
	}
	return best;
}

bool ts_header_is_name(const char *name, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (!is_token_char(name[i]))
			return false;
	}
	return length > 0;
}

bool ts_header_is_token(const char *text, size_t max)
{
	size_t length = strlen(text);

	for (size_t i = 0; i < length; i++) {
		if (text[i] <= ' ' || text[i] > '~' || text[i] == '"' || text[i] == '\\')
			return false;
	}
	return length >= 1 && length <= max;
}

static bool is_hex(const char *text, size_t length, bool may_be_zero)
{
	bool zero = true;

	for (size_t i = 0; i < length; i++) {
		if (!((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f')))
			return false;
		zero = zero && text[i] == '0';
	}
	return may_be_zero || !zero;
}

bool ts_header_is_traceparent(const char *text)
{
	return strlen(text) == 55 && strncmp(text, "00-", 3) == 0 && is_hex(text + 3, 32, false) && text[35] == '-' &&
	       is_hex(text + 36, 16, false) && text[52] == '-' && is_hex(text + 53, 2, true);
}
