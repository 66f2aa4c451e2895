// Answers of OpenAI-compatible endpoints, read strictly and put in order.
#include "asr/openai_wire.h"
#include "core/json.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fault.h"

static enum ts_err parse(const char *body, struct ts_openai_reply *out, struct ts_error *error)
{
	ts_openai_reply_init(out);
	return ts_openai_parse(body, strlen(body), 10000, out, error);
}

#define SEGMENTED                                                                                                  \
	"{\"language\":\"German\",\"text\":\"a b c\",\"segments\":["                                                   \
	"{\"start\":0.5,\"end\":2,\"text\":\" a b \",\"avg_logprob\":-0.5},{\"start\":2,\"end\":3.25,\"text\":\"c\"}," \
	"{\"start\":4,\"end\":5,\"text\":\"  \"}],"                                                                    \
	"\"words\":[{\"word\":\"a\",\"start\":0.5,\"end\":1},{\"word\":\" b\",\"start\":1.9,\"end\":2.1},"             \
	"{\"word\":\"c\",\"start\":2.1,\"end\":3}]}"

static void segments_get_their_words(void **state)
{
	TS_AUTOREPLY struct ts_openai_reply reply;

	(void)state;
	assert_int_equal(parse(SEGMENTED, &reply, NULL), TS_OK);
	assert_true(reply.timed);
	assert_string_equal(reply.language, "de");
	assert_int_equal(reply.segment_count, 2); // the blank one says nothing
	assert_string_equal(reply.segments[0].text, "a b");
	assert_int_equal(reply.segments[0].start_ms, 500);
	assert_int_equal(reply.segments[0].end_ms, 2000);
	assert_true(reply.segments[0].avg_logprob == -0.5F);
	assert_true(isnan(reply.segments[0].compression_ratio));
	assert_int_equal(reply.segments[0].word_count, 1);
	assert_int_equal(reply.segments[1].word_count, 2); // b's middle lies at 2.0
	assert_string_equal(reply.segments[1].words[0].text, "b");
	assert_int_equal(reply.segments[1].words[0].end_ms, 2100);
	assert_int_equal(reply.pile.word_count, 0);
}

static void text_alone_spans_the_piece(void **state)
{
	TS_AUTOREPLY struct ts_openai_reply reply, empty, listed;

	(void)state;
	assert_int_equal(parse("{\"text\":\" hello \"}", &reply, NULL), TS_OK);
	assert_false(reply.timed);
	assert_int_equal(reply.segment_count, 1);
	assert_string_equal(reply.segments[0].text, "hello");
	assert_int_equal(reply.segments[0].start_ms, 0);
	assert_int_equal(reply.segments[0].end_ms, 10000);
	assert_int_equal(parse("{\"text\":\"\",\"segments\":[],\"words\":null}", &empty, NULL), TS_OK);
	assert_int_equal(empty.segment_count, 0);
	// An empty list must not make the text disappear.
	assert_int_equal(parse("{\"text\":\"hi\",\"segments\":[]}", &listed, NULL), TS_OK);
	assert_int_equal(listed.segment_count, 1);
}

static void times_are_brought_inside(void **state)
{
	TS_AUTOREPLY struct ts_openai_reply reply;

	(void)state;
	assert_int_equal(parse("{\"text\":\"x y\",\"segments\":[{\"start\":-3,\"end\":1e300,\"text\":\"x\"},"
	                       "{\"start\":5,\"end\":1,\"text\":\"y\",\"words\":[{\"word\":\"y\",\"start\":0,\"end\":99,"
	                       "\"probability\":3}]},{\"start\":2,\"end\":3,\"text\":\"z\"}]}",
	                       &reply, NULL),
	                 TS_OK);
	assert_int_equal(reply.segments[0].start_ms, 0);
	assert_int_equal(reply.segments[0].end_ms, 10000);
	assert_int_equal(reply.segments[1].start_ms, 5000);
	assert_int_equal(reply.segments[1].end_ms, 5000);
	assert_int_equal(reply.segments[1].words[0].start_ms, 5000);
	assert_true(reply.segments[1].words[0].probability == 1.0F);
	assert_int_equal(reply.segments[2].start_ms, 5000); // ascending
}

