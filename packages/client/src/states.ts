/** The states of a client and its transitions. docs/client.md shows this table. */

export const STATES = {
  stopped: 'The page wants no stream, or the server ended it; `reason` says which.',
  connecting: 'The client opens a stream. After a failure it retries with growing delays.',
  catching_up: 'A stream is open again and delivers missed events.',
  live: 'A stream is open and up to date.',
  stale: 'Nothing arrived for two keepalive periods. The client reopens the stream.',
  polling: 'No stream is available. The client polls the server and turns the answers into the same events.',
  paused: 'The page is frozen or in the back/forward cache. The client has no connection.',
} as const;
export type State = keyof typeof STATES;

export const SIGNALS = {
  open: 'the page wants a stream, or becomes visible again',
  ready: 'the stream is open, and no event is missing',
  resumed: 'the stream is open, and missed events follow',
  caught_up: 'all missed events have arrived',
  lost: 'the stream broke or did not open',
  silent: 'nothing arrived for two keepalive periods',
  unreachable: 'no stream for 60 s',
  switched_off: 'the server has live updates switched off',
  pause: 'the page freezes or enters the back/forward cache',
  close: 'the page closes the stream, or the server ends it (204, 401)',
} as const;
export type Signal = keyof typeof SIGNALS;

const ORDER = [
  'open',
  'ready',
  'resumed',
  'caught_up',
  'lost',
  'silent',
  'unreachable',
  'switched_off',
  'pause',
  'close',
] as const satisfies readonly Signal[];
/** One state per signal, in their order. The compiler rejects a row of another length. */
export type Row = Same<typeof ORDER>;
type Same<List extends readonly unknown[]> = { readonly [Index in keyof List]: State };

const C = 'connecting';
const U = 'catching_up';
const L = 'live';
const T = 'stale';
const P = 'polling';
const H = 'paused';
const S = 'stopped';

//         open ready resumed caught_up lost silent unreachable switched_off pause close
const ROWS: { readonly [From in State]: Row } = {
  stopped: [C, S, S, S, S, S, S, S, S, S],
  connecting: [C, L, U, C, C, T, P, P, H, S],
  catching_up: [U, L, U, L, C, T, P, P, H, S],
  live: [L, L, U, L, C, T, P, P, H, S],
  stale: [C, L, U, T, C, T, P, P, H, S],
  polling: [P, L, U, P, P, P, P, P, H, S],
  paused: [C, H, H, H, H, H, H, H, H, S],
};

/** The state that follows a signal. */
export const next = (state: State, signal: Signal): State => ROWS[state][ORDER.indexOf(signal)]!;
