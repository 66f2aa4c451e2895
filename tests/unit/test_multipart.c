// api/multipart: what browsers and curl send, what nobody should, and the same parts however the body is cut.
#include "unit.h"

#include "multipart_record.h"

#include <stdbool.h>

#define TYPE "multipart/form-data; boundary=XyZ"
#define A "--XyZ\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n"
#define END "\r\n--XyZ--\r\n"

// However it is cut, the record is `expected`, or (exact false) contains it.
static void check(const char *type, const char *body, size_t length, const char *expected, bool exact)
{
	for (size_t piece = 0; piece <= length; piece++) {
		TS_AUTOBUF struct ts_buf out;
		ts_buf_init(&out, 1 << 20);
		record_multipart(type, body, length, piece, &out);
		const char *text = ts_buf_str(&out);
		if (exact ? strcmp(text, expected) != 0 : !strstr(text, expected))
			fail_msg("in pieces of %zu: \"%s\" instead of \"%s\"", piece, text, expected);
	}
}
#define parses(body, expected) check(TYPE, body, sizeof(body) - 1, expected "[ok]", true)
#define refused(body, reason) check(TYPE, body, sizeof(body) - 1, reason, false)

static void parts_are_found(void **state)
{
	(void)state;
	parses(A "1" END, "[a|-|]1[end]");
	parses(A END, "[a|-|][end]");
	parses(A "1\r\n" A "2" END, "[a|-|]1[end][a|-|]2[end]");
	parses("--XyZ--\r\n", "");
	parses("--XyZ--", "");
	parses("\r\n" A "1" END, "[a|-|]1[end]");
	parses(A "1" END "epilogue \r\n--XyZ\r\nignored", "[a|-|]1[end]");
	parses("--XyZ  \t\r\nContent-Disposition: form-data; name=a\r\n\r\n1" END, "[a|-|]1[end]");
	parses("--XyZ\r\ncontent-disposition:form-data;name=\"file\";filename=\"v.mp4\"\r\nCONTENT-TYPE: video/mp4\r\n"
	       "X-Other: y\r\n\r\n1" END,
	       "[file|v.mp4|video/mp4]1[end]");
}

static void data_that_looks_like_a_boundary_is_data(void **state)
{
	(void)state;
	parses(A "\r\n" END, "[a|-|]\r\n[end]");
	parses(A "\r" END, "[a|-|]\r[end]");
	parses(A "\n--XyZ--\n" END, "[a|-|]\n--XyZ--\n[end]");
	parses(A "--XyZ" END, "[a|-|]--XyZ[end]");
	parses(A "\r\n--Xy\r\n--X\r\n-\r\n\r\r\n" END, "[a|-|]\r\n--Xy\r\n--X\r\n-\r\n\r\r\n[end]");
	parses(A "\r\n--XyY" END, "[a|-|]\r\n--XyY[end]");
}

static void filenames(void **state)
{
#define NAMED(filename) "--XyZ\r\nContent-Disposition: form-data; name=\"file\"; " filename "\r\n\r\n1" END
	(void)state;
	parses(NAMED("filename=\"my talk.mp4\""), "[file|my talk.mp4|]1[end]");
	parses(NAMED("filename=\"a\\\"b.mp4\""), "[file|a\"b.mp4|]1[end]");
	parses(NAMED("filename=\"\xc3\xbc.mp4\""), "[file|\xc3\xbc.mp4|]1[end]");
	parses(NAMED("filename=\"C:\\dir\\v.mp4\""), "[file|v.mp4|]1[end]");
	parses(NAMED("filename=\"../../etc/passwd\""), "[file|passwd|]1[end]");
	parses(NAMED("filename=\"\""), "[file||]1[end]");
	parses(NAMED("filename=\"v.mp4\"; filename*=UTF-8''v.mp4"), "[file|v.mp4|]1[end]");
	refused(NAMED("filename=\"\xff.mp4\""), "not UTF-8");
	refused(NAMED("filename=\"v.mp4"), "form-data with a name");
	refused(NAMED("filename=\"a\"; filename=\"b\""), "form-data with a name");
}

