/** The page at `/` of an installation: what this is, whether it is well, and how to connect. */
import { api, BASE } from './api.js';

const byId = (id) => document.getElementById(id);

byId('curl').textContent = `curl -N -H 'x-api-key: YOUR-KEY' '${BASE}api/events/stream'`;
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

try {
  const [{ version_major: galaxy, extra }, ready] = await Promise.all([
    api('api/version'),
    fetch(`${BASE}readyz`),
  ]);
  byId('version').textContent = `Lightcone ${extra.lightcone_version}, speaks as Galaxy ${galaxy} does.`;
  if (ready.ok) show('live', 'Well: it takes new streams.');
  else show('stopped', 'Not ready to take new streams. An administrator sees why on the status page.');
} catch (error) {
  show('stopped', error.message);
}
