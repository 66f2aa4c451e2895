// The record of one transcription job, its states and its legal transitions.
// Refuses storage and time: a plain value with owned strings. See docs/architecture.md, "A job's life".
#ifndef TS_CORE_JOB_H
#define TS_CORE_JOB_H

#include "base/err.h"
#include "base/rng.h"

#include <stdbool.h>
#include <stdint.h>

enum ts_job_state {
#define TS_STATE(symbol, name, final) TS_JOB_##symbol,
#include "core/states.def"
#undef TS_STATE
	TS_JOB_STATE_COUNT
};

const char *ts_job_state_name(enum ts_job_state state);
enum ts_err ts_job_state_parse(const char *name, enum ts_job_state *out, struct ts_error *error) TS_MUST_USE;
bool ts_job_state_is_final(enum ts_job_state state);
bool ts_job_transition_is_legal(enum ts_job_state from, enum ts_job_state to);

enum ts_job_priority { TS_PRIORITY_HIGH, TS_PRIORITY_NORMAL, TS_PRIORITY_LOW, TS_PRIORITY_COUNT };
const char *ts_job_priority_name(enum ts_job_priority priority);
enum ts_err ts_job_priority_parse(const char *name, enum ts_job_priority *out, struct ts_error *error) TS_MUST_USE;

// One row. Strings are owned, UTF-8; NULL means absent. Times are wall-clock ms, 0 = not yet.
struct ts_job {
	char id[TS_UUID_SIZE];
	char *video_id;
	char *user_id;
	char *callback_url; // NULL: no callback
	char *media_url;    // NULL: derived from MEDIA_URL_TEMPLATE, unless upload_id
	char *upload_id;    // NULL: not an upload
	char *language;     // asked for: ISO 639-1 code; NULL = detect
	char *metadata;     // JSON object as text, echoed to the caller; NULL: none
	char *request_id;   // X-Request-Id of the submit
	char *traceparent;  // W3C trace context of the submit; NULL: none
	enum ts_job_priority priority;

	enum ts_job_state state;
	int32_t attempt; // claims so far
	int32_t max_attempts;
	char *lease_owner; // NULL unless processing
	int64_t lease_expires_at;
	int64_t not_before; // a retry waits until then; 0: at once

	double progress;           // [0, 1]: fraction of the audio
	char *stage;               // "fetching", "transcribing", ...; NULL before the first claim
	int64_t media_duration_ms; // 0: not known yet
	char *error_code;          // last failure: ts_err_name
	char *error_message;

	int64_t created_at, updated_at, started_at, finished_at;
};

// Zeroes *job (no allocation): state queued, priority normal.
void ts_job_init(struct ts_job *job);
// Frees what it owns; NULL-safe; the job is as after init.
void ts_job_finish(struct ts_job *job);
#define TS_AUTOJOB TS_CLEANUP(ts_job_finish)

// *out must be initialised; what it held is freed.
enum ts_err ts_job_copy(const struct ts_job *from, struct ts_job *out, struct ts_error *error) TS_MUST_USE;

#endif
