// A worker is stopped (SIGSTOP) while it holds a job, past its lease; another takes the job over and ends it; then the
// first goes on with a result in its hands. One result, one callback, and nothing of the first is written.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { request, until, World } from './harness.mjs';
import { sample } from './media.mjs';
import { OpenAiServer } from './openai-server.mjs';
import { Postgres } from './postgres.mjs';
import { RabbitMq } from './rabbitmq.mjs';

const state = (pid) => /^State:\s+(\S)/m.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))[1];
// Whoever is stopped in the middle of a write keeps its lock: that would be another test. SQLite's is byte 120 of -shm.
function writes(pid, data) {
  const { ino } = fs.statSync(path.join(data, 'transcription.db-shm'));
  return new RegExp(`WRITE +${pid} \\S+:${ino} 120 `).test(fs.readFileSync('/proc/locks', 'utf8'));
}

async function stopOutsideOfAWrite(worker, busy) {
  await until('the worker is stopped outside of a write', async () => {
    process.kill(worker.pid, 'SIGSTOP');
    await until('it is stopped', () => state(worker.pid) === 'T');
    if (!busy()) return true;
    process.kill(worker.pid, 'SIGCONT');
    return false;
  });
}

// All that the service tells about a job.
async function told(world, service, id) {
  const deliveries = await request(service.url, 'GET', `/api/v1/transcriptions/${id}/deliveries`);
  assert.equal(deliveries.status, 200, deliveries.text);
  return {
    job: await world.job(service, id),
    transcript: await world.transcript(service, id, 'verbose_json'),
    deliveries: deliveries.json,
  };
}

// A later result must not win, nor a failure, nor a retry.
const OUTCOMES = {
  'a result of its own': (engine) => {
    engine.words = ['what', 'the', 'stopped', 'worker', 'heard'];
  },
  'a final failure': (engine) => {
    engine.late = { status: 400, body: '{"error":{"message":"no such audio","type":"invalid_request_error","param":null,"code":null}}' };
  },
  'a failure that would be tried again': (engine) => {
    engine.late = { status: 503, body: '{"error":{"message":"busy","type":"server_error","param":null,"code":null}}' };
  },
};

function fencing(name, start) {
  describe(name, () => {
    let world;
    after(() => world?.finish());

    for (const [outcome, prepare] of Object.entries(OUTCOMES)) {
      test(`the stopped worker comes back with ${outcome}`, { timeout: 240_000 }, async () => {
        const engine = await OpenAiServer.start();
        if (!world) {
          world = await World.create({ MAX_CONCURRENT_TRANSCRIPTIONS: '1' });
          Object.assign(world, await start(world));
        }
        world.use(engine);
        Object.assign(world.env, engine.env());
        const receiver = await world.receiver();
        const service = await world.api();
        const first = world.worker();
        engine.hold();
        const job = await world.submit(service, { callback_url: receiver.url }, { file: sample.bytes });
        await until('the recogniser is asked', () => engine.requests.length === 1);
        await until('the job is being transcribed', async () => (await world.job(service, job.id)).stage === 'transcribing');

        await stopOutsideOfAWrite(first, () => world.busy(first));
        const usual = engine.words;
        prepare(engine);
        engine.release(); // the answer waits in the socket of the stopped worker
        await until('it was answered', () => engine.requests[0].answered);
        engine.words = usual;
        const second = world.worker();
        const done = await world.final(service, job.id, 'completed');
        assert.equal(done.attempts, 2);
        const [event] = await receiver.of(job.id);
        assert.equal(event.event.type, 'transcription.completed');
        await until('that is noted', async () => (await told(world, service, job.id)).deliveries.data[0].status === 'delivered');
        const before = await told(world, service, job.id);
        assert.equal(before.transcript.text, 'the remote engine heard this');
        assert.equal(state(first.pid), 'T');

        process.kill(first.pid, 'SIGCONT');
        await until('it has found out', () => /job stopped: nothing written.*lease lost|lease lost.*nothing written/.test(first.log));
        assert.deepEqual(await told(world, service, job.id), before);

        // It is of use again: alone, it does the next job.
        assert.equal((await second.stop()).code, 0);
        const next = await world.submit(service, { callback_url: receiver.url }, { file: sample.bytes });
        assert.equal((await world.final(service, next.id, 'completed')).attempts, 1);
        await receiver.of(next.id);
        assert.deepEqual(await told(world, service, job.id), before);
        assert.equal(receiver.events.length, 2);
        assert.equal(receiver.refused.length, 0);
        assert.equal(new Set(receiver.events.map((one) => one.headers['webhook-id'])).size, 2);
        assert.equal((await first.stop()).code, 0);
        assert.equal((await service.stop()).code, 0);
        assert.deepEqual(world.tempFiles(), []);
        assert.equal(first.lines.filter((line) => /job completed|job failed|tried again/.test(line.message ?? line.msg)).length, 1);
      });
    }
  });
}

fencing('over SQLite', (world) => ({ busy: (worker) => writes(worker.pid, world.data) }));

fencing('over PostgreSQL and RabbitMQ', async (world) => {
  const database = await Postgres.start();
  world.finishers.push(() => database.finish());
  const broker = world.use(await RabbitMq.start());
  Object.assign(world.env, database.env, broker.env(), { RABBITMQ_HEARTBEAT_SECONDS: '2' });
  return { busy: () => database.query("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'") !== '0' };
});
