// Reading from sockets into the same memory over and over: what Node.js allocates for every read costs several times as much
// as the reading, because the system must find and clear its pages and the garbage collector marks all the time.
import net, { type OnReadOpts, type Socket } from "node:net";

/** Of one thread, for all of its sockets: what is read is consumed before anything else is. */
let buffer: Buffer | undefined;
const BUFFER_BYTES = 1 << 18;

export interface ReusedMemory {
  /** The option with which the socket is made. */
  readonly onread: OnReadOpts;
  /** Has the socket tell of what it reads by "data" events. */
  serves<T extends Socket>(socket: T): T;
}

export function reusedMemory(): ReusedMemory {
  buffer ??= Buffer.allocUnsafeSlow(BUFFER_BYTES);
  const own = buffer;
  let socket: Socket | undefined;
  return {
    onread: {
      buffer: own,
      callback(length) {
        socket?.emit("data", own.subarray(0, length));
        return true;
      },
    },
    serves<T extends Socket>(made: T): T {
      socket = made;
      return made;
    },
  };
}

/** A socket that a server has accepted and not read from, in place of which the result is to be used. */
export function withReusedMemory(accepted: Socket): Socket {
  // Servers make their sockets without `onread`, so another one takes over the handle: what `subprocess.send` does, too.
  const owner = accepted as Socket & { _handle: unknown };
  const handle = owner._handle;
  if (handle === null || handle === undefined) return accepted;
  const { onread, serves } = reusedMemory();
  owner._handle = null;
  const socket = new net.Socket({ handle, onread } as net.SocketConstructorOpts);
  // The server waits for the end of what it has accepted.
  socket.once("close", () => accepted.destroy());
  return serves(socket);
}
