// How bytes of the heap get from rank to rank. A transport knows no algorithm; algorithms know nothing else of the world.
// It belongs to one thread, which may block in it: sends of that thread go on while it waits to receive.

/** Memory of all ranks that each of them can read and write: of threads, or of processes that map the same pages. */
export interface SharedMemory {
  /**
   * Tells all ranks where this rank's buffer is and what it was asked for, and waits for theirs. Returns the address of a
   * table of the buffers' addresses, in words as wide as those; 0 where a buffer lies outside of what can be shared, and
   * then on all ranks.
   */
  exchange(buffer: number, note: number): number;
  /** Where the note of a rank is, from an exchange to the next barrier. */
  note(peer: number): number;
  /** Waits until every rank has called it. */
  barrier(): void;
}

/** Part of the heap that other ranks can read: tensors in it are reduced where they are. */
export interface SharedBuffer {
  readonly address: number;
  readonly bytes: number;
}

export interface Transport {
  /** For messages and measurements: "threads", "unix", "shared", "tcp", "tls", "mpi". */
  readonly name: string;
  readonly rank: number;
  readonly size: number;
  /** The most bytes that `borrow` can give at once. Longer messages are pieces of this size and a rest. */
  readonly pieceBytes: number;
  /** Where ranks can read each other's memory. */
  readonly shared?: SharedMemory;
  /** Where only a part of it can be read. */
  readonly buffer?: SharedBuffer;
  /** Starts a message. Messages to a peer keep their order. The memory must stay as it is until the peer has it. */
  send(peer: number, address: number, bytes: number): void;
  /**
   * Waits for the next message of a peer, which has this length, and writes it to the heap.
   * @throws PeerError when the peer or another rank failed; StallError when nothing came within the limit
   */
  receive(peer: number, address: number, bytes: number): void;
  /**
   * As `receive`, of one piece, which is left where the transport has it. Returns the address; good until `release`, before
   * which nothing else may be taken from the peer.
   */
  borrow(peer: number, bytes: number): number;
  release(peer: number): void;
  /** Waits until the memory of all sends may be used again. */
  flush(): void;
  /** Tells all ranks that this one fails and why, so that none waits for it. */
  fail(error: Error): void;
  /** Ends all connections. Nothing may follow. */
  close(): void;
}

/** Without progress for this long a rank counts as stalled. */
export const DEFAULT_STALL_MS = 120_000;

/** @throws RangeError that names what is wrong */
export function checkPlace(rank: number, size: number): void {
  if (!Number.isInteger(size) || size < 1) {
    throw new RangeError(`a group's size must be a positive integer, got ${size}`);
  }
  if (!Number.isInteger(rank) || rank < 0 || rank >= size) {
    throw new RangeError(`rank must be an integer from 0 to ${size - 1} in a group of ${size}, got ${rank}`);
  }
}
