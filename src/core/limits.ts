/**
 * Every limit that is no setting, and beside it what the settings limit: one table, from which the page on security is made.
 */
export interface Limit {
  value: number;
  unit: string;
  /** Of what, and counted by whom. */
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
    'streams kept for users who signed in',
    'worker',
    '503 with Retry-After for everybody else; nobody connected is evicted',
  ),
  burstSeconds: limit(
    10,
    'times api_rate_limit',
    'requests at once',
    'user; address where there is none',
    SLOW_DOWN,
  ),
  newSessionCost: limit(40, 'requests', 'what a new anonymous session counts as', 'address', SLOW_DOWN),
  loginCost: limit(10, 'requests', 'what an attempt to sign in counts as', 'address', SLOW_DOWN),
  wrongCredentialCost: limit(
    10,
    'requests',
    'what a wrong key or cookie counts as, in a count of its own',
    'address',
    'its unknown credentials are looked up together, four times a second; what is known already goes on',
  ),
  guessesWaiting: limit(
    100,
    'look-ups',
    'of unknown credentials from addresses that showed many wrong ones',
    'worker',
    `${SLOW_DOWN}; a stream is told to come back`,
  ),
  headBytes: limit(16_384, 'bytes', 'head of a request', 'request', '431'),
  bodyBytes: limit(1_048_576, 'bytes', 'body of a request', 'request', '413'),
  bodyDepth: limit(64, 'levels', 'nesting of a JSON body', 'request', '400'),
  bodyValues: limit(20_000, 'values', 'in a JSON body', 'request', '400'),
  valuesPerRequest: limit(
    100,
    'values',
    'of a JSON body count as one more request',
    'user; address',
    SLOW_DOWN,
  ),
  bodyBytesPerRequest: limit(
    16_384,
    'bytes',
    'of a JSON body count as one more request',
    'user; address',
    SLOW_DOWN,
  ),
  headSeconds: limit(
    15,
    's',
    'for the head of a request to arrive',
    'connection',
    '408, and the connection ends',
  ),
  requestSeconds: limit(
    30,
    's',
    'for a whole request to arrive',
    'connection',
    '408, and the connection ends',
  ),
  handshakes: limit(
    5_000,
    'connections',
    'that have not sent a whole head yet',
    'address of the peer',
    'further ones are closed at once',
  ),
  idleConnections: limit(
    1_000,
    'connections',
    'that wait for another request',
    'worker',
    'the one that waits longest, of the peer that has most, is closed',
  ),
  unreadSeconds: limit(60, 's', 'for an answer to be read, streams apart', 'request', 'the connection ends'),
  unreadBytes: limit(
    67_108_864,
    'bytes',
    'of answers that wait to be read',
    'worker',
    'the connections of the oldest end',
  ),
  saidBytes: limit(
    16_384,
    'bytes',
    'that a client sends on its open stream; nobody looks at them',
    'stream',
    'the connection ends',
  ),
  lookupsWaiting: limit(
    10_000,
    'look-ups',
    'of unknown credentials at a time',
    'worker',
    `${SLOW_DOWN}; a stream is told to come back`,
  ),
  subscriptionCost: limit(
    1,
    'request',
    'what each history id in a subscription, or history_id of a stream, counts as',
    'user; address',
    `${SLOW_DOWN}; a stream is told to come back`,
  ),
  subscriptionIds: limit(
    200,
    'ids',
    'in one subscription request, and history_id of one stream',
    'request',
    '400',
  ),
  watchedHistories: limit(
    500_000,
    'subscriptions',
    'to histories of others that are held at a time, 1,000 of one user or session',
    'worker',
    'of whoever has an equal share of them, and at least 10, the oldest goes when one more comes',
  ),
  marks: limit(
    50,
    'marks',
    'in one question when writes are out; each counts as a request',
    'request',
    '400',
  ),
  subscriptionsAtOnce: limit(
    16,
    'messages',
    'of subscriptions that wait for the broker; users go before strangers',
    'worker',
    'they wait; 503 with Retry-After where more than 10,000 do',
  ),
  signInsAtOnce: limit(
    2,
    'passwords',
    'checked at a time',
    'worker',
    'they wait; 503 with Retry-After where more than 100 do',
  ),
  signInsPerName: limit(
    10,
    'attempts',
    'to sign in at once, then one each 10 s',
    'address and account',
    SLOW_DOWN,
  ),
  newSessionsAtOnce: limit(
    2,
    'sessions',
    'made for strangers at a time',
    'worker',
    'they wait; 503 with Retry-After where more than 200 do',
  ),
} as const satisfies Record<string, Limit>;
