// An answer being built by a handler: status, headers, body. Sent by server.c.
#ifndef TS_API_REPLY_H
#define TS_API_REPLY_H

#include "api/problem.h"

#include <jansson.h>
#include <stddef.h>

#define TS_REPLY_HEADERS_MAX 10

struct ts_reply {
	unsigned status;          // 0: none yet
	const char *content_type; // static
	char *body;               // owned; NULL: empty
	size_t length;
	struct {
		const char *name; // static
		char *value;      // owned
	} header[TS_REPLY_HEADERS_MAX];
	size_t header_count;
	enum ts_err failed; // memory was out while building
};

void ts_reply_finish(struct ts_reply *reply); // NULL-safe; a zeroed struct is valid
void ts_reply_header(struct ts_reply *reply, const char *name, const char *format, ...) TS_PRINTF(3, 4);
// Takes the body over (NULL: memory was out).
void ts_reply_text(struct ts_reply *reply, unsigned status, const char *content_type, char *body);
void ts_reply_json(struct ts_reply *reply, unsigned status, json_t *body);
// Replaces what was built.
void ts_reply_problem(struct ts_reply *reply, const struct ts_problem *problem, const char *instance,
                      const char *request_id);

#endif
