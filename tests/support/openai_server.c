// The endpoint of openai_server.h, on libmicrohttpd and FFmpeg's libraries.
#include "openai_server.h"

#include "core/json.h"

#include <arpa/inet.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswresample/swresample.h>
#include <microhttpd.h>
#include <pthread.h>

struct ts_openai_server {
	struct MHD_Daemon *daemon;
	struct ts_openai_server_options options;
	char url[64];
	pthread_mutex_t mutex; // everything below
	size_t started;        // requests
	size_t finished;
	struct ts_openai_seen seen[TS_OPENAI_SERVER_SEEN_MAX];
};

// One request.
struct exchange {
	struct MHD_PostProcessor *post;
	struct ts_openai_seen seen;
	enum ts_openai_fault fault;
	bool has_file, has_model, bad_field;
	unsigned char *file;
	size_t file_capacity;
	struct ts_speech speech;
	const char *media; // bytes handed to the decoder
	size_t media_at;
};

void ts_beeps_add(struct ts_speech *speech, int k)
{
	float second[TS_SPEECH_RATE];
	uint32_t state = 12345;
	double hz = 300.0 + 25.0 * k;

	for (int i = 0; i < TS_SPEECH_RATE; i++) {
		state = state * 1664525U + 1013904223U;
		second[i] = ((float)(state >> 16) / 65536.0F - 0.5F) * 0.0005F;
		if (i >= 3200 && i < 9600)
			second[i] += 0.4F * (float)sin(2 * M_PI * hz * i / TS_SPEECH_RATE);
	}
	ts_speech_add(speech, second, TS_SPEECH_RATE);
}

static int read_media(void *ctx, uint8_t *out, int size)
{
	struct exchange *exchange = ctx;
	size_t left = exchange->seen.file_bytes - exchange->media_at;
	size_t count = left < (size_t)size ? left : (size_t)size;

	if (count == 0)
		return AVERROR_EOF;
	memcpy(out, exchange->file + exchange->media_at, count);
	exchange->media_at += count;
	return (int)count;
}

static void add_frame(struct exchange *exchange, SwrContext **swr, AVFrame *frame)
{
	float out[8192];
	uint8_t *out_data[1] = {(uint8_t *)out};

	if (!*swr) {
		AVChannelLayout mono = AV_CHANNEL_LAYOUT_MONO;
		if (swr_alloc_set_opts2(swr, &mono, AV_SAMPLE_FMT_FLT, TS_SPEECH_RATE, &frame->ch_layout,
		                        (enum AVSampleFormat)frame->format, frame->sample_rate, 0, NULL) < 0 ||
		    swr_init(*swr) < 0)
			return;
	}
	const uint8_t *in[AV_NUM_DATA_POINTERS];
	for (int i = 0; i < AV_NUM_DATA_POINTERS; i++)
		in[i] = frame->data[i];
	int count = swr_convert(*swr, out_data, 8192, in, frame->nb_samples);
	while (count > 0) {
		ts_speech_add(&exchange->speech, out, (size_t)count);
		count = swr_convert(*swr, out_data, 8192, NULL, 0);
	}
}

// Decodes the uploaded file into exchange->speech; false when it is no audio.
static bool decode(struct exchange *exchange)
{
	AVFormatContext *format = avformat_alloc_context();
	AVIOContext *io = avio_alloc_context(av_malloc(4096), 4096, 0, exchange, read_media, NULL, NULL);
	const AVCodec *codec = NULL;
	AVCodecContext *context = NULL;
	AVPacket *packet = av_packet_alloc();
	AVFrame *frame = av_frame_alloc();
	SwrContext *swr = NULL;
	bool ok = false;

	format->pb = io;
	if (avformat_open_input(&format, NULL, NULL, NULL) < 0 || avformat_find_stream_info(format, NULL) < 0)
		goto end;
	int stream = av_find_best_stream(format, AVMEDIA_TYPE_AUDIO, -1, -1, &codec, 0);
	if (stream < 0 || !(context = avcodec_alloc_context3(codec)) ||
	    avcodec_parameters_to_context(context, format->streams[stream]->codecpar) < 0 ||
	    avcodec_open2(context, codec, NULL) < 0)
		goto end;
	ok = true;
	for (bool more = true; more;) {
		more = av_read_frame(format, packet) >= 0;
		if (avcodec_send_packet(context, more ? packet : NULL) < 0)
			ok = false;
		av_packet_unref(packet);
		while (avcodec_receive_frame(context, frame) >= 0)
			add_frame(exchange, &swr, frame);
	}
end:
	swr_free(&swr);
	av_frame_free(&frame);
	av_packet_free(&packet);
	avcodec_free_context(&context);
	avformat_close_input(&format);
	av_freep(&io->buffer);
	avio_context_free(&io);
	return ok && exchange->speech.count > 0;
}

