// A trainer thread of a test: records the same batch over and over, the first thousand times into a score log too.
import { workerData } from "node:worker_threads";
import { Heap } from "../memory/index.ts";
import { ScoreLog } from "./score-log.ts";
import { WindowStats } from "./window-stats.ts";

const { memory, stats, log, thread, batches, x, y, w } = workerData;
const heap = Heap.attach(memory);
const recorder = WindowStats.attach(heap, stats).recorder(thread);
const scores = ScoreLog.attach(heap, log).recorder(thread);
for (let i = 0; i < batches; i++) {
  recorder.record(x, y, w, 0, 64);
  if (i < 1000) scores.record(x, y, w, 64);
}
