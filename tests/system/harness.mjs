// Starts the real programs on ports and folders of their own, talks HTTP to them and waits for conditions.
// Every program a world started is gone when it finishes, and a sanitizer's report in any of their logs fails it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as pause } from 'node:timers/promises';
import { Webhook } from 'standardwebhooks';

export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const BIN = path.resolve(process.env.TRANSCRIPTION_BIN ?? path.join(ROOT, 'build/src/bin'));
// Instrumented programs are slower: every patience is multiplied.
export const SLOW = Number(process.env.TRANSCRIPTION_SLOW ?? 1);
export const KEY = 'a-key-of-the-system-tests';
export const FINAL = ['completed', 'failed', 'cancelled'];

const living = new Set();
process.on('exit', () => {
  for (const program of living) {
    try {
      process.kill(program.pid, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
  }
});

// Thrown by a condition that can no longer come true.
class Hopeless extends Error {}

// Polls until `condition` gives something truthy, and returns that.
export async function until(what, condition, seconds = 30) {
  const deadline = performance.now() + seconds * 1000 * SLOW;
  let last;
  while (performance.now() < deadline) {
    try {
      const value = await condition();
      if (value) return value;
      last = undefined;
    } catch (error) {
      if (error instanceof Hopeless) throw error;
      last = error;
    }
    await pause(20);
  }
  throw new Error(`waited ${seconds * SLOW} s in vain until ${what}${last ? `: ${last.message}` : ''}`);
}

export async function freePort() {
  const server = net.createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export function alive(pid) {
  try {
    // A zombie has ended; only its parent has not looked yet.
    return !/^State:\s+[ZX]/m.test(fs.readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

// All living descendants of a process: [{pid, command}].
export function descendants(pid) {
  const parents = new Map();
  for (const name of fs.readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = fs.readFileSync(`/proc/${name}/stat`, 'utf8');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (fields[0] === 'Z' || fields[0] === 'X') continue;
      const parent = Number(fields[1]);
      if (!parents.has(parent)) parents.set(parent, []);
      parents.get(parent).push(Number(name));
    } catch {
      // It ended while we looked.
    }
  }
  const found = [];
  const visit = (one) => {
    for (const child of parents.get(one) ?? []) {
      let command = '';
      try {
        command = fs.readFileSync(`/proc/${child}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
      } catch {
        continue;
      }
      found.push({ pid: child, command });
      visit(child);
    }
  };
  visit(pid);
  return found;
}

// CPU time used by a process and its living descendants, in clock ticks (1/100 s).
export function cpuTicks(pid) {
  let sum = 0;
  for (const one of [pid, ...descendants(pid).map((child) => child.pid)]) {
    try {
      const stat = fs.readFileSync(`/proc/${one}/stat`, 'utf8');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      sum += Number(fields[11]) + Number(fields[12]);
    } catch {
      // It ended while we looked.
    }
  }
  return sum;
}

// One HTTP exchange on a connection of its own. `body` is text, bytes, an object (JSON) or a stream.
export function request(base, method, target, { headers = {}, body, key = KEY, timeout = 60 } = {}) {
  return new Promise((resolve, reject) => {
    const url = new URL(base);
    const all = { ...headers };
    if (key !== null && all.authorization === undefined) all.authorization = `Bearer ${key}`;
    let payload = body;
    if (body !== undefined && body !== null && Object.getPrototypeOf(body) === Object.prototype) {
      payload = JSON.stringify(body);
      all['content-type'] ??= 'application/json';
    }
    if (typeof payload === 'string') payload = Buffer.from(payload);
    if (Buffer.isBuffer(payload)) all['content-length'] ??= payload.length;
    const sent = http.request(
      { host: url.hostname, port: url.port, method, path: target, headers: all, agent: false },
      (answer) => {
        const blocks = [];
        answer.on('data', (block) => blocks.push(block));
        answer.on('error', reject);
        answer.on('end', () => {
          const bytes = Buffer.concat(blocks);
          const text = bytes.toString('utf8');
          let json;
          if (/json/.test(answer.headers['content-type'] ?? '')) {
            try {
              json = JSON.parse(text);
            } catch (error) {
              reject(new Error(`the answer's JSON is broken: ${error.message}: ${text.slice(0, 200)}`));
              return;
            }
          }
          resolve({ status: answer.statusCode, headers: answer.headers, text, bytes, json });
        });
      },
    );
    sent.setTimeout(timeout * 1000 * SLOW, () => sent.destroy(new Error(`${method} ${target}: no answer in time`)));
    sent.on('error', reject);
    if (payload?.pipe) payload.pipe(sent);
    else sent.end(payload);
  });
}

// A multipart/form-data body: fields, then files {name, filename, type, data}.
export function form(fields, files = []) {
  const boundary = `----${randomBytes(12).toString('hex')}`;
  const parts = [];
  for (const [name, given] of Object.entries(fields)) {
    const value = typeof given === 'object' ? JSON.stringify(given) : given;
    parts.push(Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`));
  }
  for (const file of files) {
    const head =
      `--${boundary}\r\nContent-Disposition: form-data; name="${file.name ?? 'file'}"; ` +
      `filename="${file.filename ?? 'video.mp4'}"\r\nContent-Type: ${file.type ?? 'video/mp4'}\r\n\r\n`;
    parts.push(Buffer.from(head), file.data, Buffer.from('\r\n'));
  }
  parts.push(Buffer.from(`--${boundary}--\r\n`));
  return { body: Buffer.concat(parts), headers: { 'content-type': `multipart/form-data; boundary=${boundary}` } };
}

// A running program of ours; stdout and stderr are kept.
export class Program {
  constructor(name, args, { env, cwd, stdin = 'ignore', fileLimit }) {
    this.name = name;
    this.stdout = '';
    this.stderr = '';
    const command = [path.join(BIN, name), ...args];
    // No file grows beyond fileLimit bytes; sh counts in blocks of 512.
    if (fileLimit) command.unshift('/bin/sh', '-c', `ulimit -f ${fileLimit / 512}; exec "$@"`, 'sh');
    this.child = spawn(command[0], command.slice(1), { env, cwd, stdio: [stdin, 'pipe', 'pipe'] });
    this.pid = this.child.pid;
    living.add(this);
    this.child.stdout.setEncoding('utf8').on('data', (text) => (this.stdout += text));
    this.child.stderr.setEncoding('utf8').on('data', (text) => (this.stderr += text));
    this.exited = new Promise((resolve) => {
      this.child.on('error', (error) => {
        living.delete(this);
        this.ended = { code: null, signal: null, error };
        resolve(this.ended);
      });
      // 'close' comes when the output has been read whole; a killed supervisor's children may hold it open.
      this.child.on('exit', (code, signal) => {
        living.delete(this);
        this.ended = { code, signal };
        this.child.on('close', () => resolve(this.ended));
        pause(2000).then(() => resolve(this.ended));
      });
    });
  }

  kill(signal = 'SIGTERM') {
    if (!this.ended) process.kill(this.pid, signal);
  }

  // Asks it to stop, and waits until it has.
  async stop(seconds = 30) {
    this.kill('SIGTERM');
    return this.end(seconds);
  }

  async end(seconds = 30) {
    await until(`${this.name} has ended (its log ends: ${this.log.slice(-400)})`, () => this.ended, seconds);
    return this.exited;
  }

  get log() {
    return this.stdout + this.stderr;
  }

  // Its log as objects: one JSON object a line.
  get lines() {
    return this.log
      .split('\n')
      .filter((line) => line.trim())
      .map((line) => JSON.parse(line));
  }
}

// Receives callbacks. `answers` holds what to answer next, {status, headers}; then 204. Every event it keeps has had
// its signature checked by the standardwebhooks package.
export class Receiver {
  events = [];
  refused = [];
  answers = [];

  static async start(secret) {
    const receiver = new Receiver();
    receiver.webhook = new Webhook(secret);
    receiver.server = http.createServer((incoming, answer) => receiver.take(incoming, answer));
    await new Promise((resolve) => receiver.server.listen(0, '127.0.0.1', resolve));
    receiver.url = `http://127.0.0.1:${receiver.server.address().port}/callback`;
    return receiver;
  }

  async take(incoming, answer) {
    const blocks = [];
    for await (const block of incoming) blocks.push(block);
    const body = Buffer.concat(blocks).toString('utf8');
    const { status = 204, headers = {} } = this.answers.shift() ?? {};
    const record = { headers: incoming.headers, body, status, path: incoming.url };
    try {
      record.event = this.webhook.verify(body, incoming.headers);
      this.events.push(record);
    } catch (error) {
      record.problem = error.message;
      this.refused.push(record);
    }
    answer.writeHead(status, headers).end();
  }

  async of(jobId, count = 1, seconds = 30) {
    const mine = () => this.events.filter((one) => one.event.data.id === jobId);
    await until(`${count} callbacks about ${jobId} have come (refused: ${JSON.stringify(this.refused)})`,
      () => mine().length >= count, seconds);
    return mine();
  }

  finish() {
    this.server.closeAllConnections();
    this.server.close();
  }
}

export class World {
  programs = [];
  finishers = [];

  // `env` is what its programs get beside what they need to be alone; undefined values are left out.
  static async create(env = {}) {
    const world = new World();
    // A space and a letter beyond ASCII: paths are not words.
    world.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'transcription téšt '));
    world.data = path.join(world.folder, 'data folder');
    world.secret = `whsec_${randomBytes(32).toString('base64')}`;
    world.env = {
      PATH: process.env.PATH,
      HOME: world.folder,
      LC_ALL: 'C.UTF-8',
      ENVIRONMENT: 'production',
      LOG_LEVEL: 'debug',
      HOST: '127.0.0.1',
      LOCAL_STORAGE_PATH: world.data,
      SERVICE_API_KEY: KEY,
      CALLBACK_SECRET: world.secret,
      CALLBACK_ALLOWED_HOSTS: '127.0.0.1',
      MEDIA_ALLOWED_HOSTS: '127.0.0.1',
      ENGINE: 'pocketsphinx',
      LEASE_SECONDS: '3',
      JOB_RETRY_BASE_SECONDS: '0.05',
      JOB_RETRY_MAX_SECONDS: '0.2',
      CALLBACK_RETRY_SCHEDULE: '0,0.05',
      FETCH_STALL_SECONDS: '2',
      SHUTDOWN_GRACE_SECONDS: '20',
      ...Object.fromEntries(Object.entries(process.env).filter(([name]) => /^(A|L|T|UB)SAN_OPTIONS$/.test(name))),
      ...env,
    };
    return world;
  }

  use(server) {
    this.finishers.push(() => server.finish());
    return server;
  }

  async receiver() {
    return this.use(await Receiver.start(this.secret));
  }

  run(name, args = [], { env = {}, cwd = this.folder, stdin, fileLimit } = {}) {
    const merged = Object.fromEntries(
      Object.entries({ ...this.env, ...env }).filter(([, value]) => value !== undefined),
    );
    const program = new Program(name, args, { env: merged, cwd, stdin, fileLimit });
    this.programs.push(program);
    return program;
  }

  // Runs a command line to its end.
  async command(name, args = [], options = {}) {
    const program = this.run(name, args, options);
    const { code, signal } = await program.end(options.seconds ?? 120);
    return { code, signal, stdout: program.stdout, stderr: program.stderr };
  }

  // Starts `transcription serve`, or the API alone, and waits until it is ready.
  async serve(env = {}, program = 'transcription', args = ['serve'], options = {}) {
    const port = await freePort();
    const service = this.run(program, args, { ...options, env: { PORT: String(port), ...env } });
    service.url = `http://127.0.0.1:${port}`;
    await this.ready(service);
    return service;
  }

  async ready(service) {
    await until(`${service.url} is ready`, async () => {
      if (service.ended) {
        throw new Hopeless(`${service.name} ended: ${JSON.stringify(service.ended)}: ${service.log.slice(-800)}`);
      }
      return (await request(service.url, 'GET', '/health/ready')).status === 200;
    });
  }

  api(env = {}, options = {}) {
    return this.serve(env, 'transcription-api', [], options);
  }

  worker(env = {}, options = {}) {
    return this.run('transcription-worker', [], { ...options, env });
  }

  // Submits a job by JSON or, with `file`, as a form; returns it.
  async submit(service, fields, { file, headers = {} } = {}) {
    const all = { video_id: 'video 1', user_id: 'user-1', ...fields };
    const sending = file ? form(all, [{ data: file, filename: 'a film.mp4' }]) : { body: all, headers: {} };
    const answer = await request(service.url, 'POST', '/api/v1/transcriptions', {
      body: sending.body,
      headers: { ...sending.headers, ...headers },
    });
    assert.equal(answer.status, 202, answer.text);
    return answer.json;
  }

  async job(service, id, query = '') {
    const answer = await request(service.url, 'GET', `/api/v1/transcriptions/${id}${query}`);
    assert.equal(answer.status, 200, answer.text);
    return answer.json;
  }

  // Waits for a final state by long poll; `expected` is asserted.
  async final(service, id, expected, seconds = 60) {
    const deadline = performance.now() + seconds * 1000 * SLOW;
    let job;
    do {
      job = await this.job(service, id, '?wait=5');
    } while (!FINAL.includes(job.status) && performance.now() < deadline);
    assert.ok(FINAL.includes(job.status), `the job is still ${job.status} (${job.stage}) after ${seconds * SLOW} s`);
    if (expected) assert.equal(job.status, expected, JSON.stringify(job.error));
    return job;
  }

  async transcript(service, id, format = 'json') {
    const answer = await request(service.url, 'GET', `/api/v1/transcriptions/${id}/transcript?format=${format}`);
    assert.equal(answer.status, 200, answer.text);
    return answer.json ?? answer.text;
  }

  // Files that lie in the work folder of the worker.
  tempFiles() {
    const folder = this.env.TEMP_DIR ?? path.join(this.data, 'tmp');
    return files(folder);
  }

  uploads() {
    return files(path.join(this.data, 'uploads'));
  }

  async finish() {
    try {
      for (const program of this.programs) program.kill('SIGTERM');
      for (const program of this.programs) {
        try {
          await program.end(40);
        } catch (error) {
          program.kill('SIGKILL');
          throw error;
        }
      }
      for (const program of this.programs) {
        const report = /^.*(AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:)[\s\S]{0,3000}/m.exec(program.log);
        assert.equal(report?.[0], undefined, `a sanitizer complains about ${program.name}`);
      }
    } finally {
      for (const finish of this.finishers) finish();
      fs.rmSync(this.folder, { recursive: true, force: true });
    }
  }
}

function files(folder) {
  if (!fs.existsSync(folder)) return [];
  return fs.readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const name = path.join(folder, entry.name);
    return entry.isDirectory() ? files(name) : [name];
  });
}

// Asserts that an answer is a problem (RFC 9457) of that status, type and field.
export function assertProblem(answer, status, type, field) {
  assert.equal(answer.status, status, answer.text);
  assert.match(answer.headers['content-type'], /^application\/problem\+json/);
  assert.equal(answer.json.status, status);
  assert.equal(answer.json.type.split('/').pop(), type, answer.text);
  assert.ok(answer.json.title && answer.json.detail, answer.text);
  if (field !== undefined) assert.equal(answer.json.field, field, answer.text);
}
