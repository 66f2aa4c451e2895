// URLs: what is accepted and how it reads afterwards, what is refused, expansion, joining, file access.
#include "base/mem.h"
#include "net/url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const web[] = {"http", "https", NULL};
static const char *const all[] = {"http", "https", "file", "s3", NULL};

static void accepts_and_takes_apart(void **state TS_UNUSED)
{
	static const struct {
		const char *text;
		const char *scheme;
		const char *host;
		unsigned port;
		const char *path;
		const char *query;
		const char *again; // formatted; NULL: as the text
	} rows[] = {
	    {"http://example.com/a/b.mp4", "http", "example.com", 80, "/a/b.mp4", NULL, NULL},
	    {"https://Example.COM", "https", "example.com", 443, "/", NULL, "https://example.com/"},
	    {"HTTP://h:8080/?", "http", "h", 8080, "/", NULL, "http://h:8080/"},
	    {"http://video_service:8000/v?token=a%20b&x=1#part", "http", "video_service", 8000, "/v", "token=a%20b&x=1",
	     "http://video_service:8000/v?token=a%20b&x=1"},
	    {"http://10.0.0.1/", "http", "10.0.0.1", 80, "/", NULL, NULL},
	    {"http://[2001:DB8:0::1]:81/x", "http", "2001:db8::1", 81, "/x", NULL, "http://[2001:db8::1]:81/x"},
	    {"http://svc.cluster.local./", "http", "svc.cluster.local.", 80, "/", NULL, NULL},
	    {"http://h/a/../b/./c", "http", "h", 80, "/b/c", NULL, "http://h/b/c"},
	    {"http://h:80/?a[]=1", "http", "h", 80, "/", "a[]=1", "http://h/?a[]=1"},
	    {"file:///media/a%20b.mp4", "file", "", 0, "/media/a%20b.mp4", NULL, NULL},
	    {"s3://bucket.name/dir/key.mp4", "s3", "bucket.name", 0, "/dir/key.mp4", NULL, NULL},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		TS_AUTOURL struct ts_url url = {0};
		struct ts_error error = {0};
		if (ts_url_parse(rows[i].text, all, &url, &error) != TS_OK)
			fail_msg("%s: %s", rows[i].text, error.message);
		assert_string_equal(url.scheme, rows[i].scheme);
		assert_string_equal(url.host, rows[i].host);
		assert_int_equal(url.port, rows[i].port);
		assert_string_equal(url.path, rows[i].path);
		// libcurl keeps an empty query or drops it, by version; both mean none.
		if (rows[i].query)
			assert_string_equal(url.query, rows[i].query);
		else
			assert_true(!url.query || !url.query[0]);
		TS_AUTOFREE char *again = ts_url_format(&url);
		if (rows[i].query || !strchr(rows[i].text, '?'))
			assert_string_equal(again, rows[i].again ? rows[i].again : rows[i].text);
	}
}

