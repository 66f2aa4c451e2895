// A hostile life: names nobody should give to a file, receivers that misbehave, a disk that is full, and a long day.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { assertProblem, descendants, form, request, SLOW, until, World } from './harness.mjs';
import { MediaServer } from './media-server.mjs';
import { sample } from './media.mjs';
import { OpenAiServer } from './openai-server.mjs';

const JOBS = '/api/v1/transcriptions';
const bytes = sample.bytes;
// For the log: ASCII, and short.
const shown = (name) => (name.length > 40 ? `${encodeURI(name.slice(0, 2))} ... (${name.length})` : encodeURI(name));

async function quickWorld(env = {}) {
  const engine = await OpenAiServer.start();
  const world = await World.create({ ...engine.env(), MAX_CONCURRENT_TRANSCRIPTIONS: '2', JOB_MAX_ATTEMPTS: '2', ...env });
  world.use(engine);
  return world;
}

describe('names of files', () => {
  let world, service;
  before(async () => {
    world = await quickWorld();
    world.env.MEDIA_FILE_ROOT = path.join(world.folder, 'media root');
    fs.mkdirSync(world.env.MEDIA_FILE_ROOT);
    service = await world.serve();
  });
  after(() => world.finish());

  const upload = (filename) => {
    const sending = form({ video_id: 'v' }, [{ filename, data: bytes }]);
    return request(service.url, 'POST', JOBS, sending);
  };

  const taken = [
    '../../../etc/passwd', '..', '.', '-rf', 'a b.mp4', '%00.mp4', '%2e%2e%2f', '$(reboot).mp4', "'; DROP TABLE jobs;--",
    '<script>.mp4', '🎬🧑‍🚀.mp4', 'קובץ.mp4', 'e\u0301.mp4', '\u202egpj.mp4', 'CON', 'x'.repeat(255), '🎬'.repeat(63),
    '/', 'C:\\films\\one.mp4', 'a%0d%0aX-Evil: 1',
  ];
  for (const name of taken) {
    test(`an upload called ${shown(name)} is a job or a clear refusal`, { timeout: 60_000 }, async () => {
      const answer = await upload(name);
      if (answer.status === 400) {
        assert.equal(name, '/'); // nothing is left of that
        return assertProblem(answer, 400, 'invalid-multipart', 'file');
      }
      assert.equal(answer.status, 202, answer.text);
      assert.equal(answer.headers['x-evil'], undefined);
      await world.final(service, answer.json.id, 'completed');
      await until('no file is left', () => world.tempFiles().length === 0);
    });
  }
  const refused = ['', 'x'.repeat(256), 'a\nb.mp4', 'a\rb.mp4', 'a\0b.mp4', 'a\tb.mp4', '\x7f', '🎬'.repeat(64)];
  for (const name of refused) {
    test(`an upload called ${shown(name)} is refused`, { timeout: 60_000 }, async () => {
      assertProblem(await upload(name), 400, 'invalid-multipart');
      assert.ok(world.uploads().every((one) => !one.endsWith('.part')));
    });
  }
  test('an upload whose name is not UTF-8 is refused', { timeout: 60_000 }, async () => {
    const { body, headers } = form({ video_id: 'v' }, [{ filename: 'NAME.mp4', data: bytes }]);
    const at = body.indexOf('NAME');
    Buffer.from([0xff, 0xfe, 0xc0, 0xaf]).copy(body, at);
    assertProblem(await request(service.url, 'POST', JOBS, { body, headers }), 400, 'invalid-multipart');
  });
  test('uploads never get a name of their client\'s', () => {
    for (const name of world.uploads()) assert.match(path.basename(name), /^[0-9a-f-]{36}$/);
  });

  const encoded = (name) =>
    `file://${[...Buffer.from(path.join(world.env.MEDIA_FILE_ROOT, name))]
      .map((byte) => (byte === 0x2f ? '/' : `%${byte.toString(16).padStart(2, '0')}`)).join('')}`;
  const names = ['a\nb.mp4', '🎬.mp4', '%00.mp4', '...', '-f', 'x'.repeat(255), ' ', '"\'`$(x)', '\u202e', 'a?b#c'];
  for (const name of names) {
    test(`file:// with ${shown(name)} is read`, { timeout: 60_000 }, async () => {
      fs.writeFileSync(path.join(world.env.MEDIA_FILE_ROOT, name), bytes);
      const job = await world.submit(service, { media_url: encoded(name) });
      await world.final(service, job.id, 'completed');
    });
  }
  const outside = [
    ['/%00', 400, null], ['/../secret', null, 'address_forbidden'], ['/%2e%2e/secret', null, 'address_forbidden'],
    ['/a%2fb', 400, null], [`/${'x'.repeat(256)}`, null, null], ['/', null, null], ['/%ff%fe', null, 'not_found'],
    ['/..%2f..%2fetc/passwd', 400, null],
  ];
  for (const [tail, status, code] of outside) {
    test(`file:// with ${shown(tail)} is refused or fails, and says why`, { timeout: 60_000 }, async () => {
      const root = encodeURI(world.env.MEDIA_FILE_ROOT);
      const answer = await request(service.url, 'POST', JOBS, { body: { video_id: 'v', media_url: `file://${root}${tail}` } });
      if (answer.status === 400) return assertProblem(answer, 400, 'invalid-field', 'media_url');
      assert.equal(answer.status, 202, answer.text);
      const job = await world.final(service, answer.json.id, 'failed');
      assert.equal(job.attempts, 1, JSON.stringify(job.error));
      if (code) assert.equal(job.error.code, code);
      assert.ok(!JSON.stringify(job.error).includes(world.folder), 'the error tells where the files lie');
    });
  }
});

