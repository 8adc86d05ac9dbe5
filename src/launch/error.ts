// The error of starting a job: names what was given and what to do.

export class LaunchError extends Error {
  override readonly name = "LaunchError";
}
