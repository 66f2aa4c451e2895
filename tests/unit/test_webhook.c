// Standard Webhooks signatures: the specification's public vector, rotation, what is refused.
#include "base/mem.h"
#include "net/webhook.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char secret[] = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
static const char other[] = "whsec_MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=";
static const char id[] = "msg_p5jXN8AQM9LWM0D4loKWxJek";
static const int64_t stamp = 1614265330;
static const char body[] = "{\"test\": 2432232314}";
static const char vector[] = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

static enum ts_err verify(const char *secrets, const char *message, const char *signature)
{
	return ts_webhook_verify(secrets, id, stamp, stamp + 10, 300, message, strlen(message), signature, NULL);
}

static void signs_the_public_vector(void **state TS_UNUSED)
{
	TS_AUTOFREE char *signature = NULL;

	assert_int_equal(ts_webhook_sign(secret, id, stamp, body, strlen(body), &signature, NULL), TS_OK);
	assert_string_equal(signature, vector);
	assert_int_equal(verify(secret, body, vector), TS_OK);
}

static void signs_an_empty_body(void **state TS_UNUSED)
{
	TS_AUTOFREE char *signature = NULL;

	assert_int_equal(ts_webhook_sign(secret, id, stamp, "", 0, &signature, NULL), TS_OK);
	assert_int_equal(verify(secret, "", signature), TS_OK);
}

static void rotates_secrets(void **state TS_UNUSED)
{
	static const char *const separators[] = {" ", ",", ", ", "\n"};

	for (size_t i = 0; i < sizeof separators / sizeof *separators; i++) {
		TS_AUTOFREE char *signature = NULL;
		char both[160];
		snprintf(both, sizeof both, "%s%s%s", other, separators[i], secret);
		assert_int_equal(ts_webhook_sign(both, id, stamp, body, strlen(body), &signature, NULL), TS_OK);
		// One signature a secret, in order; a receiver that knows either one accepts.
		assert_int_equal(strlen(signature), 2 * strlen(vector) + 1);
		assert_string_equal(signature + strlen(vector) + 1, vector);
		assert_int_equal(verify(secret, body, signature), TS_OK);
		assert_int_equal(verify(other, body, signature), TS_OK);
		assert_int_equal(verify(both, body, vector), TS_OK);
	}
	assert_int_equal(verify(other, body, vector), TS_ERR_INVALID);
}

static void refuses_forgeries(void **state TS_UNUSED)
{
	static const char *const headers[] = {
	    "",
	    " ",
	    "v1,",
	    "v1",
	    "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
	    "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
	    "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OF=",
	    "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE",
	    "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE==",
	};

	for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
		assert_int_equal(verify(secret, body, headers[i]), TS_ERR_INVALID);
	assert_int_equal(verify(secret, "{\"test\": 2432232315}", vector), TS_ERR_INVALID);
	assert_int_equal(ts_webhook_verify(secret, "msg_other", stamp, stamp, 300, body, strlen(body), vector, NULL),
	                 TS_ERR_INVALID);
	assert_int_equal(ts_webhook_verify(secret, id, stamp + 1, stamp, 300, body, strlen(body), vector, NULL),
	                 TS_ERR_INVALID);
	// Signatures of versions that come later stand beside ours without harm.
	char mixed[256];
	snprintf(mixed, sizeof mixed, "v1a,xyz %s v9,abc", vector);
	assert_int_equal(verify(secret, body, mixed), TS_OK);
}

static void refuses_old_and_future_stamps(void **state TS_UNUSED)
{
	static const struct {
		int64_t now;
		enum ts_err err;
	} rows[] = {
	    {1614265330 + 300, TS_OK},          {1614265330 - 300, TS_OK}, {1614265330 + 301, TS_ERR_INVALID},
	    {1614265330 - 301, TS_ERR_INVALID}, {0, TS_ERR_INVALID},       {INT64_MIN, TS_ERR_INVALID},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_int_equal(ts_webhook_verify(secret, id, stamp, rows[i].now, 300, body, strlen(body), vector, NULL),
		                 rows[i].err);
}

static void checks_secrets_without_repeating_them(void **state TS_UNUSED)
{
	static const char *const bad[] = {
	    "",
	    "  ",
	    "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
	    "whsec_",
	    "whsec_c2hvcnRrZXk=",
	    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
	    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa-_",
	    "whsec_MfKQ9r8GKYqrTwj=PD8ILPZIo2LaLaSw",
	    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw more",
	    // 65 bytes
	    "whsec_MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU=",
	};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct ts_error error = {0};
		if (ts_webhook_secret_check(bad[i], &error) != TS_ERR_INVALID)
			fail_msg("\"%s\" is not refused", bad[i]);
		assert_non_null(strstr(error.message, "24 to 64"));
		assert_null(strstr(error.message, "MfKQ"));
	}
	assert_int_equal(ts_webhook_secret_check(secret, NULL), TS_OK);
	assert_int_equal(ts_webhook_secret_check(other, NULL), TS_OK);
	char nine[9 * sizeof secret + 1] = "";
	for (int i = 0; i < 9; i++) {
		assert_int_equal(ts_webhook_secret_check(i ? nine : secret, NULL), TS_OK);
		strcat(strcat(nine, secret), " ");
	}
	assert_int_equal(ts_webhook_secret_check(nine, NULL), TS_ERR_INVALID);
}

static void refuses_ids_that_blur_the_signed_text(void **state TS_UNUSED)
{
	static const char *const bad[] = {"", "a.b", "a b", "a\nb", "\xc3\xa9"};
	char *signature = NULL;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(ts_webhook_sign(secret, bad[i], stamp, body, strlen(body), &signature, NULL), TS_ERR_INVALID);
	assert_null(signature);
}

static void survives_allocation_failures(void **state TS_UNUSED)
{
	for (size_t n = 1;; n++) {
		TS_AUTOFREE char *signature = NULL;
		ts_mem_fail_after(n);
		enum ts_err err = ts_webhook_sign(secret, id, stamp, body, strlen(body), &signature, NULL);
		ts_mem_fail_after(0);
		if (err == TS_OK) {
			assert_true(n > 1);
			return;
		}
		assert_int_equal(err, TS_ERR_NOMEM);
		assert_null(signature);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(signs_the_public_vector),
	    cmocka_unit_test(signs_an_empty_body),
	    cmocka_unit_test(rotates_secrets),
	    cmocka_unit_test(refuses_forgeries),
	    cmocka_unit_test(refuses_old_and_future_stamps),
	    cmocka_unit_test(checks_secrets_without_repeating_them),
	    cmocka_unit_test(refuses_ids_that_blur_the_signed_text),
	    cmocka_unit_test(survives_allocation_failures),
	};

	return cmocka_run_group_tests_name("webhook", tests, NULL, NULL);
}
