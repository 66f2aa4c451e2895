// Media from a URL, from servers that behave and servers that don't.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { freePort, request, until, World } from './harness.mjs';
import { MediaServer } from './media-server.mjs';
import { clips, sample } from './media.mjs';
import { OpenAiServer } from './openai-server.mjs';

const bytes = sample.bytes;
let world, service, media, engine, receiver, nobody;

before(async () => {
  media = await MediaServer.start();
  engine = await OpenAiServer.start();
  nobody = await freePort();
  world = await World.create({
    ...engine.env(),
    // Only these ports of this one address; it stays private under any other port.
    MEDIA_ALLOWED_HOSTS: `127.0.0.1:${media.port},127.0.0.1:${nobody}`,
    MEDIA_URL_TEMPLATE: `${media.url}/videos/{video_id}.mp4`,
    MAX_AUDIO_SIZE_MB: '8',
    JOB_MAX_ATTEMPTS: '2',
    MAX_CONCURRENT_TRANSCRIPTIONS: '4',
  });
  fs.mkdirSync(path.join(world.folder, 'media root'));
  world.env.MEDIA_FILE_ROOT = path.join(world.folder, 'media root');
  world.use(media);
  world.use(engine);
  receiver = await world.receiver();
  service = await world.serve();
});
after(() => world.finish());

async function fails(url, code, attempts) {
  const job = await world.submit(service, { media_url: url, callback_url: receiver.url });
  const done = await world.final(service, job.id, 'failed', 90);
  assert.equal(done.error.code, code, JSON.stringify(done.error));
  if (attempts) assert.equal(done.attempts, attempts);
  const [{ event }] = await receiver.of(job.id);
  assert.equal(event.data.error.code, code);
  return done;
}

test('a media_url is fetched and transcribed', { timeout: 120_000 }, async () => {
  const job = await world.submit(service, { media_url: media.file('/film.mp4', bytes) });
  const done = await world.final(service, job.id, 'completed');
  assert.equal(done.media_url, `${media.url}/film.mp4`);
  assert.equal((await world.transcript(service, job.id)).text, engine.words.join(' '));
});

test('a video_id alone leads to the media by the template', { timeout: 120_000 }, async () => {
  media.file('/videos/%C3%A9t%C3%A9%20%2F1.mp4', bytes);
  const job = await world.submit(service, { video_id: 'été /1' });
  await world.final(service, job.id, 'completed');
});

test('a connection that breaks is resumed where it broke', { timeout: 120_000 }, async () => {
  const job = await world.submit(service, { media_url: media.cut('/cut.mp4', bytes) });
  const done = await world.final(service, job.id, 'completed');
  assert.equal(done.attempts, 1);
  const asked = media.asked('/cut.mp4');
  assert.equal(asked.length, 2);
  assert.match(asked[1].range, /^bytes=[1-9]\d*-$/);
  assert.equal(asked[1].headers['if-range'], '"film"');
});

test('a redirect to an allowed place is followed', { timeout: 120_000 }, async () => {
  media.file('/there.mp4', bytes);
  const job = await world.submit(service, { media_url: media.redirect('/here.mp4', '/there.mp4') });
  await world.final(service, job.id, 'completed');
});

test('a file below the allowed root is read', { timeout: 120_000 }, async () => {
  fs.copyFileSync(sample.file, path.join(world.env.MEDIA_FILE_ROOT, 'a film.mp4'));
  const url = `file://${encodeURI(path.join(world.env.MEDIA_FILE_ROOT, 'a film.mp4'))}`;
  const job = await world.submit(service, { media_url: url });
  await world.final(service, job.id, 'completed');
});

test('a file outside the allowed root is refused, also behind a link', { timeout: 120_000 }, async () => {
  const outside = path.join(world.folder, 'outside.mp4');
  fs.copyFileSync(sample.file, outside);
  fs.symlinkSync(outside, path.join(world.env.MEDIA_FILE_ROOT, 'link.mp4'));
  await fails(`file://${encodeURI(outside)}`, 'address_forbidden', 1);
  await fails(`file://${encodeURI(path.join(world.env.MEDIA_FILE_ROOT, 'link.mp4'))}`, 'address_forbidden', 1);
});