static void refuses(void **state TS_UNUSED)
{
	static const struct {
		const char *text;
		const char *why; // part of the message
	} rows[] = {
	    {"", "empty"},
	    {"example.com/a", "starts with http:// or https://"},
	    {"//example.com/a", "starts with http:// or https://"},
	    {"ftp://example.com/a", "starts with http:// or https://"},
	    {"file:///etc/passwd", "starts with http:// or https://"},
	    {"javascript:alert(1)", "starts with"},
	    {"http:/example.com/", "starts with"},
	    {"http:example.com", "starts with"},
	    {"http:///path", "no host"},
	    {"http://", "no host"},
	    {"http://:80/", "no host"},
	    {"http://user@example.com/", "user name or password"},
	    {"http://user:secret@example.com/", "user name or password"},
	    {"http://good.example@127.0.0.1/", "user name or password"},
	    {"http://h:0/", "port from 1 to 65535"},
	    {"http://h:65536/", "port"},
	    {"http://h:/", "port"},
	    {"http://h:80x/", "port"},
	    {"http://h:-1/", "port"},
	    {"http://h:80:81/", "port"},
	    {"http://h/a b", "space or control character"},
	    {"http://h/a\tb", "space or control character"},
	    {"http://h/\r\nX: y", "space or control character"},
	    {"http://h\x7f/", "space or control character"},
	    {" http://h/", "space or control character"},
	    {"http://h/\xc3\xa9", "percent-encoded"},
	    {"http://h/a\\b", "percent-encoded"},
	    {"http://h\\@evil.example/", "percent-encoded"},
	    {"http://h/{video_id}", "percent-encoded"},
	    {"http://h/%zz", "two hexadecimal digits"},
	    {"http://h/%4", "two hexadecimal digits"},
	    {"http://%31%32%37.0.0.1/", "host"},
	    {"http://a..b/", "part that is empty"},
	    {"http://.a/", "part that is empty"},
	    {"http://./", "part that is empty"},
	    {"http://a,b/", "host with characters"},
	    // ways to write 127.0.0.1 that some resolvers take
	    {"http://0x7f.1/", "four decimal numbers"},
	    {"http://2130706433/", "four decimal numbers"},
	    {"http://017700000001/", "four decimal numbers"},
	    {"http://0x7f000001/", "four decimal numbers"},
	    {"http://127.1/", "four decimal numbers"},
	    {"http://127.0.1/", "four decimal numbers"},
	    {"http://0177.0.0.1/", "four decimal numbers"},
	    {"http://127.0.0.01/", "four decimal numbers"},
	    {"http://127.0.0.1./", "four decimal numbers"},
	    {"http://256.0.0.1/", "four decimal numbers"},
	    {"http://a.0x/", "four decimal numbers"},
	    {"http://[::1/", "IPv6"},
	    {"http://[::1%25eth0]/", "IPv6"},
	    {"http://[fe80::1%eth0]/", "two hexadecimal digits"},
	    {"http://[127.0.0.1]/", "IPv6"},
	    {"http://[]/", "IPv6"},
	    {"http://[::1]x/", "port"},
	    {"http://::1/", "no host"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		TS_AUTOURL struct ts_url url = {0};
		struct ts_error error = {0};
		if (ts_url_parse(rows[i].text, web, &url, &error) != TS_ERR_INVALID)
			fail_msg("%s is not refused", rows[i].text);
		if (!strstr(error.message, rows[i].why))
			fail_msg("%s: \"%s\" does not say \"%s\"", rows[i].text, error.message, rows[i].why);
		assert_null(url.host);
	}
}

static void refuses_by_length(void **state TS_UNUSED)
{
	TS_AUTOURL struct ts_url url = {0};
	struct ts_error error = {0};
	char text[TS_URL_MAX + 2];

	memset(text, 'a', sizeof text);
	memcpy(text, "http://h/", 9);
	text[TS_URL_MAX] = '\0';
	assert_int_equal(ts_url_parse(text, web, &url, &error), TS_OK);
	text[TS_URL_MAX] = 'a';
	text[TS_URL_MAX + 1] = '\0';
	TS_AUTOURL struct ts_url other = {0};
	assert_int_equal(ts_url_parse(text, web, &other, &error), TS_ERR_INVALID);
	assert_non_null(strstr(error.message, "2048"));

	char host[400] = "http://";
	memset(host + 7, 'a', 64);
	memcpy(host + 71, "/", 2);
	assert_int_equal(ts_url_parse(host, web, &other, &error), TS_ERR_INVALID);
	for (size_t i = 7; i < 7 + 254; i++)
		host[i] = i % 2 ? 'a' : '.';
	memcpy(host + 7 + 254, "a/", 3);
	assert_int_equal(ts_url_parse(host, web, &other, &error), TS_ERR_INVALID);
	assert_non_null(strstr(error.message, "253"));
}

static void file_and_s3_have_their_rules(void **state TS_UNUSED)
{
	static const char *const rows[] = {"file://host/a",       "file:a",           "file://",     "file:///a?b",
	                                   "file:///c:/x",        "file:////../c:/x", "file:///a#b", "s3://bucket:80/key",
	                                   "s3://user@bucket/key"};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		TS_AUTOURL struct ts_url url = {0};
		struct ts_error error = {0};
		if (ts_url_parse(rows[i], all, &url, &error) != TS_ERR_INVALID)
			fail_msg("%s is not refused", rows[i]);
	}
}

static void joins_references(void **state TS_UNUSED)
{
	static const struct {
		const char *reference;
		const char *result; // NULL: refused
	} rows[] = {
	    {"/x", "https://h.example:444/x"},
	    {"x?y=1", "https://h.example:444/a/x?y=1"},
	    {"../x", "https://h.example:444/x"},
	    {"?q", "https://h.example:444/a/b?q"},
	    {"//other.example/x", "https://other.example/x"},
	    {"http://10.0.0.1/x#frag", "http://10.0.0.1/x"},
	    {"/with space|and\xc3\xa9", "https://h.example:444/with%20space%7Cand%C3%A9"},
	    {"/100%", "https://h.example:444/100%25"},
	    {"ftp://h/x", NULL},
	    {"file:///etc/passwd", NULL},
	    {"http://user:pw@h/", NULL},
	    {"http://0x7f.1/", "http://127.0.0.1/"}, // libcurl's reading; the guard judges the result
	    {"/a\x01", NULL},
	};
	TS_AUTOURL struct ts_url base = {0};
	struct ts_error error = {0};

	assert_int_equal(ts_url_parse("https://h.example:444/a/b?c=d", web, &base, &error), TS_OK);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		TS_AUTOURL struct ts_url url = {0};
		enum ts_err err = ts_url_join(&base, rows[i].reference, web, &url, &error);
		if (!rows[i].result) {
			if (err != TS_ERR_INVALID)
				fail_msg("%s is not refused", rows[i].reference);
			continue;
		}
		if (err != TS_OK)
			fail_msg("%s: %s", rows[i].reference, error.message);
		TS_AUTOFREE char *text = ts_url_format(&url);
		assert_string_equal(text, rows[i].result);
	}
}

