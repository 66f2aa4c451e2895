// Response headers (RFC 9110). Values that do not fit or do not parse count as absent, but for Content-Length:
// a length that cannot be trusted ends the transfer.
#include "net/http_head.h"

#include "base/num.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_MAX 4096

static void reset_response(struct ts_http_response *response)
{
	*response = (struct ts_http_response){.content_length = -1,
	                                      .content_range_from = -1,
	                                      .content_range_to = -1,
	                                      .content_range_total = -1,
	                                      .retry_after_ms = -1};
}

void ts_http_head_begin(struct ts_http_head *head, struct ts_http_response *response, int64_t wall_ms)
{
	*head = (struct ts_http_head){.response = response, .wall_ms = wall_ms};
	reset_response(response);
}

bool ts_http_status_redirects(long status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

enum ts_err ts_http_redirect_target(const struct ts_url *from, const char *location, struct ts_url *out,
                                    struct ts_error *error)
{
	static const char *const schemes[] = {"http", "https", NULL};
	TS_AUTOURL struct ts_url target = {0};

	enum ts_err err = ts_url_join(from, location, schemes, &target, error);
	if (err != TS_OK) {
		if (err != TS_ERR_NOMEM && error)
			error->code = TS_ERR_NET_FORBIDDEN;
		return err == TS_ERR_NOMEM ? err : TS_ERR_NET_FORBIDDEN;
	}
	if (strcmp(from->scheme, "https") == 0 && strcmp(target.scheme, "http") == 0)
		return ts_fail(error, TS_ERR_NET_FORBIDDEN, "gives up the encryption of https");
	*out = target;
	target = (struct ts_url){0};
	return TS_OK;
}

static void copy_value(char *out, size_t size, const char *value)
{
	size_t length = strlen(value);

	for (size_t i = 0; i < length; i++)
		if (value[i] < ' ' || value[i] > '~')
			return;
	if (length < size)
		memcpy(out, value, length + 1);
}

static enum ts_err read_content_length(struct ts_http_head *head, const char *value, struct ts_error *error)
{
	int64_t length;

	if (value[0] == '-' || ts_num_parse_i64(value, 0, INT64_MAX, &length, NULL) != TS_OK)
		return ts_fail(error, TS_ERR_NET_UNREACHABLE, "malformed Content-Length");
	if (head->response->content_length >= 0 && head->response->content_length != length)
		return ts_fail(error, TS_ERR_NET_UNREACHABLE, "contradictory Content-Length");
	head->response->content_length = length;
	return TS_OK;
}

static bool read_number(const char **text, int64_t *out)
{
	char digits[20];
	size_t length = strspn(*text, "0123456789");

	if (length == 0 || length >= sizeof digits)
		return false;
	memcpy(digits, *text, length);
	digits[length] = '\0';
	*text += length;
	return ts_num_parse_i64(digits, 0, INT64_MAX, out, NULL) == TS_OK;
}

// "bytes 0-99/1000", "bytes 0-99/*", "bytes */1000"
static void read_content_range(struct ts_http_response *response, const char *value)
{
	int64_t from = -1;
	int64_t to = -1;
	int64_t total = -1;

	if (strncasecmp(value, "bytes ", 6) != 0)
		return;
	value += 6;
	if (*value == '*')
		value++;
	else if (!read_number(&value, &from) || *value++ != '-' || !read_number(&value, &to) || to < from)
		return;
	if (*value++ != '/')
		return;
	if (strcmp(value, "*") != 0 && (!read_number(&value, &total) || *value != '\0' || total <= to))
		return;
	response->content_range_from = from;
	response->content_range_to = to;
	response->content_range_total = total;
}

static int64_t clamp_ms(int64_t ms)
{
	if (ms < 0)
		return 0;
	return ms > TS_HTTP_RETRY_AFTER_MAX_MS ? TS_HTTP_RETRY_AFTER_MAX_MS : ms;
}

static void read_retry_after(struct ts_http_head *head, const char *value)
{
	int64_t seconds;

	if (head->precise_retry)
		return;
	if (ts_num_parse_i64(value, 0, INT64_MAX, &seconds, NULL) == TS_OK) {
		seconds = seconds > TS_HTTP_RETRY_AFTER_MAX_MS / 1000 ? TS_HTTP_RETRY_AFTER_MAX_MS / 1000 : seconds;
		head->response->retry_after_ms = seconds * 1000;
		return;
	}
	time_t date = curl_getdate(value, NULL);
	if (date >= 0)
		head->response->retry_after_ms = clamp_ms((int64_t)date * 1000 - head->wall_ms);
}

static void read_retry_after_ms(struct ts_http_head *head, const char *value)
{
	double ms;

	if (ts_num_parse_f64(value, 0, (double)TS_HTTP_RETRY_AFTER_MAX_MS, &ms, NULL) != TS_OK)
		return;
	head->response->retry_after_ms = (int64_t)ms;
	head->precise_retry = true;
}

static void read_location(struct ts_http_head *head, const char *value)
{
	size_t length = strlen(value);

	head->location_too_long = length >= sizeof head->location;
	if (!head->location_too_long)
		memcpy(head->location, value, length + 1);
}

static enum ts_err read_header(struct ts_http_head *head, const char *name, const char *value, struct ts_error *error)
{
	struct ts_http_response *response = head->response;

	if (strcasecmp(name, "content-length") == 0)
		return read_content_length(head, value, error);
	if (strcasecmp(name, "transfer-encoding") == 0)
		head->chunked = true;
	else if (strcasecmp(name, "content-type") == 0)
		copy_value(response->content_type, sizeof response->content_type, value);
	else if (strcasecmp(name, "content-encoding") == 0)
		copy_value(response->content_encoding, sizeof response->content_encoding, value);
	else if (strcasecmp(name, "content-range") == 0)
		read_content_range(response, value);
	else if (strcasecmp(name, "retry-after") == 0)
		read_retry_after(head, value);
	else if (strcasecmp(name, "retry-after-ms") == 0)
		read_retry_after_ms(head, value);
	else if (strcasecmp(name, "etag") == 0)
		copy_value(response->etag, sizeof response->etag, value);
	else if (strcasecmp(name, "last-modified") == 0)
		copy_value(response->last_modified, sizeof response->last_modified, value);
	else if (strcasecmp(name, "location") == 0)
		read_location(head, value);
	return TS_OK;
}

static void read_status_line(struct ts_http_head *head, const char *line)
{
	size_t bytes = head->bytes;
	const char *space = strchr(line, ' ');

	ts_http_head_begin(head, head->response, head->wall_ms);
	head->bytes = bytes; // interim responses count too
	head->response->status = space ? strtol(space, NULL, 10) : 0;
}

static void read_blank_line(struct ts_http_head *head)
{
	if (head->response->status < 200)
		return;
	if (head->chunked) // RFC 9112, 6.3: a length beside it means nothing
		head->response->content_length = -1;
	head->complete = true;
}

enum ts_err ts_http_head_line(struct ts_http_head *head, const char *line, size_t length, struct ts_error *error)
{
	char text[VALUE_MAX + 64];

	if (length > TS_HTTP_HEAD_MAX - head->bytes)
		return ts_fail(error, TS_ERR_LIMIT, "more than %d bytes of headers", TS_HTTP_HEAD_MAX);
	head->bytes += length;
	if (head->complete)
		return TS_OK;
	while (length > 0 && (line[length - 1] == '\r' || line[length - 1] == '\n'))
		length--;
	if (length == 0) {
		read_blank_line(head);
		return TS_OK;
	}
	if (length >= sizeof text) {
		head->location_too_long |= strncasecmp(line, "location:", 9) == 0;
		return TS_OK;
	}
	memcpy(text, line, length);
	text[length] = '\0';
	if (strncmp(text, "HTTP/", 5) == 0) {
		read_status_line(head, text);
		return TS_OK;
	}
	char *colon = strchr(text, ':');
	if (!colon)
		return TS_OK;
	*colon = '\0';
	char *value = colon + 1 + strspn(colon + 1, " \t");
	for (size_t end = strlen(value); end > 0 && (value[end - 1] == ' ' || value[end - 1] == '\t'); end--)
		value[end - 1] = '\0';
	return read_header(head, text, value, error);
}
