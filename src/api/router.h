// Finds the handler of a method and path in the table of routes.def. Paths are matched segment by segment after
// percent-decoding; "." and ".." have no meaning and match nothing. Pure; the fuzz targets and tests call it.
#ifndef TS_API_ROUTER_H
#define TS_API_ROUTER_H

#include "api/problem.h"

#include <stdbool.h>
#include <stddef.h>

struct ts_request;
struct ts_reply;

// Fills *reply (status 0: the answer comes later, the connection is suspended) or *problem.
typedef enum ts_err ts_handler(struct ts_request *request, struct ts_reply *reply, struct ts_problem *problem);

enum ts_method { TS_METHOD_GET, TS_METHOD_HEAD, TS_METHOD_POST, TS_METHOD_DELETE, TS_METHOD_OTHER, TS_METHOD_COUNT };
enum ts_body_kind { TS_BODY_NONE, TS_BODY_SUBMIT };

enum ts_route_id {
#define TS_ROUTE(symbol, method, path, handler, auth, body) TS_ROUTE_##symbol,
#include "api/routes.def"
#undef TS_ROUTE
	TS_ROUTE_COUNT
};

struct ts_route {
	enum ts_method method;
	const char *path;
	ts_handler *handler;
	bool needs_key;
	enum ts_body_kind body;
};

#define TS_PATH_PARAMS_MAX 2
#define TS_PATH_PARAM_SIZE 128
struct ts_match {
	const struct ts_route *route; // NULL: no route for this method
	bool path_known;              // some method is allowed
	char allow[64];               // value of Allow when path_known
	char param[TS_PATH_PARAMS_MAX][TS_PATH_PARAM_SIZE];
};

const struct ts_route *ts_route_at(enum ts_route_id id);
enum ts_method ts_method_parse(const char *method); // OTHER: one we do not serve
const char *ts_method_name(enum ts_method method);  // "other" for OTHER

// target is the path as sent (percent-encoded, without query), or an absolute-form URL of which the path counts.
void ts_router_match(enum ts_method method, const char *target, struct ts_match *out);

// Decodes %XX strictly into out (NUL-terminated). False: malformed, contains NUL, or longer than size - 1.
bool ts_percent_decode(const char *text, size_t length, char *out, size_t size);

#endif
