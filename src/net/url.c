// URLs on libcurl's parser. The text is first read by a strict grammar of ours, and both readings of the host
// must agree, so that what the guard judged is what a request reaches.
#include "net/url.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/num.h"
#include "net/host.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

static void free_curlu(CURLU **u)
{
	curl_url_cleanup(*u);
}

static void free_curl(char **p)
{
	curl_free(*p);
}

void ts_url_finish(struct ts_url *url)
{
	if (!url)
		return;
	ts_free(url->scheme);
	ts_free(url->host);
	ts_free(url->path);
	ts_free(url->query);
	*url = (struct ts_url){0};
}

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_unreserved(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '.' ||
	       c == '_' || c == '~';
}

// Unreserved, reserved, or "%": all that RFC 3986 knows.
static bool is_url_char(char c)
{
	return is_unreserved(c) || (c != '\0' && strchr(":/?#[]@!$&'()*+,;=%", c));
}

static enum ts_err check_characters(const char *text, struct ts_error *error)
{
	size_t length = strlen(text);

	if (length == 0)
		return ts_fail(error, TS_ERR_INVALID, "must not be empty");
	if (length > TS_URL_MAX)
		return ts_fail(error, TS_ERR_INVALID, "must be at most %d bytes long", TS_URL_MAX);
	for (size_t i = 0; i < length; i++) {
		if (text[i] == '%' && !(is_hex(text[i + 1]) && is_hex(text[i + 2])))
			return ts_fail(error, TS_ERR_INVALID, "has a \"%%\" without two hexadecimal digits at character %zu",
			               i + 1);
		if (is_url_char(text[i]))
			continue;
		if ((unsigned char)text[i] <= ' ' || text[i] == 0x7f)
			return ts_fail(error, TS_ERR_INVALID, "has a space or control character at character %zu", i + 1);
		return ts_fail(error, TS_ERR_INVALID, "has a character at byte %zu that must be percent-encoded", i + 1);
	}
	return TS_OK;
}

static enum ts_err check_scheme(const char *text, const char *const *schemes, size_t *out_length,
                                struct ts_error *error)
{
	TS_AUTOBUF struct ts_buf allowed = {0};
	size_t length = strcspn(text, ":");

	for (size_t i = 0; schemes[i]; i++)
		if (strlen(schemes[i]) == length && strncasecmp(text, schemes[i], length) == 0 &&
		    strncmp(text + length, "://", 3) == 0) {
			*out_length = length;
			return TS_OK;
		}
	ts_buf_init(&allowed, 256);
	for (size_t i = 0; schemes[i]; i++)
		ts_buf_printf(&allowed, "%s%s://", i == 0 ? "" : schemes[i + 1] ? ", " : " or ", schemes[i]);
	TS_TRY(ts_buf_status(&allowed, error));
	return ts_fail(error, TS_ERR_INVALID, "must be an absolute URL that starts with %s", ts_buf_str(&allowed));
}

static uint16_t default_port(const char *scheme)
{
	if (strcmp(scheme, "http") == 0)
		return 80;
	return strcmp(scheme, "https") == 0 ? 443 : 0;
}

// "host", "host:port", "[v6]" or "[v6]:port".
static enum ts_err read_authority(const char *text, size_t length, struct ts_url *url, struct ts_error *error)
{
	char host[TS_HOST_SIZE];
	char digits[6];
	enum ts_host_kind kind;
	int64_t port = default_port(url->scheme);

	if (memchr(text, '@', length))
		return ts_fail(error, TS_ERR_INVALID, "must not contain a user name or password");
	const char *end = text[0] == '[' ? memchr(text, ']', length) : memchr(text, ':', length);
	size_t host_length = end ? (size_t)(end - text) + (text[0] == '[') : length;
	TS_TRY(ts_host_parse(text, host_length, host, &kind, error));
	if (host_length < length) {
		size_t count = length - host_length - 1;
		if (text[host_length] != ':' || count == 0 || count >= sizeof digits || port == 0)
			return ts_fail(error, TS_ERR_INVALID, "has a malformed port");
		memcpy(digits, text + host_length + 1, count);
		digits[count] = '\0';
		if (ts_num_parse_i64(digits, 1, 65535, &port, NULL) != TS_OK)
			return ts_fail(error, TS_ERR_INVALID, "must have a port from 1 to 65535");
	}
	url->port = (uint16_t)port;
	url->host = ts_strdup(host);
	return url->host ? TS_OK : ts_fail_nomem(error);
}

