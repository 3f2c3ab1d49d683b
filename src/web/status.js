/** The status page: asks every two seconds, with the key of an administrator that stays in this browser tab. */
import { api } from './api.js';
import { findings, hops } from './explain.js';

const EVERY_MS = 2_000;
const STORED_KEY = 'lightcone-admin-key';

const byId = (id) => document.getElementById(id);
let timer;

byId('login').addEventListener('submit', (event) => {
  event.preventDefault();
  sessionStorage.setItem(STORED_KEY, byId('login').querySelector('input').value.trim());
  refresh();
});
byId('forget').addEventListener('click', () => {
  sessionStorage.removeItem(STORED_KEY);
  location.reload();
});
if (sessionStorage.getItem(STORED_KEY)) refresh();

async function refresh() {
  clearTimeout(timer);
  try {
    show(await api('api/status', { key: sessionStorage.getItem(STORED_KEY) }));
    problem('');
  } catch (error) {
    problem(error.message);
    if (error.status === 401 || error.status === 403) {
      // A key that does not fit is not tried again.
      sessionStorage.removeItem(STORED_KEY);
      visible(false);
      return;
    }
  }
  timer = setTimeout(refresh, EVERY_MS);
}

function show(status) {
  visible(true);
  const { server, problems } = status;
  byId('summary').textContent =
    `${server.name} on ${server.hostname} (process ${server.pid}), Lightcone ${server.version}, ${server.mode}, ` +
    `up ${duration(server.uptime_seconds)}. The counters are those of this process since its start.`;
  byId('flow').replaceChildren(
    ...hops(status).map(({ name, count, note }) =>
      element('li', {}, name, element('b', {}, count), element('small', {}, note)),
    ),
  );
  byId('findings').replaceChildren(
    ...problems.map((text) => element('li', { className: 'bad' }, text)),
    ...findings(status).map(({ level, text }) => element('li', { className: level }, text)),
  );
  byId('parts').replaceChildren(
    ...parts(status).flatMap(([name, value]) => [element('dt', {}, name), element('dd', {}, value ?? '–')]),
  );
}

const parts = ({ server, database, bus, monitor, watermark, connections, flow }) => [
  ['Started', `${server.started} UTC`],
  ['Database', database.display],
  ['Statements sent', database.statements],
  ['Bus', bus.display],
  ['Monitor', monitor.leads ? 'this process' : monitor.leader],
  ['Cursor of the monitor', monitor.cursor],
  ['Watermark', watermark.until],
  ['Tabs', `${connections.open} of at most ${connections.limit}`],
  ['Users, sessions', `${connections.users}, ${connections.sessions}`],
  ['Histories viewed by others', connections.viewed_histories],
  ['Catch-ups, gaps repaired', `${flow.resumes}, ${flow.gaps_repaired}`],
];

function visible(shown) {
  byId('report').hidden = !shown;
  byId('forget').hidden = !shown;
  byId('login').hidden = shown;
}

function problem(text) {
  byId('problem').hidden = text === '';
  byId('problem').textContent = text;
}

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function duration(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}
