// The transport over MPI point-to-point messages, where a cluster has MPI and its network: rank and size come from mpirun.
import type { Heap } from "../../memory/index.ts";
import { causeOf, PeerError, StallError } from "../errors.ts";
import { heapBase } from "../sockets/mesh.ts";
import { DEFAULT_STALL_MS, type Transport } from "../transport.ts";
import { State } from "../window.ts";
import { startMpi } from "./library.ts";

const PIECE_BYTES = 2 ** 18;
const TAG = { data: 1, notice: 2 } as const;
const NOTICE_BYTES = 1024;
/** Tests before the thread sleeps between them, and how long then: MPI cannot wake it. */
const SPINS = 2000;
const SLEEP_MS = 0.1;
const CHECK_EVERY = 64;

/** One send or receive under way; its handle is 0 when it is done. */
type Request = BigUint64Array;

export function mpiTransport(options: { rank: number; size: number; heap: Heap; stallMs?: number }): Transport {
  const { heap, stallMs = DEFAULT_STALL_MS } = options;
  const mpi = startMpi();
  const { rank, size } = mpi;
  if (rank !== options.rank || size !== options.size) {
    throw new Error(
      `mpirun started this process as rank ${rank} of ${size}, not as rank ${options.rank} of ${options.size}; ` +
        "take rank and size from OMPI_COMM_WORLD_RANK and OMPI_COMM_WORLD_SIZE",
    );
  }
  const base = heapBase(heap);
  const memory = heap.alloc(PIECE_BYTES + 2 * NOTICE_BYTES);
  const [staging, ownNotice, theirNotice] = [memory, memory + PIECE_BYTES, memory + PIECE_BYTES + NOTICE_BYTES];
  const receiving: Request = new BigUint64Array(1);
  const idle: Request[] = [];
  const sending: { peer: number; request: Request }[] = [];
  const left = new Map<number, PeerError>();
  const pause = new Int32Array(new SharedArrayBuffer(4));
  let failure: PeerError | undefined;

  const check = (peer: number): void => {
    while (mpi.probe(TAG.notice)) {
      mpi.recvAny(base + theirNotice, NOTICE_BYTES, TAG.notice);
      const [state, from, culprit, length] = heap.u32(theirNotice, 4) as unknown as [number, number, number, number];
      const text = Buffer.from(heap.u8(theirNotice + 16, Math.min(length, NOTICE_BYTES - 16))).toString();
      const error = new PeerError(culprit, text);
      if (state === State.failed) failure ??= error;
      else left.set(from, error);
    }
    const error = failure ?? left.get(peer);
    if (error !== undefined) throw error;
  };
  const settle = (request: Request, peer: number): void => {
    const deadline = performance.now() + stallMs;
    for (let spin = 1; !mpi.test(request); spin++) {
      if (spin % CHECK_EVERY !== 0) continue;
      try {
        check(peer);
      } catch (error) {
        if (mpi.test(request)) return;
        throw error;
      }
      if (performance.now() > deadline) {
        throw new StallError(peer, `nothing came from rank ${peer} for ${stallMs / 1000} s`);
      }
      if (spin > SPINS) Atomics.wait(pause, 0, 0, SLEEP_MS);
    }
  };
  const receive = (peer: number, address: number, bytes: number): void => {
    for (let done = 0; done < bytes; done += PIECE_BYTES) {
      mpi.irecv(base + address + done, Math.min(PIECE_BYTES, bytes - done), peer, TAG.data, receiving);
      settle(receiving, peer);
    }
  };
  const tell = (state: number, culprit: number, reason: string): void => {
    const text = Buffer.from(reason).subarray(0, NOTICE_BYTES - 16);
    heap.u32(ownNotice, 4).set([state, rank, culprit, text.length]);
    heap.u8(ownNotice + 16, text.length).set(text);
    for (let peer = 0; peer < size; peer++) {
      if (peer !== rank) mpi.isend(base + ownNotice, NOTICE_BYTES, peer, TAG.notice, new BigUint64Array(1));
    }
  };
  let failed = false;
  return {
    name: "mpi",
    rank,
    size,
    pieceBytes: PIECE_BYTES,
    send(peer, address, bytes) {
      for (let done = 0; done < bytes; done += PIECE_BYTES) {
        const request = idle.pop() ?? new BigUint64Array(1);
        mpi.isend(base + address + done, Math.min(PIECE_BYTES, bytes - done), peer, TAG.data, request);
        sending.push({ peer, request });
      }
    },
    receive,
    borrow(peer, bytes) {
      receive(peer, staging, bytes);
      return staging;
    },
    release() {},
    flush() {
      for (const { peer, request } of sending) {
        settle(request, peer);
        idle.push(request);
      }
      sending.length = 0;
    },
    fail(error) {
      failed = true;
      const { culprit, reason } = causeOf(rank, error);
      tell(State.failed, culprit, reason);
    },
    close() {
      if (failed) return;
      tell(State.closed, rank, `rank ${rank} left the group`);
      mpi.finalize();
      heap.free(memory);
    },
  };
}
