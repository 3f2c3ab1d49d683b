/**
 * The error catalogue. Every error that an administrator or a client can see has an entry here: a stable code, what it
 * means, whether trying again helps, and (for clients) the HTTP status and Galaxy's `err_code` (contract, section 4.6).
 * A test keeps `docs/errors.md` equal to this table.
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
    meaning: 'A setting is wrong; the start is refused and every mistake is listed.',
  },
  NOT_NOW: {
    status: 503,
    errCode: 500001,
    retryable: true,
    meaning:
      'The start needs something that another process holds or that is not there yet: the address, its name, the SQLite file. Starting again later may work.',
  },
  DATABASE_UNAVAILABLE: {
    status: 503,
    errCode: 500001,
    retryable: true,
    meaning: 'The database cannot be reached, or does not answer in time.',
  },
  DATABASE_SCHEMA: {
    status: 500,
    errCode: 500001,
    retryable: false,
    meaning: 'The database is there but its tables are not those that are needed.',
  },
  BUS_UNAVAILABLE: {
    status: 503,
    errCode: 500001,
    retryable: true,
    meaning: 'The message broker cannot be reached, or does not confirm in time.',
  },
  CONTROL_TASK_INVALID: {
    status: 500,
    errCode: 500001,
    retryable: false,
    meaning:
      'A message on the bus is not a control task that Lightcone understands; it is counted and changes nothing.',
  },
  SHUTTING_DOWN: {
    status: 503,
    errCode: 500001,
    retryable: true,
    meaning: 'This worker is stopping; another one will answer.',
  },
  TOO_MANY_CONNECTIONS: {
    status: 503,
    errCode: 429001,
    retryable: true,
    meaning: 'This worker holds as many streams as max_connections allows.',
  },
  TOO_MANY_CONNECTIONS_OF_USER: {
    status: 429,
    errCode: 429001,
    retryable: true,
    meaning: 'This user holds as many streams as max_connections_per_user allows.',
  },
  TOO_MANY_CONNECTIONS_OF_ADDRESS: {
    status: 429,
    errCode: 429001,
    retryable: true,
    meaning: 'This address holds as many streams without a login as max_connections_per_address allows.',
  },
  RATE_LIMITED: {
    status: 429,
    errCode: 429001,
    retryable: true,
    meaning: 'Too many requests from one caller.',
  },
  OVERLOADED: {
    status: 503,
    errCode: 429001,
    retryable: true,
    meaning: 'So much of this kind waits already that nothing more is taken for the moment.',
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
    meaning: 'An encoded id cannot be decoded.',
  },
  REAL_USER_REQUIRED: {
    status: 400,
    errCode: 400016,
    retryable: false,
    meaning: 'Only a real user may do this, not the bootstrap key.',
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
    meaning: 'A login or an API key is needed.',
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
    meaning: 'This is switched off by the configuration.',
  },
  PERMISSION_MISSING: {
    status: 403,
    errCode: 403005,
    retryable: false,
    meaning: 'The caller lacks a permission.',
  },
  ADMIN_REQUIRED: {
    status: 403,
    errCode: 403006,
    retryable: false,
    meaning: 'Only administrators may do this.',
  },
  USER_REQUIRED: { status: 403, errCode: 403008, retryable: false, meaning: 'A signed-in user is required.' },
  NOT_FOUND: { status: 404, errCode: 404001, retryable: false, meaning: 'There is no such item or route.' },
  METHOD_NOT_ALLOWED: {
    status: 405,
    errCode: 404001,
    retryable: false,
    meaning: 'The route has no such method.',
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
    meaning: 'The item is already there, or is not in the state that this needs.',
  },
  INTERNAL: {
    status: 500,
    errCode: 500001,
    retryable: true,
    meaning: 'An error inside Lightcone; see its log.',
  },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof ERRORS;

/** The one error class. `message` says what is wrong, where, and what to do; it never holds a password or a key. */
export class LightconeError extends Error {
  constructor(
    readonly code: ErrorCode,
    message: string,
    /** `details` are added to an HTTP error body (for example `validation_errors`). */
    readonly options: { cause?: unknown; details?: Record<string, unknown>; retryAfterSeconds?: number } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'LightconeError';
  }

  get entry(): ErrorEntry {
    return ERRORS[this.code];
  }
}
