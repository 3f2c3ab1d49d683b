/** The demo: two devices of Alice and one of Bob. The devices of one person share a stream, as the tabs of a browser do. */
import { LightconeClient } from '../client/lightcone.js';
import { api, BASE } from './api.js';
import { showPath } from './path.js';
import { element, unbroken } from './tables.js';

const DEVICES = [
  { who: 'Alice', device: 'her laptop', key: 'demo-alice' },
  { who: 'Alice', device: 'her phone', key: 'demo-alice' },
  { who: 'Bob', device: 'his laptop', key: 'demo-bob' },
];
const ADMIN_KEY = 'demo-admin';
const EVENTS = [
  'history_update',
  'entry_point_update',
  'notification_update',
  'broadcast_update',
  'notification_status',
];
const STATES = {
  live: 'connected',
  catching_up: 'catching up',
  connecting: 'connecting …',
  stale: 'connecting …',
  polling: 'no stream: asks again and again',
  paused: 'line cut',
  stopped: 'not connected',
};
const LOG_LENGTH = 100;

/** When this page began its last change, to tell how long it took to come back. */
let changedAt;
/** Of the change that the picture shows; the device that hears of it first is in it. */
let pathOf;

class Pane {
  /** By id of a history: its contents, which the client keeps right by itself. */
  #views = new Map();

  constructor({ who, device, key }) {
    this.key = key;
    this.root = document.getElementById('pane').content.cloneNode(true).firstElementChild;
    this.#find('.who').textContent = who;
    this.#find('.device').textContent = device;
    this.#find('.log').dataset.empty = `${who} is told what concerns ${who}, and nothing else.`;
    this.client = new LightconeClient({
      baseUrl: BASE,
      apiKey: key,
      workerUrl: new URL('../client/worker.js', import.meta.url),
    });
    this.client.onState((state, reason) => this.#showState(state, reason));
    for (const name of EVENTS) this.client.on(name, (data) => this.#receive(name, data));
    this.#find('.cut').addEventListener('click', () => {
      if (this.client.state === 'paused') this.client.resume();
      else this.client.pause();
    });
    this.client.open();
  }

