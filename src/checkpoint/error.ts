// The one error of saving and loading: it names the file, says what is wrong with it and what to do.

export class CheckpointError extends Error {
  /** The file or folder that the error is about. */
  readonly file: string;

  constructor(file: string, reason: string, options?: ErrorOptions) {
    super(`${file}: ${reason}`, options);
    this.name = "CheckpointError";
    this.file = file;
  }
}

/** `cause` as a CheckpointError about `file`, unless it is one already. */
export function asCheckpointError(file: string, doing: string, cause: unknown): CheckpointError {
  if (cause instanceof CheckpointError) return cause;
  return new CheckpointError(file, `${doing}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
}