describe('receivers that misbehave', () => {
  let world, service, good;
  before(async () => {
    world = await quickWorld({ CALLBACK_MAX_ATTEMPTS: '2', CALLBACK_TIMEOUT_SECONDS: '1' });
    good = await world.receiver();
    service = await world.serve();
  });
  after(() => world.finish());

  const drip = (socket, text, piece) => {
    const timer = setInterval(() => socket.write(piece), 50);
    socket.on('close', () => clearInterval(timer));
    socket.write(text);
  };
  const head = 'HTTP/1.1 200 OK\r\n';
  // What they do with a connection once the request is there; whether the event counts as taken.
  const manners = {
    'answer nothing': [() => {}, 'failed'],
    'reset the connection': [(socket) => socket.resetAndDestroy(), 'failed'],
    'close the connection': [(socket) => socket.end(), 'failed'],
    'drip a header without end': [(socket) => drip(socket, head, 'X-A: b\r\n'), 'failed'],
    'send a header line without end': [(socket) => drip(socket, `${head}X-A: `, 'x'.repeat(65536)), 'failed'],
    'speak no HTTP': [(socket) => socket.end('220 mail.example ESMTP\r\n'), 'failed'],
    'drip a body': [(socket) => drip(socket, `${head}Content-Length: 1000\r\n\r\n`, 'x'), 'failed'],
    'send a body without end': [(socket) => drip(socket, `${head}\r\n`, 'x'.repeat(65536)), 'delivered'],
    'lie about the length': [(socket) => socket.end(`${head}Content-Length: 1000\r\n\r\nshort`), 'failed'],
    'continue without end': [(socket) => drip(socket, '', 'HTTP/1.1 100 Continue\r\n\r\n'), 'failed'],
    'redirect to themselves': [(socket) => socket.end('HTTP/1.1 307 Again\r\nLocation: /\r\nContent-Length: 0\r\n\r\n'), 'failed'],
    'answer with zeros': [(socket) => socket.end(Buffer.concat([Buffer.from(`${head}Content-Length: 100\r\n\r\n`), Buffer.alloc(100)])), 'delivered'],
    'ask to come back in a thousand years': [
      (socket) => socket.end('HTTP/1.1 503 No\r\nRetry-After: Wed, 01 Jan 3025 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n'), null],
  };
  test('each is given up or done with, and holds up nobody', { timeout: 240_000 }, async () => {
    const jobs = [];
    for (const [manner, [act, outcome]] of Object.entries(manners)) {
      let connections = 0;
      const server = net.createServer((socket) => {
        connections += 1;
        socket.on('error', () => {});
        socket.once('data', () => act(socket));
      });
      await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
      const sockets = new Set();
      server.on('connection', (socket) => sockets.add(socket));
      world.use({ finish: () => { for (const socket of sockets) socket.destroy(); server.close(); } });
      const job = await world.submit(service, { callback_url: `http://127.0.0.1:${server.address().port}/` }, { file: bytes });
      jobs.push({ manner, outcome, id: job.id, connections: () => connections });
    }
    const last = await world.submit(service, { callback_url: good.url }, { file: bytes });
    await world.final(service, last.id, 'completed', 120);
    await good.of(last.id);
    for (const { manner, outcome, id, connections } of jobs) {
      await world.final(service, id, 'completed');
      const delivery = await until(`those that ${manner} are done with`, async () => {
        const { json } = await request(service.url, 'GET', `${JOBS}/${id}/deliveries`);
        const [one] = json.data;
        return (outcome ? one.status === outcome : one.attempts.length === 1) && one;
      }, 60);
      const tries = outcome === 'failed' ? 2 : 1;
      assert.equal(delivery.attempts.length, tries, manner);
      assert.equal(connections(), tries, manner);
      for (const attempt of delivery.attempts) {
        assert.ok(attempt.duration_ms < 10_000, `${manner}: ${attempt.duration_ms} ms`);
        assert.ok(outcome === 'delivered' || attempt.error, manner);
        assert.ok((attempt.response ?? '').length <= 1024 && !(attempt.response ?? '').includes('\0'), manner);
      }
    }
  });
});

