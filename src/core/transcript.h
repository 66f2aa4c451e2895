// A transcript: segments and words with times in milliseconds of the media, and the receipt that says how
// it was made. Refuses text layout (see format.h) and recognition (see asr/).
#ifndef TS_CORE_TRANSCRIPT_H
#define TS_CORE_TRANSCRIPT_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct ts_word {
	char *text; // owned; without surrounding spaces
	int64_t start_ms, end_ms;
	float probability; // [0, 1]; NAN: the engine does not say
};

enum ts_segment_flag {
	TS_SEGMENT_REPAIRED_LOOP = 1 << 0,    // a repetition loop was cut out
	TS_SEGMENT_REPAIRED_SILENCE = 1 << 1, // text invented over silence was removed
};

// Measures an engine does not have are NAN; infinities are taken for NAN when written.
struct ts_segment {
	char *text; // owned; trimmed
	int64_t start_ms, end_ms;
	struct ts_word *words; // owned array
	size_t word_count;
	size_t word_capacity;
	float avg_logprob;
	float compression_ratio;
	float no_speech_prob;
	float temperature;
	unsigned flags; // enum ts_segment_flag
};

// How the result was made. Strings are owned, NULL when unknown.
struct ts_receipt {
	char *engine; // "pocketsphinx"
	char *engine_version;
	char *model;        // name or file
	char *model_digest; // "sha256:..." of the model
	char *compute_type; // "int8", "f32", ...
	char *parameters;   // JSON object as text
	double audio_seconds;
	double processing_seconds; // wall time of recognition, summed over attempts that counted
	int32_t attempts;
};

struct ts_transcript {
	char *language;              // ISO 639-1; NULL: unknown
	int64_t duration_ms;         // of the audio
	struct ts_segment *segments; // owned array, ascending start
	size_t segment_count;
	size_t segment_capacity;
	struct ts_receipt receipt;
};

#define TS_TRANSCRIPT_SEGMENTS_MAX 1000000
#define TS_SEGMENT_WORDS_MAX 100000

void ts_transcript_init(struct ts_transcript *transcript); // no allocation
void ts_transcript_finish(struct ts_transcript *transcript);
#define TS_AUTOTRANSCRIPT TS_CLEANUP(ts_transcript_finish)

void ts_segment_init(struct ts_segment *segment); // measures NAN, nothing allocated
void ts_segment_finish(struct ts_segment *segment);
#define TS_AUTOSEGMENT TS_CLEANUP(ts_segment_finish)

// Appends a copy of the word.
enum ts_err ts_segment_add_word(struct ts_segment *segment, const char *text, int64_t start_ms, int64_t end_ms,
                                float probability, struct ts_error *error) TS_MUST_USE;

// Moves *segment into the transcript (it is empty afterwards). On failure it still belongs to the caller.
enum ts_err ts_transcript_add(struct ts_transcript *transcript, struct ts_segment *segment,
                              struct ts_error *error) TS_MUST_USE;

// The whole text: segments joined by one space. Owned by the caller.
enum ts_err ts_transcript_text(const struct ts_transcript *transcript, char **out_text,
                               struct ts_error *error) TS_MUST_USE;

// Number of words (of segments' word lists).
size_t ts_transcript_word_count(const struct ts_transcript *transcript);

// The stored form: one JSON object with everything above, lossless; what the store keeps.
enum ts_err ts_transcript_to_json(const struct ts_transcript *transcript, char **out_json,
                                  struct ts_error *error) TS_MUST_USE;
// Strict inverse. *out must be initialised; written only on success.
enum ts_err ts_transcript_from_json(const char *json, size_t length, struct ts_transcript *out,
                                    struct ts_error *error) TS_MUST_USE;

#endif
