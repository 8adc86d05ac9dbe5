// For tests: what viewers of the Trace Event Format need of a file, Perfetto most of all.
import { expect } from "vitest";

export interface Span {
  readonly ph: string;
  readonly cat: string;
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  readonly ts: number;
  readonly dur: number;
}

interface Label {
  readonly ph: string;
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  readonly args: { readonly name?: string; readonly sort_index?: number };
}

/**
 * Every row has a name; spans are complete events in whole microseconds, in order, and on a row either apart from each other or
 * one within the other: Perfetto drops what overlaps, and takes process 0 and thread 0 for the idle ones of the system.
 */
export function expectViewable(events: readonly (Span | Label)[], processes: readonly number[]): void {
  const labels = events.filter((event): event is Label => event.ph === "M");
  const spans = events.filter((event): event is Span => event.ph === "X");
  expect(labels.length + spans.length).toBe(events.length);
  expect([...new Set(spans.map(({ pid }) => pid))].sort()).toEqual(processes);
  for (const { pid, tid, args } of labels) {
    expect(Number.isInteger(pid) && pid > 0 && Number.isInteger(tid) && tid > 0).toBe(true);
    expect(args.name ?? args.sort_index).toBeDefined();
  }
  const labelled = (kind: string, pid: number, tid?: number): boolean =>
    labels.some((label) => label.name === kind && label.pid === pid && (tid === undefined || label.tid === tid));
  const open = new Map<string, number[]>();
  let before = 0;
  for (const { pid, tid, ts, dur, name, cat } of spans) {
    expect(typeof name === "string" && name !== "" && ["step", "compute", "wait", "wire"].includes(cat)).toBe(true);
    expect(labelled("process_name", pid) && labelled("thread_name", pid, tid)).toBe(true);
    expect(Number.isInteger(ts) && Number.isInteger(dur) && ts >= before && dur >= 0).toBe(true);
    before = ts;
    const row = `${pid}/${tid}`;
    const ends = open.get(row) ?? [];
    while (ends.length > 0 && ends.at(-1)! <= ts) ends.pop();
    expect(ts + dur, `${name} ends within what it began in`).toBeLessThanOrEqual(
      ends.at(-1) ?? Number.POSITIVE_INFINITY,
    );
    open.set(row, [...ends, ts + dur]);
  }
}
