// Programs are killed at bad moments: no job is lost, none ends twice, nothing goes on running.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { alive, cpuTicks, descendants, request, until, SLOW, World } from './harness.mjs';
import { clips, sample } from './media.mjs';
import fs from 'node:fs';
import { OpenAiServer } from './openai-server.mjs';

const bytes = sample.bytes;

// A world whose recogniser waits for us.
async function heldWorld(env = {}) {
  const engine = await OpenAiServer.start();
  const world = await World.create({ ...engine.env(), MAX_CONCURRENT_TRANSCRIPTIONS: '2', ...env });
  world.use(engine);
  return { world, engine, receiver: await world.receiver() };
}

const child = (service, name) => descendants(service.pid).find((one) => one.command.includes(name));
const recognising = (engine, count = 1) =>
  until('the recogniser is being asked', () => engine.requests.length >= count);

async function endsOnce(world, service, receiver, id, attempts) {
  const job = await world.final(service, id, 'completed');
  assert.equal(job.attempts, attempts);
  const events = await receiver.of(id);
  assert.equal(new Set(events.map((one) => one.headers['webhook-id'])).size, 1);
  const { json } = await request(service.url, 'GET', `/api/v1/transcriptions/${id}/deliveries`);
  assert.equal(json.data.length, 1);
  assert.equal((await world.transcript(service, id)).text, 'the remote engine heard this');
}

test('kill -9 of the worker in the middle of a job: another finishes it, once', { timeout: 180_000 }, async () => {
  const { world, engine, receiver } = await heldWorld();
  try {
    const service = await world.api();
    const first = world.worker();
    engine.hold();
    const job = await world.submit(service, { callback_url: receiver.url }, { file: bytes });
    await recognising(engine);
    assert.equal((await world.job(service, job.id)).status, 'processing');
    const below = descendants(first.pid);
    first.kill('SIGKILL');
    await first.end();
    await until('its decoder is gone too', () => below.every((one) => !alive(one.pid)));
    assert.equal((await world.job(service, job.id)).status, 'processing');

    engine.release();
    world.worker();
    await endsOnce(world, service, receiver, job.id, 2);
    await until('nothing is left in the work folder', () => world.tempFiles().length === 0);
  } finally {
    await world.finish();
  }
});

test('kill -9 of the API right after a 202 loses nothing', { timeout: 180_000 }, async () => {
  const { world, receiver } = await heldWorld();
  try {
    let service = await world.api();
    const jobs = [];
    for (let i = 0; i < 3; i++) jobs.push(await world.submit(service, { callback_url: receiver.url }, { file: bytes }));
    service.kill('SIGKILL');
    await service.end();

    world.worker();
    service = await world.api();
    for (const job of jobs) await endsOnce(world, service, receiver, job.id, 1);
  } finally {
    await world.finish();
  }
});

test('kill -9 of serve takes its children along', { timeout: 120_000 }, async () => {
  const { world, engine } = await heldWorld();
  try {
    const service = await world.serve();
    engine.hold();
    const job = await world.submit(service, {}, { file: bytes });
    await recognising(engine);
    const below = descendants(service.pid);
    assert.ok(below.some((one) => one.command.includes('transcription-api')));
    assert.ok(below.some((one) => one.command.includes('transcription-worker')));
    service.kill('SIGKILL');
    await until('no child is left', () => below.every((one) => !alive(one.pid)));

    engine.release();
    const again = await world.serve();
    await world.final(again, job.id, 'completed');
  } finally {
    await world.finish();
  }
});

test('serve starts a child anew that dies', { timeout: 180_000 }, async () => {
  const { world, engine, receiver } = await heldWorld();
  try {
    const service = await world.serve();
    engine.hold();
    const job = await world.submit(service, { callback_url: receiver.url }, { file: bytes });
    await recognising(engine);
    const worker = child(service, 'transcription-worker').pid;
    process.kill(worker, 'SIGKILL');
    engine.release();
    await until('there is another worker', () => {
      const next = child(service, 'transcription-worker');
      return next && next.pid !== worker;
    });
    await endsOnce(world, service, receiver, job.id, 2);

    const api = child(service, 'transcription-api').pid;
    process.kill(api, 'SIGKILL');
    await until('the dead API is gone', () => !alive(api));
    await world.ready(service);
    assert.notEqual(child(service, 'transcription-api').pid, api);
    assert.equal((await world.job(service, job.id)).status, 'completed');
  } finally {
    await world.finish();
  }
});

