// What goes wrong between ranks. Each error names a rank; after one the group cannot go on.

/** A rank ended, or said that it failed. */
export class PeerError extends Error {
  override readonly name: string = "PeerError";
  /** The rank that failed first, as far as this one knows. */
  readonly rank: number;

  constructor(rank: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.rank = rank;
  }
}

/** A rank is there but did not send or take what was expected in time. */
export class StallError extends PeerError {
  override readonly name = "StallError";
}

/** Ranks called different collectives, or the same one with different shapes. */
export class MismatchError extends PeerError {
  override readonly name = "MismatchError";
}

/** The rank that is to blame for an error of rank `self`, and how others are told. */
export function causeOf(self: number, error: Error): { readonly culprit: number; readonly reason: string } {
  if (error instanceof PeerError) return { culprit: error.rank, reason: error.message };
  return { culprit: self, reason: `rank ${self} failed: ${error.message}` };
}