static void escapes_and_expands(void **state TS_UNUSED)
{
	TS_AUTOFREE char *escaped = ts_url_escape("a-._~Z9/?& \xc3\xa9%{}");
	TS_AUTOFREE char *empty = ts_url_escape("");
	TS_AUTOFREE char *url = NULL;
	struct ts_error error = {0};

	assert_string_equal(escaped, "a-._~Z9%2F%3F%26%20%C3%A9%25%7B%7D");
	assert_string_equal(empty, "");
	assert_int_equal(ts_url_expand("http://h/{video_id}/f?id={video_id}", "video_id", "../a b{video_id}", &url, &error),
	                 TS_OK);
	assert_string_equal(url, "http://h/..%2Fa%20b%7Bvideo_id%7D/f?id=..%2Fa%20b%7Bvideo_id%7D");

	char *none = NULL;
	assert_int_equal(ts_url_expand("http://h/{video_id}/x", "video_id", "..", &none, &error), TS_ERR_INVALID);
	assert_int_equal(ts_url_expand("http://h/{video_id}/x", "video_id", ".", &none, &error), TS_ERR_INVALID);
	assert_int_equal(ts_url_expand("http://h/x", "video_id", "a", &none, &error), TS_ERR_INVALID);
	assert_non_null(strstr(error.message, "{video_id}"));
	char value[TS_URL_MAX] = {0};
	memset(value, ' ', sizeof value - 1);
	assert_int_equal(ts_url_expand("http://h/{video_id}", "video_id", value, &none, &error), TS_ERR_LIMIT);
	assert_null(none);
}

static void names_servers_without_secrets(void **state TS_UNUSED)
{
	TS_AUTOURL struct ts_url a = {0};
	TS_AUTOURL struct ts_url b = {0};

	assert_int_equal(ts_url_parse("https://[::1]:8443/secret?token=1", web, &a, NULL), TS_OK);
	assert_int_equal(ts_url_parse("https://h/secret?token=1", web, &b, NULL), TS_OK);
	TS_AUTOFREE char *first = ts_url_authority(&a);
	TS_AUTOFREE char *second = ts_url_authority(&b);
	assert_string_equal(first, "[::1]:8443");
	assert_string_equal(second, "h");
	assert_true(ts_url_same_origin(&a, &a));
	assert_false(ts_url_same_origin(&a, &b));
}

// --- file URLs ---

struct tree {
	char base[64];
	char root[128];
};

static void put(const char *directory, const char *name, const char *text)
{
	char path[256];

	snprintf(path, sizeof path, "%s/%s", directory, name);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void link_to(const struct tree *tree, const char *target, const char *name)
{
	char path[256];

	snprintf(path, sizeof path, "%s/%s", tree->root, name);
	assert_int_equal(symlink(target, path), 0);
}

static int make_tree(void **state)
{
	struct tree *tree = calloc(1, sizeof *tree);
	char path[256];

	snprintf(tree->base, sizeof tree->base, "/tmp/test_url.XXXXXX");
	if (!mkdtemp(tree->base))
		return -1;
	snprintf(tree->root, sizeof tree->root, "%s/root", tree->base);
	mkdir(tree->root, 0700);
	snprintf(path, sizeof path, "%s/root-beside", tree->base);
	mkdir(path, 0700);
	put(path, "c.mp4", "beside");
	put(tree->base, "secret", "secret");
	put(tree->root, "a b.mp4", "inside");
	snprintf(path, sizeof path, "%s/a b.mp4", tree->root);
	link_to(tree, path, "good-link");
	link_to(tree, "../secret", "bad-link");
	link_to(tree, "..", "bad-directory");
	snprintf(path, sizeof path, "%s/fifo", tree->root);
	mkfifo(path, 0600);
	*state = tree;
	return 0;
}

static int remove_tree(void **state)
{
	static const char *const names[] = {
	    "root/a b.mp4", "root/good-link", "root/bad-link",     "root/bad-directory", "root/fifo",
	    "secret",       "root",           "root-beside/c.mp4", "root-beside",        ""};
	struct tree *tree = *state;
	char path[256];

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		snprintf(path, sizeof path, "%s/%s", tree->base, names[i]);
		remove(path);
	}
	free(tree);
	return 0;
}