// A limit on the size of files fails a write in the middle, as a full disk does, and needs no mount.
describe('a disk without room', () => {
  const LIMIT = 2 << 20;
  const large = Buffer.alloc(3 << 20, 'x');

  test('an upload that does not fit is refused and removed; one that fits is taken', { timeout: 120_000 }, async () => {
    const world = await quickWorld();
    try {
      const service = await world.api({}, { fileLimit: LIMIT });
      const worker = world.worker();
      const { body, headers } = form({ video_id: 'v' }, [{ data: large }]);
      for (let i = 0; i < 3; i += 1)
        assertProblem(await request(service.url, 'POST', JOBS, { body, headers }), 507, 'insufficient-storage', 'file');
      assert.deepEqual(world.uploads(), []);
      const job = await world.submit(service, {}, { file: bytes });
      await world.final(service, job.id, 'completed');
      for (const program of [worker, service]) assert.equal((await program.stop()).code, 0);
    } finally {
      await world.finish();
    }
  });

  test('media that does not fit fails its job after bounded tries; the next one is done', { timeout: 120_000 }, async () => {
    const world = await quickWorld();
    try {
      const media = world.use(await MediaServer.start());
      const service = await world.api();
      const worker = world.worker({}, { fileLimit: LIMIT });
      const job = await world.submit(service, { media_url: media.file('/large.mp4', large) });
      const failed = await world.final(service, job.id, 'failed');
      assert.equal(failed.error.code, 'io', JSON.stringify(failed.error));
      assert.equal(failed.attempts, 2);
      assert.deepEqual(world.tempFiles(), []);
      const next = await world.submit(service, { media_url: media.file('/small.mp4', bytes) });
      await world.final(service, next.id, 'completed');
      for (const program of [worker, service]) assert.equal((await program.stop()).code, 0);
    } finally {
      await world.finish();
    }
  });

  test('a store that cannot grow refuses jobs, keeps those it has, and goes on once there is room', { timeout: 120_000 }, async () => {
    const world = await quickWorld();
    try {
      let service = await world.api({}, { fileLimit: LIMIT });
      const metadata = { text: 'x'.repeat(8000) };
      const ids = [];
      let refused;
      for (let i = 0; i < 500 && !refused; i += 1) {
        const body = { video_id: `v${i}`, media_url: 'http://127.0.0.1:1/nothing', metadata };
        const answer = await request(service.url, 'POST', JOBS, { body });
        if (answer.status === 202) ids.push(answer.json.id);
        else refused = answer;
      }
      assert.ok(refused.status === 503 || refused.status === 507, refused.text);
      for (const id of ids) assert.equal((await world.job(service, id)).status, 'queued');
      assert.equal((await service.stop()).code, 0);
      service = await world.api();
      for (const id of ids) assert.equal((await world.job(service, id)).status, 'queued');
      const job = await world.submit(service, {}, { file: bytes });
      world.worker();
      await world.final(service, job.id, 'completed');
      for (const id of ids) await world.final(service, id, 'failed');
    } finally {
      await world.finish();
    }
  });
});

