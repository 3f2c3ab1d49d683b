/** The demo page: two panes, each a visitor of its own with its own stream. */
import { LightconeClient } from '../client/lightcone.js';
import { api, BASE } from './api.js';

const VISITORS = { alice: 'demo-alice', bob: 'demo-bob', admin: 'demo-admin', anonymous: '' };
const OWN_KEY = 'another key …';
const EVENTS = [
  'history_update',
  'entry_point_update',
  'notification_update',
  'broadcast_update',
  'notification_status',
];
const STATES = {
  live: 'connected',
  catching_up: 'connected',
  connecting: 'connecting …',
  stale: 'connecting …',
  polling: 'no stream: asking again and again',
  paused: 'not connected',
  stopped: 'not connected',
};
const LOG_LENGTH = 100;

class Pane {
  #key = '';
  #client;
  #events = 0;

  constructor(visitor) {
    this.root = document.getElementById('pane').content.cloneNode(true).firstElementChild;
    this.who = this.#find('.who');
    this.who.append(...[...Object.keys(VISITORS), OWN_KEY].map((name) => new Option(name)));
    this.who.value = visitor;
    this.who.addEventListener('change', () => this.#choose());
    this.#find('.own-key').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#become(this.#find('.own-key input').value.trim());
    });
    this.#choose();
  }

  #choose() {
    const own = this.who.value === OWN_KEY;
    this.#find('.own-key').hidden = !own;
    if (own) this.#find('.own-key input').focus();
    else this.#become(VISITORS[this.who.value]);
  }

  /** Closes the stream of the visitor before and opens one for the new. */
  #become(key) {
    this.#client?.close();
    this.#key = key;
    this.#events = 0;
    this.#find('.count').textContent = '0';
    this.#find('.log').replaceChildren();
    this.#find('.histories').replaceChildren();
    const client = new LightconeClient({
      baseUrl: BASE,
      apiKey: key,
    });
    this.#client = client;
    client.onState((status) => this.#showState(client, status));
    for (const name of EVENTS) client.on(name, (data) => this.#receive(name, data));
    client.open();
  }

  #showState(client, status) {
    if (client !== this.#client) return;
    this.#find('.state').dataset.state = status;
    this.#find('.state-text').textContent = STATES[status];
    // The stream tells what changes from here on; what is already there is asked for once it is open. An EventSource does
    // not tell why it was refused; this request does.
    if (status !== 'paused') this.#load();
  }

  #receive(name, data) {
    this.#events += 1;
    this.#find('.count').textContent = this.#events;
    const line = document.createElement('li');
    line.className = 'fresh';
    const time = document.createElement('time');
    time.textContent = new Date().toTimeString().slice(0, 8);
    const kind = document.createElement('b');
    kind.textContent = name;
    line.append(time, ' ', kind, ' ', JSON.stringify(data));
    const log = this.#find('.log');
    log.prepend(line);
    log.children[LOG_LENGTH]?.remove();
    if (name === 'history_update') this.#load(data.history_ids);
  }

  /** @param changed ids to be marked as just changed */
  async #load(changed = []) {
    const key = this.#key;
    try {
      const histories = await api('api/histories', { key });
      if (key !== this.#key) return;
      this.#problem('');
      this.#showHistories(histories, changed);
    } catch (error) {
      if (key === this.#key) this.#problem(error.message);
    }
  }

  #showHistories(histories, changed) {
    const list = this.#find('.histories');
    if (histories.length === 0) {
      const empty = document.createElement('li');
      empty.className = 'empty';
      empty.textContent = this.#key ? 'No history yet.' : 'Without a login only broadcasts arrive.';
      list.replaceChildren(empty);
      return;
    }
    const known = new Map([...list.children].map((item) => [item.dataset.id, item]));
    // Lines are kept, so that what somebody is typing in another line is not lost.
    list.replaceChildren(...histories.map(({ id }) => known.get(id) ?? this.#line(id)));
    for (const { id, name } of histories) {
      const item = [...list.children].find((child) => child.dataset.id === id);
      const input = item.querySelector('.name');
      if (document.activeElement !== input || changed.includes(id)) input.value = name;
      if (changed.includes(id)) mark(item);
    }
    showCurl(histories[0], this.#key);
  }

  #line(id) {
    const item = document.getElementById('history').content.cloneNode(true).firstElementChild;
    item.dataset.id = id;
    item.querySelector('form').addEventListener('submit', async (event) => {
      event.preventDefault();
      const name = item.querySelector('.name').value;
      try {
        await api(`api/histories/${id}`, { key: this.#key, method: 'PUT', body: { name } });
        this.#problem('');
      } catch (error) {
        this.#problem(error.message);
      }
    });
    return item;
  }

  #problem(text) {
    const problem = this.#find('.problem');
    problem.hidden = text === '';
    problem.textContent = text;
  }

  #find(selector) {
    return this.root.querySelector(selector);
  }
}

/** Starts the highlight again, also while one is running. */
function mark(element) {
  element.classList.remove('fresh');
  void element.offsetWidth;
  element.classList.add('fresh');
}

/** The lines are for the first visitor that has a history, and stay. */
function showCurl(history, key) {
  const rename = document.getElementById('curl-rename');
  if (rename.textContent || !key) return;
  // Only demo keys are printed: somebody else's own key does not belong on a screen.
  const shown = Object.values(VISITORS).includes(key) ? key : 'YOUR-KEY';
  document.getElementById('curl-stream').textContent = `curl -N '${BASE}api/events/stream?key=${shown}'`;
  rename.textContent = [
    `curl -X PUT '${BASE}api/histories/${history.id}?key=${shown}' \\`,
    `     -H 'Content-Type: application/json' -d '{"name":"from a shell"}'`,
  ].join('\n');
}

document.getElementById('panes').append(...['alice', 'bob'].map((visitor) => new Pane(visitor).root));
