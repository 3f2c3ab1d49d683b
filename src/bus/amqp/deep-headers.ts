/**
 * Headers of a message may hold tables in each other, as many as fit into a frame. amqplib calls itself for each, and the end of
 * its stack would end the connection: whoever may publish could keep every worker off the broker. Nobody here reads headers.
 */
import type { ChannelModel } from 'amqplib';

interface Frames {
  /** What has arrived and was not taken yet. */
  rest: Buffer;
  recvFrame?: () => unknown;
}

const CONTENT_HEADER = 2;
/** Of a frame: its type, its channel, its size. */
const FRAME_HEAD_BYTES = 7;

export function ignoreDeepHeaders(connection: ChannelModel): void {
  const frames = connection.connection as unknown as Frames;
  const { recvFrame } = frames;
  if (typeof recvFrame !== 'function') return;
  // amqplib calls it again for each piece that arrives, so that `rest` begins with the frame when that is whole.
  frames.recvFrame = () => {
    const { rest } = frames;
    try {
      return recvFrame.call(frames);
    } catch (error) {
      if (!(error instanceof RangeError) || rest[0] !== CONTENT_HEADER || frames.rest === rest) throw error;
      return {
        id: rest.readUInt16BE(FRAME_HEAD_BYTES),
        channel: rest.readUInt16BE(1),
        size: Number(rest.readBigUInt64BE(FRAME_HEAD_BYTES + 4)),
        fields: {},
      };
    }
  };
}