static void append_text(char *out, size_t size, const char *data, size_t length)
{
	size_t at = strlen(out);

	if (length > size - 1 - at)
		length = size - 1 - at;
	memcpy(out + at, data, length);
	out[at + length] = '\0';
}

static void append_file(struct exchange *exchange, const char *data, size_t length)
{
	struct ts_openai_seen *seen = &exchange->seen;

	if (seen->file_bytes + length > exchange->file_capacity) {
		exchange->file_capacity = (seen->file_bytes + length) * 2;
		exchange->file = realloc(exchange->file, exchange->file_capacity);
		if (!exchange->file)
			abort();
	}
	memcpy(exchange->file + seen->file_bytes, data, length);
	seen->file_bytes += length;
}

static enum MHD_Result take_field(void *ctx, enum MHD_ValueKind kind, const char *key, const char *filename,
                                  const char *content_type, const char *encoding, const char *data, uint64_t offset,
                                  size_t size)
{
	struct exchange *exchange = ctx;
	struct ts_openai_seen *seen = &exchange->seen;

	(void)kind;
	(void)content_type;
	(void)encoding;
	(void)offset;
	if (strcmp(key, "file") == 0 && filename && strchr(filename, '.')) {
		exchange->has_file = true;
		append_file(exchange, data, size);
	} else if (strcmp(key, "model") == 0) {
		exchange->has_model = true;
		append_text(seen->model, sizeof seen->model, data, size);
	} else if (strcmp(key, "language") == 0) {
		append_text(seen->language, sizeof seen->language, data, size);
	} else if (strcmp(key, "response_format") == 0) {
		append_text(seen->response_format, sizeof seen->response_format, data, size);
	} else if (strcmp(key, "prompt") == 0) {
		append_text(seen->prompt, sizeof seen->prompt, data, size);
	} else if (strcmp(key, "temperature") == 0) {
		append_text(seen->temperature, sizeof seen->temperature, data, size);
	} else if (strcmp(key, "timestamp_granularities[]") == 0 && size == 4 && memcmp(data, "word", 4) == 0) {
		seen->wants_words = true;
	} else if (strcmp(key, "timestamp_granularities[]") == 0 && size == 7 && memcmp(data, "segment", 7) == 0) {
		seen->wants_segments = true;
	} else {
		exchange->bad_field = true;
	}
	return MHD_YES;
}

static json_t *word_json(int k, double start, double end)
{
	char text[16];

	snprintf(text, sizeof text, "w%d", k);
	return json_pack("{s:s,s:f,s:f}", "word", text, "start", start, "end", end);
}

// The word whose beep is strongest in samples [count] (Goertzel's algorithm).
static int strongest_beep(const float *samples, size_t count)
{
	double best = -1;
	int best_k = 0;

	for (int k = 0; k < 200; k++) {
		double step = 2 * cos(2 * M_PI * (300.0 + 25.0 * k) / TS_SPEECH_RATE), one = 0, two = 0;
		for (size_t i = 0; i < count; i++) {
			double zero = (double)samples[i] + step * one - two;
			two = one;
			one = zero;
		}
		double power = one * one + two * two - step * one * two;
		if (power > best) {
			best = power;
			best_k = k;
		}
	}
	return best_k;
}

