// The part of Open MPI's library that passes bytes, through its C interface. Other MPI libraries have other handles.
import { createRequire } from "node:module";
import type koffi from "koffi";
import type { LibraryHandle } from "koffi";

const NAMES = ["libmpi.so.40", "libmpi.so", "libmpi.40.dylib"] as const;
const ANY_SOURCE = -1;
const FUNNELED = 1;

export interface MpiLibrary {
  readonly rank: number;
  readonly size: number;
  /** Starts to send; writes the request's handle. */
  isend(address: number, bytes: number, peer: number, tag: number, request: BigUint64Array): void;
  irecv(address: number, bytes: number, peer: number, tag: number, request: BigUint64Array): void;
  /** Whether a request is done; then its handle is null. Every test also moves all others on. */
  test(request: BigUint64Array): boolean;
  /** Whether a message with a tag waits, from any rank. */
  probe(tag: number): boolean;
  recvAny(address: number, bytes: number, tag: number): void;
  /** Waits for all ranks. */
  finalize(): void;
}

let loaded: MpiLibrary | undefined;

/** Starts MPI in the calling thread, which alone may use it; once a process. @throws where Open MPI is not installed */
export function startMpi(): MpiLibrary {
  if (loaded !== undefined) throw new Error("MPI was started in this process already; a process has one MPI group");
  loaded = load();
  return loaded;
}

function load(): MpiLibrary {
  const ffi = createRequire(import.meta.url)("koffi") as typeof koffi;
  const library = open(ffi);
  const symbol = (name: string): unknown => library.symbol(name, "void");
  const [world, byte] = [symbol("ompi_mpi_comm_world"), symbol("ompi_mpi_byte")];
  const bind = (signature: string): ((...values: unknown[]) => number) => {
    const call = library.func(signature) as unknown as (...values: unknown[]) => number;
    return (...values) => {
      const code = call(...values);
      if (code !== 0) throw new Error(`${/\w+(?=\()/.exec(signature)![0]} failed with code ${code}`);
      return code;
    };
  };
  const integer = new Int32Array(1);
  bind("int MPI_Init_thread(void*, void*, int, void*)")(null, null, FUNNELED, integer);
  const ask = (signature: string): number => {
    bind(signature)(world, integer);
    return integer[0]!;
  };
  const send = bind("int MPI_Isend(uintptr_t, int, void*, int, int, void*, void*)");
  const receive = bind("int MPI_Irecv(uintptr_t, int, void*, int, int, void*, void*)");
  const receiveNow = bind("int MPI_Recv(uintptr_t, int, void*, int, int, void*, void*)");
  const test = bind("int MPI_Test(void*, void*, void*)");
  const probe = bind("int MPI_Iprobe(int, int, void*, void*, void*)");
  const finalize = bind("int MPI_Finalize()");
  return {
    rank: ask("int MPI_Comm_rank(void*, void*)"),
    size: ask("int MPI_Comm_size(void*, void*)"),
    isend: (address, bytes, peer, tag, request) => void send(address, bytes, byte, peer, tag, world, request),
    irecv: (address, bytes, peer, tag, request) => void receive(address, bytes, byte, peer, tag, world, request),
    test(request) {
      test(request, integer, null);
      return integer[0] !== 0;
    },
    probe(tag) {
      probe(ANY_SOURCE, tag, world, integer, null);
      return integer[0] !== 0;
    },
    recvAny: (address, bytes, tag) => void receiveNow(address, bytes, byte, ANY_SOURCE, tag, world, null),
    finalize: () => void finalize(),
  };
}

function open(ffi: typeof koffi): LibraryHandle {
  for (const name of NAMES) {
    try {
      return ffi.load(name, { global: true });
    } catch {}
  }
  throw new Error(
    "Open MPI is not installed: there is no libmpi.so.40; install libopenmpi3 (Debian) or take another transport",
  );
}
