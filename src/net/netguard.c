// The allow list and the guarded look-up. Names are looked up in a thread of their own, so that a slow name
// server holds up neither an abort nor a deadline.
#include "net/netguard.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "net/host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define PATTERNS_MAX 256
#define PATTERN_SIZE 300
#define POLL_MS 100

enum pattern_kind { PATTERN_ANY, PATTERN_NAME, PATTERN_BELOW, PATTERN_NETWORK };

struct pattern {
	enum pattern_kind kind;
	uint16_t port;           // 0: any
	char name[TS_HOST_SIZE]; // PATTERN_NAME, PATTERN_BELOW (without "*."); no trailing dot
	int family;              // PATTERN_NETWORK
	unsigned bits;
	uint8_t network[16];
};

struct ts_netguard {
	ts_netguard_lookup lookup;
	void *lookup_ctx;
	size_t count;
	struct pattern pattern[];
};

static void trim_dot(char *name)
{
	size_t length = strlen(name);

	if (length > 0 && name[length - 1] == '.')
		name[length - 1] = '\0';
}

// --- Patterns ---

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
		trim_dot(out->name);
	} else {
		set_literal(out->name, kind, out);
	}
	return TS_OK;
}

static enum ts_err parse_list(const char *allowed, struct ts_netguard *guard, struct ts_error *error)
{
	char text[PATTERN_SIZE];

	for (const char *item = allowed; item;) {
		const char *comma = strchr(item, ',');
		const char *end = comma ? comma : item + strlen(item);
		while (item < end && (*item == ' ' || *item == '\t'))
			item++;
		while (end > item && (end[-1] == ' ' || end[-1] == '\t'))
			end--;
		size_t length = (size_t)(end - item);
		if (length == 0)
			return ts_fail(error, TS_ERR_INVALID, "item %zu of the list is empty", guard->count + 1);
		if (length >= sizeof text)
			return ts_fail(error, TS_ERR_INVALID, "item %zu of the list is too long", guard->count + 1);
		memcpy(text, item, length);
		text[length] = '\0';
		TS_TRY(parse_pattern(text, &guard->pattern[guard->count], error));
		guard->count++;
		item = comma ? comma + 1 : NULL;
	}
	return TS_OK;
}

static enum ts_err system_lookup(void *ctx, const char *host, uint16_t port, struct ts_addresses *out,
                                 struct ts_error *error);

enum ts_err ts_netguard_create(const char *allowed, struct ts_netguard **out, struct ts_error *error)
{
	size_t count = 0;

	if (!allowed || allowed[strspn(allowed, " \t")] == '\0')
		allowed = NULL;
	for (const char *c = allowed; c; c = strchr(c, ',') ? strchr(c, ',') + 1 : NULL)
		count++;
	if (count > PATTERNS_MAX)
		return ts_fail(error, TS_ERR_INVALID, "has %zu items; at most %d are allowed", count, PATTERNS_MAX);
	struct ts_netguard *guard = ts_calloc(1, sizeof *guard + count * sizeof guard->pattern[0]);
	if (!guard)
		return ts_fail_nomem(error);
	guard->lookup = system_lookup;
	enum ts_err err = parse_list(allowed, guard, error);
	if (err != TS_OK) {
		ts_netguard_destroy(guard);
		return err;
	}
	*out = guard;
	return TS_OK;
}

void ts_netguard_destroy(struct ts_netguard *guard)
{
	ts_free(guard);
}

void ts_netguard_set_lookup(struct ts_netguard *guard, ts_netguard_lookup lookup, void *ctx)
{
	guard->lookup = lookup;
	guard->lookup_ctx = ctx;
}

// --- Judgement ---

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

static bool is_permitted(const struct ts_netguard *guard, const char *name, uint16_t port,
                         const struct sockaddr_storage *address)
{
	for (size_t i = 0; i < guard->count; i++) {
		const struct pattern *pattern = &guard->pattern[i];
		if (pattern->port && pattern->port != port)
			continue;
		if (pattern->kind == PATTERN_ANY)
			return true;
		if (pattern->kind == PATTERN_NETWORK ? network_matches(pattern, address) : name_matches(pattern, name))
			return true;
	}
	return ts_netguard_address_is_public((const struct sockaddr *)address);
}

static enum ts_err judge(const struct ts_netguard *guard, const char *host, uint16_t port,
                         const struct ts_addresses *addresses, struct ts_error *error)
{
	char name[TS_HOST_SIZE];

	if (!guard)
		return TS_OK;
	snprintf(name, sizeof name, "%s", host);
	trim_dot(name);
	for (size_t i = 0; i < addresses->count; i++)
		if (!is_permitted(guard, name, port, &addresses->address[i]))
			return ts_fail(error, TS_ERR_NET_FORBIDDEN,
			               "host \"%s\" leads to a private or reserved address, which requests may reach only when "
			               "the operator allows the host",
			               name);
	return TS_OK;
}

// --- Look-up ---

static void add_address(struct ts_addresses *out, const struct sockaddr *address, size_t length)
{
	if (out->count == TS_NETGUARD_ADDRESSES_MAX || length > sizeof out->address[0])
		return;
	memset(&out->address[out->count], 0, sizeof out->address[0]);
	memcpy(&out->address[out->count++], address, length);
}

