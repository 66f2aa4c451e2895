// API keys: only SHA-256 digests are kept, compared in constant time against every key, so that neither the process'
// memory nor the time an answer takes tells a key.
#ifndef TS_API_AUTH_H
#define TS_API_AUTH_H

#include "api/problem.h"

#include <stdbool.h>

struct ts_auth;
#define TS_AUTH_CALLER_SIZE 17

// keys: comma-separated, spaces around them ignored; "" or NULL: everybody may come in.
enum ts_err ts_auth_create(const char *keys, struct ts_auth **out, struct ts_error *error) TS_MUST_USE;
void ts_auth_destroy(struct ts_auth *auth); // NULL-safe
bool ts_auth_is_open(const struct ts_auth *auth);

// header: value of Authorization (NULL: absent). caller becomes a stable name of the key that is not the key.
enum ts_err ts_auth_check(const struct ts_auth *auth, const char *header, char caller[TS_AUTH_CALLER_SIZE],
                          struct ts_problem *problem) TS_MUST_USE;

#endif
