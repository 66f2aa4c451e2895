// What the API says to requests that are wrong, hostile or slow; and that it goes on serving others meanwhile.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import { after, before, describe, test } from 'node:test';
import { assertProblem, form, KEY, request, until, World } from './harness.mjs';
import { clips, sample } from './media.mjs';
import { OpenAiServer } from './openai-server.mjs';

const JOBS = '/api/v1/transcriptions';
let world, service, engine;

before(async () => {
  engine = await OpenAiServer.start();
  world = await World.create({
    ...engine.env(),
    MEDIA_URL_TEMPLATE: 'http://127.0.0.1:9/{video_id}',
    REQUEST_TIMEOUT_SECONDS: '2',
    MAX_UPLOAD_MB: '1',
    SERVICE_API_KEY: `${KEY},another-key-for-rotation`,
    ENGINE_FALLBACK: 'false',
  });
  world.use(engine);
  service = await world.serve();
});
after(async () => {
  // After all of it the same process still serves.
  assert.equal((await request(service.url, 'GET', '/health/live')).status, 200);
  assert.equal((await request(service.url, 'GET', '/health/ready')).status, 200);
  await world.finish();
});

const good = { video_id: 'v', user_id: 'u' };
const post = (body, options = {}) => request(service.url, 'POST', JOBS, { body, ...options });

describe('the body of a submit', () => {
  const cases = [
    ['a missing video_id', { user_id: 'u' }, 'missing-field', 'video_id'],
    ['an empty video_id', { ...good, video_id: '' }, 'invalid-field', 'video_id'],
    ['a number as video_id', { ...good, video_id: 7 }, 'invalid-field', 'video_id'],
    ['null as video_id', { ...good, video_id: null }, /invalid-field|missing-field/, 'video_id'],
    ['an over-long video_id', { ...good, video_id: 'x'.repeat(201) }, 'invalid-field', 'video_id'],
    ['a control character in user_id', { ...good, user_id: 'a\u0007b' }, 'invalid-field', 'user_id'],
    ['an unknown field', { ...good, colour: 'red' }, 'unknown-field', 'colour'],
    ['a callback_url that is no URL', { ...good, callback_url: 'not a url' }, 'invalid-field', 'callback_url'],
    ['a callback_url with another scheme', { ...good, callback_url: 'ftp://x/y' }, 'invalid-field', 'callback_url'],
    ['a callback_url with a password', { ...good, callback_url: 'http://a:b@x/y' }, 'invalid-field', 'callback_url'],
    ['an over-long callback_url', { ...good, callback_url: `http://x/${'y'.repeat(3000)}` }, 'invalid-field', 'callback_url'],
    ['a media_url with a newline', { ...good, media_url: 'http://x/\ny' }, 'invalid-field', 'media_url'],
    ['a file:// media_url without a root for it', { ...good, media_url: 'file:///etc/passwd' }, 'invalid-field', 'media_url'],
    ['a language that is none', { ...good, language: 'english' }, 'invalid-field', 'language'],
    ['metadata that is no object', { ...good, metadata: [1] }, 'invalid-field', 'metadata'],
    ['metadata that is too large', { ...good, metadata: { x: 'y'.repeat(9000) } }, 'invalid-field', 'metadata'],
    ['an upload_id of the wrong form', { ...good, upload_id: '7' }, 'invalid-field', 'upload_id'],
    ['two sources', { ...good, media_url: 'http://x/y', upload_id: '0190b2a4-0000-7000-8000-000000000000' }, 'invalid-field', undefined],
    ['a priority that is none', { ...good, priority: 'urgent' }, 'invalid-field', 'priority'],
  ];
  for (const [what, body, type, field] of cases) {
    test(`${what} is refused by name`, async () => {
      const answer = await post(body);
      if (type instanceof RegExp) {
        assert.match(answer.json.type, type);
        assertProblem(answer, 400, answer.json.type.split('/').pop(), field);
      } else {
        assertProblem(answer, 400, type, field);
      }
    });
  }

  const raw = (body, headers = {}) => post(body, { headers: { 'content-type': 'application/json', ...headers } });
  test('JSON that is broken', async () => assertProblem(await raw('{"video_id":'), 400, 'invalid-json'));
  test('JSON that is no object', async () => assertProblem(await raw('["video_id"]'), 400, 'invalid-json'));
  test('an empty body', async () => assertProblem(await raw(''), 400, 'invalid-json'));
  test('a field given twice', async () =>
    assertProblem(await raw('{"video_id":"a","video_id":"b","user_id":"u"}'), 400, 'invalid-json', 'video_id'));
  test('bytes that are not UTF-8', async () =>
    assertProblem(await raw(Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d])), 400, 'invalid-json'));
  test('a NUL inside a text', async () => {
    const answer = await raw('{"video_id":"a\\u0000b","user_id":"u"}');
    assert.equal(answer.status, 400, answer.text);
  });
  test('nesting without end', async () => {
    const answer = await raw('['.repeat(30_000));
    assert.equal(answer.status, 400, answer.text);
  });
  test('a body over the limit', async () =>
    assertProblem(await raw(JSON.stringify({ ...good, metadata: { x: 'y'.repeat(70_000) } })), 413, 'body-too-large'));
  test('a body over the limit that does not say so', async () => {
    const { Readable } = await import('node:stream');
    const blocks = Array.from({ length: 40 }, () => Buffer.alloc(4096, ' '));
    const answer = await raw(Readable.from(blocks));
    assertProblem(answer, 413, 'body-too-large');
  });
  test('another media type', async () =>
    assertProblem(await post('video_id=v', { headers: { 'content-type': 'application/x-www-form-urlencoded' } }), 415,
      'unsupported-media-type'));
  test('no media type', async () => {
    const answer = await request(service.url, 'POST', JOBS, { body: Buffer.from('{}') });
    assertProblem(answer, 415, 'unsupported-media-type');
  });
});

