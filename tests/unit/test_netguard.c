// The guard: which literal addresses are public, what allow lists mean, look-ups that answer badly or never.
#include "base/clock.h"
#include "base/mem.h"
#include "net/netguard.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct sockaddr_storage address_of(const char *text)
{
	struct sockaddr_storage storage = {0};
	struct sockaddr_in in4 = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};

	if (strchr(text, ':')) {
		assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
		memcpy(&storage, &in6, sizeof in6);
	} else {
		assert_int_equal(inet_pton(AF_INET, text, &in4.sin_addr), 1);
		memcpy(&storage, &in4, sizeof in4);
	}
	return storage;
}

static void expect_public(const char *const *texts, bool expected)
{
	for (size_t i = 0; texts[i]; i++) {
		struct sockaddr_storage address = address_of(texts[i]);
		if (ts_netguard_address_is_public((const struct sockaddr *)&address) != expected)
			fail_msg("%s: expected %s", texts[i], expected ? "public" : "not public");
	}
}

// First and last address of each block, so that a prefix off by one bit shows.
static void knows_special_addresses(void **state TS_UNUSED)
{
	static const char *const special[] = {"0.0.0.0",
	                                      "0.255.255.255",
	                                      "10.0.0.0",
	                                      "10.255.255.255",
	                                      "100.64.0.0",
	                                      "100.127.255.255",
	                                      "127.0.0.0",
	                                      "127.0.0.1",
	                                      "127.255.255.255",
	                                      "169.254.0.0",
	                                      "169.254.169.254",
	                                      "169.254.255.255",
	                                      "172.16.0.0",
	                                      "172.31.255.255",
	                                      "192.0.0.0",
	                                      "192.0.0.255",
	                                      "192.0.2.0",
	                                      "192.0.2.255",
	                                      "192.88.99.0",
	                                      "192.88.99.255",
	                                      "192.168.0.0",
	                                      "192.168.255.255",
	                                      "198.18.0.0",
	                                      "198.19.255.255",
	                                      "198.51.100.0",
	                                      "198.51.100.255",
	                                      "203.0.113.0",
	                                      "203.0.113.255",
	                                      "224.0.0.0",
	                                      "239.255.255.255",
	                                      "240.0.0.0",
	                                      "255.255.255.255",
	                                      "::",
	                                      "::1",
	                                      "::7f00:1",
	                                      "::ffff:127.0.0.1",
	                                      "::ffff:10.1.2.3",
	                                      "::ffff:169.254.169.254",
	                                      "::ffff:0:127.0.0.1",
	                                      "64:ff9b::7f00:1",
	                                      "64:ff9b::10.0.0.1",
	                                      "64:ff9b:1::",
	                                      "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
	                                      "100::",
	                                      "100::ffff:ffff:ffff:ffff",
	                                      "2001::",
	                                      "2001:0:1234::1",
	                                      "2001:2::1",
	                                      "2001:10::1",
	                                      "2001:20::1",
	                                      "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
	                                      "2001:db8::",
	                                      "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
	                                      "2002:7f00:1::",
	                                      "2002:a00:1::1",
	                                      "2002:c0a8:101::",
	                                      "3fff::1",
	                                      "3fff:fff:ffff::1",
	                                      "4000::1",
	                                      "5f00::1",
	                                      "fc00::",
	                                      "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
	                                      "fd00:ec2::254",
	                                      "fe80::",
	                                      "fe80::1",
	                                      "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
	                                      "fec0::1",
	                                      "feff::1",
	                                      "ff00::",
	                                      "ff02::1",
	                                      "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
	                                      "1fff::1",
	                                      NULL};

	expect_public(special, false);
}

static void knows_public_addresses(void **state TS_UNUSED)
{
	static const char *const public[] = {
	    "1.0.0.0",          "1.1.1.1",         "8.8.8.8",         "9.255.255.255",
	    "11.0.0.0",         "100.63.255.255",  "100.128.0.0",     "126.255.255.255",
	    "128.0.0.0",        "169.253.255.255", "169.255.0.0",     "172.15.255.255",
	    "172.32.0.0",       "191.255.255.255", "192.0.1.0",       "192.0.3.0",
	    "192.88.98.255",    "192.88.100.0",    "192.167.255.255", "192.169.0.0",
	    "198.17.255.255",   "198.20.0.0",      "198.51.99.255",   "198.51.101.0",
	    "203.0.112.255",    "203.0.114.0",     "223.255.255.255", "::ffff:8.8.8.8",
	    "64:ff9b::8.8.8.8", "2000::1",         "2001:200::1",     "2001:4860:4860::8888",
	    "2001:db7:ffff::1", "2001:db9::1",     "2002:808:808::1", "2003::1",
	    "2606:4700::1111",  "3ffe::1",         "3fff:1000::1",    NULL};

	expect_public(public, true);
}