static enum ts_err open_file(const char *directory, const char *name, const char *root, int *out_fd)
{
	TS_AUTOURL struct ts_url url = {0};
	char text[512];

	snprintf(text, sizeof text, "file://%s/%s", directory, name);
	assert_int_equal(ts_url_parse(text, all, &url, NULL), TS_OK);
	return ts_url_open_file(&url, root, out_fd, NULL);
}

static void opens_files_below_the_root(void **state)
{
	const struct tree *tree = *state;
	static const char *const names[] = {"a%20b.mp4", "good-link"};
	char root[160];
	char text[16] = "";

	for (size_t i = 0; i < 2; i++) {
		int fd = -1;
		snprintf(root, sizeof root, "%s%s", tree->root, i ? "/" : "");
		assert_int_equal(open_file(tree->root, names[i], root, &fd), TS_OK);
		assert_int_equal(read(fd, text, sizeof text), 6);
		assert_string_equal(text, "inside");
		close(fd);
	}
}

static void opens_nothing_else(void **state)
{
	const struct tree *tree = *state;
	static const struct {
		const char *name;
		enum ts_err err;
	} rows[] = {
	    {"missing", TS_ERR_NOT_FOUND},
	    {"a%20b.mp4/x", TS_ERR_NOT_FOUND},
	    {"bad-link", TS_ERR_NET_FORBIDDEN},
	    {"bad-directory/secret", TS_ERR_NET_FORBIDDEN},
	    {"../secret", TS_ERR_NET_FORBIDDEN},
	    {"../missing", TS_ERR_NET_FORBIDDEN}, // as if it existed: nobody learns what is outside
	    {"%2e%2e/secret", TS_ERR_NET_FORBIDDEN},
	    {"../root-beside/c.mp4", TS_ERR_NET_FORBIDDEN},
	    {"..%2fsecret", TS_ERR_INVALID},
	    {"a%00b", TS_ERR_INVALID},
	    {"fifo", TS_ERR_INVALID},
	    {"", TS_ERR_NET_FORBIDDEN}, // the root itself
	};
	int fd = -1;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		enum ts_err err = open_file(tree->root, rows[i].name, tree->root, &fd);
		if (err != rows[i].err)
			fail_msg("\"%s\": %s, expected %s", rows[i].name, ts_err_name(err), ts_err_name(rows[i].err));
		assert_int_equal(fd, -1);
	}
	assert_int_equal(open_file(tree->root, "a%20b.mp4", NULL, &fd), TS_ERR_NET_FORBIDDEN);
	assert_int_equal(open_file(tree->root, "a%20b.mp4", "/nonexistent/root", &fd), TS_ERR_IO);
}

static void survives_allocation_failures(void **state TS_UNUSED)
{
	TS_AUTOURL struct ts_url base = {0};
	assert_int_equal(ts_url_parse("http://h/a", web, &base, NULL), TS_OK);

	for (size_t n = 1;; n++) {
		TS_AUTOURL struct ts_url url = {0};
		TS_AUTOURL struct ts_url joined = {0};
		TS_AUTOFREE char *expanded = NULL;
		ts_mem_fail_after(n);
		enum ts_err err = ts_url_parse("http://host.example:81/a?b", web, &url, NULL);
		if (err == TS_OK)
			err = ts_url_join(&base, "/b c", web, &joined, NULL);
		if (err == TS_OK)
			err = ts_url_expand("http://h/{id}", "id", "v 1", &expanded, NULL);
		ts_mem_fail_after(0);
		if (err == TS_OK) {
			assert_true(n > 5);
			return;
		}
		assert_int_equal(err, TS_ERR_NOMEM);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(accepts_and_takes_apart),
	    cmocka_unit_test(refuses),
	    cmocka_unit_test(refuses_by_length),
	    cmocka_unit_test(file_and_s3_have_their_rules),
	    cmocka_unit_test(joins_references),
	    cmocka_unit_test(escapes_and_expands),
	    cmocka_unit_test(names_servers_without_secrets),
	    cmocka_unit_test_setup_teardown(opens_files_below_the_root, make_tree, remove_tree),
	    cmocka_unit_test_setup_teardown(opens_nothing_else, make_tree, remove_tree),
	    cmocka_unit_test(survives_allocation_failures),
	};

	return cmocka_run_group_tests_name("url", tests, NULL, NULL);
}
