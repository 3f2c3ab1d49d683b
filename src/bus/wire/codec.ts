/** Converts control tasks, ticks and notices to and from message bodies. */
export {
  type DecodedTask,
  type DecodedTick,
  type DecodeFailure,
  decodeTask,
  decodeTick,
  MAX_BODY_BYTES,
} from './decode.js';
export { encodeTask, encodeTick } from './encode.js';
export { type DecodedNotice, decodeNotice, encodeNotice, MAX_NOTICE_BYTES } from './notice.js';