describe('uploads', () => {
  const send = (fields, files, change = (body) => body) => {
    const made = form(fields, files);
    return request(service.url, 'POST', JOBS, { body: change(made.body), headers: made.headers });
  };
  const file = () => ({ data: fs.readFileSync(clips.short()) });

  test('a form with a file becomes a job', async () => {
    const answer = await send(good, [file()]);
    assert.equal(answer.status, 202, answer.text);
    assert.match(answer.headers.location, new RegExp(`${JOBS}/${answer.json.id}$`));
  });
  test('a form without a video_id is refused', async () =>
    assertProblem(await send({ user_id: 'u' }, [file()]), 400, 'missing-field', 'video_id'));
  test('an unknown field of a form is refused', async () =>
    assertProblem(await send({ ...good, colour: 'red' }, [file()]), 400, 'unknown-field', 'colour'));
  test('two files are refused', async () => {
    const answer = await send(good, [file(), file()]);
    assert.equal(answer.status, 400, answer.text);
    assert.equal(answer.json.field, 'file');
  });
  test('a form that ends early is refused', async () => {
    const answer = await send(good, [file()], (body) => body.subarray(0, body.length - 40));
    assertProblem(answer, 400, 'invalid-multipart');
  });
  test('a form without its boundary is refused', async () => {
    const answer = await post(Buffer.from('x'), { headers: { 'content-type': 'multipart/form-data' } });
    assert.ok([400, 415].includes(answer.status), answer.text);
  });
  test('a file over the limit is refused, and none of it stays', async () => {
    const before = world.uploads().length;
    // The server may close while we still send; both are an answer, but never a 202.
    let answer;
    try {
      answer = await send(good, [{ data: Buffer.alloc(3 << 20, 'x') }]);
    } catch (error) {
      assert.match(error.code, /EPIPE|ECONNRESET/);
    }
    if (answer) assertProblem(answer, 413, 'body-too-large');
    await until('nothing of it is left', () => world.uploads().length === before);
  });
  test('a client that goes away in the middle of an upload leaves nothing', async () => {
    const before = world.uploads().length;
    const made = form(good, [{ data: Buffer.alloc(500_000, 'x') }]);
    const socket = net.connect(new URL(service.url).port, '127.0.0.1');
    await new Promise((resolve) => socket.on('connect', resolve));
    socket.write(
      `POST ${JOBS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${KEY}\r\n` +
        `Content-Type: ${made.headers['content-type']}\r\nContent-Length: ${made.body.length}\r\n\r\n`,
    );
    await new Promise((resolve) => socket.write(made.body.subarray(0, 250_000), resolve));
    await until('the upload has begun', () => world.uploads().length > before);
    socket.destroy();
    await until('nothing of it is left', () => world.uploads().length === before);
  });
});

