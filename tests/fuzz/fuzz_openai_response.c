// Answers and error bodies of remote endpoints: whatever they say, times are ascending and inside the piece, and words
// inside memory.
#include "asr/openai_wire.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_MS 30000

static void demand(_Bool holds)
{
	if (!holds)
		abort();
}

static void check_segment(const struct ts_segment *segment, int64_t low)
{
	demand(segment->text && segment->text[0]);
	demand(segment->start_ms >= low && segment->end_ms >= segment->start_ms && segment->end_ms <= PIECE_MS);
	for (size_t i = 0; i < segment->word_count; i++) {
		const struct ts_word *word = &segment->words[i];
		demand(word->text[0] && word->start_ms >= 0 && word->end_ms >= word->start_ms && word->end_ms <= PIECE_MS);
		demand(i == 0 || word->start_ms >= segment->words[i - 1].start_ms);
		demand(!(word->probability < 0) && !(word->probability > 1));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	TS_AUTOREPLY struct ts_openai_reply reply;
	struct ts_error error = {0};
	int64_t low = 0;
	char line[64], *text = malloc(size + 1);

	if (!text)
		abort();
	if (size)
		memcpy(text, data, size);
	text[size] = '\0';
	ts_openai_error_text(text, line, sizeof line);
	demand(strlen(line) < sizeof line && !strpbrk(line, "\r\n"));
	ts_openai_error_code(text, line, sizeof line);
	free(text);

	ts_openai_reply_init(&reply);
	if (ts_openai_parse((const char *)data, size, PIECE_MS, &reply, &error) != TS_OK) {
		demand(error.message[0] && reply.segment_count == 0);
		return 0;
	}
	for (size_t i = 0; i < reply.segment_count; i++) {
		check_segment(&reply.segments[i], low);
		low = reply.segments[i].start_ms;
	}
	return 0;
}
