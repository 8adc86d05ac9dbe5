// Validation of option objects: one message that names each wrong option, its value and what is allowed.
import type { z } from "zod";

type Issue = z.core.$ZodIssue;

/** @throws TypeError that lists every wrong option of `value`. */
export function parseOptions<T extends z.ZodType>(schema: T, value: unknown, what: string): z.output<T> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const lines = result.error.issues.flatMap((issue) => deepest(issue)).map((issue) => describe(issue, value));
  throw new TypeError(`${what}: ${lines.join("; ")}`);
}

/** Of a union, what is wrong by the branch that comes nearest: the one that got furthest into the value. */
function deepest(issue: Issue): Issue[] {
  if (issue.code !== "invalid_union") return [issue];
  const branches = issue.errors.map((issues) =>
    issues
      .flatMap((inner) => deepest(inner))
      .map((inner) => ({ ...inner, path: [...issue.path, ...inner.path] }) as Issue),
  );
  const depth = (branch: Issue[]): number =>
    Math.max(...branch.map(({ path, code }) => 2 * path.length - (code === "invalid_type" ? 1 : 0)), 0);
  const best = branches.reduce<Issue[]>((a, b) => (depth(b) > depth(a) ? b : a), []);
  const shallow = ({ path, code }: Issue): boolean =>
    path.length === issue.path.length && (code === "invalid_type" || code === "invalid_value");
  return best.every(shallow) ? [issue] : best;
}

function describe(issue: Issue, value: unknown): string {
  let at: unknown = value;
  for (const key of issue.path) at = (at as Record<PropertyKey, unknown> | null | undefined)?.[key];
  const where = issue.path.length > 0 ? `option ${issue.path.map(String).join(".")}` : "the options";
  return `${where}: ${issue.message}${issue.code === "unrecognized_keys" ? "" : ` (got ${show(at)})`}`;
}

function show(value: unknown): string {
  if (value === undefined) return "nothing";
  const text = typeof value === "function" ? "a function" : (JSON.stringify(value) ?? String(value));
  return text.length > 80 ? `${text.slice(0, 79)}…` : text;
}