static enum ts_err system_lookup(void *ctx TS_UNUSED, const char *host, uint16_t port, struct ts_addresses *out,
                                 struct ts_error *error)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
	struct addrinfo *list = NULL;
	char service[8];

	snprintf(service, sizeof service, "%u", (unsigned)port);
	int rc = getaddrinfo(host, service, &hints, &list);
	if (rc == EAI_MEMORY)
		return ts_fail_nomem(error);
	if (rc != 0)
		return ts_fail(error, TS_ERR_NET_UNREACHABLE, "host \"%s\" cannot be resolved: %s", host, gai_strerror(rc));
	for (const struct addrinfo *info = list; info; info = info->ai_next)
		if (info->ai_family == AF_INET || info->ai_family == AF_INET6)
			add_address(out, info->ai_addr, info->ai_addrlen);
	freeaddrinfo(list);
	return TS_OK;
}

static bool literal(const char *host, uint16_t port, struct ts_addresses *out)
{
	struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

	if (inet_pton(AF_INET, host, &in4.sin_addr) == 1)
		add_address(out, (const struct sockaddr *)&in4, sizeof in4);
	else if (inet_pton(AF_INET6, host, &in6.sin6_addr) == 1)
		add_address(out, (const struct sockaddr *)&in6, sizeof in6);
	return out->count > 0;
}

// Shared by the asking thread and the looking one; the last to leave frees it.
struct query {
	pthread_mutex_t lock;
	pthread_cond_t answered;
	int holders;
	bool done;
	enum ts_err err;
	struct ts_error error;
	struct ts_addresses addresses;
	ts_netguard_lookup lookup;
	void *ctx;
	uint16_t port;
	char host[TS_HOST_SIZE];
};

static void release(struct query *query)
{
	pthread_mutex_lock(&query->lock);
	bool last = --query->holders == 0;
	pthread_mutex_unlock(&query->lock);
	if (!last)
		return;
	pthread_cond_destroy(&query->answered);
	pthread_mutex_destroy(&query->lock);
	ts_free(query);
}

static void *run_query(void *arg)
{
	struct query *query = arg;
	struct ts_addresses addresses = {.count = 0};
	struct ts_error error = {0};
	enum ts_err err = query->lookup(query->ctx, query->host, query->port, &addresses, &error);

	pthread_mutex_lock(&query->lock);
	query->err = err;
	query->error = error;
	query->addresses = addresses;
	query->done = true;
	pthread_cond_signal(&query->answered);
	pthread_mutex_unlock(&query->lock);
	release(query);
	return NULL;
}

static struct query *start_query(const struct ts_netguard *guard, const char *host, uint16_t port)
{
	struct query *query = ts_calloc(1, sizeof *query);
	pthread_condattr_t monotonic;
	pthread_attr_t detached;
	pthread_t thread;

	if (!query)
		return NULL;
	query->holders = 2;
	query->lookup = guard ? guard->lookup : system_lookup;
	query->ctx = guard ? guard->lookup_ctx : NULL;
	query->port = port;
	snprintf(query->host, sizeof query->host, "%s", host);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&query->answered, &monotonic);
	pthread_condattr_destroy(&monotonic);
	pthread_mutex_init(&query->lock, NULL);
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	int rc = pthread_create(&thread, &detached, run_query, query);
	pthread_attr_destroy(&detached);
	if (rc == 0)
		return query;
	query->holders = 1;
	release(query);
	return NULL;
}

static void wait_a_little(struct query *query)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += POLL_MS * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_nsec -= 1000000000L;
		until.tv_sec++;
	}
	pthread_cond_timedwait(&query->answered, &query->lock, &until);
}

static enum ts_err await_query(struct query *query, int64_t timeout_ms, const atomic_bool *abort,
                               struct ts_addresses *out, struct ts_error *error)
{
	const struct ts_clock *clock = ts_clock_system();
	int64_t start = ts_mono_ms(clock);
	enum ts_err err = TS_OK;

	pthread_mutex_lock(&query->lock);
	while (!query->done && err == TS_OK) {
		if (abort && atomic_load(abort))
			err = ts_fail(error, TS_ERR_ABORTED, "aborted while resolving host \"%s\"", query->host);
		else if (timeout_ms > 0 && ts_mono_ms(clock) - start >= timeout_ms)
			err = ts_fail(error, TS_ERR_TIMEOUT, "resolving host \"%s\" took longer than %lld ms", query->host,
			              (long long)timeout_ms);
		else
			wait_a_little(query);
	}
	if (err == TS_OK) {
		err = query->err;
		*out = query->addresses;
		if (err != TS_OK && error)
			*error = query->error;
	}
	pthread_mutex_unlock(&query->lock);
	return err;
}

enum ts_err ts_netguard_resolve_within(const struct ts_netguard *guard, const char *host, uint16_t port,
                                       int64_t timeout_ms, const atomic_bool *abort, struct ts_addresses *out,
                                       struct ts_error *error)
{
	struct ts_addresses found = {.count = 0};
	char canonical[TS_HOST_SIZE];
	enum ts_host_kind kind;

	snprintf(canonical, sizeof canonical, "%s", host);
	if (!literal(host, port, &found)) {
		TS_TRY(ts_host_parse(host, strlen(host), canonical, &kind, error));
		struct query *query = start_query(guard, canonical, port);
		if (!query)
			return ts_fail_nomem(error);
		enum ts_err err = await_query(query, timeout_ms, abort, &found, error);
		release(query);
		TS_TRY(err);
	}
	if (found.count == 0)
		return ts_fail(error, TS_ERR_NET_UNREACHABLE, "host \"%s\" has no address", host);
	TS_TRY(judge(guard, canonical, port, &found, error));
	*out = found;
	return TS_OK;
}

enum ts_err ts_netguard_resolve(const struct ts_netguard *guard, const char *host, uint16_t port,
                                struct ts_addresses *out, struct ts_error *error)
{
	return ts_netguard_resolve_within(guard, host, port, 0, NULL, out, error);
}
