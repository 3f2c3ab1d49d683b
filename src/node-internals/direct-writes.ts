/**
 * Writes to a socket's handle, past the stream that `net.Socket` is: a stream's states, its request object and its tick
 * cost a tenth of a delivery (docs/performance.md), and a tab, which is never written to while bytes of it wait, needs none
 * of it. Node's `--permission` forbids it.
 */
import { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import { getSystemErrorName } from 'node:util';

/** Whose socket is written to. */
interface Owner {
  readonly out: Writable;
}

/** Node's `TCP` or `Pipe`. */
export interface SocketHandle {
  /**
   * Keeps nothing of `request` where the system takes all bytes at once.
   *
   * @returns 0, a negative errno, or undefined when the handle is closed
   */
  writeBuffer(request: WriteRequest, bytes: Buffer): number | undefined;
}

interface WriteRequest {
  /** Called by Node, later, if it could not hand over everything at once. */
  oncomplete: (this: WriteRequest, status: number) => void;
  /** Must live until then. */
  bytes: Buffer | undefined;
  owner: Owner | undefined;
}

interface StreamWrap {
  WriteWrap: new () => WriteRequest;
  /** What Node says of the last call, by index. */
  streamBaseState: Int32Array;
  kLastWriteWasAsync: number;
}

export interface DirectWrites<Tab extends Owner> {
  /** @returns undefined where `out` must be written to as a stream */
  handleOf(out: Writable): SocketHandle | undefined;
  /**
   * The order of bytes is kept, whatever was written before. A connection that is broken ends as any other does.
   *
   * @param handle of `tab`, from `handleOf`
   * @returns whether nothing waits: false, and `onSent` will be called
   */
  write(tab: Tab, handle: SocketHandle, bytes: Buffer): boolean;
}

/** @param onSent the system has taken all bytes of a tab for which `write` returned false */
export type CreateDirectWrites = <Tab extends Owner>(onSent: (tab: Tab) => void) => DirectWrites<Tab>;

/** @returns undefined where this Node lacks what it needs */
export function findDirectWrites(): CreateDirectWrites | undefined {
  const streamWrap = findStreamWrap();
  return streamWrap && ((onSent) => new StreamWrapWrites(streamWrap, onSent));
}

class StreamWrapWrites<Tab extends Owner> implements DirectWrites<Tab> {
  /** One for all writes until Node has to keep it. */
  private request: WriteRequest | undefined;
  private readonly oncomplete: WriteRequest['oncomplete'];

  constructor(
    private readonly streamWrap: StreamWrap,
    onSent: (tab: Tab) => void,
  ) {
    this.oncomplete = function (status) {
      const tab = this.owner as Tab;
      if (status === 0) onSent(tab);
      else fail(tab, status);
    };
  }

  handleOf(out: Writable): SocketHandle | undefined {
    // Not a descendant: TLS is one. Nor a socket with bytes of its own: what is written past it would overtake them.
    if (out.writableLength > 0 || out.constructor !== Socket) return undefined;
    const handle = (out as { _handle?: SocketHandle | null })._handle;
    return typeof handle?.writeBuffer === 'function' ? handle : undefined;
  }

  write(tab: Tab, handle: SocketHandle, bytes: Buffer): boolean {
    const { WriteWrap, streamBaseState, kLastWriteWasAsync } = this.streamWrap;
    if (this.request === undefined) {
      this.request = new WriteWrap();
      this.request.oncomplete = this.oncomplete;
    }
    const { request } = this;
    const status = handle.writeBuffer(request, bytes);
    if (status !== 0) {
      fail(tab, status);
      return true;
    }
    if (streamBaseState[kLastWriteWasAsync] === 0) return true;
    request.bytes = bytes;
    request.owner = tab;
    this.request = undefined;
    return false;
  }
}

/** @param status negative errno; undefined where the handle is closed, and so the socket */
function fail({ out }: Owner, status: number | undefined): void {
  out.destroy(status === undefined ? undefined : new Error(`write ${getSystemErrorName(status)}`));
}

function findStreamWrap(): StreamWrap | undefined {
  try {
    const { binding } = process as unknown as { binding(name: string): Partial<StreamWrap> };
    const { WriteWrap, streamBaseState, kLastWriteWasAsync } = binding.call(process, 'stream_wrap');
    const usable =
      typeof WriteWrap === 'function' &&
      streamBaseState instanceof Int32Array &&
      typeof streamBaseState[kLastWriteWasAsync!] === 'number';
    return usable ? { WriteWrap, streamBaseState, kLastWriteWasAsync: kLastWriteWasAsync! } : undefined;
  } catch {
    return undefined;
  }
}
