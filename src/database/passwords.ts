/** Passwords of accounts that sign in at Lightcone: `scrypt$N$r$p$salt$hash`, salt and hash in base64url. */
import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto';

const COST = 2 ** 15;
const BLOCK_SIZE = 8;
const PARALLELISM = 1;
const HASH_BYTES = 32;
/** scrypt needs `COST * BLOCK_SIZE * 128` bytes; Node's default limit is just too small. */
const MEMORY_BYTES = 64 * 1024 * 1024;

const FORM = /^scrypt\$(\d+)\$(\d+)\$(\d+)\$([\w-]+)\$([\w-]+)$/;

/** Takes about 60 ms of a core at the default cost, outside the event loop. @param cost a power of two */
export async function hashPassword(password: string, cost = COST): Promise<string> {
  const salt = randomBytes(16);
  const hash = await derive(password, salt, cost, BLOCK_SIZE, PARALLELISM);
  return `scrypt$${cost}$${BLOCK_SIZE}$${PARALLELISM}$${salt.toString('base64url')}$${hash.toString('base64url')}`;
}

/** Takes equally long for an account that does not exist (`stored` undefined) or has no password. */
export async function verifyPassword(password: string, stored: string | undefined): Promise<boolean> {
  const match = FORM.exec(stored ?? '');
  if (!match) {
    await derive(password, randomBytes(16), COST, BLOCK_SIZE, PARALLELISM);
    return false;
  }
  const [, cost, blockSize, parallelism, salt, hash] = match;
  const expected = Buffer.from(hash!, 'base64url');
  const given = await derive(
    password,
    Buffer.from(salt!, 'base64url'),
    Number(cost),
    Number(blockSize),
    Number(parallelism),
  );
  return expected.length === given.length && timingSafeEqual(given, expected);
}

function derive(password: string, salt: Buffer, N: number, r: number, p: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(password.normalize(), salt, HASH_BYTES, { N, r, p, maxmem: MEMORY_BYTES }, (error, hash) => {
      if (error) reject(error);
      else resolve(hash);
    });
  });
}
