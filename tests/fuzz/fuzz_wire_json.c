// A submit's JSON: whatever the bytes, the answer is a job that keeps every promise, or a problem that JSON can hold.
// The first byte chooses the rules of the installation.
#include "api/wire.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "core/json.h"
#include "net/url.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LAW(condition)    \
	do {                  \
		if (!(condition)) \
			abort();      \
	} while (0)

static void check_problem(const struct ts_problem *problem)
{
	LAW(problem->kind > TS_PROBLEM_NONE && problem->kind < TS_PROBLEM_COUNT);
	LAW(ts_problem_status(problem->kind) == 400);
	LAW(problem->detail[0] && ts_utf8_is_valid(problem->detail, strlen(problem->detail)));
	LAW(ts_utf8_is_valid(problem->field, strlen(problem->field)));
	TS_AUTOFREE char *text = ts_problem_json(problem, "/", "id");
	json_auto_t *json = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
	LAW(json_is_object(json));
}

static void check_text(const char *text, size_t max)
{
	if (!text)
		return;
	size_t length = strlen(text);
	LAW(ts_utf8_is_valid(text, length));
	LAW(length > 0 && ts_utf8_count(text, length) <= max);
}

static void check_job(const struct ts_job *job, const struct ts_wire_rules *rules, bool has_file)
{
	LAW(job->video_id);
	check_text(job->video_id, TS_WIRE_ID_MAX);
	check_text(job->user_id, TS_WIRE_ID_MAX);
	check_text(job->callback_url, TS_URL_MAX);
	check_text(job->media_url, TS_URL_MAX);
	LAW(!job->callback_url || strncasecmp(job->callback_url, "http", 4) == 0);
	LAW(!job->language || strlen(job->language) == 2);
	LAW(!job->upload_id || ts_uuid_is_valid(job->upload_id));
	LAW((has_file ? 1 : 0) + (job->media_url ? 1 : 0) + (job->upload_id ? 1 : 0) <= 1);
	LAW(has_file || job->media_url || job->upload_id || rules->has_media_template);
	LAW((unsigned)job->priority < TS_PRIORITY_COUNT);
	if (job->metadata) {
		json_auto_t *metadata = json_loads(job->metadata, JSON_REJECT_DUPLICATES, NULL);
		LAW(strlen(job->metadata) <= TS_WIRE_METADATA_MAX && json_is_object(metadata));
	}
	json_t *answer = ts_wire_job(job, "https://api.example");
	LAW(answer);
	json_decref(answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_auto_t *root = NULL;
	struct ts_problem problem = {0};
	TS_AUTOJOB struct ts_job job;
	char digest[TS_SHA256_HEX_SIZE];

	ts_job_init(&job);
	if (size < 1)
		return 0;
	const struct ts_wire_rules rules = {.has_media_template = data[0] & 1, .has_media_file_root = data[0] & 2};
	bool has_file = data[0] & 4;
	if (ts_wire_parse((const char *)data + 1, size - 1, &root, &problem) != TS_OK) {
		check_problem(&problem);
		return 0;
	}
	LAW(ts_wire_digest(root, NULL, digest, NULL) == TS_OK && strlen(digest) == 64);
	if (ts_wire_submit(root, &rules, has_file, &job, &problem) != TS_OK)
		check_problem(&problem);
	else
		check_job(&job, &rules, has_file);
	return 0;
}
