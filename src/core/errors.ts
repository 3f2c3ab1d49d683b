/**
 * The error catalogue. Every error that an administrator or a client can see has an entry: a stable code, its meaning,
 * whether a retry helps, the HTTP status and Galaxy's `err_code` (contract, section 4.6). `docs/errors.md` is made from it.
 */
export interface ErrorEntry {
  /** HTTP status when the error reaches a client. */
  status: number;
  /** Galaxy's numeric code. */
  errCode: number;
  retryable: boolean;
  meaning: string;
}

export const ERRORS = {
  CONFIG_INVALID: {
    status: 500,
    errCode: 500001,
    retryable: false,
    meaning: 'A setting is invalid. The process does not start and lists every invalid setting.',
  },
  NOT_NOW: {
    status: 503,
    errCode: 500001,
    retryable: true,
    meaning:
      'Another process holds the address, the server name or the SQLite file that this process needs, or it does not exist yet. A later start may succeed.',
  },
  DATABASE_UNAVAILABLE: {
    status: 503,
    errCode: 500001,
    retryable: true,
    meaning: 'The database is unreachable or does not answer in time.',
  },
  DATABASE_SCHEMA: {
    status: 500,
    errCode: 500001,
    retryable: false,
    meaning: 'The database answers, but it lacks tables, columns or rights that Lightcone needs.',
  },
  BUS_UNAVAILABLE: {
    status: 503,
    errCode: 500001,
    retryable: true,
    meaning: 'The message broker is unreachable or does not confirm in time.',
  },
  TOO_MANY_CONNECTIONS: {
    status: 503,
    errCode: 429001,
    retryable: true,
    meaning: 'This worker has reached its limit of streams (max_connections).',
  },
  TOO_MANY_CONNECTIONS_OF_USER: {
    status: 429,
    errCode: 429001,
    retryable: true,
    meaning: 'This user has reached the limit of streams per worker (max_connections_per_user).',
  },
  TOO_MANY_CONNECTIONS_OF_ADDRESS: {
    status: 429,
    errCode: 429001,
    retryable: true,
    meaning: 'This address has reached the limit of streams without a login (max_connections_per_address).',
  },
  RATE_LIMITED: {
    status: 429,
    errCode: 429001,
    retryable: true,
    meaning: 'The caller sends too many requests.',
  },
  OVERLOADED: {
    status: 503,
    errCode: 429001,
    retryable: true,
    meaning: 'Too many requests of this kind are waiting. The server takes no more for the moment.',
  },
  BODY_NOT_JSON: { status: 400, errCode: 400003, retryable: false, meaning: 'The request body is not JSON.' },
  PARAMETER_MISSING: {
    status: 400,
    errCode: 400007,
    retryable: false,
    meaning: 'A required parameter is missing.',
  },
  PARAMETER_INVALID: {
    status: 400,
    errCode: 400008,
    retryable: false,
    meaning: 'A parameter has a value that is not allowed.',
  },
  MALFORMED_ID: {
    status: 400,
    errCode: 400009,
    retryable: false,
    meaning: 'An encoded id is malformed.',
  },
  REAL_USER_REQUIRED: {
    status: 400,
    errCode: 400016,
    retryable: false,
    meaning: 'This action needs a real user. The bootstrap key is not one.',
  },
  AUTHENTICATION_UNAVAILABLE: {
    status: 503,
    errCode: 500001,
    retryable: true,
    meaning: 'The authenticate function of the application that embeds Lightcone failed.',
  },
  RUN_AS_FORBIDDEN: {
    status: 403,
    errCode: 400001,
    retryable: false,
    meaning: 'The caller may not act for another user.',
  },
  RUN_AS_UNKNOWN: {
    status: 400,
    errCode: 400002,
    retryable: false,
    meaning: 'The user to act for is unknown.',
  },
  CREDENTIALS_INVALID: {
    status: 401,
    errCode: 401001,
    retryable: false,
    meaning: 'The API key or the credentials are not valid.',
  },
  LOGIN_REQUIRED: {
    status: 403,
    errCode: 403001,
    retryable: false,
    meaning: 'This action requires a login or an API key.',
  },
  NOT_ACCESSIBLE: {
    status: 403,
    errCode: 403002,
    retryable: false,
    meaning: 'The caller may not see this item.',
  },
  NOT_OWNER: {
    status: 403,
    errCode: 403003,
    retryable: false,
    meaning: 'The caller does not own this item.',
  },
  SWITCHED_OFF: {
    status: 403,
    errCode: 403004,
    retryable: false,
    meaning: 'The configuration disables this feature.',
  },
  PERMISSION_MISSING: {
    status: 403,
    errCode: 403005,
    retryable: false,
    meaning: 'The caller lacks a required permission.',
  },
  ADMIN_REQUIRED: {
    status: 403,
    errCode: 403006,
    retryable: false,
    meaning: 'Only administrators may do this.',
  },
  USER_REQUIRED: { status: 403, errCode: 403008, retryable: false, meaning: 'A signed-in user is required.' },
  NOT_FOUND: { status: 404, errCode: 404001, retryable: false, meaning: 'The item or route does not exist.' },
  METHOD_NOT_ALLOWED: {
    status: 405,
    errCode: 404001,
    retryable: false,
    meaning: 'The route does not support this method.',
  },
  BODY_TOO_LARGE: {
    status: 413,
    errCode: 400008,
    retryable: false,
    meaning: 'The request body is too large.',
  },
  CONFLICT: {
    status: 409,
    errCode: 409001,
    retryable: false,
    meaning: 'The item already exists, or its state does not allow this action.',
  },
  INTERNAL: {
    status: 500,
    errCode: 500001,
    retryable: true,
    meaning: 'Lightcone failed internally. Its log has the cause.',
  },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof ERRORS;

/** The only error class. `message` says what is wrong, where, and what to do. It never contains a password or a key. */
export class LightconeError extends Error {
  constructor(
    readonly code: ErrorCode,
    message: string,
    /** `details` become fields of the HTTP error body (for example `validation_errors`). */
    readonly options: { cause?: unknown; details?: Record<string, unknown>; retryAfterSeconds?: number } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'LightconeError';
  }

  get entry(): ErrorEntry {
    return ERRORS[this.code];
  }
}
