// Serves media, well or badly: each path has its manner. Keeps what was asked of it.
import http from 'node:http';

export class MediaServer {
  requests = [];
  routes = new Map();
  open = 0;

  static async start() {
    const server = new MediaServer();
    server.http = http.createServer((incoming, answer) => {
      server.requests.push({ path: incoming.url, range: incoming.headers.range, headers: incoming.headers });
      server.open++;
      answer.on('close', () => server.open--);
      const route = server.routes.get(incoming.url);
      if (route) route(incoming, answer);
      else answer.writeHead(404).end('not here');
    });
    await new Promise((resolve) => server.http.listen(0, '127.0.0.1', resolve));
    server.port = server.http.address().port;
    server.url = `http://127.0.0.1:${server.port}`;
    return server;
  }

  finish() {
    this.http.closeAllConnections();
    this.http.close();
  }

  asked(path) {
    return this.requests.filter((one) => one.path === path);
  }

  // Adds a path; returns its URL.
  on(path, route) {
    this.routes.set(path, route);
    return this.url + path;
  }

  file(path, bytes) {
    return this.on(path, (_, answer) => {
      answer.writeHead(200, { 'content-type': 'video/mp4', 'content-length': bytes.length }).end(bytes);
    });
  }

  // Breaks the connection in the middle of the first answer; later ones honour Range.
  cut(path, bytes) {
    let tries = 0;
    return this.on(path, (incoming, answer) => {
      const validator = { etag: '"film"', 'accept-ranges': 'bytes' };
      const from = Number(/^bytes=(\d+)-$/.exec(incoming.headers.range ?? '')?.[1] ?? 0);
      if (tries++ === 0) {
        answer.writeHead(200, { ...validator, 'content-length': bytes.length });
        answer.write(bytes.subarray(0, Math.floor(bytes.length / 2)), () => incoming.socket.destroy());
        return;
      }
      const range = from ? { 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` } : {};
      answer.writeHead(from ? 206 : 200, { ...validator, ...range, 'content-length': bytes.length - from });
      answer.end(bytes.subarray(from));
    });
  }

  // Promises more than it sends, each time.
  lying(path, bytes) {
    return this.on(path, (incoming, answer) => {
      answer.writeHead(200, { 'content-length': bytes.length * 2 });
      answer.write(bytes, () => incoming.socket.destroy());
    });
  }

  // Never ends by itself: sends as fast as it is read.
  endless(path) {
    const block = Buffer.alloc(1 << 16, 'x');
    return this.on(path, (_, answer) => {
      answer.writeHead(200, { 'content-type': 'video/mp4' });
      const more = () => {
        while (!answer.destroyed && answer.write(block));
        if (!answer.destroyed) answer.once('drain', more);
      };
      more();
    });
  }

  // Sends the beginning and then nothing, until `release` is called or the peer has enough.
  stalling(path, bytes) {
    const held = [];
    const url = this.on(path, (_, answer) => {
      answer.writeHead(200, { 'content-length': bytes.length });
      answer.write(bytes.subarray(0, 1000));
      held.push(() => answer.end(bytes.subarray(1000)));
    });
    return { url, release: () => held.splice(0).forEach((one) => one()), held };
  }

  redirect(path, location) {
    return this.on(path, (_, answer) => answer.writeHead(302, { location }).end());
  }

  status(path, status, headers = {}) {
    return this.on(path, (_, answer) => answer.writeHead(status, headers).end('no'));
  }
}