// Beeps of the decoded audio as an array of words.
static json_t *recognise(const struct ts_speech *speech)
{
	json_t *words = json_array();
	const size_t frame = 160;
	size_t start = 0;
	bool on = false;

	for (size_t at = 0; at <= speech->count; at += frame) {
		double energy = 0;
		for (size_t i = at; i < at + frame && i < speech->count; i++)
			energy += (double)speech->samples[i] * (double)speech->samples[i];
		bool loud = energy / (double)frame > 0.02;
		if (loud && !on)
			start = at;
		if (!loud && on && at - start >= 3200)
			json_array_append_new(words, word_json(strongest_beep(speech->samples + start, at - start),
			                                       (double)start / TS_SPEECH_RATE, (double)at / TS_SPEECH_RATE));
		on = loud;
	}
	return words;
}

// verbose_json of the words, in segments of up to three; OpenAI's own texts start with a space.
static json_t *verbose_answer(const struct ts_openai_server *server, const struct exchange *exchange, json_t *words,
                              const char *text)
{
	json_t *segments = json_array();
	double duration = (double)exchange->speech.count / TS_SPEECH_RATE;

	for (size_t i = 0; i < json_array_size(words); i += 3) {
		char line[128] = "";
		size_t last = i + 2 < json_array_size(words) ? i + 2 : json_array_size(words) - 1;
		for (size_t k = i; k <= last; k++) {
			append_text(line, sizeof line, " ", 1);
			const char *word = json_string_value(json_object_get(json_array_get(words, k), "word"));
			append_text(line, sizeof line, word, strlen(word));
		}
		double start = json_number_value(json_object_get(json_array_get(words, i), "start"));
		double end = json_number_value(json_object_get(json_array_get(words, last), "end"));
		if (exchange->fault == TS_FAULT_WILD_TIMES) {
			start = i ? -5 : -1;
			end = duration + 1e6;
		}
		json_array_append_new(segments,
		                      json_pack("{s:i,s:i,s:f,s:f,s:s,s:[],s:f,s:f,s:f,s:f}", "id", (int)(i / 3), "seek", 0,
		                                "start", start, "end", end, "text", line, "tokens", "temperature", 0.0,
		                                "avg_logprob", -0.25, "compression_ratio", 1.5, "no_speech_prob", 0.125));
	}
	json_t *answer =
	    json_pack("{s:s,s:s,s:f,s:s}", "task", "transcribe", "language", "english", "duration", duration, "text", text);
	if (!server->options.words_only)
		json_object_set(answer, "segments", segments);
	if (exchange->seen.wants_words && !server->options.segments_only)
		json_object_set(answer, "words", words);
	json_decref(segments);
	return answer;
}

static char *answer_text(const struct ts_openai_server *server, struct exchange *exchange)
{
	json_t *words = recognise(&exchange->speech), *answer;
	char text[4096] = "";
	size_t i;
	const json_t *word;

	json_array_foreach(words, i, word)
	{
		if (i)
			append_text(text, sizeof text, " ", 1);
		const char *one = json_string_value(json_object_get(word, "word"));
		append_text(text, sizeof text, one, strlen(one));
	}
	if (strcmp(exchange->seen.response_format, "verbose_json") == 0)
		answer = verbose_answer(server, exchange, words, text);
	else
		answer = json_pack("{s:s,s:{s:s,s:i}}", "text", text, "usage", "type", "duration", "seconds",
		                   (int)(exchange->speech.count / TS_SPEECH_RATE));
	char *body = json_dumps(answer, JSON_COMPACT);
	json_decref(answer);
	json_decref(words);
	if (!body)
		abort();
	return body;
}

static char *error_text(const char *message, const char *type, const char *param, const char *code)
{
	json_t *answer =
	    json_pack("{s:{s:s,s:s,s:s?,s:s?}}", "error", "message", message, "type", type, "param", param, "code", code);
	char *body = json_dumps(answer, JSON_COMPACT);

	json_decref(answer);
	if (!body)
		abort();
	return body;
}

