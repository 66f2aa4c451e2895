// Standard Webhooks 1.0.0 on libcrypto. Keys are wiped after use; comparisons take the same time whatever matches.
#include "net/webhook.h"

#include "base/buf.h"
#include "base/mem.h"

#include <inttypes.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#define PREFIX "whsec_"
#define SEPARATORS " ,\t\r\n"
#define SECRETS_MAX 8
#define KEY_MIN 24
#define KEY_MAX 64
#define ENCODED_MAX 88 // base64 of KEY_MAX bytes
#define MAC_SIZE 32
#define SIGNATURE_SIZE 45 // base64 of MAC_SIZE bytes and the terminator
#define SIGNATURES_MAX 64 // in a received header

struct key {
	uint8_t bytes[ENCODED_MAX]; // the decoder writes whole groups of three
	size_t length;
};

struct keys {
	struct key key[SECRETS_MAX];
	size_t count;
};

static void wipe_keys(struct keys *keys)
{
	OPENSSL_cleanse(keys, sizeof *keys);
}

static void free_mac(EVP_MAC **mac)
{
	EVP_MAC_free(*mac);
}

static void free_mac_ctx(EVP_MAC_CTX **ctx)
{
	EVP_MAC_CTX_free(*ctx);
}

static enum ts_err fail_secret(size_t index, struct ts_error *error)
{
	return ts_fail(error, TS_ERR_INVALID,
	               "secret %zu is malformed: a signing secret is \"" PREFIX "\" and the base64 of %d to %d random "
	               "bytes; up to %d of them, separated by spaces or commas",
	               index + 1, KEY_MIN, KEY_MAX, SECRETS_MAX);
}

// Strict base64 with padding (RFC 4648); libcrypto's decoder takes spaces and counts padding as bytes.
static bool decode(const char *text, size_t length, struct key *out)
{
	size_t padding = 0;

	while (padding < 2 && padding < length && text[length - 1 - padding] == '=')
		padding++;
	if (length == 0 || length % 4 != 0 || length > ENCODED_MAX)
		return false;
	for (size_t i = 0; i < length - padding; i++) {
		char c = text[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
		if (!letter && c != '+' && c != '/')
			return false;
	}
	int n = EVP_DecodeBlock(out->bytes, (const unsigned char *)text, (int)length);
	if (n < 0 || (size_t)n < padding)
		return false;
	out->length = (size_t)n - padding;
	return out->length >= KEY_MIN && out->length <= KEY_MAX;
}

static enum ts_err read_secrets(const char *secrets, struct keys *keys, struct ts_error *error)
{
	keys->count = 0;
	for (const char *item = secrets + strspn(secrets, SEPARATORS); *item;) {
		size_t length = strcspn(item, SEPARATORS);
		size_t prefix = strlen(PREFIX);
		if (keys->count == SECRETS_MAX || length < prefix || memcmp(item, PREFIX, prefix) != 0 ||
		    !decode(item + prefix, length - prefix, &keys->key[keys->count]))
			return fail_secret(keys->count, error);
		keys->count++;
		item += length;
		item += strspn(item, SEPARATORS);
	}
	return keys->count > 0 ? TS_OK : fail_secret(0, error);
}

enum ts_err ts_webhook_secret_check(const char *secrets, struct ts_error *error)
{
	TS_CLEANUP(wipe_keys) struct keys keys;

	return read_secrets(secrets, &keys, error);
}

// A dot in the id would let one signature stand for another id, time and body.
static enum ts_err check_id(const char *id, struct ts_error *error)
{
	if (id[0] == '\0')
		return ts_fail(error, TS_ERR_INVALID, "webhook id must not be empty");
	for (const char *c = id; *c; c++)
		if (*c <= ' ' || *c > '~' || *c == '.')
			return ts_fail(error, TS_ERR_INVALID, "webhook id must be printable ASCII without dots and spaces");
	return TS_OK;
}

static enum ts_err sign(const struct key *key, const char *id, int64_t timestamp_s, const void *body, size_t length,
                        char out[SIGNATURE_SIZE], struct ts_error *error)
{
	TS_CLEANUP(free_mac) EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	TS_CLEANUP(free_mac_ctx) EVP_MAC_CTX *ctx = mac ? EVP_MAC_CTX_new(mac) : NULL;
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_END};
	unsigned char tag[MAC_SIZE];
	char stamp[32];
	size_t size = 0;

	int stamp_length = snprintf(stamp, sizeof stamp, ".%" PRId64 ".", timestamp_s);
	if (!ctx || !EVP_MAC_init(ctx, key->bytes, key->length, params) ||
	    !EVP_MAC_update(ctx, (const unsigned char *)id, strlen(id)) ||
	    !EVP_MAC_update(ctx, (const unsigned char *)stamp, (size_t)stamp_length) ||
	    !EVP_MAC_update(ctx, body, length) || !EVP_MAC_final(ctx, tag, &size, sizeof tag) || size != sizeof tag)
		return ts_fail(error, TS_ERR_INTERNAL, "the cryptographic library cannot compute HMAC-SHA256");
	EVP_EncodeBlock((unsigned char *)out, tag, MAC_SIZE);
	return TS_OK;
}

