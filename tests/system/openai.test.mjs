// The remote engine against a server as strict as the real one.
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { request, until, World } from './harness.mjs';
import { sample } from './media.mjs';
import { OpenAiServer } from './openai-server.mjs';

let world, service, engine;

before(async () => {
  engine = await OpenAiServer.start();
  world = await World.create({ ...engine.env(), MAX_SEGMENT_DURATION: '10', JOB_MAX_ATTEMPTS: '2' });
  world.use(engine);
  service = await world.serve();
});
beforeEach(() => {
  engine.requests.length = 0;
  engine.script = [];
});
after(async () => {
  assert.equal(engine.failure, undefined);
  await world.finish();
});

const run = async (expected = 'completed', fields = {}) => {
  const job = await world.submit(service, fields, { file: sample.bytes });
  return world.final(service, job.id, expected, 90);
};

test('audio goes out in pieces, and their times are joined', { timeout: 120_000 }, async () => {
  const job = await run('completed', { language: 'en' });
  assert.ok(engine.requests.length >= 2, `${engine.requests.length} requests`);
  for (const one of engine.requests) {
    assert.ok(one.duration <= 10.5, String(one.duration));
    assert.equal(one.language, 'en');
    // Compressed: 16 kHz mono samples would be 32 kB a second.
    assert.ok(one.bytes < one.duration * 24_000 + 4000, `${one.bytes} bytes for ${one.duration} s`);
  }
  const transcript = await world.transcript(service, job.id, 'verbose_json');
  assert.equal(transcript.receipt.engine, 'openai');
  assert.equal(transcript.receipt.model, 'whisper-1');
  assert.equal(transcript.segments.length, engine.requests.length);
  let last = -1;
  for (const segment of transcript.segments) {
    assert.ok(segment.start > last && segment.end <= sample.seconds + 0.1, JSON.stringify(segment));
    assert.ok(Math.abs(segment.avg_logprob - -0.25) < 1e-6);
    last = segment.start;
  }
  assert.ok(transcript.segments.at(-1).start > 5);
  assert.equal(transcript.words.length, engine.words.length * engine.requests.length);
});

test('a rate limit is waited for, as long as it says', { timeout: 120_000 }, async () => {
  engine.script = [{ status: 429, headers: { 'retry-after-ms': '150' } }, { status: 429, headers: { 'retry-after': '0' } }];
  const job = await run();
  assert.equal(job.attempts, 1);
  assert.ok(engine.requests.length >= 4);
});

test('a server error is tried again', { timeout: 120_000 }, async () => {
  engine.script = [{ status: 500 }, { status: 503, headers: { 'retry-after': '0' } }];
  const job = await run();
  assert.equal(job.attempts, 1);
});

test('a refusal fails the job at once and says what the server said', { timeout: 120_000 }, async () => {
  const body = JSON.stringify({ error: { message: 'the audio is too spicy', type: 'invalid_request_error', param: 'file', code: null } });
  engine.script = [{ status: 400, body }];
  const job = await run('failed');
  assert.equal(job.error.code, 'engine_rejected');
  assert.match(job.error.message, /too spicy/);
  assert.equal(job.attempts, 1);
});

test('an answer that is not what was promised is an error, not a crash', { timeout: 120_000 }, async () => {
  for (const body of ['', 'not json', '{"text":7}', '{"segments":{}}', '[1,2]', `{"text":"${'x'.repeat(100)}"`]) {
    engine.script = Array.from({ length: 12 }, () => ({ status: 200, body }));
    const job = await run('failed');
    assert.match(job.error.code, /^engine_/, `${body.slice(0, 20)}: ${JSON.stringify(job.error)}`);
  }
});

test('the key never reaches the log', () => {
  assert.ok(!service.log.includes(engine.key));
  assert.ok(!service.log.includes(world.secret));
});

test('a wrong key fails the job and names the reason', { timeout: 120_000 }, async () => {
  const other = await World.create({ ...engine.env(), OPENAI_API_KEY: 'sk-wrong', JOB_MAX_ATTEMPTS: '2' });
  try {
    const strict = await other.serve();
    const job = await other.submit(strict, {}, { file: sample.bytes });
    const done = await other.final(strict, job.id, 'failed');
    assert.match(done.error.message, /401|API key/);
    assert.ok(!done.error.message.includes('sk-wrong'));
  } finally {
    await other.finish();
  }
});

test('cancel breaks a running request off', { timeout: 120_000 }, async () => {
  engine.hold();
  const job = await world.submit(service, {}, { file: sample.bytes });
  await until('the engine is asked', () => engine.requests.length > 0);
  await request(service.url, 'POST', `/api/v1/transcriptions/${job.id}/cancel`);
  await until('the worker has let go', async () => (await world.tempFiles()).length === 0, 5);
  engine.release();
  assert.equal((await world.job(service, job.id)).status, 'cancelled');
});

test('the local engine takes over when that is allowed', { timeout: 240_000 }, async () => {
  const other = await World.create({ ...engine.env(), ENGINE_FALLBACK: 'true' });
  try {
    engine.script = Array.from({ length: 30 }, () => ({ status: 500 }));
    const both = await other.serve();
    const job = await other.submit(both, {}, { file: sample.bytes });
    await other.final(both, job.id, 'completed', 120);
    assert.equal((await other.transcript(both, job.id, 'verbose_json')).receipt.engine, 'pocketsphinx');
  } finally {
    await other.finish();
  }
});
