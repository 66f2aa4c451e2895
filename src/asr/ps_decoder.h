// One PocketSphinx decoder: a window of samples in, words out. Hides the library's quirks: its log on standard
// error, its channel mean that drifts from one recording into the next, its own silence removal that falsifies times.
// Used by one thread at a time. Refuses windows longer than it can finish within a second of an abort.
#ifndef TS_ASR_PS_DECODER_H
#define TS_ASR_PS_DECODER_H

#include "asr/output.h"
#include "asr/windows.h"

#define TS_PS_WINDOW_MAX_MS 10000 // the passes after a window's last sample cannot be interrupted
#define TS_PS_PAUSE_JOIN_MS 1000

struct ts_ps_decoder;

// model_dir: see engines.h. TS_ERR_ENGINE when the library refuses the model.
enum ts_err ts_ps_decoder_create(const char *model_dir, struct ts_ps_decoder **out, struct ts_error *error) TS_MUST_USE;
void ts_ps_decoder_destroy(struct ts_ps_decoder *decoder); // NULL-safe

// Forgets the recording before: the same samples give the same words, whatever was decoded earlier.
void ts_ps_decoder_reset(struct ts_ps_decoder *decoder);

// Appends the words of the window to *pile, with times of the recording. Reports progress, polls the abort flag.
// After an error the decoder is in the middle of an utterance: destroy it (finishing would take longer than an abort may).
enum ts_err ts_ps_decoder_window(struct ts_ps_decoder *decoder, const struct ts_window *window,
                                 struct ts_asr_output *output, struct ts_segment *pile,
                                 struct ts_error *error) TS_MUST_USE;

// The parameters that matter for the words, as a JSON object; owned by the caller.
enum ts_err ts_ps_decoder_parameters(bool vad, char **out_json, struct ts_error *error) TS_MUST_USE;

#endif
