// Bearer tokens (RFC 6750) against digests.
#include "api/auth.h"

#include "base/mem.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define KEYS_MAX 64
#define DIGEST_SIZE 32
#define TOKEN_MAX 4096

struct ts_auth {
	size_t count;
	unsigned char digest[KEYS_MAX][DIGEST_SIZE];
};

static bool digest_of(const char *text, size_t length, unsigned char out[DIGEST_SIZE])
{
	return EVP_Digest(text, length, out, NULL, EVP_sha256(), NULL) == 1;
}

void ts_auth_destroy(struct ts_auth *auth)
{
	ts_free(auth);
}

enum ts_err ts_auth_create(const char *keys, struct ts_auth **out, struct ts_error *error)
{
	TS_AUTOFREE struct ts_auth *auth = ts_calloc(1, sizeof *auth);
	if (!auth)
		return ts_fail_nomem(error);
	for (const char *key = keys ? keys : ""; *key;) {
		key += strspn(key, " \t,");
		size_t field = strcspn(key, ","), length = field;
		while (length > 0 && (key[length - 1] == ' ' || key[length - 1] == '\t'))
			length--;
		if (length > 0) {
			if (auth->count == KEYS_MAX)
				return ts_fail(error, TS_ERR_LIMIT, "at most %d API keys are allowed", KEYS_MAX);
			if (length > TOKEN_MAX)
				return ts_fail(error, TS_ERR_LIMIT, "an API key must be at most %d bytes long", TOKEN_MAX);
			for (size_t i = 0; i < length; i++) {
				if (key[i] <= ' ' || key[i] > '~')
					return ts_fail(error, TS_ERR_INVALID,
					               "an API key must consist of printable ASCII characters without spaces");
			}
			if (!digest_of(key, length, auth->digest[auth->count++]))
				return ts_fail(error, TS_ERR_INTERNAL, "SHA-256 is not available");
		}
		key += field;
	}
	*out = auth;
	auth = NULL;
	return TS_OK;
}

bool ts_auth_is_open(const struct ts_auth *auth)
{
	return auth->count == 0;
}

static enum ts_err refuse(struct ts_problem *problem, const char *detail)
{
	ts_problem_set(problem, TS_PROBLEM_UNAUTHORIZED, "Authorization", "%s", detail);
	ts_problem_hint(problem, "send the header \"Authorization: Bearer KEY\" with a key of SERVICE_API_KEY");
	return TS_ERR_INVALID;
}

enum ts_err ts_auth_check(const struct ts_auth *auth, const char *header, char caller[TS_AUTH_CALLER_SIZE],
                          struct ts_problem *problem)
{
	unsigned char digest[DIGEST_SIZE];
	unsigned matches = 0;

	if (ts_auth_is_open(auth)) {
		snprintf(caller, TS_AUTH_CALLER_SIZE, "anyone");
		return TS_OK;
	}
	if (!header)
		return refuse(problem, "the Authorization header is missing");
	if (strncasecmp(header, "Bearer", 6) != 0 || (header[6] != ' ' && header[6] != '\0'))
		return refuse(problem, "the Authorization header must use the Bearer scheme");
	const char *token = header + 6 + strspn(header + 6, " ");
	size_t length = strlen(token);
	while (length > 0 && token[length - 1] == ' ')
		length--;
	if (length == 0 || length > TOKEN_MAX || !digest_of(token, length, digest))
		return refuse(problem, "the Authorization header holds no usable key");
	for (size_t i = 0; i < auth->count; i++)
		matches |= CRYPTO_memcmp(digest, auth->digest[i], DIGEST_SIZE) == 0;
	if (!matches)
		return refuse(problem, "the API key is not valid");
	for (size_t i = 0; i < (TS_AUTH_CALLER_SIZE - 1) / 2; i++)
		snprintf(caller + 2 * i, 3, "%02x", (unsigned)digest[i]);
	return TS_OK;
}
