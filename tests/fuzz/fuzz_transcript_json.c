// Any bytes as a stored transcript: refused, or read into one that is stored and read again without a change and
// that every format can be written from.
#include "../support/format_laws.h"
#include "../support/transcripts.h"
#include "base/mem.h"
#include "core/format.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool holds, const char *law)
{
	if (!holds) {
		fprintf(stderr, "broken law: %s\n", law);
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;
	TS_AUTOTRANSCRIPT struct ts_transcript back;
	TS_AUTOFREE char *json = NULL;
	struct ts_error error = {0};

	ts_transcript_init(&transcript);
	ts_transcript_init(&back);
	if (size > 100000)
		return 0;
	enum ts_err err = ts_transcript_from_json((const char *)data, size, &transcript, &error);
	if (err != TS_OK) {
		expect(err == error.code && error.message[0], "a refusal says why");
		expect(transcript.segment_count == 0 && !transcript.language, "a refusal leaves the transcript alone");
		return 0;
	}
	expect(ts_transcript_to_json(&transcript, &json, NULL) == TS_OK, "what was read can be stored");
	expect(ts_transcript_from_json(json, strlen(json), &back, NULL) == TS_OK, "what was stored can be read");
	expect(ts_same_transcript(&transcript, &back), "it comes back unchanged");
	const char *broken = ts_laws_all(&transcript, (size_t)1 << 26, NULL);
	expect(!broken, broken ? broken : "");
	return 0;
}
