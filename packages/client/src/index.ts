/** `@lightcone/client`: live updates of a Lightcone or Galaxy server in a page, a worker or Node.js. */
export { type ClientOptions, type Events, LightconeClient } from './client.js';
export type { HistoryItem, HistoryView } from './history.js';
export type { State } from './states.js';