test('SIGTERM lets a running job finish within the grace period', { timeout: 120_000 }, async () => {
  const { world, engine, receiver } = await heldWorld();
  try {
    let service = await world.serve();
    engine.hold();
    const job = await world.submit(service, { callback_url: receiver.url }, { file: bytes });
    await recognising(engine);
    service.kill('SIGTERM');
    await until('the worker knows', () => /drain|stopping|shutting/i.test(service.log));
    assert.ok(alive(service.pid));
    engine.release();
    assert.deepEqual(await service.end(), { code: 0, signal: null });

    service = await world.serve();
    const done = await world.job(service, job.id);
    assert.equal(done.status, 'completed');
    assert.equal(done.attempts, 1);
    await receiver.of(job.id);
  } finally {
    await world.finish();
  }
});

test('SIGTERM hands a job back that would take longer', { timeout: 120_000 }, async () => {
  const { world, engine, receiver } = await heldWorld({ SHUTDOWN_GRACE_SECONDS: '0.5', LEASE_SECONDS: '3600' });
  try {
    let service = await world.serve();
    engine.hold();
    const job = await world.submit(service, { callback_url: receiver.url }, { file: bytes });
    await recognising(engine);
    const below = descendants(service.pid);
    assert.deepEqual(await service.stop(), { code: 0, signal: null });
    assert.ok(below.every((one) => !alive(one.pid)));

    // Its lease would have lasted an hour: only a job that was handed back is taken at once.
    engine.release();
    service = await world.serve();
    await endsOnce(world, service, receiver, job.id, 1);
  } finally {
    await world.finish();
  }
});

describe('a user who changes their mind', () => {
  let world, service, receiver;
  before(async () => {
    world = await World.create({ MAX_CONCURRENT_TRANSCRIPTIONS: '1' });
    receiver = await world.receiver();
    service = await world.serve();
  });
  after(() => world.finish());

  test('cancel frees the CPU within a second', { timeout: 240_000 }, async () => {
    const long = fs.readFileSync(clips.long(20));
    const job = await world.submit(service, { callback_url: receiver.url }, { file: long });
    await until('it is being transcribed', async () => {
      const now = await world.job(service, job.id);
      return now.stage === 'transcribing' && now.progress > 0;
    }, 60);
    const worker = child(service, 'transcription-worker').pid;
    const answer = await request(service.url, 'POST', `/api/v1/transcriptions/${job.id}/cancel`);
    const begun = performance.now();
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.json.status, 'cancelled');
    // Idle: less than a tenth of one CPU over a tenth of a second.
    let last = cpuTicks(worker);
    let then = performance.now();
    await until('the worker is idle', () => {
      if (performance.now() - then < 100) return false;
      const now = cpuTicks(worker);
      const idle = now - last <= 1;
      last = now;
      then = performance.now();
      return idle;
    });
    const took = performance.now() - begun;
    assert.ok(took < 1000 * SLOW + 200, `it took ${Math.round(took)} ms`);
    assert.equal((await world.job(service, job.id)).status, 'cancelled');
    const [{ event }] = await receiver.of(job.id);
    assert.equal(event.type, 'transcription.cancelled');
    await until('the work folder is empty', () => world.tempFiles().length === 0);

    const again = await request(service.url, 'POST', `/api/v1/transcriptions/${job.id}/cancel`);
    assert.equal(again.status, 409);
  });

  test('delete removes the job, its transcript and its upload', { timeout: 120_000 }, async () => {
    const others = world.uploads().length;
    const job = await world.submit(service, {}, { file: bytes });
    await world.final(service, job.id, 'completed', 120);
    const target = `/api/v1/transcriptions/${job.id}`;
    assert.equal(world.uploads().length, others + 1);
    assert.equal((await request(service.url, 'DELETE', target)).status, 204);
    assert.equal((await request(service.url, 'GET', target)).status, 404);
    assert.equal((await request(service.url, 'GET', `${target}/transcript`)).status, 404);
    assert.equal((await request(service.url, 'DELETE', target)).status, 404);
    await until('its upload is gone', () => world.uploads().length === others, 60);
  });

  test('delete of a running job stops it', { timeout: 120_000 }, async () => {
    const others = world.uploads().length;
    const job = await world.submit(service, {}, { file: fs.readFileSync(clips.long(20)) });
    await until('it is being transcribed', async () => (await world.job(service, job.id)).stage === 'transcribing', 60);
    assert.equal((await request(service.url, 'DELETE', `/api/v1/transcriptions/${job.id}`)).status, 204);
    await until('the work folder is empty', () => world.tempFiles().length === 0);
    // One decoder waits for the next job.
    await until('its decoder is gone', () =>
      descendants(child(service, 'transcription-worker').pid).length <= 1);
    await until('its upload is gone', () => world.uploads().length === others, 60);
  });
});