// Status and body (malloc'ed) of the answer.
static unsigned judge(const struct ts_openai_server *server, struct exchange *exchange, char **out_body)
{
	const struct ts_openai_server_options *options = &server->options;
	struct ts_openai_seen *seen = &exchange->seen;
	size_t max_bytes = options->max_file_bytes ? options->max_file_bytes : TS_OPENAI_FILE_MAX;
	bool translation = strcmp(seen->path, "/v1/audio/translations") == 0;
	bool verbose = strcmp(seen->response_format, "verbose_json") == 0;
	const char *invalid = "invalid_request_error";

	if (exchange->fault == TS_FAULT_401 || !seen->authorized) {
		*out_body =
		    error_text("Incorrect API key provided: " TS_OPENAI_SERVER_KEY ".", invalid, NULL, "invalid_api_key");
		return 401;
	}
	if (exchange->fault == TS_FAULT_404) {
		*out_body = error_text("The model `whisper-9` does not exist (key " TS_OPENAI_SERVER_KEY ")", invalid, NULL,
		                       "model_not_found");
		return 404;
	}
	if (exchange->fault == TS_FAULT_QUOTA) {
		*out_body = error_text("You exceeded your current quota", "insufficient_quota", NULL, "insufficient_quota");
		return 429;
	}
	if (exchange->fault == TS_FAULT_RATE_LIMIT || exchange->fault == TS_FAULT_RATE_LIMIT_MS ||
	    exchange->fault == TS_FAULT_RATE_LIMIT_LONG) {
		*out_body = error_text("Rate limit reached", "requests", NULL, "rate_limit_exceeded");
		return 429;
	}
	if (exchange->fault == TS_FAULT_500) {
		*out_body = error_text("The server had an error", "server_error", NULL, NULL);
		return 500;
	}
	if (!translation && strcmp(seen->path, "/v1/audio/transcriptions") != 0) {
		*out_body = error_text("Invalid URL", invalid, NULL, NULL);
		return 404;
	}
	if (!exchange->has_file || !exchange->has_model || !seen->model[0] || exchange->bad_field) {
		*out_body = error_text("A required field is missing or a field is unknown", invalid, "file", NULL);
		return 400;
	}
	if (seen->file_bytes > max_bytes) {
		*out_body = error_text("Maximum content size limit exceeded", invalid, NULL, NULL);
		return 413;
	}
	if (options->no_granularities && (seen->wants_words || seen->wants_segments)) {
		*out_body = error_text("Unknown field: timestamp_granularities[]", invalid, "timestamp_granularities[]", NULL);
		return 400;
	}
	if ((translation || !verbose) && (seen->wants_words || seen->wants_segments)) {
		*out_body = error_text("timestamp_granularities need response_format verbose_json", invalid,
		                       "timestamp_granularities", NULL);
		return 400;
	}
	if (translation && seen->language[0]) {
		*out_body = error_text("Unknown parameter: language", invalid, "language", NULL);
		return 400;
	}
	if (options->plain_only && verbose) {
		*out_body = error_text("response_format 'verbose_json' is not compatible with model 'gpt-4o-transcribe'. Use "
		                       "'json' or 'text' instead.",
		                       invalid, "response_format", "unsupported_value");
		return 400;
	}
	bool ogg = seen->file_bytes > 4 && memcmp(exchange->file, "OggS", 4) == 0;
	bool flac = seen->file_bytes > 4 && memcmp(exchange->file, "fLaC", 4) == 0;
	if ((!ogg && !flac) || !decode(exchange)) {
		*out_body = error_text("Invalid file format.", invalid, "file", NULL);
		return 400;
	}
	seen->samples = exchange->speech.count;
	if (exchange->fault == TS_FAULT_BROKEN_JSON)
		*out_body = strdup("{\"text\":\"w1");
	else if (exchange->fault == TS_FAULT_WRONG_JSON)
		*out_body = strdup("{\"text\":5}");
	else
		*out_body = answer_text(server, exchange);
	return 200;
}

// Sends half of what was announced, then fails, so that the connection is cut.
static ssize_t cut_body(void *ctx, uint64_t position, char *out, size_t size)
{
	(void)ctx;
	if (position > 0 || size == 0)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	out[0] = '{';
	return 1;
}

static enum MHD_Result reply(struct ts_openai_server *server, struct MHD_Connection *connection,
                             struct exchange *exchange)
{
	char *body = NULL;
	unsigned status = judge(server, exchange, &body);
	struct MHD_Response *response;