static void judges_only_internet_addresses(void **state TS_UNUSED)
{
	struct sockaddr_storage unix_socket = {.ss_family = AF_UNIX};

	assert_false(ts_netguard_address_is_public((const struct sockaddr *)&unix_socket));
}

// --- Allow lists ---

struct script {
	const char *answers[4]; // NULL-terminated
	unsigned calls;
	char host[256]; // of the last call
};

static enum ts_err answer(void *ctx, const char *host, uint16_t port, struct ts_addresses *out, struct ts_error *error)
{
	struct script *script = ctx;

	script->calls++;
	snprintf(script->host, sizeof script->host, "%s", host);
	for (size_t i = 0; script->answers[i]; i++)
		out->address[out->count++] = address_of(script->answers[i]);
	if (out->count == 0)
		return ts_fail(error, TS_ERR_NET_UNREACHABLE, "host \"%s\" port %u cannot be resolved", host, (unsigned)port);
	return TS_OK;
}

static enum ts_err ask(const char *allowed, const char *host, uint16_t port, struct script *script,
                       struct ts_addresses *out, struct ts_error *error)
{
	struct ts_netguard *guard = NULL;

	assert_int_equal(ts_netguard_create(allowed, &guard, error), TS_OK);
	if (script)
		ts_netguard_set_lookup(guard, answer, script);
	enum ts_err err = ts_netguard_resolve(guard, host, port, out, error);
	ts_netguard_destroy(guard);
	return err;
}

static void applies_allow_lists(void **state TS_UNUSED)
{
	static const struct {
		const char *allowed;
		const char *host;
		uint16_t port;
		const char *resolves_to;
		enum ts_err err;
	} rows[] = {
	    {"", "media.example", 80, "8.8.8.8", TS_OK},
	    {NULL, "media.example", 80, "8.8.8.8", TS_OK},
	    {"  ", "media.example", 80, "10.0.0.1", TS_ERR_NET_FORBIDDEN},
	    {"video", "video", 80, "10.0.0.1", TS_OK},
	    {"Video", "VIDEO.", 80, "10.0.0.1", TS_OK},
	    {"video.", "video", 80, "10.0.0.1", TS_OK},
	    {"video", "video2", 80, "10.0.0.1", TS_ERR_NET_FORBIDDEN},
	    {"video", "a.video", 80, "10.0.0.1", TS_ERR_NET_FORBIDDEN},
	    {"video", "8.8.8.8", 80, NULL, TS_OK},
	    {"video:8000", "video", 8000, "10.0.0.1", TS_OK},
	    {"video:8000", "video", 8001, "10.0.0.1", TS_ERR_NET_FORBIDDEN},
	    {"*.example.com", "a.b.example.com", 80, "127.0.0.1", TS_OK},
	    {"*.example.com", "example.com", 80, "127.0.0.1", TS_ERR_NET_FORBIDDEN},
	    {"*.example.com", ".example.com", 80, "127.0.0.1", TS_ERR_INVALID},
	    {"*.example.com", "badexample.com", 80, "127.0.0.1", TS_ERR_NET_FORBIDDEN},
	    {"*.example.com:81", "a.example.com", 81, "127.0.0.1", TS_OK},
	    {"*.example.com:81", "a.example.com", 80, "127.0.0.1", TS_ERR_NET_FORBIDDEN},
	    {"10.0.0.0/8", "anything", 80, "10.200.1.1", TS_OK},
	    {"10.0.0.0/8", "10.200.1.1", 80, NULL, TS_OK},
	    {"10.0.0.0/8", "anything", 80, "11.0.0.1", TS_OK},
	    {"10.0.0.0/8", "anything", 80, "192.168.0.1", TS_ERR_NET_FORBIDDEN},
	    {"10.0.0.0/8", "anything", 80, "::ffff:10.1.1.1", TS_OK},
	    {"10.4.0.0/15", "10.5.255.255", 80, NULL, TS_OK},
	    {"10.4.0.0/15", "10.6.0.0", 80, NULL, TS_ERR_NET_FORBIDDEN},
	    {"0.0.0.0/0", "127.0.0.1", 80, NULL, TS_OK},
	    {"0.0.0.0/0", "::1", 80, NULL, TS_ERR_NET_FORBIDDEN},
	    {"fd00::/8", "anything", 80, "fd12::1", TS_OK},
	    {"fd00::/8", "anything", 80, "fe80::1", TS_ERR_NET_FORBIDDEN},
	    {"10.1.2.3", "anything", 80, "10.1.2.3", TS_OK},
	    {"10.1.2.3:80", "10.1.2.3", 81, NULL, TS_ERR_NET_FORBIDDEN},
	    {"[::1]:9000", "::1", 9000, NULL, TS_OK},
	    {"[::1]:9000", "::1", 9001, NULL, TS_ERR_NET_FORBIDDEN},
	    {"::1", "::1", 80, NULL, TS_OK},
	    {"[::1]", "localhost.example", 80, "::1", TS_OK},
	    {" a , b:1 ,10.0.0.0/8 ", "b", 1, "192.168.0.1", TS_OK},
	    {"*", "metadata", 80, "169.254.169.254", TS_OK},
	    {"", "127.0.0.1", 80, NULL, TS_ERR_NET_FORBIDDEN},
	    {"", "::1", 80, NULL, TS_ERR_NET_FORBIDDEN},
	    {"", "::ffff:127.0.0.1", 80, NULL, TS_ERR_NET_FORBIDDEN},
	    // spellings that the system's resolver would read as 127.0.0.1 never reach it
	    {"", "0x7f.1", 80, "8.8.8.8", TS_ERR_INVALID},
	    {"", "2130706433", 80, "8.8.8.8", TS_ERR_INVALID},
	    {"", "017700000001", 80, "8.8.8.8", TS_ERR_INVALID},
	    {"*", "127.1", 80, "8.8.8.8", TS_ERR_INVALID},
	    {"", "a b", 80, "8.8.8.8", TS_ERR_INVALID},
	    {"", "", 80, "8.8.8.8", TS_ERR_INVALID},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct script script = {.answers = {rows[i].resolves_to}};
		struct ts_addresses addresses = {.count = 0};
		struct ts_error error = {0};
		enum ts_err err = ask(rows[i].allowed, rows[i].host, rows[i].port, &script, &addresses, &error);
		if (err != rows[i].err)
			fail_msg("row %zu (%s to %s): %s, expected %s", i, rows[i].allowed ? rows[i].allowed : "NULL", rows[i].host,
			         ts_err_name(err), ts_err_name(rows[i].err));
		assert_int_equal(addresses.count, err == TS_OK ? 1 : 0);
		if (err == TS_ERR_INVALID || !rows[i].resolves_to)
			assert_int_equal(script.calls, 0);
	}
}

