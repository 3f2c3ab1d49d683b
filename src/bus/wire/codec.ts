/** Control tasks and ticks, to and from message bodies. */
export {
  type DecodedTask,
  type DecodedTick,
  type DecodeFailure,
  decodeTask,
  decodeTick,
  MAX_BODY_BYTES,
} from './decode.js';
export { encodeTask, encodeTick } from './encode.js';
