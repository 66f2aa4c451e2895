// The guarded look-up. Names are looked up in a thread of their own, so that a slow name server holds up neither
// an abort nor a deadline.
#include "net/netguard.h"

#include "base/clock.h"
#include "base/mem.h"
#include "net/allow.h"
#include "net/host.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define POLL_MS 100

struct ts_netguard {
	struct ts_allow_list *allowed;
	ts_netguard_lookup lookup;
	void *lookup_ctx;
};

static enum ts_err system_lookup(void *ctx, const char *host, uint16_t port, struct ts_addresses *out,
                                 struct ts_error *error);

enum ts_err ts_netguard_create(const char *allowed, struct ts_netguard **out, struct ts_error *error)
{
	struct ts_netguard *guard = ts_calloc(1, sizeof *guard);

	if (!guard)
		return ts_fail_nomem(error);
	guard->lookup = system_lookup;
	enum ts_err err = ts_allow_list_create(allowed, &guard->allowed, error);
	if (err != TS_OK) {
		ts_netguard_destroy(guard);
		return err;
	}
	*out = guard;
	return TS_OK;
}

void ts_netguard_destroy(struct ts_netguard *guard)
{
	if (!guard)
		return;
	ts_allow_list_destroy(guard->allowed);
	ts_free(guard);
}

void ts_netguard_set_lookup(struct ts_netguard *guard, ts_netguard_lookup lookup, void *ctx)
{
	guard->lookup = lookup;
	guard->lookup_ctx = ctx;
}

// --- Judgement ---

static enum ts_err judge(const struct ts_netguard *guard, const char *host, uint16_t port,
                         const struct ts_addresses *addresses, struct ts_error *error)
{
	char name[TS_HOST_SIZE];

	if (!guard)
		return TS_OK;
	snprintf(name, sizeof name, "%s", host);
	size_t length = strlen(name);
	if (length > 0 && name[length - 1] == '.')
		name[length - 1] = '\0';
	for (size_t i = 0; i < addresses->count; i++)
		if (!ts_netguard_address_is_public((const struct sockaddr *)&addresses->address[i]) &&
		    !ts_allow_list_permits(guard->allowed, name, port, &addresses->address[i]))
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
