// Bytes become a transcript, which is written in every format; all laws of the formats must hold.
// Input: segments, each of a head line "start end" (numbers that strtoll reads) and lines of text up to a NUL byte.
#include "../support/format_laws.h"
#include "base/mem.h"
#include "core/format.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void add_segment(struct ts_transcript *transcript, const char *text)
{
	TS_AUTOSEGMENT struct ts_segment segment;
	char *end;

	ts_segment_init(&segment);
	segment.start_ms = strtoll(text, &end, 10);
	segment.end_ms = strtoll(end, &end, 10);
	segment.flags = (unsigned)(segment.start_ms & 3);
	if (*end == '\n')
		end++;
	segment.text = ts_strdup(end);
	if (!segment.text || ts_segment_add_word(&segment, end, segment.start_ms, segment.end_ms, 0.5f, NULL) != TS_OK ||
	    ts_transcript_add(transcript, &segment, NULL) != TS_OK)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;
	const char *text = (const char *)data;

	ts_transcript_init(&transcript);
	if (size > 100000)
		return 0;
	while (size) {
		size_t length = strnlen(text, size);
		TS_AUTOFREE char *piece = ts_strndup(text, length);
		if (!piece)
			abort();
		add_segment(&transcript, piece);
		size_t used = length < size ? length + 1 : length;
		text += used;
		size -= used;
	}
	const char *broken = ts_laws_all(&transcript, (size_t)1 << 26, NULL);
	if (broken) {
		fprintf(stderr, "broken law: %s\n", broken);
		abort();
	}
	return 0;
}