enum ts_err ts_webhook_sign(const char *secrets, const char *id, int64_t timestamp_s, const void *body, size_t length,
                            char **out_signature, struct ts_error *error)
{
	TS_CLEANUP(wipe_keys) struct keys keys;
	TS_AUTOBUF struct ts_buf header = {0};
	char signature[SIGNATURE_SIZE];

	ts_buf_init(&header, (size_t)SECRETS_MAX * (SIGNATURE_SIZE + 4));
	keys.count = 0;
	TS_TRY(check_id(id, error));
	TS_TRY(read_secrets(secrets, &keys, error));
	for (size_t i = 0; i < keys.count; i++) {
		TS_TRY(sign(&keys.key[i], id, timestamp_s, body, length, signature, error));
		ts_buf_printf(&header, "%sv1,%s", i ? " " : "", signature);
	}
	return ts_buf_take(&header, out_signature, error);
}

// Whether one "v1,..." of the header is this signature. Every item is compared; other versions are passed over.
static bool header_has(const char *header, const char expected[SIGNATURE_SIZE])
{
	bool found = false;
	size_t items = 0;

	for (const char *item = header + strspn(header, " "); *item && items < SIGNATURES_MAX; items++) {
		size_t length = strcspn(item, " ");
		if (length == 3 + SIGNATURE_SIZE - 1 && memcmp(item, "v1,", 3) == 0)
			found |= CRYPTO_memcmp(item + 3, expected, SIGNATURE_SIZE - 1) == 0;
		item += length;
		item += strspn(item, " ");
	}
	return found;
}

enum ts_err ts_webhook_verify(const char *secrets, const char *id, int64_t timestamp_s, int64_t now_s,
                              int64_t tolerance_s, const void *body, size_t length, const char *signature,
                              struct ts_error *error)
{
	TS_CLEANUP(wipe_keys) struct keys keys;
	char expected[SIGNATURE_SIZE];
	bool found = false;
	int64_t age;

	keys.count = 0;
	TS_TRY(check_id(id, error));
	TS_TRY(read_secrets(secrets, &keys, error));
	if (__builtin_sub_overflow(now_s, timestamp_s, &age) || age > tolerance_s || age < -tolerance_s)
		return ts_fail(error, TS_ERR_INVALID, "webhook timestamp is more than %" PRId64 " s away from now",
		               tolerance_s);
	for (size_t i = 0; i < keys.count; i++) {
		TS_TRY(sign(&keys.key[i], id, timestamp_s, body, length, expected, error));
		found |= header_has(signature, expected);
	}
	return found ? TS_OK : ts_fail(error, TS_ERR_INVALID, "webhook signature does not match");
}
