/** The page at `/` of an installation: what this is, whether it is well, and how to connect. */
import { ApiError, api, BASE } from './api.js';
import { byId, unbroken } from './tables.js';

/** For `ready`, which comes at once where nothing in between collects what is sent. */
const PATIENCE_MS = 5_000;

const curl = `curl -N -H 'x-api-key: YOUR-KEY' '${BASE}api/events/stream'`;
byId('curl').replaceChildren(...unbroken(curl));
byId('script').textContent = [
  `import { LightconeClient } from '${BASE}assets/client/lightcone.js';`,
  `const client = new LightconeClient({ baseUrl: '${BASE}' });`,
  `client.on('history_update', ({ history_ids }) => console.log('look again at', history_ids));`,
  'client.open();',
].join('\n');

function show(state, text) {
  byId('well').dataset.state = state;
  byId('well').lastElementChild.textContent = text;
}

/**
 * Opens a stream as a stranger would, by the same way: a proxy hides `/readyz`, and may hold streams up.
 *
 * @throws ApiError why there is none
 */
async function tryStream() {
  const ending = new AbortController();
  const patience = setTimeout(() => ending.abort(), PATIENCE_MS);
  try {
    const stream = await fetch(`${BASE}api/events/stream`, { credentials: 'omit', signal: ending.signal });
    if (!stream.ok) {
      const { err_msg } = await stream.json().catch(() => ({}));
      throw new ApiError(stream.status, err_msg ?? `A new stream is answered with ${stream.status}.`);
    }
    let text = '';
    const reader = stream.body.pipeThrough(new TextDecoderStream()).getReader();
    while (!/^event: ready$/m.test(text)) {
      const { done, value } = await reader.read();
      if (done) throw new ApiError(200, /^: (.*)$/m.exec(text)?.[1] ?? 'A new stream ends at once.');
      text += value;
    }
  } catch (error) {
    if (!ending.signal.aborted) throw error;
    throw new ApiError(0, 'A stream opens, and nothing arrives: a proxy in between collects what is sent.');
  } finally {
    clearTimeout(patience);
    ending.abort();
  }
}

try {
  const { version_major: galaxy, extra } = await api('api/version');
  byId('version').textContent = `Lightcone ${extra.lightcone_version}, speaks as Galaxy ${galaxy} does.`;
  await tryStream();
  show('live', 'It takes new streams.');
} catch (error) {
  show('stopped', error.message);
}
