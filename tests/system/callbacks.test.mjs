// Callbacks against receivers that fail: the same event again, until it is taken or given up.
import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { freePort, request, until, World } from './harness.mjs';
import { sample } from './media.mjs';
import { OpenAiServer } from './openai-server.mjs';

let world, service, receiver;

before(async () => {
  const engine = await OpenAiServer.start();
  world = await World.create({ ...engine.env(), CALLBACK_MAX_ATTEMPTS: '4', CALLBACK_TIMEOUT_SECONDS: '2' });
  world.use(engine);
  receiver = await world.receiver();
  service = await world.serve();
});
after(() => world.finish());

const finished = async (callback_url) => {
  const job = await world.submit(service, { callback_url, metadata: { order: 7 } }, { file: sample.bytes });
  return world.final(service, job.id, 'completed');
};
const deliveries = async (job) =>
  (await request(service.url, 'GET', `/api/v1/transcriptions/${job.id}/deliveries`)).json.data;
const settled = (job, status) =>
  until(`the delivery is ${status}`, async () => (await deliveries(job)).find((one) => one.status === status));

test('a receiver that fails gets the same event again', { timeout: 120_000 }, async () => {
  receiver.answers.push({ status: 500 }, { status: 502 }, { status: 302, headers: { location: '/elsewhere' } });
  const job = await finished(receiver.url);
  const events = await receiver.of(job.id, 4);
  assert.deepEqual(events.map((one) => one.status), [500, 502, 302, 204]);
  assert.equal(new Set(events.map((one) => one.headers['webhook-id'])).size, 1);
  assert.equal(new Set(events.map((one) => one.body)).size, 1);
  assert.ok(events.every((one) => one.path === '/callback'));
  assert.deepEqual(events[0].event.data.metadata, { order: 7 });
  const delivery = await settled(job, 'delivered');
  assert.equal(delivery.event_id, events[0].headers['webhook-id']);
  assert.deepEqual(delivery.attempts.map((one) => one.status), [500, 502, 302, 204]);
});

test('a delivery is given up after its attempts, and sent again on request', { timeout: 120_000 }, async () => {
  receiver.answers.push(...Array.from({ length: 4 }, () => ({ status: 503 })));
  const job = await finished(receiver.url);
  const given = await settled(job, 'failed');
  assert.equal(given.attempts.length, 4);
  const answer = await request(service.url, 'POST', `/api/v1/transcriptions/${job.id}/deliveries/${given.number}/redeliver`);
  assert.ok(answer.status === 202 || answer.status === 200, answer.text);
  await settled(job, 'delivered');
  const events = await receiver.of(job.id, 5);
  assert.equal(new Set(events.map((one) => one.headers['webhook-id'])).size, 1);
});

test('410 ends the tries at once', { timeout: 120_000 }, async () => {
  receiver.answers.push({ status: 410 });
  const job = await finished(receiver.url);
  const delivery = await settled(job, 'failed');
  assert.equal(delivery.attempts.length, 1);
});

test('a private receiver that is not allowed is never asked', { timeout: 120_000 }, async () => {
  const job = await finished('http://127.0.0.2:1/callback');
  const delivery = await settled(job, 'failed');
  assert.ok(delivery.attempts.every((one) => one.status === null));
  assert.match(delivery.attempts[0].error, /127\.0\.0\.2|private|loopback|allowed/);
});

test('a receiver that is away is tried until it is back', { timeout: 120_000 }, async () => {
  const port = await freePort();
  const job = await finished(`http://127.0.0.1:${port}/late`);
  await until('one try has failed', async () => (await deliveries(job))[0]?.attempts.length >= 1);
  const delivery = (await deliveries(job))[0];
  assert.equal(delivery.attempts[0].status, null);
  let body = '';
  const late = http.createServer((incoming, answer) => {
    incoming.on('data', (block) => (body += block)).on('end', () => answer.writeHead(200).end());
  });
  await new Promise((resolve) => late.listen(port, '127.0.0.1', resolve));
  world.use({ finish: () => late.close() });
  if ((await deliveries(job))[0].status !== 'delivered') {
    await request(service.url, 'POST', `/api/v1/transcriptions/${job.id}/deliveries/1/redeliver`);
  }
  await settled(job, 'delivered');
  assert.equal(JSON.parse(body).data.id, job.id);
});

test('a receiver that never answers does not hold up the others', { timeout: 120_000 }, async () => {
  const silent = http.createServer(() => {});
  await new Promise((resolve) => silent.listen(0, '127.0.0.1', resolve));
  world.use({
    finish: () => {
      silent.closeAllConnections();
      silent.close();
    },
  });
  const stuck = await finished(`http://127.0.0.1:${silent.address().port}/silent`);
  const job = await finished(receiver.url);
  await receiver.of(job.id);
  await until('the silent one timed out', async () => (await deliveries(stuck))[0]?.attempts.length >= 1);
});
