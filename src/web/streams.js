/** The lists of the status page that are asked for: open streams a page at a time, and what one user was told. */
import { api } from './api.js';
import { duration } from './explain.js';
import { byId, element, problem, rows } from './tables.js';

const EVERY_MS = 3_000;

let key;
let filter = {};
let after;
let next;
let timer;
let asked = 0;

export function begin(adminKey) {
  key = adminKey;
  byId('filters').addEventListener('submit', (event) => {
    event.preventDefault();
    filter = Object.fromEntries(
      [...new FormData(byId('filters'))].filter(([, value]) => value.trim() !== ''),
    );
    go(undefined);
  });
  byId('first').addEventListener('click', () => go(undefined));
  byId('next').addEventListener('click', () => go(next));
  byId('told-form').addEventListener('submit', (event) => {
    event.preventDefault();
    look(new FormData(byId('told-form')).get('user').trim());
  });
  document.addEventListener('visibilitychange', () => !document.hidden && load());
  load();
}

function go(place) {
  after = place;
  load();
}

async function load() {
  clearTimeout(timer);
  if (document.hidden) return;
  asked += 1;
  const turn = asked;
  try {
    const query = new URLSearchParams({ ...filter, ...(after && { after }) });
    const page = await api(`api/status/streams?${query}`, { key });
    // Another page was asked for meanwhile.
    if (turn !== asked) return;
    show(page);
    const silent = page.silent.length > 0 ? `No answer came from ${page.silent.join(', ')}.` : '';
    problem('streams-problem', silent);
  } catch (error) {
    if (turn !== asked) return;
    show({ total: 0, next: null, streams: [] });
    problem('streams-problem', error.message);
  }
  timer = setTimeout(load, EVERY_MS);
}

function show({ total, next: following, streams }) {
  next = following;
  byId('streams-count').textContent = total;
  byId('first').disabled = after === undefined;
  byId('next').disabled = following === null;
  const now = Date.now() / 1000;
  rows(
    'streams',
    streams.map((stream) => ({ ...stream, age: duration(Math.max(0, now - stream.opened_at)) })),
    ({ stream, age, user, address, state, waiting, process }) => {
      const who = user === null ? 'nobody signed in' : (user.email ?? user.id);
      const close = element('button', { type: 'button', className: 'small' }, 'Close');
      close.setAttribute('aria-label', `Close the stream of ${who} at ${address}`);
      close.title = 'Its browser opens another one and is caught up';
      close.addEventListener('click', () => end(stream));
      return element(
        'tr',
        {},
        element('th', { scope: 'row' }, who),
        element('td', {}, age),
        element('td', {}, address),
        element('td', {}, state.replace('_', ' ')),
        element('td', { className: 'number' }, waiting),
        element('td', {}, process),
        element('td', {}, close),
      );
    },
  );
}

async function end(stream) {
  try {
    await api(`api/status/streams?${new URLSearchParams({ stream })}`, { key, method: 'DELETE' });
    await load();
  } catch (error) {
    problem('streams-problem', error.message);
  }
}

async function look(user) {
  const said = byId('told-said');
  try {
    const answer = await api(`api/status/told?${new URLSearchParams({ user })}`, { key });
    const name = answer.user.email ?? answer.user.id;
    said.textContent =
      answer.told.length === 0
        ? `${name} was told of no change in the last minutes.`
        : `${name}, newest first. A stream that was open got it then; one that came back later got it then.`;
    rows('told', answer.told, (row) =>
      element(
        'tr',
        {},
        ...[row.at, row.event, row.history_id ?? '–', row.update_time ?? '–'].map((text) =>
          element('td', {}, text),
        ),
      ),
    );
  } catch (error) {
    said.textContent = error.message;
    rows('told', [], () => {});
  }
}