static void refuses_mixed_answers(void **state TS_UNUSED)
{
	struct script script = {.answers = {"8.8.8.8", "2606:4700::1111", "10.0.0.1"}};
	struct ts_addresses addresses = {.count = 0};
	struct ts_error error = {0};

	assert_int_equal(ask("", "mixed.example", 80, &script, &addresses, &error), TS_ERR_NET_FORBIDDEN);
	assert_int_equal(addresses.count, 0);
	assert_non_null(strstr(error.message, "mixed.example"));
	assert_null(strstr(error.message, "10.0.0.1")); // users must not map the inner network
	assert_int_equal(ask("10.0.0.0/8", "mixed.example", 80, &script, &addresses, &error), TS_OK);
	assert_int_equal(addresses.count, 3);
}

static void says_what_does_not_resolve(void **state TS_UNUSED)
{
	struct script script = {.answers = {NULL}};
	struct ts_addresses addresses = {.count = 0};
	struct ts_error error = {0};

	assert_int_equal(ask("", "nowhere.example", 80, &script, &addresses, &error), TS_ERR_NET_UNREACHABLE);
	assert_non_null(strstr(error.message, "nowhere.example"));
}

static void asks_the_system(void **state TS_UNUSED)
{
	struct ts_addresses addresses = {.count = 0};
	struct sockaddr_in in4;

	assert_int_equal(ask("localhost", "localhost", 81, NULL, &addresses, NULL), TS_OK);
	assert_true(addresses.count >= 1);
	memcpy(&in4, &addresses.address[0], sizeof in4);
	assert_int_equal(ntohs(in4.sin_port), 81);
	assert_int_equal(ask("", "localhost", 81, NULL, &addresses, NULL), TS_ERR_NET_FORBIDDEN);
	// No guard: anything.
	assert_int_equal(ts_netguard_resolve(NULL, "127.0.0.1", 80, &addresses, NULL), TS_OK);
}

