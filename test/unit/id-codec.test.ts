import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LightconeError } from '../../src/core/errors.js';
import { IdCodec } from '../../src/http/auth/id-codec.js';

const SECRETS = [
  'USING THE DEFAULT IS NOT SECURE!',
  '6c1f0e8a9b7d4c52a3f1e2d4b5c69788',
  'a-secret-of-exactly-fifty-six-bytes-0123456789-abcdefghi',
] as const;
const codecs = SECRETS.map((secret) => new IdCodec(secret));
const s1 = codecs[0]!;

/** Section 5.5 of the contract: value, then what each of the three secrets makes of it. */
const IDS: [number, string, string, string][] = [
  [1, 'f2db41e1fa331b3e', 'cbd450c13c83f89c', '5e73d4e709273823'],
  [2, 'f597429621d6eb2b', '683814910940bc7c', '7738c83b55e2c9da'],
  [10, '03501d7626bd192f', 'd3422b6631118fc1', '60e17b253dccf6c9'],
  [42, 'f7bb1edd6b95db62', 'd5fea7b270079da8', '23ec3eb2a4c51fbb'],
  [123, 'a0d84b45643a2678', '464b02aca5f68b75', 'c24c03384ff2c66d'],
  [1000, 'fc2effeb335f981a', '00aafa9f2b2a3191', '5bfd7f890bbb6cbf'],
  [1234567, '61b95be668296305', '33013ec656d11f9a', 'eca01cb8a6149249'],
  [
    12345678,
    'c6ca0ddb55be603a76ca7b1c3af82659',
    'e6e4818f658e573aeda2ae540c975566',
    'acd5772aaec2debb793017ec255fb5b6',
  ],
  [
    99999999,
    'c6ca0ddb55be603abf859bd9c8b91582',
    'e6e4818f658e573a7eef3a944bcaa9e7',
    'acd5772aaec2debbc71c5160dc106dda',
  ],
  [
    2147483647,
    '2f94e8ae9edff68a1bab1e65887fe972',
    'de111403642d406d839744c49ee05127',
    '6a1ea2d6e7e8d0a8c8f13b1c61218de4',
  ],
];

const SESSIONS: [string, string, string, string][] = [
  [
    '0123456789abcdef0123456789abcdef',
    'c6ca0ddb55be603a55fe2f86156564e5ebb7ef842b6c3b8955fe2f86156564e5ebb7ef842b6c3b89',
    'e6e4818f658e573af0564dad68e4409cc7607b1a990ed7a6f0564dad68e4409cc7607b1a990ed7a6',
    'acd5772aaec2debb380035d3e7fb26903030b86a4a84d0d7380035d3e7fb26903030b86a4a84d0d7',
  ],
  [
    '9f86d081884c7d659a2feaa0c55ad015',
    'c6ca0ddb55be603af9b54c3e690ec0ce4578aa6e6888c7daa520872e8400711c8d2619370d38daee',
    'e6e4818f658e573a9e6f9bd2c18670db8e13bbad26469839e6de12e1bd4d300df1d5a93e2ede3abd',
    'acd5772aaec2debb4be9ca07650fcd09ffc95bea4e5b83c94f471fd6f2c6363fa2ddca494feb28cb',
  ],
];

const CSRF: [number, string, string, string][] = [
  [1, '694925540614ed7f', '6dea782e7bc94d14', 'b716acee3db73319'],
  [42, '39fb66a2f6e0327c', '1be8f69489db7940', '05ea9ccb68206923'],
];

const ENTRY_POINTS: [number, string, string][] = [
  [1, '3oyclc8jlv7zy', '33l6jl7355x98'],
  [42, '3rmf2bz3dktia', '395iyuvv3ybhk'],
  [1234, '2adhmnsdj0pze', '1w9n560t2g4ab'],
];