static void malformed_bodies(void **state)
{
	(void)state;
	refused("", "ends before its closing boundary");
	refused("x", "must begin with the boundary");
	refused("preamble\r\n" A "1" END, "must begin with the boundary");
	refused("--XyW\r\n", "must begin with the boundary");
	refused(A "1", "ends before its closing boundary");
	refused(A "1\r\n--XyZ", "ends before its closing boundary");
	refused(A "1\r\n--XyZ-", "ends before its closing boundary");
	refused(A "1\r\n--XyZ-x", "boundary line is malformed");
	refused(A "1\r\n--XyZx\r\n", "boundary line is malformed");
	refused(A "1\r\n--XyZ \rx", "boundary line is malformed");
	refused("--XyZ\r\n\r\n1" END, "no Content-Disposition");
	refused("--XyZ\r\nContent-Type: text/plain\r\n\r\n1" END, "no Content-Disposition");
	refused("--XyZ\r\nContent-Disposition: attachment; name=\"a\"\r\n\r\n1" END, "must be form-data");
	refused("--XyZ\r\nContent-Disposition: form-data\r\n\r\n1" END, "no name");
	refused("--XyZ\r\nContent-Disposition: form-data; name=\"\"\r\n\r\n1" END, "1 to 128 bytes");
	refused("--XyZ\r\nno colon\r\n\r\n1" END, "header line is malformed");
	refused("--XyZ\r\n: empty\r\n\r\n1" END, "header line is malformed");
	refused("--XyZ\r\nContent Disposition: x\r\n\r\n1" END, "header line is malformed");
	refused("--XyZ\r\nContent-Disposition: form-data; name=\"a\"\n\r\n\r\n1" END, "malformed");
	refused("--XyZ\r\nContent-Disposition: form-data; name=\"a\0b\"\r\n\r\n1" END, "zero byte");
	refused("--XyZ\r\nContent-Disposition: form-data; name=\"a\"\r\nContent-Disposition: form-data; name=\"b\"\r\n\r\n"
	        "1" END,
	        "two Content-Disposition");
	refused("--XyZ\r\nContent-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding: base64\r\n\r\n1" END,
	        "Content-Transfer-Encoding");
	parses("--XyZ\r\nContent-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n1" END,
	       "[a|-|]1[end]");
}

static void ceilings(void **state)
{
	TS_AUTOBUF struct ts_buf body, out;

	(void)state;
	ts_buf_init(&body, 1 << 20);
	ts_buf_init(&out, 1 << 20);
	for (int i = 0; i < TS_MULTIPART_PARTS_MAX + 1; i++)
		ts_buf_add_str(&body, A "1\r\n");
	record_multipart(TYPE, ts_buf_str(&body), body.length, 999, &out);
	assert_contains(ts_buf_str(&out), "more than 32 parts");
	ts_buf_clear(&body);
	ts_buf_clear(&out);
	ts_buf_add_str(&body, "--XyZ\r\nX: ");
	for (int i = 0; i < TS_MULTIPART_HEADER_MAX; i++)
		ts_buf_add_char(&body, 'x');
	record_multipart(TYPE, ts_buf_str(&body), body.length, 999, &out);
	assert_contains(ts_buf_str(&out), "longer than 4096 bytes");
}

static void boundaries(void **state)
{
	static const char *const good[] = {
	    "multipart/form-data; boundary=XyZ",
	    "multipart/form-data;boundary=\"XyZ\"",
	    "Multipart/Form-Data; charset=utf-8; BOUNDARY=XyZ",
	};
	static const char *const bad[] = {
	    "multipart/form-data",
	    "multipart/form-data; boundary=",
	    "multipart/form-data; boundary=\"\"",
	    "multipart/form-data; boundary=\"X\xff\"",
	    "multipart/form-data; boundary=\"X \"",
	    "multipart/form-data; boundary=X; boundary=Y",
	    "multipart/form-data; boundary=aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggghh",
	};
	static const char body[] = A "1" END;
	const struct ts_multipart_sink sink = {0};
	struct ts_multipart *parser = NULL;
	struct ts_problem problem;

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		check(good[i], body, sizeof body - 1, "[a|-|]1[end][ok]", true);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		if (ts_multipart_create(bad[i], &sink, &parser, &problem) == TS_OK)
			fail_msg("%s was accepted", bad[i]);
		assert_int_equal(problem.kind, TS_PROBLEM_INVALID_MULTIPART);
		assert_string_equal(problem.field, "Content-Type");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(parts_are_found), cmocka_unit_test(data_that_looks_like_a_boundary_is_data),
	    cmocka_unit_test(filenames),       cmocka_unit_test(malformed_bodies),
	    cmocka_unit_test(ceilings),        cmocka_unit_test(boundaries),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
