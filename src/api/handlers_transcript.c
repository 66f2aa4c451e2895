// The transcript of a job in the format that was asked for.
#include "api/handlers.h"

#include "api/api_priv.h"
#include "api/header.h"
#include "base/mem.h"
#include "core/format.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#define TEXT_MAX ((size_t)1 << 30)
#define RETRY_AFTER_S 2

// ?format= decides; otherwise the best of what Accept allows, in the order of formats.def.
static enum ts_err choose_format(struct ts_request *request, enum ts_format *out, struct ts_problem *problem)
{
	static const char *const known[] = {"format", NULL};
	const char *accept = ts_request_header(request, "Accept");
	struct ts_query query;
	int best = 0;

	TS_TRY(ts_request_query(request, known, &query, problem));
	const char *name = ts_query_get(&query, "format");
	if (name && ts_format_parse(name, out, NULL) != TS_OK)
		return ts_problem_set(problem, TS_PROBLEM_INVALID_PARAMETER, "format",
		                      "format must be json, verbose_json, srt, vtt, txt or tsv");
	if (name)
		return TS_OK;
	for (int i = 0; i < TS_FORMAT_COUNT; i++) {
		int quality = ts_header_accepts(accept, ts_format_media_type((enum ts_format)i));
		if (quality > best) {
			best = quality;
			*out = (enum ts_format)i;
		}
	}
	if (best > 0)
		return TS_OK;
	ts_problem_set(problem, TS_PROBLEM_NOT_ACCEPTABLE, "Accept",
	               "transcripts come as application/json, application/x-subrip, text/vtt, text/plain and "
	               "text/tab-separated-values");
	ts_problem_hint(problem, "?format= overrides Accept");
	return TS_ERR_INVALID;
}

static enum ts_err not_ready(struct ts_request *request, const struct ts_job *job, struct ts_problem *problem)
{
	(void)request;
	if (job->state == TS_JOB_FAILED)
		ts_problem_set(problem, TS_PROBLEM_TRANSCRIPT_NOT_READY, NULL, "the job has failed: %s",
		               job->error_message ? job->error_message : "no reason was recorded");
	else if (job->state == TS_JOB_CANCELLED)
		ts_problem_set(problem, TS_PROBLEM_TRANSCRIPT_NOT_READY, NULL, "the job was cancelled");
	else
		ts_problem_set(problem, TS_PROBLEM_TRANSCRIPT_NOT_READY, NULL, "the job is %s; its transcript is not there yet",
		               ts_job_state_name(job->state));
	problem->job_status = ts_job_state_name(job->state);
	if (!ts_job_state_is_final(job->state)) {
		ts_problem_hint(problem, "GET the job with ?wait= to be answered as soon as it has ended");
		problem->retry_after_s = RETRY_AFTER_S;
	}
	return TS_ERR_CONFLICT;
}

static enum ts_err trouble(struct ts_request *request, const struct ts_error *error, struct ts_problem *problem)
{
	if (error->code == TS_ERR_NOT_FOUND)
		return ts_problem_set(problem, TS_PROBLEM_NOT_FOUND, "id", "there is no job with this id");
	ts_log_error(&request->log, "request failed", TS_STR("error", ts_err_name(error->code)),
	             TS_STR("reason", error->message));
	return ts_problem_from(problem, error);
}

static bool etag_of(const char *text, size_t length, char out[36])
{
	unsigned char digest[32];

	if (EVP_Digest(text, length, digest, NULL, EVP_sha256(), NULL) != 1)
		return false;
	out[0] = '"';
	for (size_t i = 0; i < 16; i++)
		snprintf(out + 1 + 2 * i, 3, "%02x", (unsigned)digest[i]);
	memcpy(out + 33, "\"", 2);
	return true;
}

static enum ts_err load(struct ts_request *request, enum ts_format format, char **out_text, size_t *out_length,
                        struct ts_error *error)
{
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;
	TS_AUTOBUF struct ts_buf buf;

	ts_transcript_init(&transcript);
	ts_buf_init(&buf, TEXT_MAX);
	TS_TRY(ts_store_transcript(request->api->options.store, request->job_id, &transcript, error));
	TS_TRY(ts_format_write(&transcript, format, &buf, error));
	*out_length = buf.length;
	return ts_buf_take(&buf, out_text, error);
}

enum ts_err ts_handle_transcript(struct ts_request *request, struct ts_reply *reply, struct ts_problem *problem)
{
	enum ts_format format = TS_FORMAT_JSON;
	TS_AUTOJOB struct ts_job job;
	struct ts_error error = {0};
	char *text = NULL;
	size_t length = 0;
	char etag[36];

	ts_job_init(&job);
	TS_TRY(choose_format(request, &format, problem));
	const char *id = request->match.param[0];
	if (!ts_uuid_is_valid(id))
		return ts_problem_set(problem, TS_PROBLEM_NOT_FOUND, "id", "there is no job with this id");
	memcpy(request->job_id, id, TS_UUID_SIZE);
	if (ts_store_get(request->api->options.store, id, &job, &error) != TS_OK)
		return trouble(request, &error, problem);
	if (job.state != TS_JOB_COMPLETED)
		return not_ready(request, &job, problem);
	if (load(request, format, &text, &length, &error) != TS_OK)
		return trouble(request, &error, problem);
	const char *seen = ts_request_header(request, "If-None-Match");
	bool tagged = etag_of(text, length, etag);
	if (tagged && seen && (strcmp(seen, "*") == 0 || strstr(seen, etag))) {
		ts_free(text);
		reply->status = 304;
	} else {
		reply->status = 200;
		reply->content_type = ts_format_media_type(format);
		reply->body = text;
		reply->length = length;
		// The id and not the video's name: it needs no escaping, whatever the caller chose.
		ts_reply_header(reply, "Content-Disposition", "inline; filename=\"%s.%s\"", id, ts_format_ending(format));
	}
	if (tagged)
		ts_reply_header(reply, "ETag", "%s", etag);
	ts_reply_header(reply, "Vary", "Accept");
	return TS_OK;
}
