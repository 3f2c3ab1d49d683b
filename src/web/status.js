/** The status page: the installation once a second, by a stream of its own, with a key that stays in this browser tab. */
import { api } from './api.js';
import { follow } from './events.js';
import { duration, findings, hops } from './explain.js';
import { Plots } from './plots.js';
import { begin as beginStreams } from './streams.js';
import { byId, element, problem, rows } from './tables.js';

const STORED_KEY = 'lightcone-admin-key';
const plots = new Plots(byId('plots'));
let shown = false;

byId('login').addEventListener('submit', (event) => {
  event.preventDefault();
  sessionStorage.setItem(STORED_KEY, byId('login').querySelector('input').value.trim());
  begin();
});
byId('forget').addEventListener('click', () => {
  sessionStorage.removeItem(STORED_KEY);
  location.reload();
});
begin();

async function begin() {
  const key = sessionStorage.getItem(STORED_KEY) ?? undefined;
  try {
    // An administrator who is signed in at this site needs no key.
    if (key === undefined && !(await api('api/whoami'))?.is_admin) {
      visible(false);
      return;
    }
  } catch {
    visible(false);
    return;
  }
  follow('api/status/live', key, {
    event(name, data) {
      if (name === 'history') plots.begin(data);
      if (name === 'bucket') plots.add(data);
      if (name === 'now') show(data, key);
    },
    problem(error) {
      problem('problem', error.message);
      stale();
      // A key that does not fit is not tried again.
      if (error.status !== 401 && error.status !== 403) return;
      sessionStorage.removeItem(STORED_KEY);
      visible(false);
    },
  });
}

function show(now, key) {
  problem('problem', '');
  visible(true);
  if (!shown) beginStreams(key);
  shown = true;
  rows(
    'findings',
    findings(now).map(({ level, text }) => ({ level, text })),
    ({ level, text }) => element('li', { className: level }, text),
  );
  rows('flow', hops(now), ({ name, count, note }) =>
    element('li', {}, name, element('b', {}, count), element('small', {}, note)),
  );
  const heard = now.processes.filter(({ state }) => state === 'heard').length;
  byId('processes-count').textContent = `${heard} of ${now.processes.length} heard`;
  rows(
    'processes',
    now.processes.map((process) => described(process, now.self)),
    (cells) =>
      element(
        'tr',
        { className: cells.state },
        element('th', { scope: 'row' }, cells.name, element('small', {}, cells.where)),
        element('td', {}, cells.said),
        element('td', {}, cells.role),
        ...cells.numbers.map((text) => element('td', { className: 'number' }, text)),
      ),
  );
  rows('refused', [...now.refusals].reverse(), ({ at, reason, address, process }) =>
    element(
      'tr',
      {},
      element('td', {}, new Date(at).toTimeString().slice(0, 8)),
      element('td', {}, reason.toLowerCase().replaceAll('_', ' ')),
      element('td', {}, address),
      element('td', {}, process),
    ),
  );
}

function described(process, self) {
  const { key, name, host, pid, version, state, role, ready, problems, leadingSeconds, startedAt, gauges } =
    process;
  const number = (value) => (value === null ? '–' : String(value));
  const age = gauges.watermark_age_ms;
  const states = {
    heard: problems.length > 0 ? 'not well' : ready ? 'well' : 'not ready',
    silent: `not heard for ${Math.round(process.heard_ms / 1000)} s`,
    stopped: 'stopped',
  };
  return {
    name,
    where: `${host}, ${pid}, ${version}${key === self ? ', tells this page' : ''}`,
    state: state === 'heard' && problems.length > 0 ? 'unwell' : state,
    said: states[state],
    role: leadingSeconds === null ? role : `${role}, leads for ${duration(leadingSeconds)}`,
    numbers: [
      number(gauges.streams),
      number(gauges.users),
      number(gauges.waiting),
      age === null ? '–' : `${(age / 1000).toFixed(1)} s ago`,
      state === 'heard' ? duration(Math.max(0, Date.now() - startedAt) / 1000) : '–',
    ],
  };
}

/** What was true a moment ago is not shown as if it were true now. */
function stale() {
  if (!shown) return;
  rows('findings', ['Nothing is known: this worker does not answer. What stands below is old.'], (text) =>
    element('li', { className: 'bad' }, text),
  );
}

function visible(known) {
  byId('report').hidden = !known;
  byId('forget').hidden = !known;
  byId('login').hidden = known;
}
