// One log stream: in production every line is one JSON object, and a job can be followed by its id.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { request, until, World } from './harness.mjs';
import { sample } from './media.mjs';
import { OpenAiServer } from './openai-server.mjs';

test('every line is JSON and tells request and job', { timeout: 120_000 }, async () => {
  const engine = await OpenAiServer.start();
  const world = await World.create(engine.env());
  world.use(engine);
  const receiver = await world.receiver();
  try {
    const service = await world.serve();
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const job = await world.submit(service, { callback_url: receiver.url },
      { file: sample.bytes, headers: { 'x-request-id': 'trace-me-7', traceparent } });
    await world.final(service, job.id, 'completed');
    const [callback] = await receiver.of(job.id);
    await request(service.url, 'GET', '/api/v1/transcriptions', { key: 'a-wrong-key-in-a-header' });
    await until('the delivery is logged', () => /deliver/.test(service.log));
    await service.stop();

    const lines = service.lines;
    for (const line of lines) {
      assert.match(line.time ?? line.ts ?? line.timestamp, /^\d{4}-\d\d-\d\dT/);
      assert.match(line.level, /^(debug|info|warn|error)$/);
      assert.ok((line.message ?? line.msg).length > 0);
    }
    const components = new Set(lines.map((line) => line.component));
    assert.ok(components.has('api') && components.has('worker'), [...components].join());
    // What is done for the job carries the request that asked for it; later looks at the job are requests of their own.
    const mine = lines.filter((line) => line.job_id === job.id && !(line.component === 'api' && line.method === 'GET'));
    assert.ok(mine.some((line) => line.component === 'worker') && mine.some((line) => line.component === 'api'));
    for (const line of mine) assert.equal(line.request_id, 'trace-me-7', JSON.stringify(line));
    assert.match(callback.headers.traceparent ?? '', /^00-0af7651916cd43dd8448eb211c80319c-/);
    for (const secret of [world.env.SERVICE_API_KEY, world.secret, engine.key, 'a-wrong-key-in-a-header']) {
      assert.ok(!service.log.includes(secret));
    }
  } finally {
    await world.finish();
  }
});

test('on a terminal in development the lines are for people', { timeout: 60_000 }, async () => {
  const world = await World.create({ ENVIRONMENT: 'development', LOG_FORMAT: 'text' });
  try {
    const service = await world.serve();
    await service.stop();
    for (const line of service.log.trim().split('\n')) assert.ok(!line.startsWith('{'), line);
  } finally {
    await world.finish();
  }
});
