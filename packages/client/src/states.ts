/** The states of a client and how it moves between them. docs/client.md shows this table. */

export const STATES = {
  stopped: 'No stream is wanted, or the server ended it: `reason` tells.',
  connecting: 'A stream is being opened; after a failure it is tried again with growing waits.',
  catching_up: 'A stream is open again and tells what was missed.',
  live: 'A stream is open and nothing is outstanding.',
  stale: 'Nothing came for two keepalive periods: the stream is opened anew.',
  polling:
    'No stream can be had: the server is asked again and again, and the same events are made of the answers.',
  paused: 'The page is in the back/forward cache; it holds no connection.',
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
  pause: 'the page goes into the back/forward cache',
  close: 'the page wants no stream any more, or the server ends it (204, 401)',
} as const;
export type Signal = keyof typeof SIGNALS;

const AFTER_READY = { ready: 'live', resumed: 'catching_up' } as const;
const END = { pause: 'paused', close: 'stopped' } as const;

/** A pair that is missing does not compile. */
export const TRANSITIONS: { readonly [From in State]: { readonly [On in Signal]: State } } = {
  stopped: {
    open: 'connecting',
    ready: 'stopped',
    resumed: 'stopped',
    caught_up: 'stopped',
    lost: 'stopped',
    silent: 'stopped',
    unreachable: 'stopped',
    switched_off: 'stopped',
    pause: 'stopped',
    close: 'stopped',
  },
  connecting: {
    ...AFTER_READY,
    ...END,
    open: 'connecting',
    caught_up: 'connecting',
    lost: 'connecting',
    silent: 'stale',
    unreachable: 'polling',
    switched_off: 'polling',
  },
  catching_up: {
    ...AFTER_READY,
    ...END,
    open: 'catching_up',
    caught_up: 'live',
    lost: 'connecting',
    silent: 'stale',
    unreachable: 'polling',
    switched_off: 'polling',
  },
  live: {
    ...AFTER_READY,
    ...END,
    open: 'live',
    caught_up: 'live',
    lost: 'connecting',
    silent: 'stale',
    unreachable: 'polling',
    switched_off: 'polling',
  },
  stale: {
    ...AFTER_READY,
    ...END,
    open: 'connecting',
    caught_up: 'stale',
    lost: 'connecting',
    silent: 'stale',
    unreachable: 'polling',
    switched_off: 'polling',
  },
  polling: {
    ...AFTER_READY,
    ...END,
    open: 'polling',
    caught_up: 'polling',
    lost: 'polling',
    silent: 'polling',
    unreachable: 'polling',
    switched_off: 'polling',
  },
  paused: {
    open: 'connecting',
    ready: 'paused',
    resumed: 'paused',
    caught_up: 'paused',
    lost: 'paused',
    silent: 'paused',
    unreachable: 'paused',
    switched_off: 'paused',
    pause: 'paused',
    close: 'stopped',
  },
};
