// Patterns read strictly: a pattern that would never match what its author meant is refused at the start.
#include "net/allow.h"

#include "base/mem.h"
#include "base/num.h"
#include "net/host.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define PATTERNS_MAX 256
#define PATTERN_SIZE 300

enum pattern_kind { PATTERN_ANY, PATTERN_NAME, PATTERN_BELOW, PATTERN_NETWORK };

struct pattern {
	enum pattern_kind kind;
	uint16_t port;           // 0: any
	char name[TS_HOST_SIZE]; // PATTERN_NAME, PATTERN_BELOW (without "*."); no trailing dot
	int family;              // PATTERN_NETWORK
	unsigned bits;
	uint8_t network[16];
};

struct ts_allow_list {
	size_t count;
	struct pattern pattern[];
};

static enum ts_err fail_pattern(const char *text, const char *why, struct ts_error *error)
{
	return ts_fail(error, TS_ERR_INVALID,
	               "\"%.100s\" %s; an allowed host is a name, name:port, *.domain, an address, a network such as "
	               "10.0.0.0/8, or *",
	               text, why);
}

static bool prefix_equal(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned whole = bits / 8;
	unsigned rest = bits % 8;

	if (memcmp(a, b, whole) != 0)
		return false;
	return rest == 0 || (a[whole] >> (8 - rest)) == (b[whole] >> (8 - rest));
}

static bool host_bits_clear(const uint8_t *network, unsigned bits, unsigned width)
{
	for (unsigned i = bits; i < width; i++)
		if (network[i / 8] & (0x80u >> (i % 8)))
			return false;
	return true;
}

static enum ts_err parse_network(const char *text, const char *slash, struct pattern *out, struct ts_error *error)
{
	char address[INET6_ADDRSTRLEN];
	int64_t bits;
	size_t length = (size_t)(slash - text);

	if (length >= sizeof address)
		return fail_pattern(text, "has a malformed network", error);
	memcpy(address, text, length);
	address[length] = '\0';
	out->kind = PATTERN_NETWORK;
	out->family = strchr(address, ':') ? AF_INET6 : AF_INET;
	unsigned width = out->family == AF_INET6 ? 128 : 32;
	if (inet_pton(out->family, address, out->network) != 1)
		return fail_pattern(text, "has a malformed network", error);
	if (ts_num_parse_i64(slash + 1, 0, width, &bits, NULL) != TS_OK)
		return fail_pattern(text, "has a malformed prefix length", error);
	out->bits = (unsigned)bits;
	if (!host_bits_clear(out->network, out->bits, width))
		return fail_pattern(text, "has bits set beyond its prefix length", error);
	return TS_OK;
}

static void set_literal(const char *host, enum ts_host_kind kind, struct pattern *out)
{
	out->kind = PATTERN_NETWORK;
	out->family = kind == TS_HOST_IPV6 ? AF_INET6 : AF_INET;
	out->bits = kind == TS_HOST_IPV6 ? 128 : 32;
	inet_pton(out->family, host, out->network); // cannot fail: ts_host_parse wrote it
}

static enum ts_err parse_pattern(const char *text, struct pattern *out, struct ts_error *error)
{
	char bracketed[PATTERN_SIZE + 2];
	enum ts_host_kind kind;
	struct in6_addr bare;
	struct ts_error why;
	int64_t port = 0;

	*out = (struct pattern){0};
	if (strcmp(text, "*") == 0) {
		out->kind = PATTERN_ANY;
		return TS_OK;
	}
	const char *slash = strchr(text, '/');
	if (slash)
		return parse_network(text, slash, out, error);
	const char *host = text;
	if (inet_pton(AF_INET6, text, &bare) == 1) {
		snprintf(bracketed, sizeof bracketed, "[%s]", text);
		host = bracketed;
	}
	bool below = strncmp(host, "*.", 2) == 0;
	if (below)
		host += 2;
	const char *after = host[0] == '[' ? strchr(host, ']') : NULL;
	const char *colon = strchr(after ? after : host, ':');
	size_t length = colon ? (size_t)(colon - host) : strlen(host);
	if (colon && ts_num_parse_i64(colon + 1, 1, 65535, &port, NULL) != TS_OK)
		return fail_pattern(text, "has a port that is not from 1 to 65535", error);
	if (ts_host_parse(host, length, out->name, &kind, &why) != TS_OK)
		return fail_pattern(text, why.message, error);
	if (below && kind != TS_HOST_NAME)
		return fail_pattern(text, "has a \"*.\" before an address", error);
	out->port = (uint16_t)port;
	if (kind == TS_HOST_NAME) {
		out->kind = below ? PATTERN_BELOW : PATTERN_NAME;
		size_t end = strlen(out->name) - 1;
		if (out->name[end] == '.')
			out->name[end] = '\0';
	} else {
		set_literal(out->name, kind, out);
	}
	return TS_OK;
}