describe('who asks, and for what', () => {
  const missing = '0190b2a4-0000-7000-8000-000000000000';

  test('no key', async () => {
    const answer = await request(service.url, 'GET', JOBS, { key: null });
    assertProblem(answer, 401, 'unauthorized');
    assert.match(answer.headers['www-authenticate'], /^Bearer/);
  });
  test('a wrong key', async () => assertProblem(await request(service.url, 'GET', JOBS, { key: 'no' }), 401, 'unauthorized'));
  test('a key that only begins right', async () =>
    assertProblem(await request(service.url, 'GET', JOBS, { key: KEY.slice(0, -1) }), 401, 'unauthorized'));
  test('the second key of a rotation', async () =>
    assert.equal((await request(service.url, 'GET', JOBS, { key: 'another-key-for-rotation' })).status, 200));
  test('a wrong key is answered before an upload is taken', async () => {
    const made = form(good, [{ data: Buffer.alloc(100_000) }]);
    const answer = await request(service.url, 'POST', JOBS, { ...made, key: 'no' }).catch((error) => error);
    assert.ok(answer.status === 401 || /EPIPE|ECONNRESET/.test(answer.code), String(answer));
  });
  test('an unknown id', async () => assertProblem(await request(service.url, 'GET', `${JOBS}/${missing}`), 404, 'not-found'));
  test('an id that is none', async () => {
    for (const id of ['7', "x' or 1=1--", '%00', '..%2f..%2fetc', 'A'.repeat(5000)]) {
      const answer = await request(service.url, 'GET', `${JOBS}/${encodeURIComponent(decodeURIComponent(id))}`);
      assert.ok([400, 404, 414, 431].includes(answer.status), `${id.slice(0, 20)}: ${answer.status}`);
    }
  });
  test('an unknown path', async () => assertProblem(await request(service.url, 'GET', '/api/v2/x'), 404, 'unknown-path'));
  test('a wrong method says which are right', async () => {
    const answer = await request(service.url, 'PUT', JOBS, { body: {} });
    assertProblem(answer, 405, 'method-not-allowed');
    assert.deepEqual(answer.headers.allow.split(/, */).filter((one) => /GET|POST/.test(one)).sort(), ['GET', 'POST']);
  });
  for (const [query, name] of [['limit=0', 'limit'], ['limit=abc', 'limit'], ['status=done', 'status'], ['cursor=x', 'cursor'],
    ['created_after=yesterday', 'created_after'], ['colour=red', 'colour']]) {
    test(`the list refuses ?${query}`, async () => {
      const answer = await request(service.url, 'GET', `${JOBS}?${query}`);
      assert.equal(answer.status, 400, answer.text);
      assert.equal(answer.json.field, name);
    });
  }
  test('a wait that is none is refused', async () => {
    const job = (await post(good)).json;
    const answer = await request(service.url, 'GET', `${JOBS}/${job.id}?wait=soon`);
    assertProblem(answer, 400, 'invalid-parameter', 'wait');
  });
  test('a format that is none is refused', async () => {
    const job = (await post(good)).json;
    const answer = await request(service.url, 'GET', `${JOBS}/${job.id}/transcript?format=doc`);
    assertProblem(answer, 400, 'invalid-parameter', 'format');
  });
});

