// Reading environment variables: an error names the variable, its value and what is expected.
import { ClusterError } from "./error.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** @throws ClusterError when it is set to something else than a whole number of the range */
export function wholeNumber(env: Environment, name: string, min: number, max = Number.MAX_SAFE_INTEGER): number {
  const text = env[name];
  const value = Number(text);
  if (text !== undefined && /^\d+$/.test(text) && value >= min && value <= max) return value;
  const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
  throw wrong(env, name, `a whole number ${range}`);
}

/** `undefined` when it is not set, or set to nothing. */
export function optionalNumber(env: Environment, name: string, min: number, max?: number): number | undefined {
  return present(env, name) ? wholeNumber(env, name, min, max) : undefined;
}

export function present(env: Environment, name: string): boolean {
  return (env[name] ?? "") !== "";
}

export function wrong(env: Environment, name: string, expected: string): ClusterError {
  const text = env[name];
  const found = text === undefined ? "not set" : JSON.stringify(text);
  return new ClusterError(`environment variable ${name} is ${found}; expected ${expected}`);
}

/** Names of jobs are names of files too. @throws ClusterError when `FLOTILLA_JOB` is none */
export function expectJobName(env: Environment): void {
  if (!isJobName(env.FLOTILLA_JOB ?? "")) throw wrong(env, "FLOTILLA_JOB", jobNameForm);
}

export const jobNameForm = "up to 100 letters, digits, dots, hyphens and underscores, the first a letter or digit";

export function isJobName(text: string): boolean {
  return /^[A-Za-z0-9][\w.-]{0,99}$/.test(text);
}
