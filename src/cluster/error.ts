// The error of a process's place in the job: names the variable or the member, and says what to do.

export class ClusterError extends Error {
  override readonly name = "ClusterError";
}
