// Digest of a model's files, on OpenSSL's SHA-256.
#include "asr/model_digest.h"

#include "base/mem.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

static void release_context(EVP_MD_CTX **context)
{
	EVP_MD_CTX_free(*context);
}
static void release_file(FILE **file)
{
	if (*file)
		fclose(*file);
}

static EVP_MD_CTX *start(void)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();

	if (context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1)
		return context;
	EVP_MD_CTX_free(context);
	return NULL;
}

static enum ts_err finish(EVP_MD_CTX *context, char hex[65], struct ts_error *error)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned length = 0;

	if (EVP_DigestFinal_ex(context, digest, &length) != 1 || length != 32)
		return ts_fail(error, TS_ERR_INTERNAL, "SHA-256 is not available");
	for (unsigned i = 0; i < length; i++)
		snprintf(hex + (size_t)i * 2, 3, "%02x", digest[i]);
	return TS_OK;
}

static enum ts_err file_digest(const char *path, char hex[65], struct ts_error *error)
{
	TS_CLEANUP(release_file) FILE *file = fopen(path, "rbe");
	if (!file)
		return ts_fail_errno(error, TS_ERR_ENGINE_UNAVAILABLE, errno, "the model's file %s cannot be opened", path);
	TS_CLEANUP(release_context) EVP_MD_CTX *context = start();
	if (!context)
		return ts_fail_nomem(error);
	char block[16384];
	size_t count;
	while ((count = fread(block, 1, sizeof block, file)) > 0)
		if (EVP_DigestUpdate(context, block, count) != 1)
			return ts_fail(error, TS_ERR_INTERNAL, "SHA-256 failed");
	if (ferror(file))
		return ts_fail_errno(error, TS_ERR_ENGINE_UNAVAILABLE, errno, "the model's file %s cannot be read", path);
	return finish(context, hex, error);
}

enum ts_err ts_model_digest(const char *folder, const char *const *files, size_t count, char out[TS_MODEL_DIGEST_SIZE],
                            struct ts_error *error)
{
	char hex[65];
	TS_CLEANUP(release_context) EVP_MD_CTX *all = start();
	if (!all)
		return ts_fail_nomem(error);
	for (size_t i = 0; i < count; i++) {
		TS_AUTOFREE char *path = ts_asprintf("%s/%s", folder, files[i]);
		if (!path)
			return ts_fail_nomem(error);
		TS_TRY(file_digest(path, hex, error));
		TS_AUTOFREE char *line = ts_asprintf("%s  %s\n", hex, files[i]);
		if (!line)
			return ts_fail_nomem(error);
		if (EVP_DigestUpdate(all, line, strlen(line)) != 1)
			return ts_fail(error, TS_ERR_INTERNAL, "SHA-256 failed");
	}
	TS_TRY(finish(all, hex, error));
	snprintf(out, TS_MODEL_DIGEST_SIZE, "sha256:%s", hex);
	return TS_OK;
}