// libcurl's reading of the host, brackets and spelling of IPv6 aside.
static bool host_agrees(CURLU *u, const char *host)
{
	TS_CLEANUP(free_curl) char *theirs = NULL;
	char text[TS_HOST_SIZE];
	enum ts_host_kind kind;

	if (curl_url_get(u, CURLUPART_HOST, &theirs, 0) != CURLUE_OK)
		return host[0] == '\0';
	return ts_host_parse(theirs, strlen(theirs), text, &kind, NULL) == TS_OK && strcmp(text, host) == 0;
}

static enum ts_err read_path(CURLU *u, struct ts_url *url, struct ts_error *error)
{
	TS_CLEANUP(free_curl) char *path = NULL;
	TS_CLEANUP(free_curl) char *query = NULL;

	if (curl_url_get(u, CURLUPART_PATH, &path, 0) != CURLUE_OK)
		return ts_fail_nomem(error);
	CURLUcode rc = curl_url_get(u, CURLUPART_QUERY, &query, 0);
	if (rc != CURLUE_OK && rc != CURLUE_NO_QUERY)
		return ts_fail_nomem(error);
	url->path = ts_strdup(path[0] ? path : "/");
	url->query = ts_strdup(query);
	if (!url->path || (query && !url->query))
		return ts_fail_nomem(error);
	// libcurl refuses a drive letter, but sees it only where no dot segments stand before it.
	if (url->host[0] == '\0' && ((url->path[1] | 0x20) >= 'a' && (url->path[1] | 0x20) <= 'z') &&
	    (url->path[2] == ':' || url->path[2] == '|'))
		return ts_fail(error, TS_ERR_INVALID, "must not start with a drive letter");
	return TS_OK;
}

static enum ts_err parse_into(const char *text, const char *const *schemes, struct ts_url *url, struct ts_error *error)
{
	TS_CLEANUP(free_curlu) CURLU *u = NULL;
	size_t scheme_length = 0;

	TS_TRY(check_characters(text, error));
	TS_TRY(check_scheme(text, schemes, &scheme_length, error));
	url->scheme = ts_strndup(text, scheme_length);
	if (!url->scheme)
		return ts_fail_nomem(error);
	for (char *c = url->scheme; *c; c++)
		*c = (char)(*c >= 'A' && *c <= 'Z' ? *c - 'A' + 'a' : *c);
	const char *authority = text + scheme_length + 3;
	size_t length = strcspn(authority, "/?#");
	if (strcmp(url->scheme, "file") == 0) {
		if (authority[0] != '/' || strpbrk(authority, "?#"))
			return ts_fail(error, TS_ERR_INVALID,
			               "must be file:///path, without a host; \"?\" and \"#\" in the path are percent-encoded");
		url->host = ts_strdup("");
		if (!url->host)
			return ts_fail_nomem(error);
	} else {
		TS_TRY(read_authority(authority, length, url, error));
	}
	u = curl_url();
	if (!u)
		return ts_fail_nomem(error);
	CURLUcode rc = curl_url_set(u, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME | CURLU_DISALLOW_USER);
	if (rc == CURLUE_OUT_OF_MEMORY)
		return ts_fail_nomem(error);
	if (rc != CURLUE_OK)
		return ts_fail(error, TS_ERR_INVALID, "is not a valid URL: %s", curl_url_strerror(rc));
	if (!host_agrees(u, url->host))
		return ts_fail(error, TS_ERR_INVALID, "has a host that can be read in two ways");
	return read_path(u, url, error);
}

enum ts_err ts_url_parse(const char *text, const char *const *schemes, struct ts_url *out, struct ts_error *error)
{
	TS_AUTOURL struct ts_url url = {0};

	TS_TRY(parse_into(text, schemes, &url, error));
	*out = url;
	url = (struct ts_url){0};
	return TS_OK;
}

char *ts_url_authority(const struct ts_url *url)
{
	bool ipv6 = strchr(url->host, ':') != NULL;
	char port[8] = "";

	if (url->port != default_port(url->scheme))
		snprintf(port, sizeof port, ":%u", (unsigned)url->port);
	return ts_asprintf("%s%s%s%s", ipv6 ? "[" : "", url->host, ipv6 ? "]" : "", port);
}

