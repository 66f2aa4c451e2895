// Uploaded files: streamed into UPLOAD_DIR under a temporary name, synchronised, then renamed. Whatever does not end in
// a stored job is removed, also when the client disconnects; what a crash leaves is swept at the next start.
#ifndef TS_API_UPLOADS_H
#define TS_API_UPLOADS_H

#include "api/problem.h"
#include "base/rng.h"

#include <stdint.h>

struct ts_upload_file;

// Opens a new file for writing below dir. The name is a UUIDv7.
enum ts_err ts_upload_file_create(const char *dir, uint64_t max_bytes, int64_t now_ms, struct ts_upload_file **out,
                                  struct ts_problem *problem) TS_MUST_USE;
enum ts_err ts_upload_file_write(struct ts_upload_file *file, const void *bytes, size_t length,
                                 struct ts_problem *problem) TS_MUST_USE;
// No more bytes: they are on the disk when it returns.
enum ts_err ts_upload_file_seal(struct ts_upload_file *file, struct ts_problem *problem) TS_MUST_USE;
// Gives the sealed file its final name, durably. It is removed by destroy until ts_upload_file_release.
enum ts_err ts_upload_file_keep(struct ts_upload_file *file, struct ts_error *error) TS_MUST_USE;
void ts_upload_file_release(struct ts_upload_file *file); // it belongs to a job now
void ts_upload_file_destroy(struct ts_upload_file *file); // NULL-safe

const char *ts_upload_file_id(const struct ts_upload_file *file); // UUID; the final name, relative to dir
uint64_t ts_upload_file_size(const struct ts_upload_file *file);
const char *ts_upload_file_sha256(const struct ts_upload_file *file); // hex, once sealed

// Removes temporary files that no living process writes, whichever process that is. Returns how many.
unsigned ts_uploads_sweep(const char *dir);

#endif