static void wrong_answers_are_refused(void **state)
{
	static const char *const bodies[] = {
	    "",
	    "[]",
	    "null",
	    "{}",
	    "{\"text\":5}",
	    "{\"text\":\"x\"",
	    "{\"text\":\"x\"} trailing",
	    "{\"text\":\"x\",\"segments\":{}}",
	    "{\"text\":\"x\",\"segments\":[7]}",
	    "{\"text\":\"x\",\"segments\":[{\"start\":0,\"end\":1}]}",
	    "{\"text\":\"x\",\"segments\":[{\"start\":\"0\",\"end\":1,\"text\":\"x\"}]}",
	    "{\"text\":\"x\",\"segments\":[{\"start\":0,\"end\":1,\"text\":\"x\",\"words\":\"w\"}]}",
	    "{\"text\":\"x\",\"words\":7}",
	    "{\"text\":\"x\",\"words\":[{\"word\":\"x\",\"start\":0}]}",
	    "{\"text\":\"\xff\"}",
	    "{\"text\":\"x\",\"segments\":[{\"start\":NaN,\"end\":1,\"text\":\"x\"}]}",
	    "<html></html>",
	};
	struct ts_error error;

	(void)state;
	for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
		TS_AUTOREPLY struct ts_openai_reply reply;
		error = (struct ts_error){0};
		if (parse(bodies[i], &reply, &error) != TS_ERR_ENGINE)
			fail_msg("accepted: %s", bodies[i]);
		assert_non_null(strstr(error.message, "not a transcription"));
	}
}

static void error_bodies_become_one_line(void **state)
{
	char line[64], code[32];

	(void)state;
	ts_openai_error_text("{\"error\":{\"message\":\"Slow\\ndown\",\"code\":\"too_fast\"}}", line, sizeof line);
	assert_string_equal(line, "Slow down");
	ts_openai_error_code("{\"error\":{\"message\":\"x\",\"code\":null,\"type\":\"requests\"}}", code, sizeof code);
	assert_string_equal(code, "requests");
	ts_openai_error_text("{\"error\":\"plain\"}", line, sizeof line);
	assert_string_equal(line, "plain");
	ts_openai_error_text("{\"detail\":\"not here\"}", line, sizeof line);
	assert_string_equal(line, "not here");
	ts_openai_error_text("<h1>Bad\tGateway</h1>\n", line, sizeof line);
	assert_string_equal(line, "<h1>Bad Gateway</h1>");
	ts_openai_error_text("", line, sizeof line);
	assert_string_equal(line, "");
	ts_openai_error_text("\xc3\x28", line, sizeof line);
	assert_string_equal(line, "");
	ts_openai_error_text(
	    "{\"error\":{\"message\":\"0123456789012345678901234567890123456789012345678901234567890\\u00e9"
	    "\\u00e9\"}}",
	    line, sizeof line);
	assert_int_equal(strlen(line), 63); // 61 digits and one whole é
	ts_openai_error_code("nonsense", code, sizeof code);
	assert_string_equal(code, "");
}

static void languages_have_codes(void **state)
{
	(void)state;
	assert_string_equal(ts_language_code("english"), "en");
	assert_string_equal(ts_language_code("Haitian Creole"), "ht");
	assert_string_equal(ts_language_code("DE"), "de");
	assert_null(ts_language_code("klingon"));
	assert_null(ts_language_code(""));
}

static enum ts_err fault_work(void *ctx, struct ts_error *error)
{
	TS_AUTOREPLY struct ts_openai_reply reply;

	(void)ctx;
	return parse(SEGMENTED, &reply, error);
}

static void memory_may_run_out_anywhere(void **state)
{
	(void)state;
	ts_fault_each(fault_work, NULL, 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(segments_get_their_words),     cmocka_unit_test(text_alone_spans_the_piece),
	    cmocka_unit_test(times_are_brought_inside),     cmocka_unit_test(wrong_answers_are_refused),
	    cmocka_unit_test(error_bodies_become_one_line), cmocka_unit_test(languages_have_codes),
	    cmocka_unit_test(memory_may_run_out_anywhere),
	};
	ts_json_use_mem();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
