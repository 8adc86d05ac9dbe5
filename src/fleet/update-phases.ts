// Where updates run apart from the step: which thread applies what, in which order.
import type { ApplyShare, DeferredUpdates, Program } from "../program/index.ts";
import type { ThreadMode } from "./protocol.ts";

/**
 * The programs that apply the gradients of a step: a program a thread for each phase. In mode `sync` a thread applies its
 * share of the gradients of all threads, and all must have finished one phase before any begins the next; in mode `async`
 * it applies all that it has gathered itself.
 */
export function updatePhases(
  deferred: DeferredUpdates,
  step: Program,
  { mode, threads }: { readonly mode: ThreadMode; readonly threads: number },
): Program[][] {
  const { parameters, tables, apply, squares } = deferred;
  if (mode === "async") {
    const program = apply({ parameters, tables, replicas: 1 });
    return [Array.from({ length: threads }, () => program)];
  }
  const list = shares(deferred, step, threads);
  return [...(squares === undefined || threads === 1 ? [] : [list.map(squares)]), list.map(apply)];
}

/**
 * What each thread applies of a synchronous step: tables in turn from the first thread, then each parameter, the largest
 * first, to the thread with the least to do. A table counts as the largest parameter: about that many numbers move.
 */
export function shares({ parameters, tables }: DeferredUpdates, program: Program, threads: number): ApplyShare[] {
  const sizeOf = (name: string): number =>
    program.values[program.parameters[name]!.value]!.shape.reduce((a, b) => a * b, 1);
  const largest = Math.max(1, ...parameters.map(sizeOf));
  const result = Array.from({ length: threads }, () => ({
    work: 0,
    parameters: [] as string[],
    tables: [] as string[],
  }));
  const idlest = () => result.reduce((a, b) => (b.work < a.work ? b : a));
  for (const table of tables) {
    const share = idlest();
    share.tables.push(table);
    share.work += largest;
  }
  for (const name of parameters.toSorted((a, b) => sizeOf(b) - sizeOf(a))) {
    const share = idlest();
    share.parameters.push(name);
    share.work += sizeOf(name);
  }
  return result.map(({ parameters, tables }) => ({ parameters, tables, replicas: threads, shares: threads }));
}
