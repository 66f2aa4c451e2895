// The JSON that crosses the wire, strictly: a request's body into a job, jobs and deliveries into answers.
// Every unknown field, wrong type, over-long or invalid text is refused with a problem that names the field and what
// is allowed; nothing is silently ignored. Pure apart from the language hook; fuzzed (fuzz_wire_json).
#ifndef TS_API_WIRE_H
#define TS_API_WIRE_H

#include "api/problem.h"
#include "core/job.h"
#include "store/store.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define TS_WIRE_ID_MAX 200        // characters of video_id and user_id
#define TS_WIRE_METADATA_MAX 8192 // bytes of metadata, serialised without spaces
#define TS_WIRE_METADATA_DEPTH 8  // objects and arrays inside each other
#define TS_SHA256_HEX_SIZE 65

// What this installation allows.
struct ts_wire_rules {
	bool has_media_template;  // a video_id alone is enough
	bool has_media_file_root; // file:// media URLs are accepted
	// NULL: any ISO 639-1 code
	enum ts_err (*check_language)(void *ctx, const char *language, struct ts_error *error);
	void *check_ctx;
};

// The body as one JSON object (owned by the caller).
enum ts_err ts_wire_parse(const char *body, size_t length, json_t **out, struct ts_problem *problem) TS_MUST_USE;

// Whether a submit knows this field.
bool ts_wire_knows(const char *field);
// The problem of a field it does not know.
enum ts_err ts_wire_unknown(const char *name, struct ts_problem *problem);

// Fills *out (initialised) from the fields. `has_file`: a file came with them, so that no other source may.
enum ts_err ts_wire_submit(const json_t *root, const struct ts_wire_rules *rules, bool has_file, struct ts_job *out,
                           struct ts_problem *problem) TS_MUST_USE;

// SHA-256 (hex) of the fields in canonical form and of the file's digest (NULL: none): what an Idempotency-Key stands for.
enum ts_err ts_wire_digest(const json_t *root, const char *file_sha256, char out[TS_SHA256_HEX_SIZE],
                           struct ts_error *error) TS_MUST_USE;

// Answers; NULL when memory is out. base is the public URL's prefix of links ("" for relative ones).
json_t *ts_wire_job(const struct ts_job *job, const char *base);
json_t *ts_wire_deliveries(const struct ts_delivery_list *list, const char *job_id, const char *base);

#endif
