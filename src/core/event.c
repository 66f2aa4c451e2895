// The JSON of callback events. When a body would grow over its ceiling the text goes first, then the metadata.
#include "core/event.h"

#include "core/json.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"

#include <string.h>

// Room for the largest body that is built before something is left out of it.
#define BUILD_CEILING ((size_t)1 << 28)

const char *ts_event_type(enum ts_job_state state)
{
	switch (state) {
	case TS_JOB_COMPLETED: return "transcription.completed";
	case TS_JOB_FAILED: return "transcription.failed";
	case TS_JOB_CANCELLED: return "transcription.cancelled";
	case TS_JOB_QUEUED:
	case TS_JOB_PROCESSING:
	case TS_JOB_STATE_COUNT:
	default: return NULL;
	}
}

static enum ts_err put_time(json_t *object, const char *key, int64_t wall_ms, struct ts_error *error)
{
	char text[TS_RFC3339_SIZE];

	return ts_json_put(object, key, wall_ms ? ts_json_text(ts_time_format(wall_ms, text)) : json_null(), error);
}

static enum ts_err put_link(json_t *links, const char *key, const char *public_url, const char *id, const char *rest,
                            struct ts_error *error)
{
	TS_AUTOFREE char *url = ts_asprintf("%s/api/v1/transcriptions/%s%s", public_url, id, rest);

	return ts_json_put(links, key, url ? ts_json_text(url) : NULL, error);
}

static enum ts_err put_links(json_t *data, const struct ts_job *job, const char *public_url, struct ts_error *error)
{
	static const char *const keys[] = {"transcript", "srt", "vtt"};
	static const char *const rests[] = {"/transcript", "/transcript?format=srt", "/transcript?format=vtt"};
	json_t *links = json_object();

	TS_TRY(ts_json_put(data, "links", links, error));
	TS_TRY(put_link(links, "self", public_url, job->id, "", error));
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		if (job->state == TS_JOB_COMPLETED)
			TS_TRY(put_link(links, keys[i], public_url, job->id, rests[i], error));
		else
			TS_TRY(ts_json_put(links, keys[i], json_null(), error));
	}
	return TS_OK;
}

static enum ts_err put_text(json_t *data, const struct ts_transcript *transcript, bool omit, struct ts_error *error)
{
	TS_AUTOFREE char *text = NULL;

	if (transcript && !omit)
		TS_TRY(ts_transcript_text(transcript, &text, error));
	TS_TRY(ts_json_put(data, "text", ts_json_text(text), error));
	return ts_json_put(data, "text_omitted", json_boolean(transcript && omit), error);
}

static enum ts_err put_metadata(json_t *data, const char *metadata, bool omit, struct ts_error *error)
{
	json_t *parsed = NULL;

	if (metadata && !omit)
		TS_TRY(ts_json_parse(metadata, strlen(metadata), &parsed, error));
	TS_TRY(ts_json_put(data, "metadata", parsed ? parsed : json_null(), error));
	return ts_json_put(data, "metadata_omitted", json_boolean(metadata && omit), error);
}

static enum ts_err put_error(json_t *data, const struct ts_job *job, struct ts_error *error)
{
	// A completed job may still carry the error of an earlier attempt.
	if (job->state == TS_JOB_COMPLETED || !job->error_code)
		return ts_json_put(data, "error", json_null(), error);
	json_t *object = json_object();
	TS_TRY(ts_json_put(data, "error", object, error));
	TS_TRY(ts_json_put(object, "code", ts_json_text(job->error_code), error));
	return ts_json_put(object, "message", ts_json_text(job->error_message ? job->error_message : ""), error);
}

struct omissions {
	bool text, metadata;
};

static enum ts_err put_data(json_t *data, const struct ts_job *job, const struct ts_transcript *transcript,
                            const char *public_url, struct omissions omit, struct ts_error *error)
{
	const char *language = transcript && transcript->language ? transcript->language : job->language;
	int64_t duration = transcript ? transcript->duration_ms : job->media_duration_ms;

	TS_TRY(ts_json_put(data, "id", ts_json_text(job->id), error));
	TS_TRY(ts_json_put(data, "video_id", ts_json_text(job->video_id), error));
	TS_TRY(ts_json_put(data, "user_id", ts_json_text(job->user_id), error));
	TS_TRY(ts_json_put(data, "status", ts_json_text(ts_job_state_name(job->state)), error));
	TS_TRY(ts_json_put(data, "language", ts_json_text(language), error));
	json_t *seconds = transcript || duration > 0 ? json_real((double)duration / 1000) : json_null();
	TS_TRY(ts_json_put(data, "duration", seconds, error));
	TS_TRY(put_text(data, transcript, omit.text, error));
	TS_TRY(put_links(data, job, public_url, error));
	TS_TRY(put_metadata(data, job->metadata, omit.metadata, error));
	TS_TRY(ts_json_put(data, "attempts", json_integer(job->attempt), error));
	TS_TRY(put_error(data, job, error));
	TS_TRY(put_time(data, "created_at", job->created_at, error));
	TS_TRY(put_time(data, "started_at", job->started_at, error));
	return put_time(data, "finished_at", job->finished_at, error);
}

static enum ts_err build(const struct ts_job *job, const struct ts_transcript *transcript, const char *public_url,
                         struct omissions omit, struct ts_buf *buf, struct ts_error *error)
{
	TS_AUTOJSON json_t *root = json_object();

	ts_buf_clear(buf);
	if (!root)
		return ts_fail_nomem(error);
	TS_TRY(ts_json_put(root, "type", ts_json_text(ts_event_type(job->state)), error));
	TS_TRY(put_time(root, "timestamp", job->finished_at ? job->finished_at : job->updated_at, error));
	json_t *data = json_object();
	TS_TRY(ts_json_put(root, "data", data, error));
	TS_TRY(put_data(data, job, transcript, public_url, omit, error));
	return ts_json_write(root, buf, error);
}

enum ts_err ts_event_body(const struct ts_job *job, const struct ts_transcript *transcript, const char *public_url,
                          char **out_json, struct ts_error *error)
{
	static const struct omissions steps[] = {{false, false}, {true, false}, {true, true}};
	TS_AUTOBUF struct ts_buf buf;

	ts_buf_init(&buf, BUILD_CEILING);
	if (!ts_event_type(job->state))
		return ts_fail(error, TS_ERR_INVALID, "a job that is %s has no event", ts_job_state_name(job->state));
	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		TS_TRY(build(job, transcript, public_url, steps[i], &buf, error));
		if (buf.length <= TS_EVENT_BODY_MAX)
			return ts_buf_take(&buf, out_json, error);
	}
	return ts_fail(error, TS_ERR_LIMIT, "the event of a job is over %d bytes", TS_EVENT_BODY_MAX);
}
