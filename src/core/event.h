// Bodies of the events that callbacks carry: {type, timestamp, data} as Standard Webhooks 1.0.0 asks, below
// 20 kB: a long text is left out (data.text is null, data.text_omitted true, data.links leads to it), and metadata
// likewise when that does not suffice.
#ifndef TS_CORE_EVENT_H
#define TS_CORE_EVENT_H

#include "core/job.h"
#include "core/transcript.h"

#define TS_EVENT_BODY_MAX 20000

// "transcription.completed", ".failed" or ".cancelled" for a final state; NULL otherwise.
const char *ts_event_type(enum ts_job_state state);

// data: id, video_id, user_id, status, language, duration (s), text, text_omitted, links{self, transcript, srt, vtt},
// metadata, metadata_omitted, attempts, error{code,message} or null, created_at, started_at, finished_at.
// `transcript` may be NULL.
// `public_url` is the base of links, without a trailing slash; "" makes them relative.
enum ts_err ts_event_body(const struct ts_job *job, const struct ts_transcript *transcript, const char *public_url,
                          char **out_json, struct ts_error *error) TS_MUST_USE;

#endif