test('404 fails the job at once', { timeout: 120_000 }, async () => {
  const job = await fails(`${media.url}/missing.mp4`, 'media_http_error', 1);
  assert.match(job.error.message, /404/);
  assert.equal(media.asked('/missing.mp4').length, 1);
});

test('503 is tried again, a bounded number of times', { timeout: 120_000 }, async () => {
  await fails(media.status('/busy.mp4', 503), 'media_http_error_temporary', 2);
  assert.ok(media.asked('/busy.mp4').length <= 20);
});

test('an endless body ends at the size limit', { timeout: 120_000 }, async () => {
  await fails(media.endless('/endless.mp4'), 'media_too_large', 1);
  await until('the transfer is over', () => media.open === 0);
});

test('a Content-Length above the limit is refused before the body', { timeout: 120_000 }, async () => {
  const url = media.on('/huge.mp4', (_, answer) => {
    answer.writeHead(200, { 'content-length': 9 * 1024 * 1024 });
    answer.write('x');
  });
  await fails(url, 'media_too_large', 1);
});

test('a lying Content-Length fails after bounded tries', { timeout: 120_000 }, async () => {
  await fails(media.lying('/lying.mp4', bytes), 'media_incomplete', 2);
  assert.ok(media.asked('/lying.mp4').length <= 20);
});

test('a server that says nothing any more is given up', { timeout: 180_000 }, async () => {
  const { url } = media.stalling('/stalling.mp4', bytes);
  const job = await world.submit(service, { media_url: url });
  const done = await world.final(service, job.id, 'failed', 120);
  assert.ok(['timeout', 'media_incomplete', 'media_unreachable'].includes(done.error.code), done.error.code);
});

test('nobody there: the job fails after bounded tries', { timeout: 120_000 }, async () => {
  await fails(`http://127.0.0.1:${nobody}/x.mp4`, 'media_unreachable', 2);
});

test('an allowed address is private again under another port', { timeout: 120_000 }, async () => {
  await fails(receiver.url, 'address_forbidden', 1);
  assert.equal(receiver.refused.length, 0);
});

const forbidden = [
  'http://127.0.0.2/x.mp4',
  'http://[::1]/x.mp4',
  'http://[::ffff:127.0.0.2]/x.mp4',
  'http://10.0.0.1/x.mp4',
  'http://169.254.169.254/latest/meta-data/',
  'http://localhost:1/x.mp4',
  'http://0.0.0.0/x.mp4',
];
for (const url of forbidden) {
  test(`the private address ${url} is refused`, { timeout: 120_000 }, async () => {
    await fails(url, 'address_forbidden', 1);
  });
}

test('a redirect to a private address is refused', { timeout: 120_000 }, async () => {
  await fails(media.redirect('/trap.mp4', 'http://127.0.0.2:1/secret.mp4'), 'address_forbidden', 1);
  await fails(media.redirect('/file-trap.mp4', 'file:///etc/passwd'), 'address_forbidden', 1);
});

test('redirects in a circle end', { timeout: 120_000 }, async () => {
  const job = await world.submit(service, { media_url: media.redirect('/circle.mp4', '/circle.mp4') });
  await world.final(service, job.id, 'failed');
  assert.ok(media.asked('/circle.mp4').length <= 20);
});

test('a page instead of media fails with media_not_recognised', { timeout: 120_000 }, async () => {
  await fails(media.file('/page.mp4', fs.readFileSync(clips.notMedia())), 'media_not_recognised', 1);
});

test('cancel breaks a running transfer off', { timeout: 120_000 }, async () => {
  const { url, held } = media.stalling('/slow.mp4', bytes);
  const job = await world.submit(service, { media_url: url });
  await until('the transfer runs', () => held.length > 0);
  await request(service.url, 'POST', `/api/v1/transcriptions/${job.id}/cancel`);
  await until('the server sees the connection go', () => media.open === 0, 5);
});

test('nothing is left in the work folder', { timeout: 60_000 }, async () => {
  await until('the work folder is empty', () => world.tempFiles().length === 0);
});
