// The service over PostgreSQL: no broker, several APIs and workers, a database that goes away and comes back.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { request, until, World } from './harness.mjs';
import { sample } from './media.mjs';
import { OpenAiServer } from './openai-server.mjs';
import { Postgres } from './postgres.mjs';

let world, engine, database, receiver;

before(async () => {
  database = await Postgres.start();
  engine = await OpenAiServer.start();
  world = await World.create({ ...engine.env(), ...database.env, MAX_CONCURRENT_TRANSCRIPTIONS: '2' });
  world.use(engine);
  receiver = await world.receiver();
});

after(async () => {
  await world?.finish();
  await database?.finish();
});

test('migrate says where the database is, and no password', { timeout: 120_000 }, async () => {
  for (const outcome of [/schema 0 brought to \d+/, /schema \d+, up to date/]) {
    const { code, stdout, stderr } = await world.command('transcription', ['migrate']);
    assert.equal(code, 0, stderr);
    assert.match(stdout, outcome);
    assert.match(stdout, /^postgresql:\/\/app@127\.0\.0\.1:\d+\/postgres: /);
    assert.ok(!stdout.includes(database.env.POSTGRES_PASSWORD));
  }
  const url = `postgresql://app:secret-word@127.0.0.1:${database.port}/postgres`;
  const { stdout } = await world.command('transcription', ['config'], { env: { DATABASE_URL: url } });
  assert.match(stdout, /^DATABASE_URL=postgresql:\/\/app:\*\*\*@127\.0\.0\.1/m);
  assert.ok(!stdout.includes('secret-word'));
});

test('two APIs and two workers share the jobs; words are found', { timeout: 180_000 }, async () => {
  const [one, two] = [await world.api(), await world.api()];
  const workers = [world.worker(), world.worker()];
  const jobs = [];
  for (let i = 0; i < 6; i++)
    jobs.push(await world.submit(i % 2 ? one : two, { callback_url: receiver.url }, { file: sample.bytes }));
  for (const job of jobs) {
    const done = await world.final(one, job.id, 'completed');
    assert.equal(done.attempts, 1);
    await until('its callback came', async () => (await receiver.of(job.id)).length >= 1);
  }
  const found = await request(two.url, 'GET', '/api/v1/transcriptions?q=engine%20REMOTE&limit=200');
  assert.equal(found.json.data.length, 6);
  const none = await request(two.url, 'GET', '/api/v1/transcriptions?q=remote%20silence');
  assert.equal(none.json.data.length, 0);
  await until('nothing is left in the queue', () => database.query('SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM queue_messages)') === '0');

  // The database crashes while a job is running.
  engine.hold();
  const job = await world.submit(one, { callback_url: receiver.url }, { file: sample.bytes });
  const asked = engine.requests.length;
  await until('it runs', async () => (await world.job(one, job.id)).status === 'processing' && engine.requests.length >= asked);
  await database.crash();
  const away = await request(one.url, 'GET', `/api/v1/transcriptions/${job.id}`);
  assert.equal(away.status, 503);
  await database.restart();
  engine.release();
  await until('the API has found it again', async () => (await request(one.url, 'GET', `/api/v1/transcriptions/${job.id}`)).status === 200);
  await world.final(one, job.id, 'completed');
  const events = await receiver.of(job.id);
  assert.equal(new Set(events.map((event) => event.headers['webhook-id'])).size, 1);
  assert.equal(database.query(`SELECT count(*) FROM deliveries WHERE job_id = '${job.id}'`), '1');
  for (const program of [...workers, one, two]) assert.equal((await program.stop()).code, 0);
});
