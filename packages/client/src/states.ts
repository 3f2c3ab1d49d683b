/** The states of a client and how it moves between them. docs/client.md shows this table. */

export const STATES = {
  stopped: 'No stream is wanted, or the server ended it: `reason` tells.',
  connecting: 'A stream is being opened; after a failure it is tried again with growing waits.',
  catching_up: 'A stream is open again and tells what was missed.',
  live: 'A stream is open and nothing is outstanding.',
  stale: 'Nothing came for two keepalive periods: the stream is opened anew.',
  polling:
    'No stream can be had: the server is asked again and again, and the same events are made of the answers.',
  paused: 'The page is frozen or in the back/forward cache; it holds no connection.',
} as const;
export type State = keyof typeof STATES;

export const SIGNALS = {
  open: 'the page wants a stream, or is shown again',
  ready: 'the stream is open, and nothing was missed',
  resumed: 'the stream is open, and what was missed follows',
  caught_up: 'what was missed has arrived',
  lost: 'the stream broke, or could not be opened',
  silent: 'nothing came for two keepalive periods',
  unreachable: 'no stream could be had for 60 s',
  switched_off: 'the server has live updates switched off',
  pause: 'the page is frozen, or goes into the back/forward cache',
  close: 'the page wants no stream any more, or the server ends it (204, 401)',
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
/** A state for each signal, in their order: a row that is too short or too long does not compile. */
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

/** Where a signal leads from a state. */
export const next = (state: State, signal: Signal): State => ROWS[state][ORDER.indexOf(signal)]!;
