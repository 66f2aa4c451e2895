// One digest for a model of several files.
#ifndef TS_ASR_MODEL_DIGEST_H
#define TS_ASR_MODEL_DIGEST_H

#include "base/err.h"

#include <stddef.h>

#define TS_MODEL_DIGEST_SIZE 72 // "sha256:", 64 digits and the terminator

// "sha256:..." over the lines that `sha256sum FILE...`, run in `folder`, prints: anybody can check it with
// `sha256sum FILE... | sha256sum`. TS_ERR_ENGINE_UNAVAILABLE names a file that cannot be read.
enum ts_err ts_model_digest(const char *folder, const char *const *files, size_t count, char out[TS_MODEL_DIGEST_SIZE],
                            struct ts_error *error) TS_MUST_USE;

#endif
