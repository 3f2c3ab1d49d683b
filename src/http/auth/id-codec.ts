/**
 * The ids, session keys and CSRF tokens that a Galaxy browser sends and expects (contract, sections 5.2 to 5.6).
 *
 * One shape for all: Blowfish in ECB mode over text that is padded in front with `!`, written as lower-case hex. It keeps
 * ids from being guessed; it is no proof that we issued them, so each decoded value is still checked for access.
 */
import { Blowfish } from 'egoroof-blowfish';
import { LRUCache } from 'lru-cache';
import { LightconeError } from '../../core/errors.js';
import { MAX_ID } from '../../core/events.js';

const BLOCK = 8;
const MIN_KEY_BYTES = 5;
const MAX_KEY_BYTES = 56;
/** `galaxy_session.session_key` holds at most 255 characters. */
const MAX_SESSION_KEY = 255;
/** Histories on this worker's delivery path; about 1 MiB when full. */
const REMEMBERED_IDS = 10_000;

const HEX = /^(?:[0-9a-f]{16})+$/i;
const DECIMAL = /^(?:0|[1-9][0-9]*)$/;
const BASE_36 = /^[0-9a-z]{1,25}$/i;

export class IdCodec {
  readonly #cipher: Blowfish;
  readonly #csrfCipher: Blowfish;
  readonly #encoded = new LRUCache<number, string>({ max: REMEMBERED_IDS });

  /** @throws LightconeError CONFIG_INVALID if the secret has not 5 to 56 bytes, which the cipher needs */
  constructor(idSecret: string) {
    const key = Buffer.from(idSecret, 'utf8');
    if (key.length < MIN_KEY_BYTES || key.length > MAX_KEY_BYTES) {
      throw new LightconeError(
        'CONFIG_INVALID',
        `id_secret has ${key.length} bytes; give it ${MIN_KEY_BYTES} to ${MAX_KEY_BYTES}`,
      );
    }
    this.#cipher = cipherOf(key);
    this.#csrfCipher = cipherOf(Buffer.from(`${idSecret}__csrf`, 'utf8').subarray(-MAX_KEY_BYTES));
  }

  /**
   * Encodes a row id as 16 or 32 hex digits. Cached, because the delivery path encodes the same histories again and
   * again.
   */
  encodeId(id: number): string {
    let text = this.#encoded.get(id);
    if (text === undefined) {
      text = encrypt(this.#cipher, String(id));
      this.#encoded.set(id, text);
    }
    return text;
  }

  /** @returns undefined for text that `encodeId` does not produce (except upper-case digits) */
  decodeId(text: string): number | undefined {
    if (text.length !== 2 * BLOCK && text.length !== 4 * BLOCK) return undefined;
    const plain = decrypt(this.#cipher, text);
    if (plain === undefined || !DECIMAL.test(plain)) return undefined;
    const id = Number(plain);
    return id <= MAX_ID ? id : undefined;
  }

  /** The value of the `galaxysession` cookie. */
  encodeSessionKey(sessionKey: string): string {
    return encrypt(this.#cipher, sessionKey);
  }

  /** @returns the session key, or undefined for a malformed cookie */
  decodeSessionKey(cookie: string): string | undefined {
    if (cookie.length > 2 * (MAX_SESSION_KEY + BLOCK)) return undefined;
    const plain = decrypt(this.#cipher, cookie);
    return plain !== undefined && /^[0-9a-f]+$/i.test(plain) ? plain : undefined;
  }

  csrfToken(sessionId: number): string {
    return encrypt(this.#csrfCipher, String(sessionId));
  }

  /** Only ids of entry points have base 36: the hex id read as one number. */
  encodeEntryPointId(id: number): string {
    return BigInt(`0x${this.encodeId(id)}`).toString(36);
  }

  decodeEntryPointId(text: string): number | undefined {
    if (!BASE_36.test(text)) return undefined;
    let number = 0n;
    for (const digit of text) number = number * 36n + BigInt(Number.parseInt(digit, 36));
    // A number has no leading zeros, but an encoded id may: without the padding one id in sixteen would be unreadable.
    const hex = number.toString(16);
    const id = this.decodeId(hex.padStart(hex.length <= 2 * BLOCK ? 2 * BLOCK : 4 * BLOCK, '0'));
    return id !== undefined && this.encodeEntryPointId(id) === text.toLowerCase() ? id : undefined;
  }
}

/** `PADDING.NULL` adds nothing to whole blocks, and ours are always whole. */
const cipherOf = (key: Buffer): Blowfish => new Blowfish(key, Blowfish.MODE.ECB, Blowfish.PADDING.NULL);

/** Adds one to eight `!` in front; a length that is a multiple of eight gets eight more. */
const pad = (text: string): string => '!'.repeat(BLOCK - (text.length % BLOCK)) + text;

function encrypt(cipher: Blowfish, text: string): string {
  return Buffer.from(cipher.encode(pad(text))).toString('hex');
}

/** @returns the text without its padding, or undefined if it is not hex or has another padding than `pad` makes */
function decrypt(cipher: Blowfish, hex: string): string | undefined {
  if (!HEX.test(hex)) return undefined;
  const bytes = cipher.decode(Buffer.from(hex, 'hex'), Blowfish.TYPE.UINT8_ARRAY);
  const padded = Buffer.from(bytes).toString('latin1');
  const text = padded.replace(/^!+/, '');
  return padded === pad(text) ? text : undefined;
}
