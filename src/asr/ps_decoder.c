// Drives one decoder of PocketSphinx 5prealpha through one utterance a window.
//
// Channel mean: fed block by block, the library subtracts a running cepstral mean that starts from the model's and
// moves with everything the decoder ever heard, so words would depend on earlier recordings and the first window would
// suffer most. So the mean of the window is computed first and set, which is as good as the library's whole-utterance
// mode and can still be interrupted.
// The library calls exit() on some damaged models and when memory is out; neither can be caught from outside.
#include "asr/ps_decoder.h"

#include "base/buf.h"
#include "base/mem.h"
#include "core/json.h"

#include <math.h>
#include <pocketsphinx.h>
#include <pthread.h>
#include <sphinxbase/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RATE 16                    // samples in a millisecond
#define BLOCK ((size_t)100 * RATE) // searched between two looks at the abort flag
#define FRAME_MS 10
#define CEPSTRA_MAX 64

// Below the library's defaults (6.5, 9.5): flite's and read human speech came back with a quarter fewer errors.
#define LANGUAGE_WEIGHT "5.5"
#define BESTPATH_WEIGHT "8.5"

// Channel statistics are those of the last seconds of the recording and a touch of the model's own, so that a window
// of one word is not normalised by its own sounds.
#define HISTORY_FRAMES 300.0

struct ts_ps_decoder {
	ps_decoder_t *ps;
	int width;               // of a cepstral vector
	double sum[CEPSTRA_MAX]; // over `frames`
	double frames;           // heard of this recording, HISTORY_FRAMES at most
	int16_t pcm[BLOCK];
};

// Opening a model goes through number parsing with unlocked global free lists; one at a time.
static pthread_mutex_t open_mutex = PTHREAD_MUTEX_INITIALIZER;

static ps_decoder_t *open_model(const char *model_dir)
{
	char hmm[4096], lm[4096], dict[4096];

	if ((size_t)snprintf(hmm, sizeof hmm, "%s/en-us", model_dir) >= sizeof hmm ||
	    (size_t)snprintf(lm, sizeof lm, "%s/en-us.lm.bin", model_dir) >= sizeof lm ||
	    (size_t)snprintf(dict, sizeof dict, "%s/cmudict-en-us.dict", model_dir) >= sizeof dict)
		return NULL;
	err_set_logfp(NULL);
	// -remove_silence drops frames inside an utterance without keeping count, which makes word times wrong.
	cmd_ln_t *config = cmd_ln_init(NULL, ps_args(), TRUE, "-hmm", hmm, "-lm", lm, "-dict", dict, "-remove_silence",
	                               "no", "-dither", "no", "-lw", LANGUAGE_WEIGHT, "-bestpathlw", BESTPATH_WEIGHT, NULL);
	if (!config)
		return NULL;
	ps_decoder_t *ps = ps_init(config);
	cmd_ln_free_r(config);
	return ps;
}

enum ts_err ts_ps_decoder_create(const char *model_dir, struct ts_ps_decoder **out, struct ts_error *error)
{
	struct ts_ps_decoder *decoder = ts_calloc(1, sizeof *decoder);
	if (!decoder)
		return ts_fail_nomem(error);
	pthread_mutex_lock(&open_mutex);
	decoder->ps = open_model(model_dir);
	pthread_mutex_unlock(&open_mutex);
	if (!decoder->ps) {
		ts_free(decoder);
		return ts_fail(error, TS_ERR_ENGINE, "pocketsphinx does not accept the model in %s", model_dir);
	}
	decoder->width = fe_get_output_size(ps_get_fe(decoder->ps));
	if (decoder->width < 1 || decoder->width > CEPSTRA_MAX) {
		ts_ps_decoder_destroy(decoder);
		return ts_fail(error, TS_ERR_ENGINE, "pocketsphinx: the model in %s has features of an odd size", model_dir);
	}
	*out = decoder;
	return TS_OK;
}

void ts_ps_decoder_destroy(struct ts_ps_decoder *decoder)
{
	if (!decoder)
		return;
	pthread_mutex_lock(&open_mutex);
	ps_free(decoder->ps);
	pthread_mutex_unlock(&open_mutex);
	ts_free(decoder);
}

void ts_ps_decoder_reset(struct ts_ps_decoder *decoder)
{
	memset(decoder->sum, 0, sizeof decoder->sum);
	decoder->frames = 0;
}

static size_t to_pcm(int16_t pcm[BLOCK], const float *samples, size_t count)
{
	if (count > BLOCK)
		count = BLOCK;
	for (size_t i = 0; i < count; i++)
		pcm[i] = (int16_t)lrintf(samples[i] * 32767.0F);
	return count;
}

static enum ts_err fail_library(struct ts_error *error, const char *what)
{
	return ts_fail(error, TS_ERR_ENGINE, "pocketsphinx could not %s", what);
}

// Adds the cepstra of frames [count] to this window's sums.
static double add_frames(const struct ts_ps_decoder *decoder, mfcc_t **cepstra, int count, double *sum)
{
	double heard = 0;

	for (int i = 0; i < count; i++) {
		if (cepstra[i][0] < 0)
			continue; // no energy at all
		heard++;
		for (int k = 0; k < decoder->width; k++)
			sum[k] += (double)cepstra[i][k];
	}
	return heard;
}

// Runs the front end over the window and sets the cepstral mean that the search will subtract.
static enum ts_err set_mean(struct ts_ps_decoder *decoder, const struct ts_window *window, struct ts_error *error)
{
	fe_t *fe = ps_get_fe(decoder->ps);
	double sum[CEPSTRA_MAX] = {0}, heard = 0;
	mfcc_t tail[CEPSTRA_MAX], *tail_row = tail;
	int32 tail_count = 0;

