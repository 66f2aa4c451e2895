// Standard Webhooks 1.0.0 signatures: HMAC-SHA256 over "{id}.{timestamp}.{body}", base64, "v1,<signature>".
// Secrets are "whsec_" + base64 of 24 to 64 bytes; several, separated by spaces or commas, sign for rotation.
#ifndef TS_NET_WEBHOOK_H
#define TS_NET_WEBHOOK_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

// Checks a configured secret list; the message says what is allowed and never repeats the secret.
enum ts_err ts_webhook_secret_check(const char *secrets, struct ts_error *error) TS_MUST_USE;

// The value of `webhook-signature`: one "v1,..." per secret, space-separated. Owned by the caller.
enum ts_err ts_webhook_sign(const char *secrets, const char *id, int64_t timestamp_s, const void *body, size_t length,
                            char **out_signature, struct ts_error *error) TS_MUST_USE;

// Constant-time check of a received header against the secrets, timestamp within tolerance of now.
enum ts_err ts_webhook_verify(const char *secrets, const char *id, int64_t timestamp_s, int64_t now_s,
                              int64_t tolerance_s, const void *body, size_t length, const char *signature,
                              struct ts_error *error) TS_MUST_USE;

#endif