char *ts_url_format(const struct ts_url *url)
{
	TS_AUTOFREE char *authority = ts_url_authority(url);

	if (!authority)
		return NULL;
	return ts_asprintf("%s://%s%s%s%s", url->scheme, authority, url->path, url->query ? "?" : "",
	                   url->query ? url->query : "");
}

bool ts_url_same_origin(const struct ts_url *a, const struct ts_url *b)
{
	return strcmp(a->scheme, b->scheme) == 0 && strcmp(a->host, b->host) == 0 && a->port == b->port;
}

static const char hex_digits[] = "0123456789ABCDEF";

static void add_escaped(struct ts_buf *buf, char c)
{
	unsigned char byte = (unsigned char)c;

	ts_buf_add_char(buf, '%');
	ts_buf_add_char(buf, hex_digits[byte >> 4]);
	ts_buf_add_char(buf, hex_digits[byte & 15]);
}

enum ts_err ts_url_join(const struct ts_url *base, const char *reference, const char *const *schemes,
                        struct ts_url *out, struct ts_error *error)
{
	TS_CLEANUP(free_curlu) CURLU *u = curl_url();
	TS_CLEANUP(free_curl) char *joined = NULL;
	TS_AUTOFREE char *from = ts_url_format(base);
	TS_AUTOBUF struct ts_buf clean = {0};

	ts_buf_init(&clean, (size_t)3 * TS_URL_MAX);
	for (const char *c = reference; *c; c++) {
		if (((unsigned char)*c < ' ') || *c == 0x7f)
			return ts_fail(error, TS_ERR_INVALID, "has a control character");
		if (!is_url_char(*c) || (*c == '%' && !(is_hex(c[1]) && is_hex(c[2]))))
			add_escaped(&clean, *c);
		else
			ts_buf_add_char(&clean, *c);
	}
	TS_TRY(ts_buf_status(&clean, error));
	if (!u || !from || curl_url_set(u, CURLUPART_URL, from, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK)
		return ts_fail_nomem(error);
	CURLUcode rc = curl_url_set(u, CURLUPART_URL, ts_buf_str(&clean), CURLU_NON_SUPPORT_SCHEME);
	if (rc != CURLUE_OK)
		return ts_fail(error, TS_ERR_INVALID, "is not a valid URL: %s", curl_url_strerror(rc));
	if (curl_url_set(u, CURLUPART_FRAGMENT, NULL, 0) != CURLUE_OK ||
	    curl_url_get(u, CURLUPART_URL, &joined, CURLU_NO_DEFAULT_PORT) != CURLUE_OK)
		return ts_fail_nomem(error);
	return ts_url_parse(joined, schemes, out, error);
}

static void add_value(struct ts_buf *buf, const char *text)
{
	for (const char *c = text; *c; c++) {
		if (is_unreserved(*c))
			ts_buf_add_char(buf, *c);
		else
			add_escaped(buf, *c);
	}
}

char *ts_url_escape(const char *text)
{
	TS_AUTOBUF struct ts_buf buf = {0};
	char *out = NULL;

	ts_buf_init(&buf, 3 * strlen(text));
	add_value(&buf, text);
	return ts_buf_take(&buf, &out, NULL) == TS_OK ? out : NULL;
}

enum ts_err ts_url_expand(const char *url_template, const char *name, const char *value, char **out_url,
                          struct ts_error *error)
{
	TS_AUTOBUF struct ts_buf url = {0};
	TS_AUTOFREE char *mark = ts_asprintf("{%s}", name);
	const char *rest = url_template;

	if (!mark)
		return ts_fail_nomem(error);
	if (strcmp(value, ".") == 0 || strcmp(value, "..") == 0)
		return ts_fail(error, TS_ERR_INVALID, "%s must not be \"%s\"", name, value);
	ts_buf_init(&url, TS_URL_MAX);
	const char *at = strstr(rest, mark);
	if (!at)
		return ts_fail(error, TS_ERR_INVALID, "URL template must contain %s", mark);
	for (; at; at = strstr(rest, mark)) {
		ts_buf_add(&url, rest, (size_t)(at - rest));
		add_value(&url, value);
		rest = at + strlen(mark);
	}
	ts_buf_add_str(&url, rest);
	return ts_buf_take(&url, out_url, error);
}