describe('an id', () => {
  test.each(IDS)('%i is written and read as Galaxy does it, with each of three secrets', (id, ...encoded) => {
    codecs.forEach((codec, index) => {
      expect(codec.encodeId(id)).toBe(encoded[index]);
      expect(codec.decodeId(encoded[index]!)).toBe(id);
    });
  });

  test('is read back for every number that a row can have', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 31 - 1 }), (id) => s1.decodeId(s1.encodeId(id)) === id),
      { numRuns: 300 },
    );
  });

  test('is read in upper case too', () => {
    expect(s1.decodeId('F7BB1EDD6B95DB62')).toBe(42);
  });

  test.each([
    ['nothing', ''],
    ['a plain number', '42'],
    ['half an id', 'f7bb1edd'],
    ['an id with a letter that is no hex digit', 'g7bb1edd6b95db62'],
    ['an id with a blank', ' f7bb1edd6b95db62'],
    ['an id of another secret', 'd5fea7b270079da8'],
    ['an id with one digit changed', 'f7bb1edd6b95db63'],
    ['two ids in one', 'f7bb1edd6b95db62f7bb1edd6b95db62'],
    ['a session cookie', SESSIONS[0]![1]],
    ['a number beyond the column', s1.encodeId(2 ** 31)],
    ['a number with a leading zero', s1.encodeSessionKey('042')],
    ['a number with more padding than it needs', s1.encodeSessionKey('!!!!!!!42')],
    ['a negative number', s1.encodeSessionKey('-42')],
  ])('is not made from %s', (_, text) => {
    expect(s1.decodeId(text)).toBeUndefined();
  });

  test('is never made from arbitrary text', () => {
    fc.assert(fc.property(fc.string({ maxLength: 40 }), (text) => s1.decodeId(text) === undefined));
  });
});

describe('a session cookie', () => {
  test.each(SESSIONS)('for %s is written and read with each of three secrets', (key, ...cookies) => {
    codecs.forEach((codec, index) => {
      expect(codec.encodeSessionKey(key)).toBe(cookies[index]);
      expect(codec.decodeSessionKey(cookies[index]!)).toBe(key);
    });
  });

  test.each([
    ['empty', ''],
    ['no hex', 'z'.repeat(80)],
    ['cut off', SESSIONS[0]![1].slice(0, 72)],
    ['of another secret', SESSIONS[0]![2]],
    ['no hexadecimal text inside', s1.encodeSessionKey('not a session key')],
    ['far too long', s1.encodeSessionKey('a'.repeat(400))],
  ])('that is %s does not decode', (_, cookie) => {
    expect(s1.decodeSessionKey(cookie)).toBeUndefined();
  });
});

test.each(CSRF)('the CSRF token of session %i is that of the contract', (sessionId, ...tokens) => {
  codecs.forEach((codec, index) => {
    expect(codec.csrfToken(sessionId)).toBe(tokens[index]);
  });
});

describe('an entry point id', () => {
  test.each(ENTRY_POINTS)('%i is written in base 36', (id, ...texts) => {
    texts.forEach((text, index) => {
      expect(codecs[index]!.encodeEntryPointId(id)).toBe(text);
      expect(codecs[index]!.decodeEntryPointId(text)).toBe(id);
    });
  });

  test('whose hex form begins with zero is read back', () => {
    expect(s1.encodeEntryPointId(9)).toBe('5jwckhj15ix0');
    expect(s1.decodeEntryPointId('5jwckhj15ix0')).toBe(9);
  });

  test('is read back for every number', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 ** 31 - 1 }),
        (id) => s1.decodeEntryPointId(s1.encodeEntryPointId(id)) === id,
      ),
      { numRuns: 300 },
    );
  });

  test.each(['', '0', '-1', '3oyclc8jlv7z!', '03oyclc8jlv7zy', 'z'.repeat(26)])(
    'is not made from %j',
    (text) => {
      expect(s1.decodeEntryPointId(text)).toBeUndefined();
    },
  );
});

test.each(['abcd', 'x'.repeat(57), 'é'.repeat(29)])(
  'a secret that the cipher cannot take (%j) is refused by name',
  (secret) => {
    expect(() => new IdCodec(secret)).toThrow(LightconeError);
    expect(() => new IdCodec(secret)).toThrow(/id_secret/);
  },
);