  #showState(state, reason) {
    this.#find('.state').dataset.state = state;
    this.#find('.state-text').textContent = STATES[state];
    this.#find('.cut').textContent = state === 'paused' ? 'Come back' : 'Cut the line';
    this.#problem(reason === 'unauthorized' ? `The demo's key ${this.key} is not known here.` : '');
    // The stream tells what changes from here on; what is already there is asked for once it is open.
    if (state === 'live' || state === 'catching_up') this.#load();
  }

  #receive(name, data) {
    const time = element('time', { textContent: new Date().toTimeString().slice(0, 8) });
    const kind = element('b', { textContent: name });
    // With spaces, so that lines break between words.
    const text = JSON.stringify(data, null, 1).replace(/\n\s*/g, ' ');
    const line = element('p', { className: 'fresh' }, time, ' ', kind, ' ', ...unbroken(text));
    const log = this.#find('.log');
    log.prepend(line);
    log.children[LOG_LENGTH]?.remove();
    if (name === 'history_update') {
      if (data.update_time !== undefined && data.update_time !== pathOf) {
        pathOf = data.update_time;
        void showPath(data.update_time, changedAt, mark);
      }
      this.#showLatency();
      this.#load(data.history_ids);
    }
    if (name === 'broadcast_update') this.#say(`Broadcast: ${data.content.message}`);
  }

  #showLatency() {
    const ms = changedAt === undefined ? undefined : Math.round(performance.now() - changedAt);
    this.#say(
      ms === undefined || ms > 5_000 ? 'Changed by another program.' : `Shown ${ms} ms after the click.`,
    );
  }

  #say(text) {
    this.#find('.latency').textContent = text;
    mark(this.#find('.latency'));
  }

  /** @param changed ids to be marked as just changed */
  async #load(changed = []) {
    try {
      this.#showHistories(await api('api/histories', { key: this.key }), changed);
    } catch (error) {
      this.#problem(error.message);
    }
  }

  #showHistories(histories, changed) {
    const list = this.#find('.histories');
    const known = new Map([...list.children].map((item) => [item.dataset.id, item]));
    // Lines are kept, so that what somebody is typing in another line is not lost.
    list.replaceChildren(...histories.map(({ id }) => known.get(id) ?? this.#line(id)));
    for (const { id, name } of histories) {
      const item = [...list.children].find((child) => child.dataset.id === id);
      const input = item.querySelector('.name');
      if (document.activeElement !== input || changed.includes(id)) input.value = name;
      if (changed.includes(id)) mark(item);
    }
    for (const id of this.#views.keys()) {
      if (!histories.some((history) => history.id === id)) this.#unfollow(id);
    }
    if (this.key === DEVICES[0].key && histories[0]) showLines(histories[0]);
  }

  /** First load, deltas and starting over are the client's business: here it is only shown what there is. */
  #follow(id, item) {
    const shown = item.querySelector('.items');
    this.#views.set(
      id,
      this.client.history(id, ({ items }) => {
        const names = [...items.values()].filter(({ deleted }) => !deleted).map(({ name }) => name);
        const text =
          names.length === 0 ? 'No datasets yet.' : `${names.length} datasets: ${names.join(', ')}`;
        if (shown.textContent !== '' && shown.textContent !== text) mark(shown);
        shown.textContent = text;
      }),
    );
  }

  async #unfollow(id) {
    const view = this.#views.get(id);
    this.#views.delete(id);
    (await view)?.close();
  }

  #line(id) {
    const item = document.getElementById('history').content.cloneNode(true).firstElementChild;
    item.dataset.id = id;
    this.#follow(id, item);
    item.querySelector('.add').addEventListener('click', async () => {
      changedAt = performance.now();
      try {
        const name = `made at ${new Date().toTimeString().slice(0, 8)}`;
        await api(`api/histories/${id}/contents`, { key: this.key, method: 'POST', body: { name } });
        this.#problem('');
      } catch (error) {
        this.#problem(error.message);
      }
    });
    item.querySelector('form').addEventListener('submit', async (event) => {
      event.preventDefault();
      changedAt = performance.now();
      try {
        const name = item.querySelector('.name').value.trim();
        await api(`api/histories/${id}`, { key: this.key, method: 'PUT', body: { name } });
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

/** What a shell or SQL would read in it is any character to LIKE: others give names, and the line is to be pasted. */
const plain = (name) => name.replace(/[^\p{L}\p{N} .,:()-]/gu, '_');

function showLines({ id, name }) {
  const { key } = DEVICES[0];
  const lines = {
    'curl-stream': `curl -N '${BASE}api/events/stream?key=${key}'`,
    'curl-rename': `curl -X PUT '${BASE}api/histories/${id}?key=${key}' -H 'Content-Type: application/json' -d '{"name":"from a shell"}'`,
    'sql-rename': `sqlite3 data/lightcone.sqlite "UPDATE history SET name = 'from SQL' WHERE name LIKE '${plain(name)}'"`,
  };
  for (const [place, line] of Object.entries(lines)) {
    document.getElementById(place).replaceChildren(...unbroken(line));
  }
}

document.getElementById('panes').append(...DEVICES.map((device) => new Pane(device).root));

document.getElementById('broadcast').addEventListener('click', async () => {
  const said = document.getElementById('broadcast-said');
  try {
    await api('api/notifications/broadcast', {
      key: ADMIN_KEY,
      method: 'POST',
      body: {
        source: 'demo',
        variant: 'info',
        category: 'broadcast',
        content: {
          category: 'broadcast',
          subject: 'Hello',
          message: `sent at ${new Date().toTimeString().slice(0, 8)}`,
        },
      },
    });
    said.textContent = '';
  } catch (error) {
    said.textContent = error.message;
  }
});
