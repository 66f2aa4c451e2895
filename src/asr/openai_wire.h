// The answer of /audio/transcriptions and /audio/translations, read strictly: json and verbose_json. Times become
// milliseconds inside the piece that was sent, ascending, whatever the endpoint says. Refuses HTTP and retries.
#ifndef TS_ASR_OPENAI_WIRE_H
#define TS_ASR_OPENAI_WIRE_H

#include "core/transcript.h"

#include <stdbool.h>
#include <stddef.h>

struct ts_openai_reply {
	char *language;              // code; NULL: not told or not known
	struct ts_segment *segments; // owned array, ascending start, times from the piece's beginning; words included
	size_t segment_count, segment_capacity;
	struct ts_segment pile; // all words of an answer without segments; else empty
	bool timed;             // times are the endpoint's, not just the piece's own
};

void ts_openai_reply_init(struct ts_openai_reply *reply);
void ts_openai_reply_finish(struct ts_openai_reply *reply);
#define TS_AUTOREPLY TS_CLEANUP(ts_openai_reply_finish)

// Parses the answer for a piece of piece_ms. An answer without segments and words gives one segment for the whole
// piece, or none when its text is empty. *out must be initialised; written only on success. TS_ERR_ENGINE says what
// is wrong with the answer.
enum ts_err ts_openai_parse(const char *body, size_t length, int64_t piece_ms, struct ts_openai_reply *out,
                            struct ts_error *error) TS_MUST_USE;

// What an error answer says: `error.message` and `error.param` of OpenAI's form, other servers' `detail`, else the
// beginning of the body; one line of printable UTF-8. `out` gets "" when there is nothing.
void ts_openai_error_text(const char *body, char *out, size_t size);
// `error.code` or `error.type`; "" when absent.
void ts_openai_error_code(const char *body, char *out, size_t size);

// ISO 639 code of a language's English name or code, as verbose_json gives it; NULL: unknown.
const char *ts_language_code(const char *name);

#endif
