// The guard that a configuration makes: lists, the operator's own server, and hosts that a caller could choose.
#include "bin/wiring_guard.h"

#include "unit.h"

#include <arpa/inet.h>

// Loopback stands for a private address: it resolves without a name server.
static enum ts_err reach(const char *allowed, const char *own, uint16_t port)
{
	struct ts_netguard *guard = NULL;
	struct ts_addresses addresses;
	struct ts_error error = {0};

	assert_ok(ts_wiring_guard("MEDIA_ALLOWED_HOSTS", allowed, own, &guard, &error), &error);
	enum ts_err err = ts_netguard_resolve(guard, "127.0.0.1", port, &addresses, &error);
	ts_netguard_destroy(guard);
	return err;
}

static void own_server_is_allowed(void **state)
{
	(void)state;
	assert_int_equal(reach("", "", 80), TS_ERR_NET_FORBIDDEN);
	assert_int_equal(reach("", "http://127.0.0.1/api/{video_id}", 80), TS_OK);
	assert_int_equal(reach("", "http://127.0.0.1:8000", 8000), TS_OK);
	assert_int_equal(reach("", "http://127.0.0.1:8000", 8001), TS_ERR_NET_FORBIDDEN); // another port is another server
	assert_int_equal(reach("", "file:///srv/{video_id}.mp4", 80), TS_ERR_NET_FORBIDDEN);
	assert_int_equal(reach("10.0.0.0/8", "http://127.0.0.1/{video_id}", 80), TS_OK);
	assert_int_equal(reach("127.0.0.1", "http://[::1]:9000/{video_id}", 80), TS_OK);
}

static void a_host_that_callers_choose_is_not(void **state)
{
	(void)state;
	assert_int_equal(reach("", "http://{video_id}/media", 80), TS_ERR_NET_FORBIDDEN);
	assert_int_equal(reach("", "http://127.0.0.{video_id}/media", 80), TS_ERR_NET_FORBIDDEN);
}

static void bad_list_names_its_value(void **state)
{
	struct ts_netguard *guard = NULL;
	struct ts_error error = {0};
	(void)state;

	assert_int_equal(ts_wiring_guard("MEDIA_ALLOWED_HOSTS", "10.0.0.0/99", "", &guard, &error), TS_ERR_INVALID);
	assert_string_equal(error.field, "MEDIA_ALLOWED_HOSTS");
	assert_null(guard);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(own_server_is_allowed),
	    cmocka_unit_test(a_host_that_callers_choose_is_not),
	    cmocka_unit_test(bad_list_names_its_value),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