static void refuses_bad_lists(void **state TS_UNUSED)
{
	static const char *const lists[] = {
	    ",",      "a,",     ",a",          "a,,b",       "a b",        "http://a",   "a:0",       "a:65536",
	    "a:",     "a:x",    "10.0.0.0/33", "10.0.0.0/",  "10.0.0.0/x", "10.0.0.1/8", "fd00::1/8", "fd00::/129",
	    "0x7f.1", "127.1",  "2130706433",  "*.10.0.0.1", "*.",         "**",         "*a",        "a.*",
	    "[::1",   "[::1]x", "::1:",        "user@a",     "a/8",        "[fd00::]/8", "*:80",      "\xc3\xa9.com",
	};

	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
		struct ts_netguard *guard = NULL;
		struct ts_error error = {0};
		if (ts_netguard_create(lists[i], &guard, &error) != TS_ERR_INVALID)
			fail_msg("\"%s\" is not refused", lists[i]);
		assert_null(guard);
		assert_true(error.message[0]);
	}
	char many[2 * 300] = "a";
	for (size_t i = 1; i < 257; i++)
		memcpy(many + 2 * i - 1, ",a", 3);
	struct ts_netguard *guard = NULL;
	assert_int_equal(ts_netguard_create(many, &guard, NULL), TS_ERR_INVALID);
	many[2 * 256 - 1] = '\0';
	assert_int_equal(ts_netguard_create(many, &guard, NULL), TS_OK);
	ts_netguard_destroy(guard);
}

// --- A look-up that hangs ---

struct gate {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool entered;
	bool released;
	bool left;
	atomic_bool abort;
	bool abort_when_entered;
};

static void set_and_tell(struct gate *gate, bool *flag)
{
	pthread_mutex_lock(&gate->lock);
	*flag = true;
	pthread_cond_broadcast(&gate->changed);
	pthread_mutex_unlock(&gate->lock);
}

static void await(struct gate *gate, const bool *flag)
{
	pthread_mutex_lock(&gate->lock);
	while (!*flag)
		pthread_cond_wait(&gate->changed, &gate->lock);
	pthread_mutex_unlock(&gate->lock);
}

static enum ts_err hang(void *ctx, const char *host TS_UNUSED, uint16_t port TS_UNUSED, struct ts_addresses *out,
                        struct ts_error *error TS_UNUSED)
{
	struct gate *gate = ctx;

	if (gate->abort_when_entered)
		atomic_store(&gate->abort, true);
	await(gate, &gate->released);
	out->address[out->count++] = address_of("8.8.8.8");
	set_and_tell(gate, &gate->left);
	return TS_OK;
}

static void hanging_lookup(bool by_abort)
{
	// Static: the look-up's thread may still be leaving its lock when this function returns.
	static struct gate gates[2] = {
	    {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER},
	    {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .abort_when_entered = true}};
	struct gate *gate = &gates[by_abort];
	struct ts_netguard *guard = NULL;
	struct ts_addresses addresses = {.count = 0};
	struct ts_error error = {0};

	assert_int_equal(ts_netguard_create("", &guard, NULL), TS_OK);
	ts_netguard_set_lookup(guard, hang, gate);
	enum ts_err err =
	    ts_netguard_resolve_within(guard, "slow.example", 80, by_abort ? 60000 : 20, &gate->abort, &addresses, &error);
	assert_int_equal(err, by_abort ? TS_ERR_ABORTED : TS_ERR_TIMEOUT);
	assert_int_equal(addresses.count, 0);
	assert_non_null(strstr(error.message, "slow.example"));
	ts_netguard_destroy(guard); // the look-up outlives the guard
	set_and_tell(gate, &gate->released);
	await(gate, &gate->left);
}

static void gives_up_when_aborted(void **state TS_UNUSED)
{
	hanging_lookup(true);
}

static void gives_up_in_time(void **state TS_UNUSED)
{
	hanging_lookup(false);
}

static void survives_allocation_failures(void **state TS_UNUSED)
{
	struct script script = {.answers = {"8.8.8.8"}};

	for (size_t n = 1;; n++) {
		struct ts_netguard *guard = NULL;
		struct ts_addresses addresses;
		ts_mem_fail_after(n);
		enum ts_err err = ts_netguard_create("a,10.0.0.0/8", &guard, NULL);
		if (err == TS_OK) {
			ts_netguard_set_lookup(guard, answer, &script);
			err = ts_netguard_resolve(guard, "a", 80, &addresses, NULL);
		}
		ts_mem_fail_after(0);
		ts_netguard_destroy(guard);
		if (err == TS_OK) {
			assert_true(n > 2);
			return;
		}
		assert_int_equal(err, TS_ERR_NOMEM);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(knows_special_addresses),
	    cmocka_unit_test(knows_public_addresses),
	    cmocka_unit_test(judges_only_internet_addresses),
	    cmocka_unit_test(applies_allow_lists),
	    cmocka_unit_test(refuses_mixed_answers),
	    cmocka_unit_test(says_what_does_not_resolve),
	    cmocka_unit_test(asks_the_system),
	    cmocka_unit_test(refuses_bad_lists),
	    cmocka_unit_test(gives_up_when_aborted),
	    cmocka_unit_test(gives_up_in_time),
	    cmocka_unit_test(survives_allocation_failures),
	};

	return cmocka_run_group_tests_name("netguard", tests, NULL, NULL);
}
