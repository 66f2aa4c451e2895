// Building answers. A failed allocation turns the answer into a 503 when it is sent.
#include "api/reply.h"

#include "base/buf.h"
#include "base/mem.h"
#include "core/json.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define TEXT_MAX ((size_t)1 << 30)

void ts_reply_finish(struct ts_reply *reply)
{
	if (!reply)
		return;
	ts_free(reply->body);
	for (size_t i = 0; i < reply->header_count; i++)
		ts_free(reply->header[i].value);
	*reply = (struct ts_reply){0};
}

void ts_reply_header(struct ts_reply *reply, const char *name, const char *format, ...)
{
	va_list args;
	char *value = NULL;

	va_start(args, format);
	int length = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (length >= 0 && reply->header_count < TS_REPLY_HEADERS_MAX)
		value = ts_alloc((size_t)length + 1);
	if (!value) {
		reply->failed = TS_ERR_NOMEM;
		return;
	}
	va_start(args, format);
	vsnprintf(value, (size_t)length + 1, format, args);
	va_end(args);
	reply->header[reply->header_count].name = name;
	reply->header[reply->header_count++].value = value;
}

void ts_reply_text(struct ts_reply *reply, unsigned status, const char *content_type, char *body)
{
	ts_free(reply->body);
	reply->status = status;
	reply->content_type = content_type;
	reply->body = body;
	reply->length = body ? strlen(body) : 0;
	if (!body)
		reply->failed = TS_ERR_NOMEM;
}

void ts_reply_json(struct ts_reply *reply, unsigned status, json_t *body)
{
	TS_AUTOBUF struct ts_buf buf;
	char *text = NULL;

	ts_buf_init(&buf, TEXT_MAX);
	if (!body || ts_json_write(body, &buf, NULL) != TS_OK || ts_buf_take(&buf, &text, NULL) != TS_OK)
		text = NULL;
	json_decref(body);
	ts_reply_text(reply, status, "application/json", text);
}

void ts_reply_problem(struct ts_reply *reply, const struct ts_problem *problem, const char *instance,
                      const char *request_id)
{
	ts_reply_finish(reply);
	ts_reply_text(reply, ts_problem_status(problem->kind), "application/problem+json",
	              ts_problem_json(problem, instance, request_id));
	if (problem->retry_after_s)
		ts_reply_header(reply, "Retry-After", "%u", problem->retry_after_s);
	if (problem->kind == TS_PROBLEM_UNAUTHORIZED)
		ts_reply_header(reply, "WWW-Authenticate", "Bearer realm=\"transcription\"");
}
