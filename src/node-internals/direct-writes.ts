/**
 * Writes to the handle of a socket and bypasses `net.Socket`: the states, the request object and the tick of a stream
 * cost a tenth of a delivery (docs/performance.md), and a tab, which is never written to while bytes wait, needs none
 * of them. Node's `--permission` forbids it.
 */
import { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import { getSystemErrorName } from 'node:util';

/** The owner of the socket. */
interface Owner {
  readonly out: Writable;
}

/** Node's `TCP` or `Pipe`. */
export interface SocketHandle {
  /**
   * Does not keep `request` if the system takes all bytes at once.
   * @returns 0, a negative errno, or undefined if the handle is closed
   */
  writeBuffer(request: WriteRequest, bytes: Buffer): number | undefined;
}

interface WriteRequest {
  /** Called by Node later, if it could not write everything at once. */
  oncomplete: (this: WriteRequest, status: number) => void;
  /** Must stay alive until then. */
  bytes: Buffer | undefined;
  owner: Owner | undefined;
}

interface StreamWrap {
  WriteWrap: new () => WriteRequest;
  /** Node's results of the last call, by index. */
  streamBaseState: Int32Array;
  kLastWriteWasAsync: number;
}

export interface DirectWrites<Tab extends Owner> {
  /** @returns undefined if `out` must be written to as a stream */
  handleOf(out: Writable): SocketHandle | undefined;
  /**
   * Keeps the order of bytes, whatever was written before. A broken connection ends like any other.
   * @param handle of `tab`, from `handleOf`
   * @returns whether everything was written; if false, `onSent` will be called
   */
  write(tab: Tab, handle: SocketHandle, bytes: Buffer): boolean;
}

/** @param onSent called when the system has taken all bytes of a tab for which `write` returned false */
export type CreateDirectWrites = <Tab extends Owner>(onSent: (tab: Tab) => void) => DirectWrites<Tab>;

/** @returns undefined if this version of Node lacks what it needs */
export function findDirectWrites(): CreateDirectWrites | undefined {
  const streamWrap = findStreamWrap();
  return streamWrap && ((onSent) => new StreamWrapWrites(streamWrap, onSent));
}

class StreamWrapWrites<Tab extends Owner> implements DirectWrites<Tab> {
  /** Reused for all writes until Node keeps it. */
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
    // Exactly net.Socket (TLSSocket is a subclass), with an empty stream buffer: direct writes would overtake waiting
    // bytes.
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

/** @param status negative errno; undefined if the handle, and so the socket, is closed */
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
