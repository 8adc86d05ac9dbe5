// How bytes of the heap get from rank to rank. A transport knows no algorithm; algorithms know nothing else of the world.
// It belongs to one thread, which may block in it: sends of that thread go on while it waits to receive.

/** Memory that the ranks of one process share. */
export interface SharedMemory {
  /**
   * Tells all ranks two addresses of this rank, of its buffer and its note, and waits for theirs. Returns the address of a
   * table in words as wide as an address: the buffers of all ranks, then their notes.
   */
  exchange(buffer: number, note: number): number;
  /** Waits until every rank has called it. */
  barrier(): void;
}

export interface Transport {
  /** For messages and measurements: "threads", "unix", "shared", "tcp", "tls", "mpi". */
  readonly name: string;
  readonly rank: number;
  readonly size: number;
  /** The most bytes that `borrow` can give at once. Longer messages are pieces of this size and a rest. */
  readonly pieceBytes: number;
  /** Where ranks can read each other's heap. */
  readonly shared?: SharedMemory;
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
