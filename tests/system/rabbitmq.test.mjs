// API and several workers that meet at a RabbitMQ: jobs flow, a broker that dies costs no job and refuses no submit.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { request, until, World } from './harness.mjs';
import { sample } from './media.mjs';
import { OpenAiServer } from './openai-server.mjs';
import { RabbitMq } from './rabbitmq.mjs';

const QUICK = { RABBITMQ_TIMEOUT_SECONDS: '3', RABBITMQ_CONNECT_TIMEOUT_SECONDS: '3', RABBITMQ_HEARTBEAT_SECONDS: '2' };

describe('jobs over RabbitMQ', () => {
  let world, broker, service;
  before(async () => {
    broker = await RabbitMq.start();
    const engine = await OpenAiServer.start();
    world = await World.create({ ...engine.env(), ...broker.env(), ...QUICK, MAX_CONCURRENT_TRANSCRIPTIONS: '2' });
    world.use(engine);
    world.use(broker);
    service = await world.api();
    world.worker();
    world.worker();
  });
  after(() => world.finish());

  const submit = (count) =>
    Promise.all(Array.from({ length: count }, (_, i) =>
      world.submit(service, { video_id: `video ${i}`, priority: ['high', 'normal', 'low'][i % 3] }, { file: sample.bytes })));

  test('they flow', { timeout: 180_000 }, async () => {
    const jobs = await submit(6);
    for (const job of jobs) {
      const done = await world.final(service, job.id, 'completed', 120);
      assert.equal(done.attempts, 1);
    }
    const { text } = await request(service.url, 'GET', '/metrics');
    assert.match(text, /^transcription_queue_up 1$/m);
  });

  test('a broker that dies: submits are taken, and all jobs end once it is back', { timeout: 240_000 }, async () => {
    const before = await submit(4);
    await broker.kill();
    const during = await submit(5); // each is a 202
    await until('readiness says what is missing', async () => {
      const { status, json } = await request(service.url, 'GET', '/health/ready');
      return status === 503 && json.checks.queue.status === 'failing' && json.checks.store.status === 'ok';
    });
    const late = world.worker(); // one that starts while the broker is away
    await until('it has found that out', () => /the queue is not available yet/.test(late.log));
    await broker.up();
    for (const job of [...before, ...during]) {
      await world.final(service, job.id, 'completed', 120);
    }
    await world.ready(service);
    assert.equal(late.ended, undefined);
  });

  test('a wrong password stops the start and is named', { timeout: 60_000 }, async () => {
    for (const program of ['transcription-api', 'transcription-worker']) {
      const { code, stderr, stdout } = await world.command(program, [], { env: { RABBITMQ_PASSWORD: 'swordfish', PORT: '0' } });
      assert.equal(code, 2, stderr);
      assert.match(stderr, /RABBITMQ_USER: .*ACCESS_REFUSED/);
      assert.doesNotMatch(stderr + stdout, /swordfish/);
    }
  });
});
