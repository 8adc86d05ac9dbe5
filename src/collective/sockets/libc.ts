// The system calls that a blocking communication thread needs, through the C library: sockets, poll, shared mappings and
// futexes, straight on addresses of the heap. Linux only; constants are those of its x86-64 and arm64.
import { createRequire } from "node:module";
import type koffi from "koffi";

export const AF = { unix: 1, inet: 2, inet6: 10 } as const;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
export const Poll = { in: 1, out: 4, error: 8, hangUp: 16 } as const;
export const Errno = { intr: 4, again: 11, pipe: 32, inProgress: 115, connectionReset: 104 } as const;
const FUTEX_WAIT = 0;
const FUTEX_WAKE = 1;
const MAP = { shared: 1, private: 2, fixed: 0x10, anonymous: 0x20 } as const;
const READ_WRITE = 3;

type Call = (...values: unknown[]) => number;

export interface Libc {
  /** Of the last call that returned -1. */
  errno(): number;
  /** What the last error means, e.g. "ECONNREFUSED". */
  errorName(): string;
  /** A stream socket that never blocks. */
  socket(family: number): number;
  bind(fd: number, address: Uint8Array): number;
  listen(fd: number, backlog: number): number;
  /** The port or -1, for a socket of an internet family. */
  boundPort(fd: number): number;
  accept(fd: number): number;
  connect(fd: number, address: Uint8Array): number;
  /** An integer option. */
  setOption(fd: number, level: number, option: number, value: number): number;
  getOption(fd: number, level: number, option: number): number;
  /** Addresses are those of the process. */
  recv(fd: number, address: number, bytes: number): number;
  writev(fd: number, vectors: number, count: number): number;
  /** `entries`: for each descriptor two words: the descriptor, then what is asked for and, shifted by 16, what was found. */
  poll(entries: Int32Array, count: number, ms: number): number;
  close(fd: number): void;
  /** Makes a file this long and reserves the room. Returns an error number. */
  allocate(fd: number, bytes: number): number;
  /** Puts the pages of an open file in place of those at an address. */
  mapShared(address: number, bytes: number, fd: number): boolean;
  /** Puts new private pages in place of those at an address. */
  mapPrivate(address: number, bytes: number): boolean;
  futexWait(address: number, value: number, ms: number): void;
  futexWake(address: number): void;
  yield(): void;
  /** Where a buffer lies in the process. */
  addressOf(bytes: Uint8Array): number;
}

let loaded: Libc | undefined;

/** @throws where the system is no Linux or its C library cannot be called */
export function libc(): Libc {
  loaded ??= load();
  return loaded;
}

function load(): Libc {
  const futex = { x64: 202, arm64: 98 }[process.arch as string];
  if (process.platform !== "linux" || futex === undefined) {
    throw new Error(
      `sockets by system calls need Linux on x86-64 or arm64, this is ${process.platform} on ${process.arch}`,
    );
  }
  const ffi = createRequire(import.meta.url)("koffi") as typeof koffi;
  const library = ffi.load("libc.so.6");
  const bind = (signature: string): Call => library.func(signature) as unknown as Call;
  const socket = bind("int socket(int family, int type, int protocol)");
  const bindSocket = bind("int bind(int fd, void *address, uint32_t bytes)");
  const listen = bind("int listen(int fd, int backlog)");
  const getsockname = bind("int getsockname(int fd, void *address, void *bytes)");
  const accept = bind("int accept4(int fd, void *address, void *bytes, int flags)");
  const connect = bind("int connect(int fd, void *address, uint32_t bytes)");
  const setsockopt = bind("int setsockopt(int fd, int level, int option, void *value, uint32_t bytes)");
  const getsockopt = bind("int getsockopt(int fd, int level, int option, void *value, void *bytes)");
  const recv = bind("int64_t recv(int fd, uintptr_t buffer, size_t bytes, int flags)");
  const writev = bind("int64_t writev(int fd, uintptr_t vectors, int count)");
  const poll = bind("int poll(void *entries, unsigned long count, int ms)");
  const close = bind("int close(int fd)");
  const mmap = bind(
    "intptr_t mmap(uintptr_t address, size_t bytes, int protection, int flags, int fd, int64_t offset)",
  );
  const allocate = bind("int posix_fallocate(int fd, int64_t offset, int64_t bytes)");
  const wait = bind("long syscall(long number, uintptr_t address, int operation, int value, void *timeout)");
  const yieldCore = bind("int sched_yield()");
  const names = new Map(Object.entries(ffi.os.errno).map(([name, value]) => [value as number, name]));
  const timeout = new BigInt64Array(2);
  const integer = new Int32Array(1);
  const length = new Uint32Array(1);
  return {
    errno: () => ffi.errno(),
    errorName: () => names.get(ffi.errno()) ?? `error ${ffi.errno()}`,
    socket: (family) => socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
    bind: (fd, address) => bindSocket(fd, address, address.length),
    listen: (fd, backlog) => listen(fd, backlog),
    boundPort(fd) {
      const address = new Uint8Array(128);
      length[0] = address.length;
      return getsockname(fd, address, length) === 0 ? new DataView(address.buffer).getUint16(2) : -1;
    },
    accept: (fd) => accept(fd, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC),
    connect: (fd, address) => connect(fd, address, address.length),
    setOption(fd, level, option, value) {
      integer[0] = value;
      return setsockopt(fd, level, option, integer, 4);
    },
    getOption(fd, level, option) {
      length[0] = 4;
      return getsockopt(fd, level, option, integer, length) === 0 ? integer[0]! : -1;
    },
    recv: (fd, address, bytes) => recv(fd, address, bytes, 0),
    writev,
    poll,
    close: (fd) => void close(fd),
    allocate: (fd, bytes) => allocate(fd, 0, bytes),
    mapShared: (address, bytes, fd) => mmap(address, bytes, READ_WRITE, MAP.shared | MAP.fixed, fd, 0) === address,
    mapPrivate: (address, bytes) =>
      mmap(address, bytes, READ_WRITE, MAP.private | MAP.fixed | MAP.anonymous, -1, 0) === address,
    futexWait(address, value, ms) {
      timeout[0] = BigInt(Math.floor(ms / 1000));
      timeout[1] = BigInt(Math.floor((ms % 1000) * 1e6));
      wait(futex, address, FUTEX_WAIT, value, timeout);
    },
    yield: () => void yieldCore(),
    futexWake: (address) => void wait(futex, address, FUTEX_WAKE, 2 ** 31 - 1, null),
    addressOf: (bytes) => Number(ffi.address(bytes)),
  };
}