static enum ts_err parse_list(const char *list_text, struct ts_allow_list *list, struct ts_error *error)
{
	char text[PATTERN_SIZE];

	for (const char *item = list_text; item;) {
		const char *comma = strchr(item, ',');
		const char *end = comma ? comma : item + strlen(item);
		while (item < end && (*item == ' ' || *item == '\t'))
			item++;
		while (end > item && (end[-1] == ' ' || end[-1] == '\t'))
			end--;
		size_t length = (size_t)(end - item);
		if (length == 0)
			return ts_fail(error, TS_ERR_INVALID, "item %zu of the list is empty", list->count + 1);
		if (length >= sizeof text)
			return ts_fail(error, TS_ERR_INVALID, "item %zu of the list is too long", list->count + 1);
		memcpy(text, item, length);
		text[length] = '\0';
		TS_TRY(parse_pattern(text, &list->pattern[list->count], error));
		list->count++;
		item = comma ? comma + 1 : NULL;
	}
	return TS_OK;
}

enum ts_err ts_allow_list_create(const char *text, struct ts_allow_list **out, struct ts_error *error)
{
	size_t count = 0;

	if (!text || text[strspn(text, " \t")] == '\0')
		text = NULL;
	for (const char *c = text; c; c = strchr(c, ',') ? strchr(c, ',') + 1 : NULL)
		count++;
	if (count > PATTERNS_MAX)
		return ts_fail(error, TS_ERR_INVALID, "has %zu items; at most %d are allowed", count, PATTERNS_MAX);
	struct ts_allow_list *list = ts_calloc(1, sizeof *list + count * sizeof list->pattern[0]);
	if (!list)
		return ts_fail_nomem(error);
	enum ts_err err = parse_list(text, list, error);
	if (err != TS_OK) {
		ts_allow_list_destroy(list);
		return err;
	}
	*out = list;
	return TS_OK;
}

void ts_allow_list_destroy(struct ts_allow_list *list)
{
	ts_free(list);
}

static bool name_matches(const struct pattern *pattern, const char *name)
{
	size_t length = strlen(name);
	size_t suffix = strlen(pattern->name);

	if (pattern->kind == PATTERN_NAME)
		return strcmp(pattern->name, name) == 0;
	return length > suffix + 1 && name[length - suffix - 1] == '.' &&
	       strcmp(name + length - suffix, pattern->name) == 0;
}

static bool network_matches(const struct pattern *pattern, const struct sockaddr_storage *address)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	struct sockaddr_in in4;
	struct sockaddr_in6 in6;

	if (address->ss_family == AF_INET) {
		memcpy(&in4, address, sizeof in4);
		return pattern->family == AF_INET &&
		       prefix_equal((const uint8_t *)&in4.sin_addr, pattern->network, pattern->bits);
	}
	memcpy(&in6, address, sizeof in6);
	if (pattern->family == AF_INET)
		return memcmp(in6.sin6_addr.s6_addr, mapped, sizeof mapped) == 0 &&
		       prefix_equal(in6.sin6_addr.s6_addr + 12, pattern->network, pattern->bits);
	return prefix_equal(in6.sin6_addr.s6_addr, pattern->network, pattern->bits);
}

bool ts_allow_list_permits(const struct ts_allow_list *list, const char *host, uint16_t port,
                           const struct sockaddr_storage *address)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct pattern *pattern = &list->pattern[i];
		if (pattern->port && pattern->port != port)
			continue;
		if (pattern->kind == PATTERN_ANY)
			return true;
		if (pattern->kind == PATTERN_NETWORK ? network_matches(pattern, address) : name_matches(pattern, host))
			return true;
	}
	return false;
}
