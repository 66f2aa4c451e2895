// Route matching over the table. A handful of routes: a linear scan is the clearest thing that is fast enough.
#include "api/router.h"

#include "api/handlers.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static const struct ts_route routes[TS_ROUTE_COUNT] = {
#define TS_ROUTE(symbol, method_, path_, handler_, auth_, body_) \
	[TS_ROUTE_##symbol] = {.method = TS_METHOD_##method_,        \
	                       .path = (path_),                      \
	                       .handler = (handler_),                \
	                       .needs_key = (auth_),                 \
	                       .body = TS_BODY_##body_},
#include "api/routes.def"
#undef TS_ROUTE
};

static const char *const method_names[TS_METHOD_COUNT] = {"GET", "HEAD", "POST", "DELETE", "other"};

const struct ts_route *ts_route_at(enum ts_route_id id)
{
	return &routes[id];
}

enum ts_method ts_method_parse(const char *method)
{
	for (int i = 0; i < TS_METHOD_OTHER; i++) {
		if (strcmp(method_names[i], method) == 0)
			return (enum ts_method)i;
	}
	return TS_METHOD_OTHER;
}

const char *ts_method_name(enum ts_method method)
{
	return method_names[method];
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool ts_percent_decode(const char *text, size_t length, char *out, size_t size)
{
	size_t used = 0;

	for (size_t i = 0; i < length; i++) {
		int c = (unsigned char)text[i];
		if (c == '%') {
			if (length - i < 3 || hex(text[i + 1]) < 0 || hex(text[i + 2]) < 0)
				return false;
			c = hex(text[i + 1]) * 16 + hex(text[i + 2]);
			i += 2;
		}
		if (c == '\0' || used + 1 >= size)
			return false;
		out[used++] = (char)c;
	}
	out[used] = '\0';
	return true;
}

// Takes the next segment ("/" + text) of *path.
static bool next_segment(const char **path, const char **out, size_t *out_length)
{
	if (**path != '/')
		return false;
	*out = *path + 1;
	*out_length = strcspn(*out, "/");
	*path = *out + *out_length;
	return true;
}

static bool match_path(const char *pattern, const char *path, char param[TS_PATH_PARAMS_MAX][TS_PATH_PARAM_SIZE])
{
	const char *want, *got;
	size_t want_length, got_length, params = 0;
	char literal[TS_PATH_PARAM_SIZE];

	while (next_segment(&pattern, &want, &want_length)) {
		if (!next_segment(&path, &got, &got_length))
			return false;
		if (want[0] == '{') {
			if (got_length == 0 || !ts_percent_decode(got, got_length, param[params++], TS_PATH_PARAM_SIZE))
				return false;
		} else if (!ts_percent_decode(got, got_length, literal, sizeof literal) || strlen(literal) != want_length ||
		           memcmp(literal, want, want_length) != 0) {
			return false;
		}
	}
	return *path == '\0';
}

static void allow_add(char *allow, size_t size, const char *method)
{
	size_t length = strlen(allow);
	snprintf(allow + length, size - length, "%s%s", length ? ", " : "", method);
}

void ts_router_match(enum ts_method method, const char *target, struct ts_match *out)
{
	char param[TS_PATH_PARAMS_MAX][TS_PATH_PARAM_SIZE] = {{0}};

	*out = (struct ts_match){0};
	// RFC 9112 3.2.2: a server accepts the absolute form.
	if (strncasecmp(target, "http://", 7) == 0 || strncasecmp(target, "https://", 8) == 0) {
		target = strstr(target, "://") + 3;
		target += strcspn(target, "/");
		if (!*target)
			target = "/";
	}
	for (size_t i = 0; i < TS_ROUTE_COUNT; i++) {
		const struct ts_route *route = &routes[i];
		if (!match_path(route->path, target, param))
			continue;
		out->path_known = true;
		allow_add(out->allow, sizeof out->allow, method_names[route->method]);
		if (route->method == TS_METHOD_GET)
			allow_add(out->allow, sizeof out->allow, "HEAD");
		if (route->method == method || (method == TS_METHOD_HEAD && route->method == TS_METHOD_GET)) {
			out->route = route;
			memcpy(out->param, param, sizeof param);
		}
	}
}