	fe_start_stream(fe);
	if (fe_start_utt(fe) < 0)
		return fail_library(error, "start its front end");
	for (size_t at = 0; at < window->count;) {
		size_t count = to_pcm(decoder->pcm, window->samples + at, window->count - at);
		mfcc_t **cepstra = NULL;
		int32 frames = 0;
		if (fe_process_utt(fe, decoder->pcm, count, &cepstra, &frames) < 0)
			return fail_library(error, "compute features");
		heard += add_frames(decoder, cepstra, frames, sum);
		fe_free_2d(cepstra);
		at += count;
	}
	if (fe_end_utt(fe, tail, &tail_count) >= 0 && tail_count > 0)
		heard += add_frames(decoder, &tail_row, 1, sum);

	if (decoder->frames > HISTORY_FRAMES) {
		for (int k = 0; k < decoder->width; k++)
			decoder->sum[k] *= HISTORY_FRAMES / decoder->frames;
		decoder->frames = HISTORY_FRAMES;
	}
	for (int k = 0; k < decoder->width; k++)
		decoder->sum[k] += sum[k];
	decoder->frames += heard;
	if (decoder->frames < 1)
		return TS_OK;
	mfcc_t mean[CEPSTRA_MAX];
	for (int k = 0; k < decoder->width; k++)
		mean[k] = (mfcc_t)(decoder->sum[k] / decoder->frames);
	cmn_live_set(ps_get_feat(decoder->ps)->cmn_struct, mean);
	return TS_OK;
}

// The word without the mark of an alternative pronunciation, "read(2)"; false for sentence marks, silence and noise.
static bool clean_word(const char *word, char *out, size_t size)
{
	size_t length = strcspn(word, "(");

	if (length == 0 || length >= size || word[0] == '<' || word[0] == '[' || strncmp(word, "++", 2) == 0)
		return false;
	memcpy(out, word, length);
	out[length] = '\0';
	return true;
}

static enum ts_err collect(struct ts_ps_decoder *decoder, const struct ts_window *window, struct ts_segment *pile,
                           struct ts_error *error)
{
	int64_t window_end = window->start_ms + (int64_t)window->count / RATE;
	char text[256];

	for (ps_seg_t *segment = ps_seg_iter(decoder->ps); segment; segment = ps_seg_next(segment)) {
		int first, last;
		if (!clean_word(ps_seg_word(segment), text, sizeof text))
			continue;
		ps_seg_frames(segment, &first, &last);
		int64_t start = window->start_ms + (int64_t)first * FRAME_MS;
		int64_t end = window->start_ms + (int64_t)(last + 1) * FRAME_MS;
		double probability = logmath_exp(ps_get_logmath(decoder->ps), ps_seg_prob(segment, NULL, NULL, NULL));
		probability = isfinite(probability) ? fmin(fmax(probability, 0), 1) : 0;
		enum ts_err err = ts_segment_add_word(pile, text, start < window_end ? start : window_end,
		                                      end < window_end ? end : window_end, (float)probability, error);
		if (err != TS_OK) {
			ps_seg_free(segment);
			return err;
		}
	}
	return TS_OK;
}

enum ts_err ts_ps_decoder_window(struct ts_ps_decoder *decoder, const struct ts_window *window,
                                 struct ts_asr_output *output, struct ts_segment *pile, struct ts_error *error)
{
	TS_TRY(set_mean(decoder, window, error));
	if (ps_start_stream(decoder->ps) < 0 || ps_start_utt(decoder->ps) < 0)
		return fail_library(error, "start an utterance");
	for (size_t at = 0; at < window->count;) {
		if (ts_asr_aborted(output->request))
			return ts_asr_fail_aborted(error);
		size_t count = to_pcm(decoder->pcm, window->samples + at, window->count - at);
		if (ps_process_raw(decoder->ps, decoder->pcm, count, FALSE, FALSE) < 0)
			return fail_library(error, "search an utterance");
		at += count;
		ts_asr_output_progress(output, window->start_ms + (int64_t)at / RATE);
	}
	if (ps_end_utt(decoder->ps) < 0)
		return fail_library(error, "finish an utterance");
	return collect(decoder, window, pile, error);
}

enum ts_err ts_ps_decoder_parameters(bool vad, char **out_json, struct ts_error *error)
{
	TS_AUTOJSON json_t *json = json_object();
	TS_AUTOBUF struct ts_buf buf = {0};

	ts_buf_init(&buf, 4096);
	if (!json)
		return ts_fail_nomem(error);
	TS_TRY(ts_json_put(json, "vad", json_boolean(vad), error));
	TS_TRY(ts_json_put(json, "window_max_ms", json_integer(TS_PS_WINDOW_MAX_MS), error));
	TS_TRY(ts_json_put(json, "pause_join_ms", json_integer(TS_PS_PAUSE_JOIN_MS), error));
	TS_TRY(ts_json_put(json, "passes", json_string("fwdtree,fwdflat,bestpath"), error));
	TS_TRY(ts_json_put(json, "language_weight", json_real(strtod(LANGUAGE_WEIGHT, NULL)), error));
	TS_TRY(ts_json_put(json, "bestpath_weight", json_real(strtod(BESTPATH_WEIGHT, NULL)), error));
	TS_TRY(ts_json_write(json, &buf, error));
	return ts_buf_take(&buf, out_json, error);
}
