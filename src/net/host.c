// Hosts by one strict grammar (RFC 1123 names plus "_", which container networks use; RFC 3986 IP literals).
#include "net/host.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#define NAME_MAX_LENGTH 253
#define LABEL_MAX_LENGTH 63

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_name_char(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || c == '-' || c == '_';
}

// The rule of the WHATWG URL standard: what ends in a number is an IPv4 address, or nothing.
static bool ends_in_number(const char *name)
{
	const char *dot = strrchr(name, '.');
	const char *last = dot ? dot + 1 : name;

	if (last[0] == '0' && last[1] == 'x')
		return strspn(last + 2, "0123456789abcdef") == strlen(last + 2);
	return strspn(last, "0123456789") == strlen(last);
}

static enum ts_err check_labels(const char *name, struct ts_error *error)
{
	size_t label = 0;

	for (const char *c = name;; c++) {
		if (*c == '.' || *c == '\0') {
			if (label == 0 || label > LABEL_MAX_LENGTH)
				return ts_fail(error, TS_ERR_INVALID, "has a host with a part that is empty or over %d characters",
				               LABEL_MAX_LENGTH);
			if (*c == '\0')
				return TS_OK;
			label = 0;
			continue;
		}
		if (!is_name_char(*c))
			return ts_fail(error, TS_ERR_INVALID,
			               "has a host with characters other than letters, digits, \".\", \"-\" and \"_\" "
			               "(international names are written as xn--...)");
		label++;
	}
}

static enum ts_err parse_ipv6(const char *text, size_t length, char out[TS_HOST_SIZE], struct ts_error *error)
{
	char inner[INET6_ADDRSTRLEN];
	struct in6_addr address;

	if (length < 2 || text[length - 1] != ']' || length - 2 >= sizeof inner)
		return ts_fail(error, TS_ERR_INVALID, "has a malformed IPv6 address as its host");
	memcpy(inner, text + 1, length - 2);
	inner[length - 2] = '\0';
	if (strlen(inner) != length - 2 || inet_pton(AF_INET6, inner, &address) != 1 ||
	    !inet_ntop(AF_INET6, &address, out, TS_HOST_SIZE))
		return ts_fail(error, TS_ERR_INVALID, "has a malformed IPv6 address as its host");
	return TS_OK;
}

enum ts_err ts_host_parse(const char *text, size_t length, char out[TS_HOST_SIZE], enum ts_host_kind *out_kind,
                          struct ts_error *error)
{
	char name[TS_HOST_SIZE];
	struct in_addr address;

	if (length == 0)
		return ts_fail(error, TS_ERR_INVALID, "has no host");
	if (text[0] == '[') {
		TS_TRY(parse_ipv6(text, length, out, error));
		*out_kind = TS_HOST_IPV6;
		return TS_OK;
	}
	size_t dot = text[length - 1] == '.' ? 1 : 0;
	if (length - dot > NAME_MAX_LENGTH)
		return ts_fail(error, TS_ERR_INVALID, "has a host of more than %d characters", NAME_MAX_LENGTH);
	for (size_t i = 0; i < length; i++)
		name[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] - 'A' + 'a' : text[i]);
	name[length - dot] = '\0';
	if (strlen(name) != length - dot)
		return ts_fail(error, TS_ERR_INVALID, "has a host with a NUL character");
	TS_TRY(check_labels(name, error));
	if (ends_in_number(name)) {
		if (dot || inet_pton(AF_INET, name, &address) != 1)
			return ts_fail(error, TS_ERR_INVALID,
			               "has a numeric host that is not an IPv4 address of four decimal numbers");
		*out_kind = TS_HOST_IPV4;
	} else {
		*out_kind = TS_HOST_NAME;
	}
	memcpy(out, name, length - dot);
	memcpy(out + length - dot, ".", dot);
	out[length] = '\0';
	return TS_OK;
}
