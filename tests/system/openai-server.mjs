// An OpenAI-compatible endpoint as strict as the real one: it checks key, fields and file, lets FFmpeg read the audio,
// and answers with the shapes that the real one answers with. What it heard is a fixed sentence a request.
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const FIELDS = ['file', 'model', 'language', 'prompt', 'response_format', 'temperature', 'timestamp_granularities[]'];
const LIMIT = 26_214_400;
const ENDINGS = ['.flac', '.mp3', '.mp4', '.mpeg', '.mpga', '.m4a', '.ogg', '.wav', '.webm'];

export class OpenAiServer {
  requests = [];
  // What to answer to the next requests instead: {status, headers, body}.
  script = [];
  // What to answer, once, to a good request that was held, {status, body}.
  late = undefined;
  words = ['the', 'remote', 'engine', 'heard', 'this'];

  static async start(key = 'sk-test') {
    const server = new OpenAiServer();
    server.key = key;
    server.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'transcription openai '));
    server.http = http.createServer((incoming, answer) => {
      server.take(incoming, answer).catch((error) => {
        server.failure = error;
        answer.writeHead(500).end();
      });
    });
    await new Promise((resolve) => server.http.listen(0, '127.0.0.1', resolve));
    server.url = `http://127.0.0.1:${server.http.address().port}/v1`;
    return server;
  }

  env() {
    return { ENGINE: 'openai', OPENAI_API_KEY: this.key, OPENAI_BASE_URL: this.url };
  }

  finish() {
    this.release?.();
    this.http.closeAllConnections();
    this.http.close();
    fs.rmSync(this.folder, { recursive: true, force: true });
  }

  // From now on answers wait until release() is called.
  hold() {
    this.gate = new Promise((resolve) => {
      this.release = () => {
        this.gate = undefined;
        resolve();
      };
    });
  }

  async take(incoming, answer) {
    const blocks = [];
    for await (const block of incoming) blocks.push(block);
    const record = { url: incoming.url, headers: incoming.headers };
    this.requests.push(record);
    const refuse = (status, message, param = null, code = null) => {
      const body = JSON.stringify({ error: { message, type: 'invalid_request_error', param, code } });
      answer.writeHead(status, { 'content-type': 'application/json' }).end(body);
    };
    const scripted = this.script.shift();
    if (scripted) {
      answer.writeHead(scripted.status, { 'content-type': 'application/json', ...scripted.headers });
      answer.end(scripted.body ?? JSON.stringify({ error: { message: 'slow down', type: 'requests', param: null, code: null } }));
      return;
    }
    if (incoming.method !== 'POST' || !/^\/v1\/audio\/(transcriptions|translations)$/.test(incoming.url)) {
      return refuse(404, `Invalid URL (${incoming.method} ${incoming.url})`);
    }
    if (incoming.headers.authorization !== `Bearer ${this.key}`) {
      return refuse(401, 'Incorrect API key provided.', null, 'invalid_api_key');
    }
    const body = Buffer.concat(blocks);
    if (body.length > LIMIT) return refuse(413, `Maximum content size limit (${LIMIT}) exceeded`);
    const type = incoming.headers['content-type'] ?? '';
    if (!type.startsWith('multipart/form-data')) return refuse(415, `Unsupported media type: ${type}`);
    const form = await new Response(body, { headers: { 'content-type': type } }).formData();
    for (const name of form.keys()) {
      if (!FIELDS.includes(name)) return refuse(400, `Unrecognized request argument supplied: ${name}`, name);
    }
    const file = form.get('file');
    if (!file?.name) return refuse(400, 'file is required', 'file');
    if (form.get('model') !== 'whisper-1') return refuse(404, `The model ${form.get('model')} does not exist`, 'model', 'model_not_found');
    if (!ENDINGS.includes(path.extname(file.name))) return refuse(400, 'Unrecognized file format.', 'file');
    const granularities = form.getAll('timestamp_granularities[]');
    if (granularities.length && form.get('response_format') !== 'verbose_json') {
      return refuse(400, 'timestamp_granularities needs verbose_json', 'timestamp_granularities');
    }
    const audio = path.join(this.folder, `${this.requests.length}${path.extname(file.name)}`);
    fs.writeFileSync(audio, Buffer.from(await file.arrayBuffer()));
    let duration;
    try {
      const { stdout } = await run('ffprobe', ['-v', 'error', '-show_entries', 'format=duration', '-of', 'csv=p=0', audio]);
      duration = Number(stdout);
    } catch {
      return refuse(400, 'The audio file could not be decoded or its format is not supported.', 'file');
    } finally {
      fs.rmSync(audio);
    }
    Object.assign(record, { duration, language: form.get('language'), prompt: form.get('prompt'), bytes: body.length, granularities });
    if (this.gate) await this.gate;
    answer.on('finish', () => (record.answered = true));
    if (this.late) {
      const { status, body } = this.late;
      this.late = undefined;
      answer.writeHead(status, { 'content-type': 'application/json' }).end(body);
      return;
    }
    answer.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(this.hear(duration, granularities)));
  }

  // The sentence, its words spread evenly over the audio.
  hear(duration, granularities) {
    const text = this.words.join(' ');
    const step = duration / Math.max(1, this.words.length);
    const round = (value) => Math.round(value * 1000) / 1000;
    const segment = {
      id: 0, seek: 0, start: 0, end: round(duration), text: ` ${text}`, tokens: [1, 2, 3], temperature: 0,
      avg_logprob: -0.25, compression_ratio: 1.1, no_speech_prob: 0.01,
    };
    const words = this.words.map((word, i) => ({ word, start: round(i * step), end: round((i + 1) * step) }));
    return {
      task: 'transcribe', language: 'english', duration: round(duration), text,
      segments: this.words.length ? [segment] : [],
      ...(granularities.includes('word') ? { words } : {}),
      usage: { type: 'duration', seconds: Math.ceil(duration) },
    };
  }
}
