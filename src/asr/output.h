// What leaves a run: segments into the transcript and to the caller's sink, progress that never goes back, and the
// rules by which a pile of words becomes segments. One per run, used by the thread that runs it.
#ifndef TS_ASR_OUTPUT_H
#define TS_ASR_OUTPUT_H

#include "asr/asr.h"

struct ts_asr_output {
	const struct ts_asr_request *request; // borrowed
	struct ts_transcript *transcript;     // borrowed
	int64_t progress_ms;
};

void ts_asr_output_init(struct ts_asr_output *output, const struct ts_asr_request *request,
                        struct ts_transcript *transcript);

// Tells the sink that audio_ms are done with, when that is news.
void ts_asr_output_progress(struct ts_asr_output *output, int64_t audio_ms);

// Shows the segment to the sink and moves it into the transcript. Words are left out when nobody asked for them.
enum ts_err ts_asr_output_segment(struct ts_asr_output *output, struct ts_segment *segment,
                                  struct ts_error *error) TS_MUST_USE;

// Splits a pile of words (ascending; text and times of the pile itself do not matter) into segments at pauses and at
// a readable length, and puts each out. avg_logprob is the mean of the words' log probabilities.
enum ts_err ts_asr_output_words(struct ts_asr_output *output, const struct ts_segment *pile,
                                struct ts_error *error) TS_MUST_USE;

// Whether the run's abort flag is set.
bool ts_asr_aborted(const struct ts_asr_request *request);
// TS_ERR_ABORTED with the usual message.
enum ts_err ts_asr_fail_aborted(struct ts_error *error);

#endif