describe('lists, keys that repeat, and what is told of the service', () => {
  test('pages hold every job once, newest first', async () => {
    const user = `pager-${process.pid}`;
    const ids = [];
    for (let i = 0; i < 5; i++) ids.push((await post({ video_id: `p${i}`, user_id: user })).json.id);
    const seen = [];
    let cursor = '';
    do {
      const { json } = await request(service.url, 'GET', `${JOBS}?user_id=${user}&limit=2${cursor}`);
      seen.push(...json.data.map((job) => job.id));
      cursor = json.next_cursor ? `&cursor=${encodeURIComponent(json.next_cursor)}` : '';
    } while (cursor);
    assert.deepEqual(seen, ids.reverse());
    const { json } = await request(service.url, 'GET', `${JOBS}?user_id=${user}&video_id=p3`);
    assert.equal(json.data.length, 1);
  });

  test('an Idempotency-Key gives the same job, and 422 for another request', async () => {
    const headers = { 'idempotency-key': `key-${process.pid}` };
    const first = await post(good, { headers });
    const second = await post(good, { headers });
    assert.equal(first.status, 202);
    assert.equal(second.status, 202, second.text);
    assert.equal(second.json.id, first.json.id);
    assertProblem(await post({ ...good, video_id: 'other' }, { headers }), 422, 'idempotency-conflict');
  });

  test('a request id is echoed, and one is given when there is none', async () => {
    const mine = await request(service.url, 'GET', '/health/live', { headers: { 'x-request-id': 'my-id-1' } });
    assert.equal(mine.headers['x-request-id'], 'my-id-1');
    const given = await request(service.url, 'GET', '/health/live');
    assert.ok(given.headers['x-request-id'].length >= 16);
  });

  test('metadata comes back as it was', async () => {
    const metadata = { title: 'Zoë & 語', nested: { n: [1, 2.5, true, null] } };
    const job = (await post({ ...good, metadata })).json;
    assert.deepEqual(job.metadata, metadata);
  });

  test('metrics are Prometheus text', async () => {
    const { status, headers, text } = await request(service.url, 'GET', '/metrics', { key: null });
    assert.equal(status, 200);
    assert.match(headers['content-type'], /^text\/plain/);
    for (const line of text.split('\n').filter((one) => one && !one.startsWith('#'))) {
      assert.match(line, /^[a-z_]+(\{([a-z_]+="(\\.|[^"\\])*",?)*\})? (-?[0-9.e+-]+|NaN|\+Inf)$/);
    }
    assert.match(text, /^# TYPE \w+ (counter|gauge|histogram)$/m);
  });

  test('a filled backlog answers 429 with Retry-After', async () => {
    const small = await World.create({ ...engine.env(), MEDIA_URL_TEMPLATE: 'http://127.0.0.1:9/{video_id}', MAX_QUEUED_JOBS: '2' });
    try {
      const api = await small.api();
      for (let i = 0; i < 2; i++) await small.submit(api, {});
      const answer = await request(api.url, 'POST', JOBS, { body: good });
      assertProblem(answer, 429, 'backlog-full');
      assert.match(answer.headers['retry-after'], /^\d+$/);
    } finally {
      await small.finish();
    }
  });
});

// Sends raw bytes and gives back what came until the connection closed.
function raw(bytes, seconds = 30) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(new URL(service.url).port, '127.0.0.1');
    let text = '';
    socket.setTimeout(seconds * 1000, () => socket.destroy(new Error('neither answered nor closed')));
    socket.on('connect', () => socket.write(bytes));
    socket.on('data', (block) => (text += block));
    socket.on('error', (error) => (/EPIPE|ECONNRESET/.test(error.code) ? resolve(text) : reject(error)));
    socket.on('close', () => resolve(text));
  });
}

describe('hostile connections', () => {
  test('10,000 headers', async () => {
    const lines = Array.from({ length: 10_000 }, (_, i) => `X-${i}: y\r\n`).join('');
    const text = await raw(`GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${lines}\r\n`);
    assert.match(text, /^(HTTP\/1\.1 4\d\d |$)/);
    assert.doesNotMatch(text, /^HTTP\/1\.1 200/);
  });
  test('a header line without end', async () => {
    const text = await raw(`GET /health/live HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(1 << 20)}\r\n\r\n`);
    assert.doesNotMatch(text, /^HTTP\/1\.1 200/);
  });
  test('what is not HTTP at all', async () => {
    const text = await raw('\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n');
    assert.doesNotMatch(text, /^HTTP\/1\.1 200/);
  });
  test('a slow client is cut off, and others are served meanwhile', async () => {
    const slow = Array.from({ length: 20 }, () => raw(`POST ${JOBS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${KEY}\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"vi`));
    const heads = Array.from({ length: 20 }, () => raw('GET /health/live HTTP/1.1\r\nHo'));
    for (let i = 0; i < 10; i++) assert.equal((await request(service.url, 'GET', '/health/live', { timeout: 5 })).status, 200);
    for (const text of await Promise.all([...slow, ...heads])) assert.match(text, /^(HTTP\/1\.1 4\d\d |$)/);
  });
  test('a body that says two lengths', async () => {
    const text = await raw(
      `POST ${JOBS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${KEY}\r\nConnection: close\r\n` +
        'Content-Type: application/json\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    );
    assert.doesNotMatch(text, /^HTTP\/1\.1 2\d\d/);
  });
});

test('the sample is small enough for these tests', () => assert.ok(sample.bytes.length < 1 << 20));
