/** The error replies in the OpenAPI document. */
export const ERROR = {
  type: 'object',
  required: ['err_msg', 'err_code'],
  properties: {
    err_msg: { type: 'string' },
    err_code: { type: 'integer', description: 'docs/errors.md lists them' },
    validation_errors: {
      type: 'array',
      items: {
        type: 'object',
        required: ['loc', 'msg', 'type'],
        properties: {
          loc: { type: 'array', items: { type: 'string' } },
          msg: { type: 'string' },
          type: { type: 'string' },
        },
      },
    },
  },
};

const RETRY_AFTER = {
  'Retry-After': {
    description: 'Seconds to wait before a retry',
    schema: { type: 'integer', minimum: 1 },
  },
};

/** @param example the `err_code` and `err_msg` of one such reply */
export const refusal = (
  description: string,
  [errCode, message]: readonly [number, string],
  { retry = false } = {},
) => ({
  description,
  ...(retry && { headers: RETRY_AFTER }),
  content: {
    'application/json': {
      schema: { $ref: '#/components/schemas/Error' },
      example: { err_msg: message, err_code: errCode },
    },
  },
});

const later = { retry: true };
export const REFUSALS = {
  Malformed: refusal('A parameter, an id or the body is malformed, or missing', [
    400009,
    '"x" is not an encoded history id',
  ]),
  NotSignedIn: refusal('The API key or the session is not valid', [401001, 'the API key is not valid']),
  NotAllowed: refusal('The caller may not do this, or it is disabled', [
    403006,
    'only administrators may do this (admin_users)',
  ]),
  NotFound: refusal('There is no such item, or the caller may not see it', [
    404001,
    'there is no such history',
  ]),
  Conflict: refusal('The state of the item does not allow this action', [
    409001,
    'this interactive tool is not running yet, or not any more',
  ]),
  TooLarge: refusal('The body is too large', [400008, 'the request body is too large']),
  TooMany: refusal('Too many requests of one caller', [429001, 'too many requests from one caller'], later),
  Failed: refusal('An error inside Lightcone', [500001, 'Lightcone failed internally; see its log']),
  Unavailable: refusal(
    'The database or the broker is unavailable, or too many requests wait',
    [500001, 'The database is unreachable or does not answer in time.'],
    later,
  ),
};