test('the API stops in order while malformed requests pour in', { timeout: 120_000 }, async () => {
  const world = await World.create({ HTTP_THREADS: '3', MAX_CONNECTIONS: '24', LOG_LEVEL: 'error' });
  const malformed = [
    'GET / HTTP/1.1\r\n\r\n', 'X\r\n\r\n', 'GET /health/live HTTP/1.1\r\nHost: h\r\n\r\nGET /x HTTP/9\r\n\r\n',
    `GET /health/live HTTP/1.1\r\n${'a: b\r\n'.repeat(5000)}\r\n`,
    `POST ${JOBS} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n`,
  ];
  try {
    for (let round = 0; round < 4; round += 1) {
      const service = await world.api();
      const { port } = new URL(service.url);
      const sockets = new Set();
      let pouring = true;
      let answers = 0;
      const pour = (turn) => {
        if (!pouring) return;
        const socket = net.connect(port, '127.0.0.1');
        sockets.add(socket);
        socket.on('error', () => {});
        socket.on('connect', () => socket.write(malformed[turn % malformed.length]));
        socket.on('data', () => (answers += 1));
        socket.on('close', () => {
          sockets.delete(socket);
          setImmediate(pour, turn + 1);
        });
      };
      for (let i = 0; i < 40; i += 1) pour(i);
      await until('they are answered', () => answers >= 200);
      const end = await service.stop();
      pouring = false;
      for (const socket of sockets) socket.destroy();
      assert.deepEqual(end, { code: 0, signal: null });
    }
  } finally {
    await world.finish();
  }
});

describe('a long day', () => {
  const handles = (pid) => fs.readdirSync(`/proc/${pid}/fd`).length;
  const kilobytes = (pid) => Number(/^VmRSS:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))[1]);

  test('300 jobs leave no descriptor, child, file or growing memory', { timeout: 600_000 }, async () => {
    const world = await quickWorld({ JOB_MAX_ATTEMPTS: '1', MEDIA_FILE_ROOT: '/tmp' });
    try {
      const receiver = await world.receiver();
      const media = world.use(await MediaServer.start());
      const good = media.file('/good.mp4', bytes);
      const page = media.on('/page', (_, answer) => answer.end('<html>'));
      const service = await world.api();
      const worker = world.worker();
      const kinds = [
        [{}, { file: bytes }, 'completed'], [{ media_url: good }, {}, 'completed'], [{ media_url: page }, {}, 'failed'],
        [{ media_url: `${media.url}/missing` }, {}, 'failed'], [{ media_url: 'file:///etc/passwd' }, {}, 'failed'],
      ];
      const round = async (count) => {
        for (let done = 0; done < count; done += 10) {
          const jobs = await Promise.all(Array.from({ length: 10 }, async (_, i) => {
            const [fields, options, outcome] = kinds[i % kinds.length];
            return { outcome, ...(await world.submit(service, { callback_url: receiver.url, ...fields }, options)) };
          }));
          for (const { id, outcome } of jobs) await world.final(service, id, outcome);
          for (const { id } of jobs) await receiver.of(id);
        }
      };
      const count = () => [service, worker].map(({ pid }) => ({ handles: handles(pid), children: descendants(pid).length, kilobytes: kilobytes(pid) }));
      // Connections that are closing are still counted for a moment; the store may open one more for each thread.
      const ROOM = 10;
      const settle = (before) => until('nothing is left over', () => {
        const now = count();
        return now.every((one, i) => one.handles <= before[i].handles + ROOM && one.children <= before[i].children) && now;
      });
      await round(40);
      await until('the work folder is empty', () => world.tempFiles().length === 0);
      const before = count();
      await round(300);
      const now = await settle(before);
      await until('the work folder is empty', () => world.tempFiles().length === 0);
      // A sanitizer keeps what was freed.
      if (SLOW === 1) for (const [i, one] of now.entries()) assert.ok(one.kilobytes < before[i].kilobytes * 1.3 + 4096, JSON.stringify([before, now]));
      assert.equal(new Set(receiver.events.map((one) => one.headers['webhook-id'])).size, 340);
      assert.equal(receiver.events.length, 340);
    } finally {
      await world.finish();
    }
  });
});
