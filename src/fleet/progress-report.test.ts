// What a worker tells the coordinator: speed while its step rises, and where it stands while it does not.
import { expect, test } from "vitest";
import type { Report } from "../cluster/index.ts";
import { ProgressReport } from "./progress-report.ts";
import type { Session } from "./session.ts";
import { initialState, type TrainingState } from "./training-state.ts";
import type { Workers } from "./workers.ts";

function told(): { readonly reports: Report[]; readonly progress: ProgressReport } {
  const reports: Report[] = [];
  const member = { report: (values: Report): unknown => reports.push(values) };
  return { reports, progress: new ProgressReport({ member } as unknown as Workers, initialState) };
}

const at = (step: number, samples: number, seconds: number): TrainingState => ({
  ...initialState,
  ...{ step, samples, seconds },
});
const sessionOf = (parts: object): Session => parts as Session;
const idle = sessionOf({ served: undefined, collective: undefined });

test("steps, rows, and rows a second since the report before", () => {
  const { reports, progress } = told();
  progress.tell(at(10, 640, 0.5), idle, true);
  progress.tell(at(30, 1920, 1), idle, true);
  expect(reports).toEqual([
    { step: 10, samples: 640, samplesPerSecond: 1280 },
    { step: 30, samples: 1920, samplesPerSecond: 2560 },
  ]);
});

test.each([
  ["the collective that it waits in", { collective: { waitsIn: "bucket 2" } }, true, { waitsIn: "bucket 2" }],
  [
    "a request that servers answer for it alone",
    { served: { request: "push table ctr", inStep: false } },
    true,
    { activity: "push table ctr" },
  ],
  [
    "a request that all workers must make",
    { served: { request: "push table ctr", inStep: true } },
    true,
    { waitsIn: "push table ctr" },
  ],
  ["its own work", {}, true, { activity: "computing" }],
  ["data that does not come", {}, false, { activity: "reading data" }],
] as const)("a worker that stands still says at what: %s", (_, session, read, expected) => {
  const { reports, progress } = told();
  progress.tell(at(5, 320, 1), sessionOf(session), read);
  progress.tell(at(5, 320, 2), sessionOf(session), read);
  expect(reports[1]).toEqual({ step: 5, samples: 320, samplesPerSecond: 0, ...expected });
  progress.tell(at(5, 320, 3), undefined, read);
  expect(reports[2]).toEqual({ step: 5, samples: 320, samplesPerSecond: 0 });
});