	if (exchange->fault == TS_FAULT_CUT) {
		free(body);
		response = MHD_create_response_from_callback(1000, 1000, cut_body, NULL, NULL);
	} else {
		response = MHD_create_response_from_buffer(strlen(body), body, MHD_RESPMEM_MUST_FREE);
	}
	MHD_add_response_header(response, "Content-Type", "application/json");
	if (exchange->fault == TS_FAULT_RATE_LIMIT)
		MHD_add_response_header(response, "Retry-After", "7");
	if (exchange->fault == TS_FAULT_RATE_LIMIT_MS)
		MHD_add_response_header(response, "retry-after-ms", "1500");
	if (exchange->fault == TS_FAULT_RATE_LIMIT_LONG)
		MHD_add_response_header(response, "Retry-After", "3600");
	exchange->seen.status = (long)status;
	pthread_mutex_lock(&server->mutex);
	if (server->finished < TS_OPENAI_SERVER_SEEN_MAX)
		server->seen[server->finished] = exchange->seen;
	server->finished++;
	pthread_mutex_unlock(&server->mutex);
	enum MHD_Result result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result handle(void *ctx, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *data, size_t *size, void **slot)
{
	struct ts_openai_server *server = ctx;
	struct exchange *exchange = *slot;

	(void)version;
	if (!exchange) {
		exchange = calloc(1, sizeof *exchange);
		if (!exchange || strcmp(method, "POST") != 0) {
			free(exchange);
			return MHD_NO;
		}
		append_text(exchange->seen.path, sizeof exchange->seen.path, url, strlen(url));
		const char *key = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization");
		exchange->seen.authorized = key && strcmp(key, "Bearer " TS_OPENAI_SERVER_KEY) == 0;
		exchange->post = MHD_create_post_processor(connection, 65536, take_field, exchange);
		pthread_mutex_lock(&server->mutex);
		size_t number = server->started++;
		pthread_mutex_unlock(&server->mutex);
		exchange->fault = number < server->options.fault_count ? server->options.faults[number] : TS_FAULT_NONE;
		*slot = exchange;
		return MHD_YES;
	}
	if (*size) {
		if (exchange->post)
			MHD_post_process(exchange->post, data, *size);
		*size = 0;
		return MHD_YES;
	}
	return reply(server, connection, exchange);
}

static void completed(void *ctx, struct MHD_Connection *connection, void **slot, enum MHD_RequestTerminationCode code)
{
	struct exchange *exchange = *slot;

	(void)ctx;
	(void)connection;
	(void)code;
	if (!exchange)
		return;
	if (exchange->post)
		MHD_destroy_post_processor(exchange->post);
	ts_speech_finish(&exchange->speech);
	free(exchange->file);
	free(exchange);
	*slot = NULL;
}

struct ts_openai_server *ts_openai_server_start(const struct ts_openai_server_options *options)
{
	struct ts_openai_server *server = calloc(1, sizeof *server);
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	if (!server)
		return NULL;
	av_log_set_level(AV_LOG_QUIET);
	server->options = *options;
	pthread_mutex_init(&server->mutex, NULL);
	server->daemon =
	    MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, handle, server, MHD_OPTION_SOCK_ADDR, &address,
	                     MHD_OPTION_NOTIFY_COMPLETED, completed, NULL, MHD_OPTION_END);
	const union MHD_DaemonInfo *port =
	    server->daemon ? MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_BIND_PORT) : NULL;
	if (!port) {
		ts_openai_server_stop(server);
		return NULL;
	}
	snprintf(server->url, sizeof server->url, "http://127.0.0.1:%u/v1", (unsigned)port->port);
	return server;
}

void ts_openai_server_stop(struct ts_openai_server *server)
{
	if (!server)
		return;
	if (server->daemon)
		MHD_stop_daemon(server->daemon);
	pthread_mutex_destroy(&server->mutex);
	free(server);
}

const char *ts_openai_server_url(const struct ts_openai_server *server)
{
	return server->url;
}

size_t ts_openai_server_seen(struct ts_openai_server *server, struct ts_openai_seen *out, size_t capacity)
{
	pthread_mutex_lock(&server->mutex);
	size_t count = server->finished;
	for (size_t i = 0; out && i < count && i < capacity && i < TS_OPENAI_SERVER_SEEN_MAX; i++)
		out[i] = server->seen[i];
	pthread_mutex_unlock(&server->mutex);
	return count;
}
