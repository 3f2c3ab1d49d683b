/**
 * The table of fixed limits. docs/security.md shows it together with the limits that are settings.
 */
export interface Limit {
  value: number;
  unit: string;
  /** The limited quantity, as the documentation names it. */
  what: string;
  by: string;
  beyond: string;
}

const limit = (value: number, unit: string, what: string, by: string, beyond: string): Limit => ({
  value,
  unit,
  what,
  by,
  beyond,
});

const SLOW_DOWN = '429 with Retry-After';

export const LIMITS = {
  placesForUsers: limit(
    10,
    '% of max_connections',
    'streams reserved for signed-in users',
    'worker',
    '503 with Retry-After for other callers; no open stream is closed',
  ),
  burstSeconds: limit(
    10,
    'times api_rate_limit',
    'burst of requests',
    'user, or address without a login',
    SLOW_DOWN,
  ),
  newSessionCost: limit(40, 'requests', 'cost of a new anonymous session', 'address', SLOW_DOWN),
  loginCost: limit(10, 'requests', 'cost of a sign-in attempt', 'address', SLOW_DOWN),
  wrongCredentialCost: limit(
    10,
    'requests',
    'cost of a wrong key or cookie, counted separately',
    'address',
    'unknown credentials of the address are looked up together, four times a second; known ones are not delayed',
  ),
  guessesWaiting: limit(
    100,
    'look-ups',
    'waiting look-ups of unknown credentials from addresses with many wrong ones',
    'worker',
    `${SLOW_DOWN}; a stream ends with a retry time`,
  ),
  headBytes: limit(16_384, 'bytes', 'head of a request', 'request', '431'),
  bodyBytes: limit(1_048_576, 'bytes', 'body of a request', 'request', '413'),
  bodyDepth: limit(64, 'levels', 'nesting of a JSON body', 'request', '400'),
  bodyValues: limit(20_000, 'values', 'values in a JSON body', 'request', '400'),
  valuesPerRequest: limit(
    100,
    'values',
    'values of a JSON body that cost one more request',
    'user; address',
    SLOW_DOWN,
  ),
  bodyBytesPerRequest: limit(
    16_384,
    'bytes',
    'bytes of a JSON body that cost one more request',
    'user; address',
    SLOW_DOWN,
  ),
  headSeconds: limit(
    15,
    's',
    'time for the head of a request',
    'connection',
    '408, and the connection is closed',
  ),
  requestSeconds: limit(
    30,
    's',
    'time for a whole request',
    'connection',
    '408, and the connection is closed',
  ),
  handshakes: limit(
    5_000,
    'connections',
    'connections without a complete head',
    'address of the peer',
    'new ones are closed at once',
  ),
  idleConnections: limit(
    1_000,
    'connections',
    'idle connections',
    'worker',
    'the oldest idle connection of the peer with most of them is closed',
  ),
  unreadSeconds: limit(
    60,
    's',
    'time for a client to read an answer (not a stream)',
    'request',
    'the connection is closed',
  ),
  unreadBytes: limit(
    67_108_864,
    'bytes',
    'unread answers',
    'worker',
    'the connections of the oldest answers are closed',
  ),
  saidBytes: limit(
    16_384,
    'bytes',
    'bytes that a client sends on its open stream, which are ignored',
    'stream',
    'the connection is closed',
  ),
  lookupsWaiting: limit(
    10_000,
    'look-ups',
    'concurrent look-ups of unknown credentials',
    'worker',
    `${SLOW_DOWN}; a stream ends with a retry time`,
  ),
  subscriptionCost: limit(
    1,
    'request',
    'cost of each history id in a subscription or in the URL of a stream',
    'user; address',
    `${SLOW_DOWN}; a stream ends with a retry time`,
  ),
  subscriptionIds: limit(
    200,
    'ids',
    'history ids in a subscription request or in the URL of a stream',
    'request',
    '400',
  ),
  watchedHistories: limit(
    500_000,
    'subscriptions',
    'subscriptions to histories of others; 1,000 of one user or session',
    'worker',
    'a new subscription replaces the oldest one of the same caller, if the caller has an equal share and at least 10',
  ),
  marks: limit(
    50,
    'marks',
    'marks in a request of POST /api/events/marks; each costs a request',
    'request',
    '400',
  ),
  subscriptionsAtOnce: limit(
    16,
    'messages',
    'concurrent subscription messages to the broker; users go before strangers',
    'worker',
    'further ones wait; 503 with Retry-After if more than 10,000 wait',
  ),
  signInsAtOnce: limit(
    2,
    'passwords',
    'concurrent password checks',
    'worker',
    'further ones wait; 503 with Retry-After if more than 100 wait',
  ),
  signInsPerName: limit(
    10,
    'attempts',
    'sign-in attempts in a burst, then one each 10 s',
    'address and account',
    SLOW_DOWN,
  ),
  newSessionsAtOnce: limit(
    2,
    'sessions',
    'concurrent creations of anonymous sessions',
    'worker',
    'further ones wait; 503 with Retry-After if more than 200 wait',
  ),
} as const satisfies Record<string, Limit>;
